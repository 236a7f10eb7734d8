// Stream mode in the running engine: honest clients, and hostile ones.
#include "engine_rig.hpp"
#include "ipc/stream_end.hpp"

namespace iopkt::daemon {
namespace {

using ipc::Mode;

class EngineStreamTest : public EngineTest {
 protected:
  /// A connection between two clients.
  struct Connection {
    Socket client, server;
  };
  Connection connect(Program& client, Program& server, std::uint16_t port) {
    const Socket listener = open_listener(server, node(ipc::kStreamNode), port);
    Connection out;
    out.client = open_socket(client, node(ipc::kStreamNode), SOCK_STREAM);
    const sockaddr_in to = inet(INADDR_LOOPBACK, port);
    EXPECT_EQ(client.ask<MessageId::connect>({.slot = out.client.slot.slot, .flags = 0, .reserved = 0},
                                             bytes_of(to)),
              EINPROGRESS);
    out.server = accept_socket(server, listener);
    EXPECT_TRUE(eventually(
        [&] { return (client.slot(out.client.slot.slot).status.load() & Status::connected) != 0; }));
    return out;
  }

  static int ask(Program& program, std::uint64_t slot, std::uint32_t mode) {
    return program.ask<MessageId::set_mode>({.slot = slot, .mode = mode, .reserved = 0});
  }
  static int ask(Program& program, const Socket& socket, Mode mode) {
    return ask(program, socket.slot.slot, static_cast<std::uint32_t>(mode));
  }
  static Mode mode_of(Program& program, const Socket& socket) {
    return ipc::ReceiveWord{program.slot(socket.slot.slot).rx_word.load()}.mode();
  }

