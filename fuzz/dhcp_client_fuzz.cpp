// A DHCP client's machine between servers that offer, grant, refuse and lie, and time that jumps. It asks for what was offered to it
// alone and binds nothing else; a lease has times that make sense and is gone when they are over; what the interface has is what the
// machine says; each thing that happens is answered with one message at most.
// Input: a byte of settings, then rows of an op and what it reads.
#include <set>

#include "base/assert.hpp"
#include "fuzz/input.hpp"
#include "utils/dhcp.client/machine.hpp"

namespace {

using namespace iopkt;
using namespace iopkt::dhcp;
using fuzz::Input;
using wire::DhcpMessage;
using wire::DhcpOption;
using wire::DhcpType;
using wire::Ipv4Address;

constexpr wire::MacAddress kOwn{{2, 0, 0, 0, 0, 9}};
constexpr Ipv4Address kServers[] = {{10, 0, 0, 1}, {10, 0, 0, 2}};
constexpr Ipv4Address kAddresses[] = {{10, 0, 0, 50}, {10, 0, 0, 51}, {}, {224, 0, 0, 1}, {127, 0, 0, 1}, {255, 255, 255, 255}, {10, 0, 0, 52}, {0, 0, 0, 9}};
constexpr Ipv4Address kEverybody{255, 255, 255, 255};
constexpr std::uint32_t kForever = 0xffffffff;

std::array<std::byte, 4> number(std::uint32_t n) {
  std::array<std::byte, 4> out{};
  store_be32(out, 0, n);
  return out;
}

class Run {
 public:
  explicit Run(std::uint8_t kind)
      : settings_{.hardware = kOwn, .client_id = {}, .hostname = "box",
                  .only_server = kind % 2 != 0 ? std::optional{kServers[0]} : std::nullopt,
                  .attempts = kind / 2 % 4u, .conflicts = kind / 8 % 4u, .unicast = kind / 32 % 2 != 0},
        machine_(settings_, kind) {
    note(machine_.start(now_));
  }

  void step(Input& in) {
    const std::uint8_t op = in.u8();
    switch (op % 8) {
      case 0:
      case 1:
      case 2:
      case 3: hear(in, op / 8); break;
      case 4: pass(std::chrono::milliseconds(in.u16())); break;
      case 5: pass(std::chrono::seconds(in.u32() >> op / 8 % 32)); break;
      case 6:
        // To the moment itself.
        if (!machine_.next_deadline().is_never()) pass(std::max(machine_.next_deadline() - now_, Duration{}));
        break;
      case 7:
        if (op / 8 % 8 == 0) note(machine_.release(now_));
        else if (op / 8 % 2 == 0) note(machine_.decline(now_));
        else if (op / 8 % 4 == 1) machine_.accepted();
        else heard_ = std::nullopt, note(machine_.on_message(in.bytes(in.u8()), now_));
        break;
    }
    check();
  }

 private:
  void hear(Input& in, unsigned how) {
    DhcpMessage m{.op = DhcpMessage::kReply, .xid = xid_, .hardware = kOwn, .options = {}};
    m.add8(DhcpOption::message_type, how % 4 == 3 ? in.u8() : static_cast<std::uint8_t>(how % 4 == 0 ? DhcpType::offer : how % 4 == 1 ? DhcpType::ack : DhcpType::nak));
    const std::uint8_t what = in.u8(), twist = in.u8();
    m.yiaddr = kAddresses[what % 8];
    if (what / 8 % 4 != 3) m.add_address(DhcpOption::server, kServers[what / 8 % 2]);
    if (what / 32 % 2 == 0) m.add(DhcpOption::lease_time, number(twist % 2 == 0 ? 3600 : in.u32()));
    if ((twist & 2) != 0) m.add(DhcpOption::renewal_time, number(in.u32()));
    if ((twist & 4) != 0) m.add(DhcpOption::rebinding_time, number(in.u32()));
    if ((twist & 8) != 0) m.add(DhcpOption::subnet_mask, number(in.u32()));
    if ((twist & 16) != 0) m.add(static_cast<DhcpOption>(in.u8()), in.bytes(in.u8()));
    if ((twist & 0xe0) == 0xe0) m.xid = in.u32();
    if ((twist & 0xe0) == 0xc0) m.hardware.bytes[5] = in.u8();
    std::vector<std::byte> bytes = encode_dhcp(m);
    if ((twist & 0xe0) == 0xa0) bytes[in.u16() % bytes.size()] = std::byte{in.u8()};
    // What the machine reads, if it can.
    heard_.reset();
    if (const auto read = wire::parse_dhcp(bytes); read && read->op == DhcpMessage::kReply && read->xid == xid_ && read->hardware == kOwn) heard_ = *read;
    if (heard_ && heard_->type() == DhcpType::offer)
      if (const auto server = heard_->address(DhcpOption::server)) offers_.insert({*server, heard_->yiaddr});
    note(machine_.on_message(bytes, now_));
    heard_.reset();
  }

