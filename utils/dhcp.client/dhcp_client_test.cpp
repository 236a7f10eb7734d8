#include "utils/dhcp.client/dhcp_client.hpp"

#include "utils/common/test_stack.hpp"

namespace iopkt::dhcp {
namespace {

using wire::DhcpMessage;
using wire::DhcpOption;
using wire::DhcpType;
using wire::Ipv4Address;

constexpr Ipv4Address kServer{10, 0, 0, 1}, kAddress{10, 0, 0, 50}, kEverybody{255, 255, 255, 255};

std::array<std::byte, 4> number(std::uint32_t n) {
  std::array<std::byte, 4> out{};
  store_be32(out, 0, n);
  return out;
}

struct Rig {
  Machine machine{{.hardware = {{2, 0, 0, 0, 0, 9}}, .client_id = {}, .hostname = "box", .only_server = std::nullopt}, 3};
  Instant now{};
  std::vector<Machine::Result> all;
  std::optional<Lease> applied;

  void note(Machine::Result r) {
    if (r.unconfigure) applied.reset();
    if (r.configure) applied = r.configure;
    all.push_back(std::move(r));
  }
  DhcpMessage last() {
    for (auto one = all.rbegin(); one != all.rend(); ++one)
      if (!one->send.empty()) return *wire::parse_dhcp(one->send.back().message);
    ADD_FAILURE() << "nothing was sent";
    return {};
  }
  Ipv4Address last_to() const {
    for (auto one = all.rbegin(); one != all.rend(); ++one)
      if (!one->send.empty()) return one->send.back().to;
    return {};
  }
  DhcpMessage answer(DhcpType type, std::uint32_t lease = 3600) {
    DhcpMessage m{.op = DhcpMessage::kReply, .xid = last().xid, .yiaddr = kAddress, .hardware = {{2, 0, 0, 0, 0, 9}}, .options = {}};
    m.add8(DhcpOption::message_type, static_cast<std::uint8_t>(type)).add_address(DhcpOption::server, kServer);
    m.add(DhcpOption::lease_time, number(lease)).add(DhcpOption::subnet_mask, number(0xffffff00));
    m.add_address(DhcpOption::routers, kServer).add_address(DhcpOption::name_servers, {10, 0, 0, 53});
    return m;
  }
  void hear(const DhcpMessage& m) { note(machine.on_message(encode_dhcp(m), now)); }
  void pass() {
    now = machine.next_deadline();
    note(machine.on_time(now));
  }
  void get_lease(std::uint32_t seconds = 3600) {
    note(machine.start(now));
    hear(answer(DhcpType::offer));
    hear(answer(DhcpType::ack, seconds));
  }
};

TEST(DhcpMachine, DiscoverOfferRequestAck) {
  Rig r;
  r.note(r.machine.start(r.now));
  DhcpMessage m = r.last();
  EXPECT_EQ(m.type(), DhcpType::discover);
  EXPECT_EQ(r.last_to(), kEverybody);
  EXPECT_TRUE(m.broadcast);
  EXPECT_EQ(m.name(DhcpOption::host_name), "box");
  DhcpMessage other = r.answer(DhcpType::offer);
  other.xid ^= 1;
  r.hear(other);
  EXPECT_EQ(r.machine.state(), State::selecting) << "another's answer";
  r.hear(r.answer(DhcpType::offer));
  m = r.last();
  EXPECT_EQ(m.type(), DhcpType::request);
  EXPECT_EQ(m.address(DhcpOption::requested_address), kAddress);
  EXPECT_EQ(m.address(DhcpOption::server), kServer);
  r.hear(r.answer(DhcpType::ack));
  ASSERT_TRUE(r.applied);
  EXPECT_EQ(r.applied->address, kAddress);
  EXPECT_EQ(r.applied->prefix_length, 24);
  EXPECT_EQ(r.applied->routers, std::vector<Ipv4Address>{kServer});
  EXPECT_EQ(r.machine.next_deadline(), r.now + 1800s) << "half of the lease";
  EXPECT_EQ(resolver_text(*r.applied), "nameserver 10.0.0.53\n");
}

TEST(DhcpMachine, AnotherAddressThanItAskedForIsNotTaken) {
  Rig r;
  r.note(r.machine.start(r.now));
  for (const Ipv4Address none : {Ipv4Address{255, 255, 255, 255}, Ipv4Address{127, 0, 0, 1}, Ipv4Address{224, 0, 0, 1}, Ipv4Address{}}) {
    DhcpMessage offer = r.answer(DhcpType::offer);
    offer.yiaddr = none;
    r.hear(offer);
    EXPECT_EQ(r.machine.state(), State::selecting) << none.to_string();
  }
  r.hear(r.answer(DhcpType::offer));
  DhcpMessage ack = r.answer(DhcpType::ack);
  ack.yiaddr = {10, 0, 0, 51};
  r.hear(ack);
  EXPECT_EQ(r.machine.state(), State::requesting);
  EXPECT_FALSE(r.applied);
  r.hear(r.answer(DhcpType::ack));
  ASSERT_TRUE(r.applied);
  EXPECT_EQ(r.applied->address, kAddress);
  // Nor when it is renewed.
  r.pass();
  EXPECT_EQ(r.machine.state(), State::renewing);
  ack.xid = r.last().xid;
  r.hear(ack);
  EXPECT_EQ(r.machine.state(), State::renewing);
  EXPECT_EQ(r.applied->address, kAddress);
  r.hear(r.answer(DhcpType::ack));
  EXPECT_EQ(r.machine.state(), State::bound);
}

TEST(DhcpMachine, WaitsLongerEachTime) {
  Rig r;
  r.note(r.machine.start(r.now));
  Duration before{};
  for (const auto wanted : {4s, 8s, 16s, 32s, 64s, 64s}) {
    const Duration wait = r.machine.next_deadline() - r.now;
    EXPECT_GE(wait, wanted - 1s);
    EXPECT_LE(wait, wanted + 1s);
    before = wait;
    r.pass();
    EXPECT_EQ(r.last().type(), DhcpType::discover);
  }
}

TEST(DhcpMachine, RenewsThenRebindsThenLosesTheLease) {
  Rig r;
  r.get_lease();
  r.pass();
  EXPECT_EQ(r.machine.state(), State::renewing);
  EXPECT_EQ(r.last().type(), DhcpType::request);
  EXPECT_EQ(r.last().ciaddr, kAddress);
  EXPECT_EQ(r.last_to(), kServer);
  EXPECT_FALSE(r.last().address(DhcpOption::server)) << "RFC 2131 section 4.3.6";
  r.hear(r.answer(DhcpType::ack));
  EXPECT_EQ(r.machine.state(), State::bound);
  EXPECT_FALSE(r.all.back().configure) << "nothing has changed";
  while (r.machine.state() != State::rebinding) r.pass();
  EXPECT_EQ(r.last_to(), kEverybody);
  EXPECT_EQ(r.now, Instant{} + 1800s + 3150s) << "seven eighths of the lease after it was renewed";
  while (r.machine.state() == State::rebinding) r.pass();
  EXPECT_FALSE(r.applied);
  EXPECT_EQ(r.last().type(), DhcpType::discover);
}

TEST(DhcpMachine, ARefusalStartsAnew) {
  Rig r;
  r.get_lease();
  r.pass();
  r.hear(r.answer(DhcpType::nak));
  EXPECT_FALSE(r.applied);
  EXPECT_EQ(r.machine.state(), State::selecting);
  r.hear(r.answer(DhcpType::offer));
  for (int i = 0; i < 4; ++i) r.pass();
  EXPECT_EQ(r.machine.state(), State::selecting) << "an offer that is not kept";
}

/// A server that offers and refuses, as fast as it can.
TEST(DhcpMachine, RefusalsAreFollowedByLongerAndLongerPauses) {
  Rig r;
  r.note(r.machine.start(r.now));
  const auto refuse = [&] {
    r.hear(r.answer(DhcpType::offer));
    r.hear(r.answer(DhcpType::nak));
  };
  refuse();
  EXPECT_EQ(r.machine.state(), State::selecting) << "the first is no reason to wait";
  for (const auto wanted : {4s, 8s, 16s, 32s, 64s, 64s}) {
    refuse();
    EXPECT_EQ(r.machine.state(), State::init);
    EXPECT_TRUE(r.all.back().send.empty());
    EXPECT_GE(r.machine.next_deadline() - r.now, wanted);
    EXPECT_LE(r.machine.next_deadline() - r.now, wanted + 1s);
    r.pass();
    EXPECT_EQ(r.last().type(), DhcpType::discover);
  }
  r.hear(r.answer(DhcpType::offer));
  r.hear(r.answer(DhcpType::ack));
  r.pass();
  r.hear(r.answer(DhcpType::nak));
  EXPECT_FALSE(r.applied);
  EXPECT_EQ(r.machine.state(), State::selecting) << "a lease ends the count";
}

TEST(DhcpMachine, GivesTheLeaseBack) {
  Rig r;
  r.get_lease();
  r.note(r.machine.release(r.now));
  EXPECT_EQ(r.last().type(), DhcpType::release);
  EXPECT_EQ(r.last().ciaddr, kAddress);
  EXPECT_EQ(r.last_to(), kServer);
  EXPECT_FALSE(r.applied);
  EXPECT_EQ(r.machine.state(), State::given_up);
  Rig d;
  d.get_lease();
  d.note(d.machine.decline(d.now));
  EXPECT_EQ(d.last().type(), DhcpType::decline);
  EXPECT_EQ(d.last().address(DhcpOption::requested_address), kAddress);
  EXPECT_EQ(d.machine.next_deadline(), d.now + 10s);
  d.pass();
  EXPECT_EQ(d.last().type(), DhcpType::discover);
}

TEST(DhcpMachine, DeclinesAsManyAddressesAsItMay) {
  Rig r;
  r.machine = Machine{{.hardware = {{2, 0, 0, 0, 0, 9}}, .client_id = {}, .hostname = {}, .only_server = std::nullopt, .conflicts = 2, .unicast = true}, 3};
  const auto lease = [&] {
    EXPECT_FALSE(r.last().broadcast);
    r.hear(r.answer(DhcpType::offer));
    EXPECT_FALSE(r.last().broadcast);
    r.hear(r.answer(DhcpType::ack));
  };
  r.note(r.machine.start(r.now));
  lease();
  r.note(r.machine.decline(r.now));
  r.pass();
  lease();
  r.machine.accepted();
  r.note(r.machine.decline(r.now));
  EXPECT_EQ(r.machine.state(), State::init) << "one that was nobody's ends the count";
  r.pass();
  lease();
  r.note(r.machine.decline(r.now));
  EXPECT_EQ(r.machine.state(), State::given_up);
  EXPECT_TRUE(r.machine.only_conflicts());
}

TEST(DhcpMachine, GivesUpAfterSoManyRounds) {
  Machine machine{{.hardware = {{2, 0, 0, 0, 0, 9}}, .client_id = {}, .hostname = {}, .only_server = std::nullopt, .attempts = 2}, 3};
  Instant now{};
  machine.start(now);
  while (machine.state() != State::given_up && now < Instant{} + 600s) machine.on_time(now = machine.next_deadline());
  EXPECT_EQ(machine.state(), State::given_up);
  EXPECT_GT(now, Instant{} + 100s);
}

TEST(DhcpMachine, ALeaseThatMakesNoSenseIsNone) {
  DhcpMessage ack{.op = DhcpMessage::kReply, .yiaddr = kAddress, .options = {}};
  EXPECT_FALSE(lease_of(ack, kServer)) << "no time";
  ack.add(DhcpOption::lease_time, number(1));
  EXPECT_EQ(lease_of(ack, kServer)->seconds, 60u);
  ack.add(DhcpOption::renewal_time, number(9999)).add(DhcpOption::rebinding_time, number(9999)).add(DhcpOption::subnet_mask, number(0xff00ff00));
  const auto lease = lease_of(ack, kServer);
  EXPECT_LT(lease->renew_s, lease->rebind_s);
  EXPECT_LT(lease->rebind_s, lease->seconds);
  EXPECT_EQ(lease->prefix_length, 24);
  ack.yiaddr = {};
  EXPECT_FALSE(lease_of(ack, kServer));
}

TEST(DhcpMachine, ALeaseHasSoManyRoutes) {
  DhcpMessage ack{.op = DhcpMessage::kReply, .yiaddr = kAddress, .options = {}};
  ack.add(DhcpOption::lease_time, number(3600));
  for (std::uint8_t i = 0; i < 100; ++i)
    ack.add(DhcpOption::classless_routes, std::array{std::byte{8}, std::byte{i}, std::byte{10}, std::byte{}, std::byte{}, std::byte{1}});
  EXPECT_EQ(ack.classless_routes().size(), 100u);
  EXPECT_EQ(lease_of(ack, kServer)->routes.size(), kRoutesMax);
}

TEST(DhcpMachine, AServerDoesNotSetThePaceOfRequests) {
  struct Case {
    std::uint32_t seconds, renew, rebind, wanted_renew, wanted_rebind;
  };
  for (const Case& one : {Case{3600, 1000, 2000, 1000, 2000}, Case{3600, 1, 2, 1800, 3150}, Case{3600, 1, 2000, 1800, 2000},
                          Case{3600, 29, 3000, 1800, 3000}, Case{3600, 100, 40, 1800, 3150}, Case{3600, 0, 0, 1800, 3150},
                          Case{3600, 3000, 2000, 1800, 2000}, Case{3600, 40, 3600, 40, 3150}, Case{10, 1, 2, 30, 49}}) {
    DhcpMessage ack{.op = DhcpMessage::kReply, .yiaddr = kAddress, .options = {}};
    ack.add(DhcpOption::lease_time, number(one.seconds)).add(DhcpOption::renewal_time, number(one.renew));
    ack.add(DhcpOption::rebinding_time, number(one.rebind));
    const auto lease = lease_of(ack, kServer);
    ASSERT_TRUE(lease);
    EXPECT_EQ(lease->renew_s, one.wanted_renew) << one.seconds << " " << one.renew << " " << one.rebind;
    EXPECT_EQ(lease->rebind_s, one.wanted_rebind) << one.seconds << " " << one.renew << " " << one.rebind;
  }
  Rig r;
  r.get_lease(3600);
  for (int i = 0; i < 3; ++i) {
    r.pass();
    DhcpMessage ack = r.answer(DhcpType::ack);
    ack.add(DhcpOption::renewal_time, number(1)).add(DhcpOption::rebinding_time, number(2));
    r.hear(ack);
    EXPECT_EQ(r.machine.next_deadline(), r.now + 1800s);
  }
}

}  // namespace
}  // namespace iopkt::dhcp