  /// What an honest client does between the two requests.
  static void empty_descriptor(Program& program, const Socket& socket) {
    ipc::Slot& slot = program.slot(socket.slot.slot);
    ipc::ProgramEnd end = program.end(socket.fd.get(), socket.slot.slot);
    ipc::ReceiveRingReader{slot, program.base(socket.slot.slot), program.size(socket.slot.slot), end}.drain();
    ipc::SendRingWriter{slot, program.base(socket.slot.slot), program.size(socket.slot.slot), end}
        .wait_for_others();
    const int size = ipc::kStreamBuffer;
    ::setsockopt(socket.fd.get(), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  }
  static void make_streaming(Program& program, const Socket& socket) {
    ASSERT_TRUE(eventually([&] { return ask(program, socket, Mode::switching) == 0; }));
    ASSERT_TRUE(eventually([&] {
      empty_descriptor(program, socket);
      return ask(program, socket, Mode::stream) == 0;
    }));
    EXPECT_EQ(mode_of(program, socket), Mode::stream);
  }

  static std::string receive(const Socket& socket, std::size_t bytes) {
    std::string out;
    char buffer[16384];
    while (out.size() < bytes) {
      const ssize_t n = ::recv(socket.fd.get(), buffer, std::min(sizeof buffer, bytes - out.size()), 0);
      if (n <= 0) break;
      out.append(buffer, static_cast<std::size_t>(n));
    }
    return out;
  }
  /// Sends until there is no room for a while; answers how many bytes.
  static std::size_t fill(const Socket& socket) {
    const std::string data(10'000, 'f');
    std::size_t sum = 0;
    for (int idle = 0; idle < 200;) {
      const ssize_t n = ::send(socket.fd.get(), data.data(), data.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n > 0) sum += static_cast<std::size_t>(n);
      idle = n > 0 ? 0 : idle + 1;
      if (n <= 0) std::this_thread::yield();
    }
    return sum;
  }
};

TEST_P(EngineStreamTest, DataBeforeAndAfterTheSwitchArrivesOnceAndInOrder) {
  {
    Program server{node(ipc::kControlNode)}, client{node(ipc::kControlNode)};
    Connection c = connect(client, server, 4801);
    std::string first, second, back;
    for (int i = 0; first.size() < 50'000; ++i) first += std::to_string(i) + ",";
    for (int i = 0; second.size() < 700'000; ++i) second += std::to_string(i * 3) + ";";
    for (int i = 0; back.size() < 700'000; ++i) back += std::to_string(i * 7) + " ";
    // Both rings hold something, and the tokens say so.
    ASSERT_EQ(write_all(client, c.client, first), first.size());
    ASSERT_EQ(write_all(server, c.server, "early"), 5u);
    ASSERT_TRUE(eventually([&] { return (polled(c.server.fd.get()) & POLLIN) != 0; }));
    make_streaming(server, c.server);
    std::thread writer{[&] { EXPECT_EQ(write_all(client, c.client, second), second.size()); }};
    EXPECT_TRUE(receive(c.server, first.size() + second.size()) == first + second);
    writer.join();
    std::thread answerer{[&] {
      EXPECT_EQ(::send(c.server.fd.get(), back.data(), back.size(), 0), static_cast<ssize_t>(back.size()));
    }};
    const std::string all = read_some(client, c.client, 5 + back.size());
    EXPECT_EQ(all.size(), 5 + back.size());
    EXPECT_TRUE(all == "early" + back);
    answerer.join();
    // The end of the stream, both ways.
    ::shutdown(c.server.fd.get(), SHUT_WR);
    EXPECT_EQ(read_some(client, c.client, 1), "");
    EXPECT_EQ(write_all(client, c.client, "last"), 4u);
    c.client.fd.reset();
    EXPECT_EQ(receive(c.server, 100), "last");
    EXPECT_EQ(polled(c.server.fd.get()) & POLLERR, 0);
  }
  EXPECT_TRUE(eventually([&] { return sockets_in_use(node(ipc::kControlNode)) == 0; }));
}

TEST_P(EngineStreamTest, AFullStreamHoldsItsWriterBack) {
  Program server{node(ipc::kControlNode)}, client{node(ipc::kControlNode)};
  Connection c = connect(client, server, 4802);
  make_streaming(server, c.server);
  make_streaming(client, c.client);
  const std::size_t sent = fill(c.server);
  EXPECT_EQ(polled(c.server.fd.get()) & POLLOUT, 0);
  EXPECT_EQ(receive(c.client, sent).size(), sent);
  EXPECT_TRUE(eventually([&] { return (polled(c.server.fd.get()) & POLLOUT) != 0; }));
  // What is in the descriptor when it is closed is sent all the same.
  const std::size_t more = fill(c.server);
  c.server.fd.reset();
  EXPECT_EQ(receive(c.client, more + 1).size(), more);
}

TEST_P(EngineStreamTest, RefusedForWhatIsNoConnectionAndNotOnesOwn) {
  Program server{node(ipc::kControlNode)}, client{node(ipc::kControlNode)};
  const Socket datagram = open_socket(client, node(ipc::kPacketNode), SOCK_DGRAM);
  const Socket fresh = open_socket(client, "", SOCK_STREAM),
               attached = open_socket(client, node(ipc::kStreamNode), SOCK_STREAM);
  const Socket listener = open_listener(client, node(ipc::kStreamNode), 4803);
  const Connection c = connect(client, server, 4804);
  for (const Mode mode : {Mode::switching, Mode::stream}) {
    EXPECT_EQ(ask(client, datagram, mode), EOPNOTSUPP);
    EXPECT_EQ(ask(client, fresh, mode), ENOTCONN);
    EXPECT_EQ(ask(client, attached, mode), ENOTCONN);
    EXPECT_EQ(ask(client, listener, mode), ENOTCONN);
    EXPECT_EQ(ask(server, c.client, mode), EBADF) << "another client's";
  }
  for (const std::uint32_t wild : {0u, 3u, 4u, 0xffffffffu})
    EXPECT_EQ(ask(client, c.client.slot.slot, wild), EINVAL);
  EXPECT_EQ(ask(client, c.client, Mode::stream), EINVAL) << "not begun";
  EXPECT_EQ(mode_of(client, c.client), Mode::ring);
  EXPECT_EQ(write_all(client, c.client, "rings"), 5u);
  EXPECT_EQ(read_some(server, c.server, 5), "rings");
}

/// A program that accepts and starts another one at once: the child asks while HELLO still lies in the descriptor.
TEST_P(EngineStreamTest, AnAcceptedEndIsFoundBeforeItsHelloIsSeen) {
  Program client{node("config")}, server{node("config")};
  const Socket listener = open_listener(server, node(ipc::kStreamNode), 80);
  const Socket made = connect_to(client, node(ipc::kStreamNode), 80);
  Socket taken = take_offer(listener);
  const auto look_up = [&](Program& program) {
    const ipc::LookupEntry asked{.cookie = ipc::socket_cookie(taken.fd.get()), .slot = 0};
    ipc::LookupEntry answer{};
    EXPECT_EQ(program.ask<MessageId::lookup>({}, as_bytes(&asked, sizeof asked), nullptr,
                                             std::as_writable_bytes(std::span{&answer, 1})),
              0);
    return answer.slot;
  };
  EXPECT_EQ(look_up(server), taken.slot.slot);
  EXPECT_EQ(look_up(client), ipc::kNoSlot) << "it is not that client's";
  EXPECT_EQ(
      server.ask<MessageId::accept_adopt>({.slot = taken.slot.slot, .nonce = taken.slot.nonce}, {}, &taken.slot),
      0);
  server.end(taken.fd.get(), taken.slot.slot)
      .send_unit(ipc::Unit::hello(server.hello.client_id, taken.slot.slot, taken.slot.nonce, 0));
  make_streaming(server, taken);
  EXPECT_EQ(write_all(client, made, "for the child"), 13u);
  EXPECT_EQ(receive(taken, 13), "for the child");
}

TEST_P(EngineStreamTest, AskedTwiceAndInTheWrongOrder) {
  Program server{node(ipc::kControlNode)}, client{node(ipc::kControlNode)};
  Connection c = connect(client, server, 4805);
  ASSERT_EQ(write_all(client, c.client, "x"), 1u);
  ASSERT_TRUE(eventually([&] { return (polled(c.server.fd.get()) & POLLIN) != 0; }));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(ask(server, c.server, Mode::switching), 0);
  EXPECT_EQ(ask(server, c.server, Mode::stream), EAGAIN) << "a token would be taken for data";
  EXPECT_EQ(mode_of(server, c.server), Mode::switching);
  make_streaming(server, c.server);
  for (const Mode mode : {Mode::switching, Mode::stream}) EXPECT_EQ(ask(server, c.server, mode), 0);
  EXPECT_EQ(mode_of(server, c.server), Mode::stream) << "there is no way back";
  // What belongs to the rings has no meaning any more, and does no harm.
  const std::uint64_t slot = c.server.slot.slot;
  EXPECT_EQ(server.ask<MessageId::shutdown>({.slot = slot, .how = SHUT_WR, .reserved = 0}), 0);
  EXPECT_EQ(
      server.ask<MessageId::close>({.slot = slot, .incarnation = c.server.slot.incarnation, .reserved = 0}),
      0);
  server.slot(slot).kicks.fetch_or(~0u);
  server.end(c.server.fd.get(), slot).ring();
  EXPECT_EQ(receive(c.server, 1), "x");
  EXPECT_EQ(::send(c.server.fd.get(), "y", 1, 0), 1);
  EXPECT_EQ(read_some(client, c.client, 1), "y");
}

TEST_P(EngineStreamTest, ASlotFullOfNonsenseHarmsNothing) {
  Program server{node(ipc::kControlNode)}, client{node(ipc::kControlNode)},
      bystander{node(ipc::kControlNode)};
  const Socket kept = open_socket(bystander, node(ipc::kPacketNode), SOCK_DGRAM);
  {
    Connection c = connect(client, server, 4806);
    make_streaming(server, c.server);
    ipc::Slot& slot = server.slot(c.server.slot.slot);
    const std::uint32_t incarnation = slot.incarnation.load();
    for (std::uint64_t i = 1; i < 200; ++i) {
      const std::uint64_t wild = i * 0x9e3779b97f4a7c15u;
      for (auto* word :
           {&slot.rx_word, &slot.rx_head, &slot.rx_ring, &slot.rx_bell, &slot.tx_word, &slot.tx_tail,
            &slot.tx_ring, &slot.tx_lock, &slot.tx_urgent, &slot.rx_urgent, &slot.rx_left_out, &ipc::client_word(slot, ipc::kHoldersWord)})
        word->store(wild ^ reinterpret_cast<std::uintptr_t>(word));
      slot.kicks.store(static_cast<std::uint32_t>(wild) & ~ipc::Kick::closed);
      server.end(c.server.fd.get(), c.server.slot.slot).ring();
      ASSERT_EQ(::send(c.server.fd.get(), "data", 4, 0), 4);
      ASSERT_EQ(read_some(client, c.client, 4), "data");
      ASSERT_EQ(write_all(client, c.client, "answer"), 6u);
      ASSERT_EQ(receive(c.server, 6), "answer");
    }
    EXPECT_EQ(slot.incarnation.load(), incarnation);
  }
  // Wild before the switch: that socket ends, and no other.
  for (const bool send : {true, false}) {
    Connection c = connect(client, server, static_cast<std::uint16_t>(send ? 4807 : 4808));
    ipc::Slot& slot = server.slot(c.server.slot.slot);
    (send ? slot.tx_tail : slot.rx_head).store(ipc::PositionWord::make(ipc::kPositionMask / 3, 0).bits);
    EXPECT_EQ(ask(server, c.server, Mode::switching), ECONNRESET);
    EXPECT_TRUE(eventually([&] { return (polled(c.server.fd.get()) & POLLHUP) != 0; }));
  }
  EXPECT_EQ(bystander.ask<MessageId::getsockname>({.slot = kept.slot.slot}), 0);
}

TEST_P(EngineStreamTest, AnEndIsOnlyReplacedWhereTheOldOneCanCarryNothing) {
  Program server{node(ipc::kControlNode)}, client{node(ipc::kControlNode)};
  Connection c = connect(client, server, 4809);
  const auto bring = [&](std::uint64_t nonce) {
    Fd fd = connect_node(node(ipc::kStreamNode), SOCK_STREAM);
    const ipc::Unit hello = ipc::Unit::hello(server.hello.client_id, c.server.slot.slot, nonce, 0);
    EXPECT_EQ(::send(fd.get(), &hello, sizeof hello, MSG_NOSIGNAL), static_cast<ssize_t>(sizeof hello));
    return fd;
  };
  const auto refused = [&](const Fd& fd) {
    return eventually([&] { return (polled(fd.get()) & POLLHUP) != 0; });
  };
  const std::uint64_t nonce = c.server.slot.nonce;
  EXPECT_TRUE(refused(bring(nonce))) << "in ring mode";
  ASSERT_EQ(write_all(client, c.client, "request"), 7u);
  ASSERT_EQ(client.ask<MessageId::shutdown>({.slot = c.client.slot.slot, .how = SHUT_WR, .reserved = 0}), 0);
  ASSERT_TRUE(eventually([&] { return (polled(c.server.fd.get()) & POLLRDHUP) != 0; }));
  ASSERT_TRUE(eventually([&] { return ask(server, c.server, Mode::switching) == 0; }));
  empty_descriptor(server, c.server);
  EXPECT_EQ(ask(server, c.server, Mode::stream), ESHUTDOWN) << "unread data behind the end of the stream";
  EXPECT_TRUE(refused(bring(nonce + 1)));
  const Fd old = std::move(c.server.fd);
  c.server.fd = bring(nonce);
  ASSERT_TRUE(eventually([&] { return ask(server, c.server, Mode::stream) == 0; }));
  EXPECT_TRUE(refused(bring(nonce))) << "once";
  EXPECT_EQ(receive(c.server, 100), "request");
  EXPECT_EQ(::send(c.server.fd.get(), "answer", 6, 0), 6);
  c.server.fd.reset();
  EXPECT_EQ(read_some(client, c.client, 100), "answer");
  char byte;
  EXPECT_EQ(::recv(old.get(), &byte, 1, 0), 0);
}

INSTANTIATE_TEST_SUITE_P(Shards, EngineStreamTest, testing::Values(1u, 2u));

}  // namespace
}  // namespace iopkt::daemon
