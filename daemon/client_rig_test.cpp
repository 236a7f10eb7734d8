// What programs leave behind, in virtual time: everything is given back, however they die and whatever they did before.
#include "client_rig.hpp"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include "ipc/arena.hpp"
#include "ipc/datagram_ring.hpp"
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

/// The numbers of their descriptors are the programs' own words: one of another client is found by nobody else.
TEST_P(ClientSession, ADescriptorIsFoundByItsOwnClientAlone) {
  struct Known {
    std::shared_ptr<Client> client;
    std::uint64_t cookie;
    ipc::SlotAnswer slot;
  };
  auto other = rig.greet({.pid = 0, .user = 65534, .group = 65534, .privileged = false}, 2);
  std::vector<Known> all;
  for (std::uint32_t i = 0; i < 40; ++i) {
    for (const auto& whose : {client, other}) {
      const std::uint64_t cookie = whose == other && i % 2 == 0 ? 1 + i : 100 + i;
      const AnsweredPtr opened =
          rig.ask<MessageId::slot_open>(whose, {.domain = AF_INET, .type = SOCK_STREAM, .protocol = 0, .cookie = cookie}, {}, i % rig.shards());
      rig.settle();
      all.push_back({whose, cookie, opened->as<ipc::SlotAnswer>()});
    }
  }
  const ipc::SlotAnswer closed = all[2].slot;
  all.erase(all.begin() + 2);
  ASSERT_EQ(ask<MessageId::close>({.slot = closed.slot, .incarnation = closed.incarnation, .reserved = 0}), 0);
  std::vector<ipc::LookupEntry> asked;
  for (std::uint64_t cookie = 0; cookie < 200; ++cookie) asked.push_back({.cookie = cookie, .slot = 0});
  for (const auto& whose : {client, other}) {
    const AnsweredPtr answered = rig.ask<MessageId::lookup>(whose, {}, as_bytes(asked.data(), asked.size() * sizeof asked[0]));
    rig.settle();
    ASSERT_EQ(answered->blob.size(), asked.size() * sizeof asked[0]);
    for (std::size_t i = 0; i < asked.size(); ++i) {
      ipc::LookupEntry got;
      std::memcpy(&got, answered->blob.data() + i * sizeof got, sizeof got);
      const auto known = std::ranges::find_if(all, [&](const Known& k) { return k.client == whose && k.cookie == asked[i].cookie; });
      EXPECT_EQ(got.cookie, asked[i].cookie);
      EXPECT_EQ(got.slot, known == all.end() ? ipc::kNoSlot : known->slot.slot) << got.cookie;
      const AnsweredPtr begun = rig.ask<MessageId::attach_begin>(whose, {.cookie = asked[i].cookie});
      rig.settle();
      EXPECT_EQ(begun->error, known == all.end() ? EBADF : 0);
      if (known == all.end()) continue;
      EXPECT_EQ(begun->as<ipc::AttachBeginAnswer>().nonce, known->slot.nonce);
      const AnsweredPtr taken = rig.ask<MessageId::attach_finish>(whose, {.nonce = known->slot.nonce});
      const AnsweredPtr stolen = rig.ask<MessageId::attach_finish>(whose == client ? other : client, {.nonce = known->slot.nonce});
      rig.settle();
      EXPECT_EQ(taken->as<ipc::SlotAnswer>().slot, known->slot.slot);
      EXPECT_EQ(stolen->error, EBADF);
    }
  }
  all.clear();
  rig.leave(std::exchange(other, nullptr));
  die();
  EXPECT_TRUE(rig.run_out()) << rig.left();
}

/// IPv4 options with a source route are for CAP_NET_RAW. A record does not say who wrote it, so that nobody may; of the request it is
/// known.
TEST_P(ClientSession, ASourceRouteOfOneDatagramIsForThePrivileged) {
  const std::array<std::byte, 8> route{std::byte{131}, std::byte{7}, std::byte{4}, std::byte{127}, std::byte{0}, std::byte{0}, std::byte{1}};
  const std::array<std::byte, 4> harmless{std::byte{1}, std::byte{1}, std::byte{1}, std::byte{0}};
  ipc::RecordHeader header;
  header.flags = ipc::RecordHeader::has_destination;
  header.remote = {.family = AF_INET, .port = 9, .scope = 0, .addr = {127, 0, 0, 1}};
  for (const bool may : {true, false}) {
    if (!may) client = rig.greet({.pid = 0, .user = 65534, .group = 65534, .privileged = false}, 2);
    ipc::Mapping control = ipc::map_control(client->control_fd());
    std::vector<int> bells;
    for (std::uint32_t n = 0; n < rig.shards(); ++n) bells.push_back(client->event_fd(n));
    const auto ring = [&](const Socket& s, std::span<const std::byte> options) {
      const auto arena = client->arena(ipc::arena_of(s.slot.slot));
      ipc::ProgramEnd end{s.fd.get(), words(s), control.base, bells.data(), arena->first_slot + ipc::index_of(s.slot.slot)};
      ipc::ControlBytes room;
      std::size_t used = 0;
      EXPECT_TRUE(ipc::put_control(room, used, IP_RETOPTS, options));
      const iovec piece{const_cast<char*>("ring"), 4};
      ipc::DatagramWriter writer{words(s), arena->base(), std::size_t{arena->slot_count} << 20, end};
      EXPECT_EQ(writer.write(header, {&piece, 1}, std::span{room}.first(used)).kind, ipc::WriteOutcome::Kind::data);
      rig.settle();
      return static_cast<int>(words(s).error.exchange(0));
    };
    const auto request = [&](const Socket& s, std::span<const std::byte> options) {
      ipc::ControlBytes room;
      std::size_t used = 0;
      EXPECT_TRUE(ipc::put_control(room, used, IP_RETOPTS, options));
      ipc::RecordHeader own = header;
      own.control_len = static_cast<std::uint16_t>(used);
      std::vector<std::byte> blob(sizeof own);
      std::memcpy(blob.data(), &own, sizeof own);
      blob.insert(blob.end(), room.begin(), room.begin() + static_cast<std::ptrdiff_t>(used));
      return ask<MessageId::send_datagram>({.slot = s.slot.slot}, blob);
    };
    const auto is_bound = [&](const Socket& s) { return (words(s).status.load() & ipc::Status::bound) != 0; };
    {
      const Socket by_ring = open(SOCK_DGRAM), by_request = open(SOCK_DGRAM);
      EXPECT_EQ(ring(by_ring, route), EPERM);
      EXPECT_FALSE(is_bound(by_ring)) << "there is no port yet";
      EXPECT_EQ(ring(by_ring, harmless), 0);
      EXPECT_TRUE(is_bound(by_ring));
      EXPECT_EQ(request(by_request, std::span{route}.first(3)), may ? EINVAL : EPERM);
      EXPECT_FALSE(is_bound(by_request));
      EXPECT_EQ(request(by_request, route), may ? 0 : EPERM);
      EXPECT_EQ(is_bound(by_request), may);
    }
    ipc::unmap(control);
    die();
  }
  EXPECT_TRUE(rig.run_out()) << rig.left();
}

INSTANTIATE_TEST_SUITE_P(Shards, ClientSession, ::testing::Values(1u, 2u));

}  // namespace
}  // namespace iopkt::daemon