namespace iopkt::utils {
namespace {

TEST(DhcpClient, ALeaseAsVerbs) {
  TestStack stack;
  Io io{"dhcp.client", false};
  dhcp::Lease lease{.address = {10, 0, 0, 50}, .server = {10, 0, 0, 1}, .prefix_length = 24, .broadcast = wire::Ipv4Address{10, 0, 0, 255}};
  lease.routers = {{10, 0, 0, 1}, {10, 0, 0, 2}};
  EXPECT_TRUE(apply_lease(io, stack, "en0", {}, lease));
  EXPECT_EQ(stack.asked, (std::vector<std::string>{"address.add name=en0 address=10.0.0.50 prefix_length=24 broadcast=10.0.0.255",
                                                   "route.add destination=0.0.0.0 prefix_length=0 gateway=10.0.0.1"}));
  stack.asked.clear();
  lease.routes = {{{10, 9, 0, 0}, 16, {10, 0, 0, 3}}, {{10, 8, 0, 0}, 16, {}}};
  withdraw_lease(stack, "en0", lease);
  EXPECT_EQ(stack.asked, (std::vector<std::string>{"route.delete destination=10.9.0.0 prefix_length=16 gateway=10.0.0.3",
                                                   "route.delete destination=10.8.0.0 prefix_length=16 interface=en0",
                                                   "address.delete name=en0 address=10.0.0.50"}));
}

TEST(DhcpClient, ARenewalTakesTheOldRoutesAway) {
  TestStack stack;
  Io io{"dhcp.client", false};
  dhcp::Lease before{.address = {10, 0, 0, 50}, .server = {10, 0, 0, 1}, .prefix_length = 24};
  before.routes = {{{10, 9, 0, 0}, 16, {10, 0, 0, 3}}, {{10, 8, 0, 0}, 16, {}}, {{10, 7, 0, 0}, 16, {10, 0, 0, 4}}};
  dhcp::Lease lease = before;
  lease.routes = {{{10, 9, 0, 0}, 16, {10, 0, 0, 5}}, {{10, 7, 0, 0}, 16, {10, 0, 0, 4}}};
  const std::string address = "address.add name=en0 address=10.0.0.50 prefix_length=24";
  EXPECT_TRUE(apply_lease(io, stack, "en0", {}, lease, &before));
  EXPECT_EQ(stack.asked, (std::vector<std::string>{address, "route.delete destination=10.9.0.0 prefix_length=16 gateway=10.0.0.3",
                                                   "route.delete destination=10.8.0.0 prefix_length=16 interface=en0",
                                                   "route.add destination=10.9.0.0 prefix_length=16 gateway=10.0.0.5",
                                                   "route.add destination=10.7.0.0 prefix_length=16 gateway=10.0.0.4"}));
  stack.asked.clear();
  before = lease;
  lease.routes.clear();
  lease.routers = {{10, 0, 0, 1}};
  stack.refusals["route.add"] = {ENETUNREACH, "Network is unreachable"};
  EXPECT_TRUE(apply_lease(io, stack, "en0", {}, lease, &before)) << "the address is there, to be withdrawn some day";
  EXPECT_FALSE(io.err.empty());
  EXPECT_EQ(stack.asked, (std::vector<std::string>{address, "route.delete destination=10.9.0.0 prefix_length=16 gateway=10.0.0.5",
                                                   "route.delete destination=10.7.0.0 prefix_length=16 gateway=10.0.0.4",
                                                   "route.add destination=0.0.0.0 prefix_length=0 gateway=10.0.0.1"}));
  stack.asked.clear();
  stack.refusals["address.add"] = {ENXIO, "Device not configured"};
  EXPECT_FALSE(apply_lease(io, stack, "en0", {}, lease, &before));
  EXPECT_EQ(stack.asked, std::vector<std::string>{address});
}

TEST(DhcpClient, AnAddressIsProbedBeforeItIsUsed) {
  TestStack stack;
  Io io{"dhcp.client", false};
  dhcp::Lease lease;
  lease.address = {10, 0, 0, 50};
  EXPECT_TRUE(probe_lease(io, stack, "en0", {}, lease));
  EXPECT_EQ(stack.asked, (std::vector<std::string>{"address.add name=en0 address=10.0.0.50 prefix_length=24 flags_on=tentative"}));
  const auto state = [&](const char* address, const char* flags) {
    stack.answers["interface.list"] = *from_json(std::string{R"({"interfaces": [{"name": "en0", "addresses": [{"family": "inet", "address": ")"} + address +
                                                 R"(", "flag_names": ")" + flags + R"("}]}]})");
    return probed(io, stack, "en0", lease);
  };
  EXPECT_EQ(state("10.0.0.50", "tentative"), Probed::waiting);
  EXPECT_EQ(state("10.0.0.50", "duplicated"), Probed::taken);
  EXPECT_EQ(state("10.0.0.50", ""), Probed::free);
  EXPECT_EQ(state("10.0.0.51", ""), Probed::gone);
  EXPECT_TRUE(io.err.empty());
  stack.refusals["interface.list"] = {ENXIO, "Device not configured"};
  EXPECT_EQ(probed(io, stack, "en0", lease), Probed::unknown);
  EXPECT_NE(io.err.find("Device not configured"), std::string::npos);
}