  void pass(Duration time) {
    constexpr Instant kEnd{std::int64_t{1} << 61};
    if (time > kEnd - now_) return;
    const Instant until = now_ + time;
    for (int turns = 0; machine_.next_deadline() <= until; ++turns) {
      // Three seconds between two tries at least; a lease that is over already brings some turns at one moment.
      if (turns > 300) break;
      const Instant before = now_;
      now_ = std::max(now_, machine_.next_deadline());
      at_once_ = now_ == before ? at_once_ + 1 : 0;
      IOPKT_ASSERT(at_once_ < 8);
      note(machine_.on_time(now_));
      check();
    }
    if (machine_.next_deadline() <= until) return;
    now_ = until;
  }

  void note(const Machine::Result& r) {
    IOPKT_ASSERT(r.send.size() <= 1);
    for (const Machine::Out& out : r.send) sent(out);
    if (r.unconfigure) applied_.reset();
    if (r.configure) bound(*r.configure);
    if (!r.configure && heard_ && heard_->type() == DhcpType::ack && machine_.state() == State::bound) granted_at_ = asked_at_;
  }

  void sent(const Machine::Out& out) {
    const auto m = wire::parse_dhcp(out.message);
    IOPKT_ASSERT(m && m->op == DhcpMessage::kRequest && m->hardware == kOwn && m->type());
    const DhcpType type = *m->type();
    if (type == DhcpType::discover) {
      IOPKT_ASSERT(out.to == kEverybody && m->broadcast == !settings_.unicast);
      if (m->xid != xid_) offers_.clear();
    } else if (type == DhcpType::request) {
      asked_at_ = now_;
      const auto wanted = m->address(DhcpOption::requested_address), server = m->address(DhcpOption::server);
      if (machine_.state() == State::requesting) {
        IOPKT_ASSERT(wanted && server && offers_.contains({*server, *wanted}));
        IOPKT_ASSERT(!settings_.only_server || *server == *settings_.only_server);
        IOPKT_ASSERT(m->xid == xid_ && out.to == kEverybody);
        wanted_ = *wanted;
        server_ = *server;
      } else {
        IOPKT_ASSERT(machine_.lease() && m->ciaddr == machine_.lease()->address && !wanted && !server);
        IOPKT_ASSERT(out.to == (machine_.state() == State::renewing ? machine_.lease()->server : kEverybody));
      }
    } else {
      IOPKT_ASSERT(type == DhcpType::release || type == DhcpType::decline);
      IOPKT_ASSERT(applied_);
    }
    xid_ = m->xid;
  }

  void bound(const Lease& lease) {
    IOPKT_ASSERT(heard_ && heard_->type() == DhcpType::ack && heard_->yiaddr == lease.address);
    IOPKT_ASSERT(lease.address == (applied_ ? applied_->address : wanted_));
    if (!applied_) IOPKT_ASSERT(lease.server == server_);
    if (settings_.only_server) IOPKT_ASSERT(lease.server == *settings_.only_server);
    IOPKT_ASSERT(!lease.address.is_unspecified() && !lease.address.is_multicast() && !lease.address.is_loopback() && lease.address != kEverybody);
    IOPKT_ASSERT(lease.prefix_length >= 1 && lease.prefix_length <= 32 && lease.routes.size() <= kRoutesMax && (lease.mtu == 0 || lease.mtu >= 576));
    IOPKT_ASSERT(lease.seconds >= 60 && lease.renew_s >= 30 && lease.renew_s < lease.rebind_s && lease.rebind_s < lease.seconds);
    applied_ = lease;
    granted_at_ = asked_at_;
  }

  void check() {
    const State state = machine_.state();
    const bool has = state == State::bound || state == State::renewing || state == State::rebinding;
    IOPKT_ASSERT(machine_.lease().has_value() == has && machine_.lease() == applied_);
    IOPKT_ASSERT((state == State::given_up) == machine_.next_deadline().is_never() || (has && applied_->seconds == kForever));
    if (state == State::given_up) IOPKT_ASSERT(machine_.on_time(now_).send.empty());
    // It is over when it is over, once its time was asked for.
    if (has && applied_->seconds != kForever && machine_.next_deadline() > now_)
      IOPKT_ASSERT(now_ < granted_at_ + std::chrono::seconds(applied_->seconds));
  }

  Settings settings_;
  Machine machine_;
  Instant now_{1}, asked_at_{}, granted_at_{};
  std::uint32_t xid_ = 0;
  Ipv4Address wanted_, server_;
  std::set<std::pair<Ipv4Address, Ipv4Address>> offers_;  // by server, for this xid
  std::optional<DhcpMessage> heard_;
  std::optional<Lease> applied_;
  int at_once_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input in{data, size};
  Run run{in.u8()};
  for (int step = 0; step < 300 && !in.empty(); ++step) run.step(in);
  return 0;
}
