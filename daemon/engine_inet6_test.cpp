// The engine of either variant: which sockets of AF_INET6 there are, and that nobody breaks it by addresses of the other family.
#include "engine_rig.hpp"
#include "ipv6/inet6.hpp"

namespace iopkt::daemon {
namespace {

constexpr std::uint16_t kPort = 5353;

sockaddr_in6 inet6_address(const char* text, std::uint16_t port, std::uint32_t scope = 0) {
  sockaddr_in6 in{};
  in.sin6_family = AF_INET6;
  in.sin6_port = htons(port);
  in.sin6_scope_id = scope;
  const auto bytes = wire::Ipv6Address::parse(text)->bytes;
  std::memcpy(in.sin6_addr.s6_addr, bytes.data(), bytes.size());
  return in;
}

int open_slot(Program& program, std::uint16_t domain, std::uint16_t type, Socket& out, std::uint32_t protocol = 0) {
  return program.ask<MessageId::slot_open>({.domain = domain, .type = type, .protocol = protocol, .cookie = 0}, {}, &out.slot);
}
int bind6(Program& program, const Socket& s, const sockaddr_in6& to) {
  return program.ask<MessageId::bind>({.slot = s.slot.slot, .flags = 0, .reserved = 0}, as_bytes(&to, sizeof to));
}
int connect6(Program& program, const Socket& s, const sockaddr_in6& to) {
  return program.ask<MessageId::connect>({.slot = s.slot.slot, .flags = 0, .reserved = 0}, as_bytes(&to, sizeof to));
}

TEST_P(EngineTest, WithoutIpv6ThereAreNoSocketsAndNoNodesOfIt) {
  for (const std::string_view name : {ipc::kStreamNode6, ipc::kPacketNode6}) EXPECT_FALSE(fs::exists(node(name))) << name;
  Program program{node(ipc::kControlNode)};
  Socket s;
  EXPECT_EQ(open_slot(program, AF_INET6, SOCK_STREAM, s), EAFNOSUPPORT);
  EXPECT_EQ(open_slot(program, AF_UNIX, SOCK_STREAM, s), EAFNOSUPPORT);
}

class EngineInet6Test : public EngineTest {
 protected:
  const ipv6::Inet6* inet6() const override { return &ipv6::inet6(); }
};
INSTANTIATE_TEST_SUITE_P(Shards, EngineInet6Test, testing::Values(1u, 2u));

TEST_P(EngineInet6Test, NodesAreThere) {
  for (const std::string_view name : {ipc::kStreamNode, ipc::kPacketNode, ipc::kStreamNode6, ipc::kPacketNode6})
    EXPECT_TRUE(fs::exists(node(name))) << name;
}

TEST_P(EngineInet6Test, NamesAreOfTheSocketsFamily) {
  Program program{node(ipc::kControlNode)};
  for (const auto& [given, shown] : {std::pair{"::1", AF_INET6}, std::pair{"::ffff:127.0.0.1", AF_INET}, std::pair{"::", AF_INET6}}) {
    Socket s;
    ASSERT_EQ(open_slot(program, AF_INET6, SOCK_DGRAM, s), 0);
    EXPECT_EQ(program.slot(s.slot.slot).domain.load(), AF_INET6);
    ASSERT_EQ(bind6(program, s, inet6_address(given, 0)), 0) << given;
    const ipc::Names names = ipc::read_names(program.slot(s.slot.slot));
    EXPECT_EQ(names.local.family, shown) << given;
    EXPECT_NE(names.local.port, 0);
  }
}

TEST_P(EngineInet6Test, ALinkHasToBeNamed) {
  Program program{node(ipc::kControlNode)};
  Socket s;
  ASSERT_EQ(open_slot(program, AF_INET6, SOCK_DGRAM, s), 0);
  EXPECT_EQ(bind6(program, s, inet6_address("fe80::1", 0)), EINVAL);
  EXPECT_EQ(bind6(program, s, inet6_address("fe80::1", 0, 1u << 24)), ENODEV);
  EXPECT_EQ(bind6(program, s, inet6_address("fe80::1", 0, 4711)), EADDRNOTAVAIL);
  EXPECT_EQ(connect6(program, s, inet6_address("fe80::1", 9)), EINVAL);
}

/// RFC 3542 section 6: who may send extension headers is a matter of each message, and a ring does not say who wrote into it.
TEST_P(EngineInet6Test, ExtensionHeadersAreForWhoMaySendThem) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs CAP_NET_RAW";
  Program program{node(ipc::kControlNode)};
  Socket sender, receiver;
  for (Socket* s : {&sender, &receiver}) {
    ASSERT_EQ(open_slot(program, AF_INET6, SOCK_DGRAM, *s), 0);
    s->fd = connect_node(node(ipc::attach_node(AF_INET6, true)), SOCK_SEQPACKET);
    ipc::set_minimum_buffer(s->fd.get());
    program.end(s->fd.get(), s->slot.slot).send_unit(ipc::Unit::hello(program.hello.client_id, s->slot.slot, s->slot.nonce, 0));
    ASSERT_TRUE(eventually([&] { return (program.slot(s->slot.slot).status.load() & Status::attached) != 0; }));
  }
  ASSERT_EQ(bind6(program, receiver, inet6_address("::1", kPort)), 0);
  ipc::RecordHeader header;
  header.flags = ipc::RecordHeader::has_destination;
  header.remote = {.family = AF_INET6, .port = kPort, .scope = 0, .addr = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
  // One option that nobody knows and everybody skips; a routing header that has been everywhere (RFC 8754).
  const std::array<std::byte, 8> options{std::byte{0}, std::byte{0}, std::byte{0x1e}, std::byte{4}};
  std::array<std::byte, 24> routing{std::byte{0}, std::byte{2}, std::byte{4}};
  routing[23] = std::byte{1};
  const auto extension = [](ipc::ControlBytes& control, int kind, std::span<const std::byte> bytes) {
    std::size_t used = 0;
    EXPECT_TRUE(ipc::put_control(control, used, ipc::ControlItem::extension_headers | kind, bytes));
    return std::span{control}.first(used);
  };
  ipc::ControlBytes room;
  std::string text = "ring";
  const auto ring = [&] {
    ipc::ProgramEnd end = program.end(sender.fd.get(), sender.slot.slot);
    ipc::DatagramWriter writer{program.slot(sender.slot.slot), program.base(sender.slot.slot), program.size(sender.slot.slot), end};
    const iovec piece{text.data(), text.size()};
    std::uint32_t error = 0;
    EXPECT_EQ(writer.write(header, {&piece, 1}, extension(room, IPPROTO_DSTOPTS, options)).kind, ipc::WriteOutcome::Kind::data);
    EXPECT_TRUE(eventually([&] { return (error = program.slot(sender.slot.slot).error.exchange(0)) != 0; }));
    return error;
  };
  const auto request = [&](int kind, std::span<const std::byte> bytes) {
    const auto control = extension(room, kind, bytes);
    ipc::RecordHeader own = header;
    own.control_len = static_cast<std::uint16_t>(control.size());
    std::vector<std::byte> blob(sizeof own);
    std::memcpy(blob.data(), &own, sizeof own);
    blob.insert(blob.end(), control.begin(), control.end());
    blob.push_back(std::byte{'r'});
    return program.ask<MessageId::send_datagram>({.slot = sender.slot.slot}, blob);
  };
  const sockaddr_in6 nobody = inet6_address("::", 0);
  EXPECT_EQ(program.ask<MessageId::check_destination>({.slot = sender.slot.slot, .flags = ipc::CheckRequest::extensions, .length = 0},
                                                      as_bytes(&nobody, sizeof nobody)), 0);
  EXPECT_EQ(ring(), static_cast<std::uint32_t>(EPERM)) << "though one of the holders may";
  EXPECT_EQ(request(IPPROTO_ROUTING, routing), EINVAL) << "is none of control data's, as on the host";
  EXPECT_EQ(request(IPPROTO_DSTOPTS, options), 0);
  EXPECT_EQ(ring(), static_cast<std::uint32_t>(EPERM));
  EXPECT_EQ(request(IPPROTO_DSTOPTS, std::span{options}.first(5)), EINVAL);
  for (const std::size_t size : {std::size_t{0}, sizeof header - 1}) {
    const std::vector<std::byte> blob(size);
    EXPECT_EQ(program.ask<MessageId::send_datagram>({.slot = sender.slot.slot}, blob), EINVAL);
  }
  // One datagram came: that of the request.
  ipc::ProgramEnd end = program.end(receiver.fd.get(), receiver.slot.slot);
  ipc::DatagramReader reader{program.slot(receiver.slot.slot), program.base(receiver.slot.slot), program.size(receiver.slot.slot), end};
  char got[16];
  const iovec piece{got, sizeof got};
  ipc::RecordHeader came;
  ASSERT_TRUE(eventually([&] { return reader.read({&piece, 1}, came).kind == ipc::ReadOutcome::Kind::data; }));
  EXPECT_EQ(came.payload_len, 1u);
  EXPECT_EQ(got[0], 'r');
  EXPECT_TRUE(reader.nothing_unread());
}

/// What the library never writes: each is refused, counted, and breaks nothing.
TEST_P(EngineInet6Test, RecordsThatMakeNoSense) {
  Program program{node(ipc::kControlNode)};
  for (const std::uint16_t domain : {std::uint16_t{AF_INET}, std::uint16_t{AF_INET6}}) {
    Socket s;
    ASSERT_EQ(open_slot(program, domain, SOCK_DGRAM, s), 0);
    s.fd = connect_node(node(ipc::attach_node(domain, true)), SOCK_SEQPACKET);
    ipc::set_minimum_buffer(s.fd.get());
    ipc::ProgramEnd end = program.end(s.fd.get(), s.slot.slot);
    end.send_unit(ipc::Unit::hello(program.hello.client_id, s.slot.slot, s.slot.nonce, 0));
    ASSERT_TRUE(eventually([&] { return (program.slot(s.slot.slot).status.load() & Status::attached) != 0; }));
    ipc::DatagramWriter writer{program.slot(s.slot.slot), program.base(s.slot.slot), program.size(s.slot.slot), end};
    std::string text = "x";
    const iovec piece{text.data(), text.size()};
    for (const std::uint16_t family : {std::uint16_t{AF_INET}, std::uint16_t{AF_INET6}, std::uint16_t{AF_UNIX}})
      for (const std::uint32_t scope : {0u, 1u, 0xffffffu, 0x1000000u, 0xffffffffu}) {
        ipc::RecordHeader header;
        header.flags = ipc::RecordHeader::has_destination | ipc::RecordHeader::has_pktinfo | ipc::RecordHeader::has_dont_fragment;
        header.remote = {.family = family, .port = kPort, .scope = scope, .addr = {0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
        header.local = {.family = static_cast<std::uint16_t>(AF_INET + AF_INET6 - family), .port = 0, .scope = scope, .addr = {0xfe, 0x80, 1}};
        header.ifindex = scope;
        header.dont_fragment = 77;
        ASSERT_EQ(writer.write(header, {&piece, 1}).kind, ipc::WriteOutcome::Kind::data);
        ASSERT_TRUE(eventually([&] { return program.slot(s.slot.slot).error.exchange(0) != 0; })) << domain << " " << family << " " << scope;
      }
  }
  Socket still;
  EXPECT_EQ(open_slot(program, AF_INET6, SOCK_DGRAM, still), 0);
}

}  // namespace
}  // namespace iopkt::daemon
