// What programs leave behind, in virtual time: everything is given back, however they die and whatever they did before.
#include "client_rig.hpp"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include "ipc/offer.hpp"
#include "ipc/rights.hpp"

namespace iopkt::daemon {
namespace {

using ipc::MessageId;

class ClientSession : public ::testing::TestWithParam<std::uint32_t> {
 protected:
  struct Socket {
    ipc::SlotAnswer slot{};
    Fd fd;
  };
  static std::vector<std::byte> loopback(std::uint16_t port) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    in.sin_port = htons(port);
    const auto bytes = as_bytes(&in, sizeof in);
    return {bytes.begin(), bytes.end()};
  }
  template <MessageId Id>
  int ask(const typename ipc::MessageTypes<Id>::Request& request, std::span<const std::byte> blob = {}) {
    const AnsweredPtr answered = rig.ask<Id>(client, request, blob);
    rig.settle();
    EXPECT_TRUE(answered->done);
    return answered->error;
  }
  Socket open(std::uint16_t type) {
    const AnsweredPtr answered = rig.ask<MessageId::slot_open>(client, {.domain = AF_INET, .type = type, .protocol = 0, .cookie = 0});
    rig.settle();
    Socket out{.slot = answered->as<ipc::SlotAnswer>(), .fd = {}};
    out.fd = rig.attach(client, ipc::Unit::hello(client->id, out.slot.slot, out.slot.nonce, 0), type == SOCK_STREAM);
    rig.settle();
    return out;
  }
  Socket listen(std::uint16_t port) {
    Socket out = open(SOCK_STREAM);
    EXPECT_EQ(ask<MessageId::bind>({.slot = out.slot.slot, .flags = 0, .reserved = 0}, loopback(port)), 0);
    EXPECT_EQ(ask<MessageId::listen>({.slot = out.slot.slot, .backlog = 4, .flags = 0}), 0);
    return out;
  }
  Socket connect(std::uint16_t port) {
    Socket out = open(SOCK_STREAM);
    EXPECT_EQ(ask<MessageId::connect>({.slot = out.slot.slot, .flags = 0, .reserved = 0}, loopback(port)), EINPROGRESS);
    EXPECT_NE(words(out).status.load() & ipc::Status::connected, 0u);
    return out;
  }
  Socket accept(const Socket& listener) {
    ipc::Offer offer;
    const ssize_t n = ::recvmsg(listener.fd.get(), offer.message(), MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    EXPECT_GT(n, 0);
    Socket out{.slot = {.slot = offer.hello().slot, .nonce = offer.hello().nonce, .incarnation = 0, .reserved = 0},
               .fd = Fd{offer.descriptor(static_cast<std::size_t>(n))}};
    const ipc::Unit hello = ipc::Unit::hello(client->id, out.slot.slot, out.slot.nonce, 0);
    EXPECT_EQ(::send(out.fd.get(), &hello, sizeof hello, MSG_NOSIGNAL), static_cast<ssize_t>(sizeof hello));
    rig.settle();
    return out;
  }
  ipc::Slot& words(const Socket& socket) { return client->arena(ipc::arena_of(socket.slot.slot))->slot(ipc::index_of(socket.slot.slot)); }
  /// Bytes, and with them the descriptor that they are sent through.
  void send_own(const Socket& socket, const void* bytes, std::size_t size) {
    iovec piece{const_cast<void*>(bytes), size};
    ipc::RightsBuffer rights;
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    ipc::carry(message, rights, socket.fd.get());
    EXPECT_EQ(::sendmsg(socket.fd.get(), &message, MSG_NOSIGNAL), static_cast<ssize_t>(size));
    rig.settle();
  }
  /// The process is gone, without a word.
  void die() { rig.leave(std::exchange(client, nullptr)); }

  ClientRig rig{{.shards = GetParam()}};
  std::shared_ptr<Client> client = rig.greet({.pid = 0, .user = 0, .group = 0, .privileged = true});
};

/// Connections that nobody took keep the stack's end of their listener.
TEST_P(ClientSession, AGroupIsJoinedOnEveryShardBeforeTheAnswer) {
  const Socket socket = open(SOCK_DGRAM);
  ip_mreq wanted{};
  wanted.imr_multiaddr.s_addr = htonl(0xe8010203);
  wanted.imr_interface.s_addr = htonl(ClientRig::kOwn.value);
  const auto set = [&](int level, int name, const auto& value) {
    const auto answered =
        rig.ask<MessageId::setsockopt>(client, {.slot = socket.slot.slot, .level = level, .name = name, .capacity = sizeof value, .reserved = 0},
                                       as_bytes(&value, sizeof value));
    for (int n = 0; n < 5; ++n) rig.turn_of(0);
    return answered;
  };
  EXPECT_TRUE(set(SOL_SOCKET, SO_REUSEADDR, 1)->done) << "which the others are not told of";
  const AnsweredPtr joined = set(IPPROTO_IP, IP_ADD_MEMBERSHIP, wanted);
  EXPECT_EQ(joined->done, GetParam() == 1);
  rig.settle();
  EXPECT_TRUE(joined->done);
  EXPECT_EQ(joined->error, 0);
}

TEST_P(ClientSession, AListenersOwnDescriptorSentThroughItKeepsNothing) {
  {
    const Socket listener = listen(7000), a = connect(7000);
    const ipc::Unit unit = ipc::Unit::stall();
    send_own(listener, &unit, sizeof unit);
  }
  die();
  EXPECT_TRUE(rig.run_out()) << rig.left();
}

/// Both directions are shut for the first look at a hang-up, as far as a reader's word goes that has taken too much.
TEST_P(ClientSession, AProgramThatDiesAfterAReaderTookTheWitness) {
  for (const bool seen : {true, false}) {
    SCOPED_TRACE(seen);
    if (!client) client = rig.greet({.pid = 0, .user = 0, .group = 0, .privileged = true});
    Socket socket = open(SOCK_DGRAM);
    EXPECT_EQ(ask<MessageId::connect>({.slot = socket.slot.slot, .flags = 0, .reserved = 0}, loopback(7000)), 0);
    EXPECT_EQ(ask<MessageId::shutdown>({.slot = socket.slot.slot, .how = SHUT_RD, .reserved = 0}), 0);
    ipc::client_word(words(socket), ipc::kWitnessWord) = 1;
    char byte;
    EXPECT_EQ(::recv(socket.fd.get(), &byte, 1, MSG_DONTWAIT), 1);
    socket.fd.reset();
    if (seen) rig.settle();  // while somebody may still say that it was a shutdown
    die();
    EXPECT_TRUE(rig.run_out()) << rig.left();
  }
}

/// A process with the library says that it has the socket, and is killed.
TEST_P(ClientSession, AProgramThatDiesInStreamModeBehindTheEndOfTheStream) {
  for (const bool connection_first : {false, true}) {
    SCOPED_TRACE(connection_first);
    if (!client) client = rig.greet({.pid = 0, .user = 0, .group = 0, .privileged = true});
    {
      const std::uint16_t port = connection_first ? 7001 : 7002;  // the other one is in TIME-WAIT
      Socket listener = listen(port), a = connect(port), b = accept(listener);
      ipc::client_word(words(a), ipc::kHoldersWord) = 1;
      for (const ipc::Mode mode : {ipc::Mode::switching, ipc::Mode::stream})
        ASSERT_EQ(ask<MessageId::set_mode>({.slot = a.slot.slot, .mode = static_cast<std::uint32_t>(mode), .reserved = 0}), 0);
      b.fd.reset();
      rig.settle();
      char byte;
      EXPECT_EQ(::recv(a.fd.get(), &byte, 1, MSG_DONTWAIT), 0) << "the end of the stream is shown";
      if (connection_first) die(), rig.settle();
    }
    if (!connection_first) rig.settle(), die();
    EXPECT_TRUE(rig.run_out()) << rig.left();
  }
}

/// The last byte stays in the queue of the stack's end, and with it what came along.
TEST_P(ClientSession, AConnectionsOwnDescriptorSentThroughItInStreamModeKeepsNothing) {
  {
    const Socket listener = listen(7003), a = connect(7003), b = accept(listener);
    for (const Socket* socket : {&a, &b})
      for (const ipc::Mode mode : {ipc::Mode::switching, ipc::Mode::stream})
        ASSERT_EQ(ask<MessageId::set_mode>({.slot = socket->slot.slot, .mode = static_cast<std::uint32_t>(mode), .reserved = 0}), 0);
    for (const Socket* socket : {&a, &b}) send_own(*socket, "x", 1);
  }
  die();
  EXPECT_TRUE(rig.run_out()) << rig.left();
}

/// No room is left for the stream, and behind it waits what would keep all of it.
TEST_P(ClientSession, AListenersDescriptorBehindAFullStreamKeepsNothing) {
  {
    const Socket listener = listen(7004), a = connect(7004);
    for (const ipc::Mode mode : {ipc::Mode::switching, ipc::Mode::stream})
      ASSERT_EQ(ask<MessageId::set_mode>({.slot = a.slot.slot, .mode = static_cast<std::uint32_t>(mode), .reserved = 0}), 0);
    const std::array<char, 1000> bytes{};
    iovec piece{const_cast<char*>(bytes.data()), bytes.size()};
    for (ssize_t sent = 1; sent > 0; rig.settle()) {
      ipc::RightsBuffer rights;
      msghdr message{};
      message.msg_iov = &piece;
      message.msg_iovlen = 1;
      ipc::carry(message, rights, listener.fd.get());
      sent = ::sendmsg(a.fd.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
  }
  die();
  EXPECT_TRUE(rig.run_out()) << rig.left();
}

INSTANTIATE_TEST_SUITE_P(Shards, ClientSession, ::testing::Values(1u, 2u));

}  // namespace
}  // namespace iopkt::daemon
