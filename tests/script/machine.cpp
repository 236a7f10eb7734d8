#include "tests/script/machine.hpp"

#include <algorithm>

#include "control/interfaces.hpp"
#include "control/variables.hpp"
#include "ipv6/inet6.hpp"
#include "packet/segment.hpp"
#include "stack/state.hpp"
#include "wire/ethernet.hpp"

namespace iopkt::script {
namespace {

constexpr std::size_t kEthernet = 14;
constexpr wire::MacAddress kOwnMac{{0x02, 0, 0, 0, 0, 1}}, kRouterMac{{0x02, 0, 0, 0, 0, 2}};

/// The IP packet of a frame; short frames are longer than it.
PacketBytes without_padding(const PacketBytes& frame) {
  const bool v6 = load_be16(frame, 12) == 0x86dd;
  const std::size_t length = v6 ? 40u + load_be16(frame, kEthernet + 4) : load_be16(frame, kEthernet + 2);
  const std::size_t end = std::min(frame.size(), kEthernet + length);
  return {frame.begin() + kEthernet, frame.begin() + static_cast<std::ptrdiff_t>(end)};
}

/// What keeps neighbours, routers and groups known is no part of a script.
bool is_discovery(const PacketBytes& frame) {
  if (load_be16(frame, 12) != 0x86dd) return false;
  const std::uint8_t next = load_u8(frame, kEthernet + 6);
  const std::uint8_t type = frame.size() > kEthernet + 40 ? load_u8(frame, kEthernet + 40) : std::uint8_t{0};
  return next == 0 || (next == 58 && type >= 130);
}

}  // namespace

class Machine::Rings final : public stack::RingSource {
 public:
  Rings(Machine& machine, std::uint32_t shard) : machine_(machine), shard_(shard) {}
  bool provide(stack::Cookie, std::uint32_t send, std::uint32_t receive, stack::Rings& out) override {
    return machine_.provide_rings(shard_, send, receive, out);
  }
  void take_back(stack::Cookie cookie) override { machine_.take_back_rings(cookie); }

