// The running engine against clients that speak the protocol, and against those that do not. No device: everything loops.
#include "engine_rig.hpp"
#include "ipc/rights.hpp"

namespace iopkt::daemon {
namespace {

// ---------------------------------------------------------------------------------------------- what must work

TEST_P(EngineTest, NodesAreThereWithTheirModes) {
  for (const std::string_view name : {ipc::kControlNode, ipc::kStreamNode, ipc::kPacketNode}) {
    struct stat what{};
    ASSERT_EQ(::stat(node(name).c_str(), &what), 0) << name;
    EXPECT_TRUE(S_ISSOCK(what.st_mode));
    EXPECT_EQ(what.st_mode & 07777, 0666u) << name;
  }
}

TEST_P(EngineTest, StreamsLoopBetweenTwoProgramsAndNothingIsLeft) {
  {
    Program server{node(ipc::kControlNode)}, client{node(ipc::kControlNode)};
    ASSERT_TRUE(server.greeted && client.greeted);
    EXPECT_NE(server.hello.client_id, client.hello.client_id);
    const Socket listener = open_listener(server, node(ipc::kStreamNode), 4711);
    for (int round = 0; round < 8; ++round) {
      Socket a = connect_to(client, node(ipc::kStreamNode), 4711);
      Socket b = accept_socket(server, listener);
      ASSERT_TRUE(has_status(client, a, Status::connected));
      EXPECT_TRUE(eventually([&] { return (polled(a.fd.get()) & POLLOUT) != 0; }));
      std::string text;
      for (int i = 0; text.size() < 700'000; ++i) text += std::to_string(i * round) + ",";
      std::thread writer{[&] { EXPECT_EQ(write_all(client, a, text), text.size()); }};
      EXPECT_EQ(read_some(server, b, text.size()), text);
      writer.join();
      EXPECT_EQ(write_all(server, b, "answer"), 6u);
      b.fd.reset();  // FIN
      EXPECT_EQ(read_some(client, a, 100), "answer");
      EXPECT_TRUE(eventually([&] { return (polled(a.fd.get()) & POLLRDHUP) != 0; }));
      EXPECT_EQ(polled(a.fd.get()) & (POLLHUP | POLLERR), 0) << "an end of stream is no hang-up";
    }
    EXPECT_GT(sockets_in_use(node(ipc::kControlNode)), 0u);
  }
  EXPECT_TRUE(eventually([&] { return sockets_in_use(node(ipc::kControlNode)) == 0; }));
}

/// What a stream of numbers says at `at`.
char number_at(std::uint64_t at) { return static_cast<char>((at * 0x9e3779b97f4a7c15u) >> 56); }

/// Buffers grow while they are used, under readers and writers; a connection that rests gives the memory back.
TEST_P(EngineTest, RingsGrowAndRest) {
  Program server{node(ipc::kControlNode)}, client{node(ipc::kControlNode)};
  const Socket listener = open_listener(server, node(ipc::kStreamNode), 4712);
  const Socket a = connect_to(client, node(ipc::kStreamNode), 4712);
  const Socket b = accept_socket(server, listener);
  ASSERT_TRUE(has_status(client, a, Status::connected));
  const auto ring = [](const std::atomic<std::uint64_t>& word) { return ipc::RingRef{word.load()}; };
  const std::atomic<std::uint64_t>& send_ring = client.slot(a.slot.slot).tx_ring;
  const std::size_t first_size = ring(send_ring).size();
  std::atomic<bool> stop{false}, wrong{false};
  std::atomic<std::uint64_t> written{0}, read{0};
  std::thread writer{[&] {
    for (std::string text(100'000, 0); !stop; written += write_all(client, a, text))
      for (std::size_t i = 0; i < text.size(); ++i) text[i] = number_at(written + i);
  }};
  std::thread reader{[&] {
    for (std::string text; !(text = read_some(server, b, 1000)).empty(); read += text.size())
      for (std::size_t i = 0; i < text.size(); ++i) wrong = wrong || text[i] != number_at(read + i);
  }};
  EXPECT_TRUE(eventually([&] { return ring(send_ring).size() > first_size; }));
  const std::uint64_t then = read;
  EXPECT_TRUE(eventually([&] { return read > then + 1'000'000; }));
  stop = true;
  writer.join();
  EXPECT_TRUE(eventually([&] { return read == written; }));
  EXPECT_TRUE(eventually([&] { return ring(send_ring).size() == first_size; })) << "at rest";
  EXPECT_EQ(write_all(client, a, std::string(1, number_at(read))), 1u);
  EXPECT_EQ(client.ask<MessageId::shutdown>({.slot = a.slot.slot, .how = SHUT_WR, .reserved = 0}), 0);
  reader.join();
  EXPECT_EQ(read, written + 1);
  EXPECT_FALSE(wrong);
}

TEST_P(EngineTest, DatagramsLoopWhole) {
  Program program{node(ipc::kControlNode)};
  const Socket a = open_socket(program, node(ipc::kPacketNode), SOCK_DGRAM);
  const Socket b = open_socket(program, node(ipc::kPacketNode), SOCK_DGRAM);
  const sockaddr_in to = inet(INADDR_LOOPBACK, 5353);
  ASSERT_EQ(program.ask<MessageId::bind>({.slot = b.slot.slot, .flags = 0, .reserved = 0}, bytes_of(to)), 0);
  ASSERT_EQ(program.ask<MessageId::connect>({.slot = a.slot.slot, .flags = 0, .reserved = 0}, bytes_of(to)), 0);
  ipc::ProgramEnd out = program.end(a.fd.get(), a.slot.slot), in = program.end(b.fd.get(), b.slot.slot);
  ipc::DatagramWriter writer{program.slot(a.slot.slot), program.base(a.slot.slot), program.size(a.slot.slot), out};
  ipc::DatagramReader reader{program.slot(b.slot.slot), program.base(b.slot.slot), program.size(b.slot.slot), in};
  for (const std::size_t length : {std::size_t{0}, std::size_t{1}, std::size_t{1472}, std::size_t{9000}, std::size_t{65507}}) {
    std::string text(length, 'x');
    const iovec piece{text.data(), length};
    ASSERT_EQ(writer.write({}, {&piece, 1}).kind, ipc::WriteOutcome::Kind::data);
    std::vector<char> room(65536);
    const iovec to_room{room.data(), room.size()};
    ipc::RecordHeader header;
    ASSERT_TRUE(eventually([&] { return reader.read({&to_room, 1}, header).kind == ipc::ReadOutcome::Kind::data; })) << length;
    EXPECT_EQ(header.payload_len, length);
    EXPECT_EQ(std::memcmp(room.data(), text.data(), length), 0);
  }
}

/// A program that does not read loses datagrams, and only its own; each is counted.
TEST_P(EngineTest, WhatAFullReceiveRingDoesNotTakeIsCounted) {
  const struct {
    const char* drop;
    std::uint16_t type;
    std::uint32_t protocol;
  } kinds[] = {{"udp_buffer_full", SOCK_DGRAM, 0}, {"raw_buffer_full", SOCK_RAW, 253}};
  {
    Program program{node(ipc::kControlNode)};
    for (const auto& kind : kinds) {
      SCOPED_TRACE(kind.drop);
      const Socket from = open_socket(program, node(ipc::kPacketNode), kind.type, kind.protocol);
      const Socket to = open_socket(program, node(ipc::kPacketNode), kind.type, kind.protocol);
      const sockaddr_in at = inet(INADDR_LOOPBACK, 5354);
      ASSERT_EQ(program.ask<MessageId::bind>({.slot = to.slot.slot, .flags = 0, .reserved = 0}, bytes_of(at)), 0);
      ASSERT_EQ(program.ask<MessageId::connect>({.slot = from.slot.slot, .flags = 0, .reserved = 0}, bytes_of(at)), 0);
      ipc::ProgramEnd out = program.end(from.fd.get(), from.slot.slot), in = program.end(to.fd.get(), to.slot.slot);
      ipc::DatagramWriter writer{program.slot(from.slot.slot), program.base(from.slot.slot), program.size(from.slot.slot), out};
      std::uint32_t sent = 0;
      std::vector<std::uint32_t> payload(2000);
      EXPECT_TRUE(eventually([&] {
        payload[0] = sent;
        const iovec piece{payload.data(), payload.size() * sizeof payload[0]};
        sent += writer.write({}, {&piece, 1}).kind == ipc::WriteOutcome::Kind::data;
        return sent % 16 == 0 && drops_counted(node(ipc::kControlNode), kind.drop) != 0;
      }));
      // What it did take is whole, and in order from the first on.
      ipc::DatagramReader reader{program.slot(to.slot.slot), program.base(to.slot.slot), program.size(to.slot.slot), in};
      for (std::uint32_t i = 0; i < 20; ++i) {
        std::vector<std::byte> room(65536);
        const iovec piece{room.data(), room.size()};
        ipc::RecordHeader header;
        ASSERT_TRUE(eventually([&] { return reader.read({&piece, 1}, header).kind == ipc::ReadOutcome::Kind::data; }));
        const std::size_t at_payload = kind.type == SOCK_RAW ? 20 : 0;  // a raw socket gets the IP header, too
        std::uint32_t number = 0;
        std::memcpy(&number, room.data() + at_payload, sizeof number);
        EXPECT_EQ(number, i);
      }
    }
  }
  EXPECT_TRUE(eventually([&] { return sockets_in_use(node(ipc::kControlNode)) == 0; }));
}

/// IP_RECVERR: errors wait to be taken, oldest first; what a program does not take is bounded, and counted.
TEST_P(EngineTest, AnErrorQueueHasABound) {
  {
    Program program{node(ipc::kControlNode)};
    const Socket from = open_socket(program, node(ipc::kPacketNode), SOCK_DGRAM);
    const std::int32_t on = 1;
    ASSERT_EQ(program.ask<MessageId::setsockopt>({.slot = from.slot.slot, .level = IPPROTO_IP, .name = IP_RECVERR, .capacity = 4, .reserved = 0},
                                                 as_bytes(&on, sizeof on)), 0);
    const sockaddr_in nobody = inet(INADDR_LOOPBACK, 5399);
    ASSERT_EQ(program.ask<MessageId::connect>({.slot = from.slot.slot, .flags = 0, .reserved = 0}, bytes_of(nobody)), 0);
    ipc::ProgramEnd out = program.end(from.fd.get(), from.slot.slot);
    ipc::Slot& slot = program.slot(from.slot.slot);
    EXPECT_EQ(program.ask<MessageId::take_error>({.slot = from.slot.slot}), EAGAIN);
    ipc::DatagramWriter writer{slot, program.base(from.slot.slot), program.size(from.slot.slot), out};
    std::vector<std::byte> payload(500, std::byte{'e'});
    std::uint32_t sent = 0;
    EXPECT_TRUE(eventually([&] {
      const iovec piece{payload.data(), payload.size()};
      sent += writer.write({}, {&piece, 1}).kind == ipc::WriteOutcome::Kind::data;
      return sent % 16 == 0 && drops_counted(node(ipc::kControlNode), "error_queue_full") != 0;
    }));
    const std::uint32_t queued = slot.errors.load();
    EXPECT_GT(queued, 10u);
    EXPECT_EQ(slot.error.load(), static_cast<std::uint32_t>(ECONNREFUSED));
    for (std::uint32_t i = 0; i < queued; ++i) {
      ipc::ErrorAnswer error{};
      std::vector<std::byte> room(ipc::kErrorPayloadMax);
      std::size_t length = 0;
      ASSERT_EQ(program.ask<MessageId::take_error>({.slot = from.slot.slot}, {}, &error, room, &length), 0);
      EXPECT_EQ(error.error, static_cast<std::uint32_t>(ECONNREFUSED));
      EXPECT_EQ(error.to.port, 5399);
      EXPECT_EQ(length, payload.size());
    }
  }
  EXPECT_TRUE(eventually([&] { return sockets_in_use(node(ipc::kControlNode)) == 0; }));
}

/// More than one turn takes, and nobody has rung the bell yet when the socket is closed.
TEST_P(EngineTest, DatagramsWrittenBeforeACloseGoOut) {
  Program program{node(ipc::kControlNode)};
  const Socket to = open_socket(program, node(ipc::kPacketNode), SOCK_DGRAM);
  const sockaddr_in at = inet(INADDR_LOOPBACK, 4720);
  EXPECT_EQ(program.ask<MessageId::bind>({.slot = to.slot.slot, .flags = 0, .reserved = 0}, bytes_of(at)), 0);
  for (const bool by_request : {true, false}) {
    Socket from = open_socket(program, node(ipc::kPacketNode), SOCK_DGRAM);
    EXPECT_EQ(program.ask<MessageId::connect>({.slot = from.slot.slot, .flags = 0, .reserved = 0}, bytes_of(at)), 0);
    // The bell of another slot: the stack is awake, but looks there.
    ipc::ProgramEnd end = program.end(from.fd.get(), to.slot.slot);
    ipc::DatagramWriter writer{program.slot(from.slot.slot), program.base(from.slot.slot), program.size(from.slot.slot), end};
    constexpr std::uint32_t kMany = 700;
    for (std::uint32_t i = 0; i < kMany; ++i) {
      const iovec piece{&i, sizeof i};
      ASSERT_EQ(writer.write({}, {&piece, 1}).kind, ipc::WriteOutcome::Kind::data);
    }
    if (by_request) {
      EXPECT_EQ(program.ask<MessageId::close>(
                    {.slot = from.slot.slot, .incarnation = from.slot.incarnation, .reserved = 0}),
                0);
    }
    from.fd.reset();
    ipc::ProgramEnd own = program.end(to.fd.get(), to.slot.slot);
    ipc::DatagramReader reader{program.slot(to.slot.slot), program.base(to.slot.slot), program.size(to.slot.slot), own};
    std::uint32_t came = 0;
    EXPECT_TRUE(eventually([&] {
      std::uint32_t number = ~0u;
      const iovec piece{&number, sizeof number};
      ipc::RecordHeader header;
      if (reader.read({&piece, 1}, header).kind == ipc::ReadOutcome::Kind::data) came += number == came;
      return came == kMany;
    })) << came;
  }
}

/// What a turn sends for sockets that end together is bounded, and what does not go is counted.
TEST_P(EngineTest, AProgramThatDiesWithManyFullRingsHoldsUpNobody) {
  constexpr std::uint64_t kSockets = 240, kOneTurn = 16384, kLeast = 16;  // datagrams of one shard, and of one socket
  std::uint64_t written = 0;
  {
    Program program{node(ipc::kControlNode)};
    const Socket other = open_socket(program, "", SOCK_DGRAM);
    const sockaddr_in at = inet(INADDR_LOOPBACK, 4721);
    for (std::uint64_t n = 0; n < kSockets; ++n) {
      // Not attached: all of them end with the client, in one go.
      const Socket from = open_socket(program, "", SOCK_DGRAM);
      EXPECT_EQ(program.ask<MessageId::connect>({.slot = from.slot.slot, .flags = 0, .reserved = 0}, bytes_of(at)), 0);
      ipc::ProgramEnd end = program.end(-1, other.slot.slot);
      ipc::DatagramWriter writer{program.slot(from.slot.slot), program.base(from.slot.slot), program.size(from.slot.slot), end};
      const iovec piece{&n, sizeof n};
      while (writer.write({}, {&piece, 1}).kind == ipc::WriteOutcome::Kind::data) ++written;
    }
  }
  EXPECT_GT(written, kSockets * 256) << "of a ring, the first 256 datagrams go at most";
  EXPECT_TRUE(eventually([&] { return drops_counted(node(ipc::kControlNode), "socket_unsent") == kSockets; }));
  const std::uint64_t whole = GetParam() * (kOneTurn / 256);
  const std::uint64_t sent = whole * 256 + (kSockets - whole) * kLeast;
  // Nobody listens: each datagram is answered with an ICMP error that nobody awaits, or is over the rate of those; or it found no room
  // between two shards, or its answer did not.
  const auto ended = [&] {
    std::uint64_t sum = 0;
    for (const std::string_view name : {"icmp_no_flow", "icmp_rate_limited", "shard_queue_full"}) sum += drops_counted(node(ipc::kControlNode), name);
    return sum;
  };
  EXPECT_TRUE(eventually([&] { return ended() == sent; })) << sent;
}

TEST_P(EngineTest, RefusedConnectionShowsItsErrnoAndAReset) {
  Program program{node(ipc::kControlNode)};
  Socket a = open_socket(program, node(ipc::kStreamNode), SOCK_STREAM);
  const sockaddr_in to = inet(INADDR_LOOPBACK, 9);
  EXPECT_EQ(program.ask<MessageId::connect>({.slot = a.slot.slot, .flags = 0, .reserved = 0}, bytes_of(to)), EINPROGRESS);
  ipc::Slot& slot = program.slot(a.slot.slot);
  ASSERT_TRUE(eventually([&] { return (slot.status.load() & Status::reset) != 0; }));
  EXPECT_EQ(ipc::take_error(slot), ECONNREFUSED);
  EXPECT_TRUE(eventually([&] { return (polled(a.fd.get()) & (POLLERR | POLLHUP)) == (POLLERR | POLLHUP); }));
  // No end is left: only the client's word frees the slot.
  EXPECT_EQ(sockets_in_use(node(ipc::kControlNode)), 1u);
  EXPECT_EQ(program.ask<MessageId::close>({.slot = a.slot.slot, .incarnation = a.slot.incarnation, .reserved = 0}), 0);
  EXPECT_TRUE(eventually([&] { return sockets_in_use(node(ipc::kControlNode)) == 0; }));
}

TEST_P(EngineTest, ASocketThatWasResetEndsWithItsLastDescriptor) {
  Program program{node(ipc::kControlNode)};
  const sockaddr_in to = inet(INADDR_LOOPBACK, 9);
  const auto refused = [&] {
    Socket a = open_socket(program, node(ipc::kStreamNode), SOCK_STREAM);
    ipc::client_word(program.slot(a.slot.slot), ipc::kSharedWord) = 1;  // as after fork()
    EXPECT_EQ(program.ask<MessageId::connect>({.slot = a.slot.slot, .flags = 0, .reserved = 0}, bytes_of(to)), EINPROGRESS);
    EXPECT_TRUE(eventually([&] { return (polled(a.fd.get()) & (POLLERR | POLLHUP)) == (POLLERR | POLLHUP); }));
    return a;
  };
  Socket a = refused();
  Fd copy{::dup(a.fd.get())};
  read_some(program, a, 1);
  a.fd.reset();  // without a word, as a killed process
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(copy.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  EXPECT_EQ(error, ECONNRESET);
  EXPECT_EQ(polled(copy.get()) & POLLERR, 0);
  EXPECT_EQ(sockets_in_use(node(ipc::kControlNode)), 1u) << "another process has it";
  copy.reset();
  EXPECT_TRUE(eventually([&] { return sockets_in_use(node(ipc::kControlNode)) == 0; }));
  // One whose reader took more than tokens: the witness may be among it.
  Socket b = refused();
  ipc::client_word(program.slot(b.slot.slot), ipc::kWitnessWord) = 1;
  char bytes[16];
  while (::recv(b.fd.get(), bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
  }
  Socket c = refused();
  c.fd.reset();
  EXPECT_TRUE(eventually([&] { return sockets_in_use(node(ipc::kControlNode)) == 1; }));
  EXPECT_EQ(program.ask<MessageId::close>({.slot = b.slot.slot, .incarnation = b.slot.incarnation, .reserved = 0}), 0);
  EXPECT_TRUE(eventually([&] { return sockets_in_use(node(ipc::kControlNode)) == 0; }));
}

TEST_P(EngineTest, AResetBehindAFinEndsWithTheLastDescriptorOfAChildToo) {
  Program server{node(ipc::kControlNode)}, client{node(ipc::kControlNode)};
  const Socket listener = open_listener(server, node(ipc::kStreamNode), 4718);
  for (const bool reset : {true, false}) {
    Socket a = connect_to(client, node(ipc::kStreamNode), 4718);
    Socket b = accept_socket(server, listener);
    ipc::client_word(server.slot(b.slot.slot), ipc::kSharedWord) = 1;  // as after fork()
    a.fd.reset();
    ASSERT_TRUE(eventually([&] { return (polled(b.fd.get()) & POLLRDHUP) != 0; }));
    if (reset) {
      EXPECT_EQ(write_all(server, b, "too late"), 8u);
      EXPECT_TRUE(eventually([&] { return (polled(b.fd.get()) & (POLLHUP | POLLERR)) == (POLLHUP | POLLERR); }));
    }
    Fd copy{::dup(b.fd.get())};
    b.fd.reset();
    ::shutdown(copy.get(), SHUT_RDWR);
    EXPECT_TRUE(eventually([&] { return sockets_in_use(node(ipc::kControlNode)) == 2; }));
    EXPECT_EQ(server.slot(b.slot.slot).status.load() & Status::closed, 0u) << "another process has it";
    copy.reset();  // without a word, as one that SIGPIPE has ended
    EXPECT_TRUE(eventually([&] { return sockets_in_use(node(ipc::kControlNode)) == 1; })) << reset;
  }
}

TEST_P(EngineTest, ForkedChildSharesTheClientAndTheLastOneEndsIt) {
  Program parent{node(ipc::kControlNode)};
  Program child{node(ipc::kControlNode), parent.hello.client_id, parent.hello.secret};
  ASSERT_TRUE(child.greeted);
  EXPECT_EQ(child.hello.client_id, parent.hello.client_id);
  open_socket(parent, "", SOCK_STREAM);
  parent.drop_connection();
  EXPECT_EQ(sockets_in_use(node(ipc::kControlNode)), 1u) << "the child holds the client";
  child.drop_connection();
  EXPECT_TRUE(eventually([&] { return sockets_in_use(node(ipc::kControlNode)) == 0; }));
  Program stranger{node(ipc::kControlNode), parent.hello.client_id, parent.hello.secret + 1};
  EXPECT_FALSE(stranger.greeted);
  EXPECT_EQ(stranger.error, EACCES);
}

TEST_P(EngineTest, PortOfADeadListenerIsFreeAgain) {
  Program program{node(ipc::kControlNode)};
  {
    Socket dead = open_listener(program, node(ipc::kStreamNode), 4712);
    dead.fd.reset();  // without a word, as a killed process
  }
  const Socket again = open_listener(program, node(ipc::kStreamNode), 4712);
  EXPECT_NE(program.slot(again.slot.slot).status.load() & Status::listening, 0u);
}

TEST_P(EngineTest, PortOfADeadDatagramSocketIsFreeAgain) {
  Program program{node(ipc::kControlNode)};
  const sockaddr_in at = inet(INADDR_LOOPBACK, 4716);
  for (int round = 0; round < 50; ++round) {
    const Socket socket = open_socket(program, node(ipc::kPacketNode), SOCK_DGRAM);
    ASSERT_EQ(
        program.ask<MessageId::bind>({.slot = socket.slot.slot, .flags = 0, .reserved = 0}, bytes_of(at)), 0)
        << round;
  }  // closed without a word
  const Socket holder = open_socket(program, node(ipc::kPacketNode), SOCK_DGRAM);
  EXPECT_EQ(program.ask<MessageId::bind>({.slot = holder.slot.slot, .flags = 0, .reserved = 0}, bytes_of(at)),
            0);
  const Socket other = open_socket(program, node(ipc::kPacketNode), SOCK_DGRAM);
  EXPECT_EQ(program.ask<MessageId::bind>({.slot = other.slot.slot, .flags = 0, .reserved = 0}, bytes_of(at)),
            EADDRINUSE);
}

TEST_P(EngineTest, AListenerLivesAsLongAsSomebodyHoldsIt) {
  Program program{node(ipc::kControlNode)}, client{node(ipc::kControlNode)};
  Socket listener = open_listener(program, node(ipc::kStreamNode), 4713);
  Fd copy{::dup(listener.fd.get())};
  listener.fd.reset();
  // One holder of two says that it has closed: wrong, or early.
  EXPECT_EQ(program.ask<MessageId::close>(
                {.slot = listener.slot.slot, .incarnation = listener.slot.incarnation, .reserved = 0}),
            0);
  EXPECT_NE(program.slot(listener.slot.slot).status.load() & Status::listening, 0u);
  const Socket served = connect_to(client, node(ipc::kStreamNode), 4713);
  EXPECT_TRUE(has_status(client, served, Status::connected));
  const Socket waiting = connect_to(client, node(ipc::kStreamNode), 4713);
  EXPECT_TRUE(has_status(client, waiting, Status::connected));
  Socket holder;
  holder.fd = std::move(copy);
  Socket accepted = accept_socket(program, holder);
  // Nobody says a word, as if the last holder were killed.
  holder.fd.reset();
  EXPECT_TRUE(has_status(client, waiting, Status::reset)) << "nobody took it";
  EXPECT_TRUE(has_status(program, listener, Status::closed));
  const Socket late = connect_to(client, node(ipc::kStreamNode), 4713);
  EXPECT_TRUE(has_status(client, late, Status::reset));
  EXPECT_EQ(ipc::take_error(client.slot(late.slot.slot)), ECONNREFUSED);
  EXPECT_EQ(write_all(program, accepted, "still there"), 11u);
  EXPECT_EQ(read_some(client, served, 11), "still there");
}

/// Shut, and its holder ends without a word: the stack may see both at once. Somebody else of the client lives on.
TEST_P(EngineTest, AShutListenerEndsWithItsLastDescriptor) {
  Program program{node(ipc::kControlNode)};
  for (int round = 0; round < 60; ++round) {
    Socket listener = open_listener(program, node(ipc::kStreamNode), 4718);
    const auto how = static_cast<std::uint32_t>(round % 2 == 0 ? SHUT_RDWR : SHUT_RD);
    EXPECT_EQ(program.ask<MessageId::shutdown>({.slot = listener.slot.slot, .how = how, .reserved = 0}), 0);
    ::shutdown(listener.fd.get(), static_cast<int>(how));
    const bool waits = round % 3 == 0;
    if (waits) {
      EXPECT_EQ(program.ask<MessageId::close>(
                    {.slot = listener.slot.slot, .incarnation = listener.slot.incarnation, .reserved = 0}),
                0);
      EXPECT_EQ(program.slot(listener.slot.slot).status.load() & Status::closed, 0u) << "a word that is wrong, or early";
    }
    const bool taken = round % 5 == 0;
    if (char byte; taken) {
      EXPECT_EQ(::recv(listener.fd.get(), &byte, 1, MSG_DONTWAIT), 1) << "as an accept() that slept takes it";
    }
    listener.fd.reset();
    if (taken) {  // the two hang-ups may have been one: close() says it, too
      EXPECT_THAT(program.ask<MessageId::close>(
                      {.slot = listener.slot.slot, .incarnation = listener.slot.incarnation, .reserved = 0}),
                  testing::AnyOf(0, EBADF));
    }
    EXPECT_TRUE(eventually([&] { return sockets_in_use(node(ipc::kControlNode)) == 0; })) << round;
  }
}

/// With both directions shut the end hangs up whether or not the program still has it.
TEST_P(EngineTest, ShutBothWaysAConnectionLivesAsLongAsSomebodyHoldsIt) {
  Program server{node(ipc::kControlNode)}, client{node(ipc::kControlNode)};
  const Socket listener = open_listener(server, node(ipc::kStreamNode), 4717);
  const auto shut = [&](const Socket& socket, std::uint32_t how) {
    const int error = server.ask<MessageId::shutdown>({.slot = socket.slot.slot, .how = how, .reserved = 0});
    ::shutdown(socket.fd.get(), static_cast<int>(how));
    return error;
  };
  for (int round = 0; round < 60; ++round) {
    Socket a = connect_to(client, node(ipc::kStreamNode), 4717);
    Socket b = accept_socket(server, listener);
    ASSERT_TRUE(has_status(client, a, Status::connected));
    EXPECT_EQ(write_all(client, a, "last words"), 10u);
    const bool by_peer = round % 2 == 0;
    if (by_peer) {
      a.fd.reset();  // FIN
      ASSERT_TRUE(eventually([&] { return (polled(b.fd.get()) & POLLRDHUP) != 0; }));
      EXPECT_EQ(shut(b, SHUT_WR), 0);
    } else {
      EXPECT_EQ(read_some(server, b, 10), "last words");
      EXPECT_EQ(shut(b, SHUT_RDWR), 0);
    }
    if (round % 3 == 0) {
      ASSERT_TRUE(eventually([&] { return (polled(b.fd.get()) & POLLHUP) != 0; }));
      EXPECT_EQ(server.ask<MessageId::close>({.slot = b.slot.slot, .incarnation = b.slot.incarnation, .reserved = 0}), 0);
      EXPECT_EQ(server.slot(b.slot.slot).status.load() & Status::closed, 0u) << "a word that is wrong, or early";
      EXPECT_EQ(by_peer ? read_some(server, b, 10) : "last words", "last words");
    }
    b.fd.reset();  // without a word, as a process that ends; the stack may see both at once
    a.fd.reset();
    EXPECT_TRUE(eventually([&] { return sockets_in_use(node(ipc::kControlNode)) == 1; })) << round;
  }
}

TEST_P(EngineTest, ASlotIsNotGivenAwayUnderAWriter) {
  Program program{node(ipc::kControlNode)};
  Socket a = open_socket(program, "", SOCK_STREAM);
  ipc::Slot& slot = program.slot(a.slot.slot);
  slot.tx_lock = std::uint64_t{7} << ipc::kLockGenerationBits;  // a thread that was inside when another closed
  EXPECT_EQ(program.ask<MessageId::close>({.slot = a.slot.slot, .incarnation = a.slot.incarnation, .reserved = 0}), 0);
  for (int i = 0; i < 50; ++i) EXPECT_NE(open_socket(program, "", SOCK_STREAM).slot.slot, a.slot.slot);
  EXPECT_EQ(sockets_in_use(node(ipc::kControlNode)), 51u);
  slot.tx_lock = 0;
  EXPECT_TRUE(eventually([&] { return sockets_in_use(node(ipc::kControlNode)) == 50; }));
  slot.tx_lock = std::uint64_t{7} << ipc::kLockGenerationBits;
  program.drop_connection();  // nobody is left to write
  EXPECT_TRUE(eventually([&] { return sockets_in_use(node(ipc::kControlNode)) == 0; }));
}

TEST_P(EngineTest, WhatADyingProcessTookIsOfferedAgain) {
  Program program{node(ipc::kControlNode)}, client{node(ipc::kControlNode)};
  const Socket listener = open_listener(program, node(ipc::kStreamNode), 4714);
  const Socket a = connect_to(client, node(ipc::kStreamNode), 4714);
  ASSERT_TRUE(has_status(client, a, Status::connected));
  EXPECT_EQ(write_all(client, a, "early"), 5u);
  std::uint64_t slot = 0;
  for (int round = 0; round < 3; ++round) {
    const Socket taken = take_offer(listener);  // and closed without HELLO
    EXPECT_TRUE(round == 0 || taken.slot.slot == slot);
    slot = taken.slot.slot;
    ASSERT_TRUE(eventually([&] { return (polled(taken.fd.get()) & POLLIN) != 0; }))
        << "data shows on each end anew";
  }
  Socket b = accept_socket(program, listener);
  EXPECT_EQ(b.slot.slot, slot);
  EXPECT_TRUE(eventually([&] { return (polled(b.fd.get()) & POLLIN) != 0; }));
  EXPECT_EQ(read_some(program, b, 5), "early");
  EXPECT_TRUE(eventually([&] { return (polled(b.fd.get()) & POLLIN) == 0; }))
      << "one token, and that is taken";
  b.fd.reset();
  EXPECT_EQ(read_some(client, a, 1), "");
}

TEST_P(EngineTest, MoreConnectionsThanTheDescriptorTakesWait) {
  constexpr std::size_t kMany = 200;  // the descriptor takes some 60
  {
    Program program{node(ipc::kControlNode)}, client{node(ipc::kControlNode)};
    Socket listener = open_listener(program, node(ipc::kStreamNode), 4715, kMany * 2);
    std::vector<Socket> calls, answers;
    for (std::size_t i = 0; i < kMany; ++i) calls.push_back(connect_to(client, node(ipc::kStreamNode), 4715));
    for (const Socket& call : calls) ASSERT_TRUE(has_status(client, call, Status::connected));
    for (std::size_t i = 0; i < kMany; ++i) answers.push_back(accept_socket(program, listener));
    EXPECT_EQ(polled(listener.fd.get()), 0);
    for (std::size_t i = 0; i < kMany; ++i) calls.push_back(connect_to(client, node(ipc::kStreamNode), 4715));
    for (const Socket& call : calls) ASSERT_TRUE(has_status(client, call, Status::connected));
    listener.fd.reset();
    for (std::size_t i = kMany; i < calls.size(); ++i)
      EXPECT_TRUE(has_status(client, calls[i], Status::reset)) << i;
    EXPECT_EQ(client.slot(calls[0].slot.slot).status.load() & Status::reset, 0u);
    for (std::size_t i = kMany; i < calls.size(); ++i)
      client.ask<MessageId::close>(
          {.slot = calls[i].slot.slot, .incarnation = calls[i].slot.incarnation, .reserved = 0});
  }
  EXPECT_TRUE(eventually([&] { return sockets_in_use(node(ipc::kControlNode)) == 0; }));
}

TEST_P(EngineTest, LongRequestsAreSplitNotRefused) {
  Program utility{node(ipc::kControlNode), 0, 0, true};
  ASSERT_TRUE(utility.greeted);
  EXPECT_EQ(utility.hello.message_max, 4096u);
  std::vector<std::byte> blob;
  ipc::RecordWriter writer{blob};
  writer.text("verb", "interface.list").text("name", std::string(20000, 'x'));
  EXPECT_EQ(utility.ask<MessageId::manage>({}, blob), ENXIO);
}

// ---------------------------------------------------------------------------------------------- what must do no harm

TEST_P(EngineTest, GarbageOnEveryNodeHurtsNobodyElse) {
  Program bystander{node(ipc::kControlNode)};
  const Socket kept = open_socket(bystander, node(ipc::kPacketNode), SOCK_DGRAM);
  std::vector<std::string> messages{"x", std::string(31, '\0'), std::string(32, '\xff'), std::string(4096, 'A')};
  // A right header with lengths, flags and rows that are not.
  const auto with = [&](ipc::FrameHeader header, std::size_t rest = 0) {
    std::string out(sizeof header + rest, '\0');
    std::memcpy(out.data(), &header, sizeof header);
    messages.push_back(out);
  };
  with({.id = 0});
  with({.id = 999});
  with({.id = 2, .fixed_len = 16}, 16);  // before hello
  with({.id = 1, .flags = ipc::kAnswer});
  with({.id = 1, .flags = ipc::kContinuation});
  with({.id = 1, .fixed_len = 0xffffffff});
  with({.id = 22, .flags = ipc::kMore, .blob_len = 8}, 8);
  with({.id = 1, .fixed_len = sizeof(ipc::HelloRequest), .reserved = 7}, sizeof(ipc::HelloRequest));
  const struct {
    std::string_view name;
    int type;
  } nodes[] = {{ipc::kControlNode, SOCK_SEQPACKET}, {ipc::kStreamNode, SOCK_STREAM}, {ipc::kPacketNode, SOCK_SEQPACKET}};
  for (const auto& [name, type] : nodes) {
    for (const std::string& message : messages) {
      const Fd fd = connect_node(node(name), type);
      ASSERT_TRUE(fd);
      EXPECT_EQ(::send(fd.get(), message.data(), message.size(), MSG_NOSIGNAL), static_cast<ssize_t>(message.size()));
      ::shutdown(fd.get(), SHUT_WR);
      // Closed, or (an error that the protocol has words for) answered and then closed.
      char buffer[4096];
      while (::recv(fd.get(), buffer, sizeof buffer, 0) > 0) {
      }
    }
  }
  EXPECT_EQ(bystander.ask<MessageId::getsockname>({.slot = kept.slot.slot}), 0);
}

TEST_P(EngineTest, NobodyAttachesToASlotThatIsNotTheirs) {
  Program owner{node(ipc::kControlNode)}, other{node(ipc::kControlNode)};
  Socket mine = open_socket(owner, "", SOCK_STREAM);
  const ipc::Unit units[] = {
      ipc::Unit::hello(owner.hello.client_id, mine.slot.slot, mine.slot.nonce + 1, 0),
      ipc::Unit::hello(other.hello.client_id, mine.slot.slot, mine.slot.nonce, 0),
      ipc::Unit::hello(owner.hello.client_id, mine.slot.slot + 1, mine.slot.nonce, 0),
      ipc::Unit::hello(owner.hello.client_id, ~std::uint64_t{0}, mine.slot.nonce, 0),
      ipc::Unit::hello(0, mine.slot.slot, mine.slot.nonce, 0),
      ipc::Unit::stall(),
      ipc::Unit::attach(mine.slot.nonce),
  };
  for (const ipc::Unit& unit : units) {
    const Fd fd = connect_node(node(ipc::kStreamNode), SOCK_STREAM);
    ASSERT_EQ(::send(fd.get(), &unit, sizeof unit, MSG_NOSIGNAL), static_cast<ssize_t>(sizeof unit));
    EXPECT_TRUE(eventually([&] { return (polled(fd.get()) & POLLHUP) != 0; }));
  }
  // A stream's slot takes no packet socket.
  const Fd wrong = connect_node(node(ipc::kPacketNode), SOCK_SEQPACKET);
  const ipc::Unit right = ipc::Unit::hello(owner.hello.client_id, mine.slot.slot, mine.slot.nonce, 0);
  ASSERT_EQ(::send(wrong.get(), &right, sizeof right, MSG_NOSIGNAL), static_cast<ssize_t>(sizeof right));
  EXPECT_TRUE(eventually([&] { return (polled(wrong.get()) & POLLHUP) != 0; }));
  EXPECT_EQ(owner.slot(mine.slot.slot).status.load() & Status::attached, 0u);
  EXPECT_EQ(other.ask<MessageId::getsockname>({.slot = mine.slot.slot}), EBADF) << "another client's slot";
  EXPECT_EQ(owner.ask<MessageId::getsockname>({.slot = mine.slot.slot}), 0);
}

TEST_P(EngineTest, BrokenRingsCostTheirSocketAndNoOther) {
  Program program{node(ipc::kControlNode)};
  const Socket kept = open_socket(program, node(ipc::kPacketNode), SOCK_DGRAM);
  const std::function<void(ipc::Slot&)> faults[] = {
      [](ipc::Slot& s) { s.tx_tail.store(~std::uint64_t{0}); },
      [](ipc::Slot& s) { s.tx_tail.store(ipc::PositionWord::make(64, 0).bits); },  // a record of zeroes
      [](ipc::Slot& s) { s.tx_tail.store(ipc::PositionWord::make(ipc::kPositionMask, 0).bits); },
  };
  for (const auto& fault : faults) {
    const Socket victim = open_socket(program, node(ipc::kPacketNode), SOCK_DGRAM);
    fault(program.slot(victim.slot.slot));
    program.end(victim.fd.get(), victim.slot.slot).ring();
    EXPECT_TRUE(eventually([&] { return (polled(victim.fd.get()) & POLLHUP) != 0; }));
  }
  EXPECT_TRUE(eventually([&] { return sockets_in_use(node(ipc::kControlNode)) == 1; }));
  EXPECT_EQ(program.ask<MessageId::getsockname>({.slot = kept.slot.slot}), 0);
}

TEST_P(EngineTest, TooManyAndTooShortUnitsEndTheirSocket) {
  Program program{node(ipc::kControlNode)};
  const Socket flood = open_socket(program, node(ipc::kPacketNode), SOCK_DGRAM);
  const int large = 1 << 20;
  ::setsockopt(flood.fd.get(), SOL_SOCKET, SO_SNDBUF, &large, sizeof large);
  const ipc::Unit stall = ipc::Unit::stall();
  for (int i = 0; i < 1000; ++i)
    if (::send(flood.fd.get(), &stall, sizeof stall, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN) break;
  EXPECT_TRUE(eventually([&] {
    ::send(flood.fd.get(), &stall, sizeof stall, MSG_NOSIGNAL | MSG_DONTWAIT);
    return (polled(flood.fd.get()) & POLLHUP) != 0;
  }));
  const Socket cut = open_socket(program, node(ipc::kPacketNode), SOCK_DGRAM);
  ASSERT_EQ(::send(cut.fd.get(), "x", 1, MSG_NOSIGNAL), 1);
  EXPECT_TRUE(eventually([&] { return (polled(cut.fd.get()) & POLLHUP) != 0; }));
  EXPECT_TRUE(eventually([&] { return sockets_in_use(node(ipc::kControlNode)) == 0; }));
}

/// A program's own end in the stack's queue would keep it open whoever closes it.
TEST_P(EngineTest, AUnitThatBringsADescriptorEndsItsSocket) {
  const auto send_with_itself = [](int fd, const ipc::Unit& unit) {
    iovec piece{const_cast<ipc::Unit*>(&unit), sizeof unit};
    ipc::RightsBuffer rights;
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    ipc::carry(message, rights, fd);
    return ::sendmsg(fd, &message, MSG_NOSIGNAL);
  };
  Program program{node(ipc::kControlNode)};
  {
    const Socket first = open_socket(program, "", SOCK_STREAM), later = open_socket(program, node(ipc::kStreamNode), SOCK_STREAM);
    const Fd end = connect_node(node(ipc::kStreamNode), SOCK_STREAM);
    EXPECT_GT(send_with_itself(end.get(), ipc::Unit::hello(program.hello.client_id, first.slot.slot, first.slot.nonce, 0)), 0);
    EXPECT_GT(send_with_itself(later.fd.get(), ipc::Unit::stall()), 0);
  }
  program.drop_connection();
  EXPECT_TRUE(eventually([&] { return sockets_in_use(node(ipc::kControlNode)) == 0; }));
}

TEST_P(EngineTest, BellsOfSlotsThatDoNotExistAreHarmless) {
  Program program{node(ipc::kControlNode)};
  const Socket kept = open_socket(program, node(ipc::kPacketNode), SOCK_DGRAM);
  ipc::Slot& slot = program.slot(kept.slot.slot);
  const std::uint32_t shard = slot.shard.load();
  for (std::uint32_t other = 0; other < 4; ++other) {
    slot.shard.store(other);  // the client's own lie: the wrong shard is rung
    program.end(kept.fd.get(), kept.slot.slot).ring();
  }
  slot.shard.store(shard);
  EXPECT_EQ(program.ask<MessageId::getsockname>({.slot = kept.slot.slot}), 0);
}

// ---------------------------------------------------------------------------------------------- no descriptor left

class FewDescriptorsTest : public EngineTest {
 protected:
  void SetUp() override {
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before_), 0);
    const rlimit few{.rlim_cur = 400, .rlim_max = before_.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
    EngineTest::SetUp();
  }
  void TearDown() override {
    EngineTest::TearDown();
    ::setrlimit(RLIMIT_NOFILE, &before_);
  }
  rlimit before_{};
};

TEST_P(FewDescriptorsTest, SocketsAreRefusedWithEnfileAndOthersStayServed) {
  Program greedy{node(ipc::kControlNode)}, bystander{node(ipc::kControlNode)};
  const Socket kept = open_socket(bystander, node(ipc::kPacketNode), SOCK_DGRAM);
  std::vector<std::uint64_t> slots;
  int refused = 0;
  while (refused == 0 && slots.size() < 1000) {
    ipc::SlotAnswer slot{};
    refused = greedy.ask<MessageId::slot_open>({.domain = AF_INET, .type = SOCK_STREAM, .protocol = 0, .cookie = 0}, {}, &slot);
    if (refused == 0) slots.push_back(slot.slot);
  }
  EXPECT_EQ(refused, ENFILE);
  EXPECT_GT(slots.size(), 200u);
  EXPECT_LT(slots.size(), 400u);
  // A program that comes now is told the same; who looks after the stack still gets in; what was there works.
  Program late{node(ipc::kControlNode)};
  EXPECT_EQ(late.error, ENFILE);
  EXPECT_EQ(sockets_in_use(node(ipc::kControlNode)), slots.size() + 1);
  const sockaddr_in any = inet(0, 0);
  EXPECT_EQ(bystander.ask<MessageId::bind>({.slot = kept.slot.slot, .flags = 0, .reserved = 0}, bytes_of(any)), 0);
  // What is closed can be had again.
  for (std::size_t i = 0; i < 20; ++i) {
    const std::uint32_t incarnation = greedy.slot(slots[i]).incarnation.load();
    EXPECT_EQ(greedy.ask<MessageId::close>({.slot = slots[i], .incarnation = incarnation, .reserved = 0}), 0);
  }
  Program again{node(ipc::kControlNode)};
  EXPECT_TRUE(again.greeted) << again.error;
  open_socket(again, node(ipc::kPacketNode), SOCK_DGRAM);
}

INSTANTIATE_TEST_SUITE_P(Shards, FewDescriptorsTest, testing::Values(1u, 2u));
INSTANTIATE_TEST_SUITE_P(Shards, EngineTest, testing::Values(1u, 2u, 3u));

}  // namespace
}  // namespace iopkt::daemon