TEST(DhcpClient, AnotherAnswerDoesNotBeginToProbeAnew) {
  dhcp::Lease lease, other;
  lease.address = {10, 0, 0, 50}, other.address = {10, 0, 0, 51};
  EXPECT_EQ(on_granted(lease, {}, {}, true), Granted::probe);
  EXPECT_EQ(on_granted(lease, {}, {}, false), Granted::use);
  EXPECT_EQ(on_granted(lease, lease, {}, true), Granted::use) << "renewed";
  EXPECT_EQ(on_granted(lease, other, {}, true), Granted::probe);
  lease.seconds = 7;
  EXPECT_EQ(on_granted(lease, {}, std::optional{lease}, true), Granted::keep_probing);
  EXPECT_EQ(on_granted(other, {}, std::optional{lease}, true), Granted::probe);
}

TEST(DhcpClient, Words) {
  Io io{"dhcp.client", false};
  const auto f = read_dhcp_flags(io, {"-i", "en1", "-h", "box", "-nu", "-t3", "-s", "10.0.0.1", "-A", "0", "-b"});
  ASSERT_TRUE(f) << io.err;
  EXPECT_TRUE(f->unicast && f->conflicts == 0);
  EXPECT_EQ(read_dhcp_flags(io, {})->conflicts, 5u);
  EXPECT_EQ(f->interface, "en1");
  EXPECT_EQ(f->hostname, "box");
  EXPECT_EQ(f->attempts, 3u);
  EXPECT_TRUE(f->no_resolver && f->until_configured);
  for (const Words& words : {Words{"-m"}, Words{"-k"}, Words{"-A", "256"}, Words{"-Z"}, Words{"word"}, Words{"-s", "x"}, Words{"-t", "x"}}) {
    Io complaints{"dhcp.client", false};
    EXPECT_FALSE(read_dhcp_flags(complaints, words)) << words[0];
    EXPECT_FALSE(complaints.err.empty()) << words[0];
  }
}

}  // namespace
}  // namespace iopkt::utils