 private:
  Machine& machine_;
  std::uint32_t shard_;
};

Machine::Machine(const MachineOptions& options) : options_(options) {
  Random random{options.seed};
  stack::StackConfig config;
  config.shards = options.shards;
  config.key = {random.next(), random.next()};
  config.seed = random.next();
  config.inet6 = &ipv6::inet6();
  std::vector<stack::RingSource*> rings;
  for (std::uint32_t n = 0; n < config.shards; ++n) {
    rings_.push_back(std::make_unique<Rings>(*this, n));
    rings.push_back(rings_.back().get());
  }
  stack_ = std::make_unique<stack::Stack>(config, pages_, rings, *this);
  stack::Network network = *stack_->network();
  iface::Interface en;
  en.index = interface_index_ = control::next_index(network);
  en.name = "en0";
  en.mtu = options.mtu;
  en.mac = kOwnMac;
  en.flags = iface::flag::up | iface::flag::running | iface::flag::broadcast | iface::flag::simplex | iface::flag::multicast;
  for (const char* off : {"net.inet6.ip6.auto_linklocal", "net.inet6.ip6.accept_rtadv", "net.inet6.ip6.dad_count"})
    IOPKT_ASSERT(control::set_variable(network, off, "0").error == socket::Errno::ok);
  IOPKT_ASSERT(control::add_interface(network, en) == socket::Errno::ok);
  IOPKT_ASSERT(control::add_address(network, en.index, {.address = kLocal, .prefix_length = std::uint8_t{16}}) == socket::Errno::ok);
  IOPKT_ASSERT(control::add_route(network, {.prefix = {wire::Ipv4Address::any(), 0}, .gateway = kRouter}) == socket::Errno::ok);
  IOPKT_ASSERT(control::add_address(network, en.index, {.address = kLocal6, .prefix_length = std::uint8_t{64},
                                                        .flags = iface::address_flag::no_dad}) == socket::Errno::ok);
  IOPKT_ASSERT(control::add_route(network, {.prefix = {wire::Ipv6Address::any(), 0}, .gateway = kRouter6}) == socket::Errno::ok);
  stack_->publish(std::move(network));
  for (std::uint32_t n = 0; n < config.shards; ++n) {
    shard(n).begin(now_);
    static_cast<void>(shard(n).poll_inbox());
  }
  IOPKT_ASSERT(shard(0).set_neighbour({interface_index_, kRouter}, kRouterMac, {}) == socket::Errno::ok);
  IOPKT_ASSERT(shard(0).set_neighbour({interface_index_, kRouter6}, kRouterMac, {}) == socket::Errno::ok);
  for (std::uint32_t n = 0; n < config.shards; ++n) turn(n);
}

Machine::~Machine() = default;

void Machine::receive(Bytes packet) {
  PacketBytes frame(kEthernet);
  wire::store_mac(frame, 0, kOwnMac);
  wire::store_mac(frame, 6, kRouterMac);
  const bool v6 = !packet.empty() && std::to_integer<unsigned>(packet[0]) >> 4 == 6;
  store_be16(frame, 12, v6 ? 0x86dd : 0x0800);
  frame.insert(frame.end(), packet.begin(), packet.end());
  // Packets are spread over the shards as a device with several queues would.
  arrived_.emplace_back(next_queue_++ % options_.shards, std::move(frame));
  settle();
}

std::optional<Captured> Machine::take() {
  if (sent_.empty()) return std::nullopt;
  Captured first = std::move(sent_.front());
  sent_.pop_front();
  return first;
}

bool Machine::step(Instant limit) {
  Instant next = limit;
  for (std::uint32_t n = 0; n < options_.shards; ++n) next = std::min(next, shard(n).next_deadline());
  if (next > now_) now_ = next;
  settle();
  return now_ < limit;
}

void Machine::settle() {
  // A stack that never comes to rest is a defect: the bound turns it into a failing script.
  constexpr int kMostTurns = 100'000;
  bool any = true;
  for (int turns = 0; any; ++turns) {
    IOPKT_ASSERT(turns < kMostTurns);
    any = false;
    for (std::uint32_t n = 0; n < options_.shards; ++n) any |= turn(n);
  }
}

bool Machine::turn(std::uint32_t n) {
  stack::Shard& s = shard(n);
  s.begin(now_);
  bool any = s.poll_inbox();
  packet::Burst burst;
  for (const auto& [queue, frame] : arrived_) {
    if (queue != n) continue;
    packet::PacketPtr packet = packet::allocate_header(s.cache());
    IOPKT_ASSERT(packet && packet->append(frame));
    burst.push_back(std::move(packet));
  }
  std::erase_if(arrived_, [&](const auto& one) { return one.first == n; });
  if (!burst.empty()) {
    any = true;
    s.receive(interface_index_, std::move(burst));
  }
  any |= s.next_deadline() <= now_;
  s.run_timers();
  s.finish();
  const std::size_t sent_before = sent_.size();
  transmit(n);
  any |= sent_.size() != sent_before;
  for (const stack::AcceptEvent& event : s.take_accepts()) on_accept(n, event), any = true;
  for (const stack::SocketEvent& event : s.take_events()) on_event(n, event), any = true;
  for (stack::Datagram& datagram : s.take_datagrams()) on_datagram(n, std::move(datagram)), any = true;
  static_cast<void>(s.take_wakeups());
  return any || s.has_work();
}

void Machine::transmit(std::uint32_t n) {
  const auto pending = shard(n).transmit_pending();
  for (const std::uint32_t index : std::vector<std::uint32_t>(pending.begin(), pending.end())) {
    packet::Burst burst = shard(n).take_transmit(index);
    for (packet::PacketPtr& packet : burst) {
      packet::Burst frames;
      if ((packet->flags & packet::kGsoFlags) != 0) IOPKT_ASSERT(packet::segment(*packet, kEthernet, frames).has_value());
      else frames.push_back(std::move(packet));
      for (packet::PacketPtr& one : frames) {
        packet::complete_checksum(*one);
        PacketBytes frame(one->size());
        one->copy_out(0, frame);
        // Nobody answers ARP here, and the router is known without.
        const std::uint16_t type = load_be16(frame, 12);
        if (type == 0x0800 || (type == 0x86dd && !is_discovery(frame))) sent_.push_back({now_, without_padding(frame)});
      }
    }
  }
}

std::optional<std::string> Machine::set_variable(std::string_view name, std::string_view value) {
  stack::Network next = *stack_->network();
  const control::SetResult result = control::set_variable(next, name, value);
  if (result.error != socket::Errno::ok) return result.line.empty() ? "no such variable: " + std::string(name) : result.line;
  stack_->publish(std::move(next));
  settle();
  return std::nullopt;
}

std::uint64_t Machine::drops(packet::Drop reason) const {
  std::uint64_t sum = 0;
  for (std::uint32_t n = 0; n < stack_->shard_count(); ++n) sum += stack_->shard(n).state().counters.drops.value(reason);
  return sum;
}

}  // namespace iopkt::script
