#include "stack/stack.hpp"

#include "stack/ways.hpp"

namespace iopkt::stack {

namespace {
constexpr std::uint32_t kLoopbackMtu = 33192;

NetworkPtr first_network(bool with_ipv6) {
  Network network;
  for (std::uint32_t n = 0; n < route::kFibCount; ++n) network.fibs[n] = route::Fib(n);
  iface::Interface lo;
  lo.index = kLoopbackIndex;
  lo.name = "lo0";
  lo.link_type = iface::LinkType::loopback;
  lo.mtu = kLoopbackMtu;
  lo.flags = iface::flag::up | iface::flag::loopback | iface::flag::running | iface::flag::multicast;
  lo.capabilities = lo.enabled_capabilities = IOPKT_CAP_CSUM_TX | IOPKT_CAP_CSUM_RX | IOPKT_CAP_TSO4 | IOPKT_CAP_TSO6 | IOPKT_CAP_USO;
  lo.addresses.push_back({.address = wire::Ipv4Address::loopback(), .prefix_length = 8, .broadcast = {}, .peer = {}});
  if (with_ipv6) lo.addresses.push_back({.address = wire::Ipv6Address::loopback(), .prefix_length = 128});
  network.interfaces = iface::InterfaceTable({std::make_shared<const iface::Interface>(std::move(lo))});
  return std::make_shared<const Network>(std::move(network));
}
}  // namespace

Stack::Stack(const StackConfig& config, packet::PageSource& pages, std::span<RingSource* const> rings, LogSink& log)
    : config_(config),
      log_(log),
      pools_(config.pools, pages),
      tcp_ports_(socket::PortTable::Rules::tcp),
      udp_ports_(socket::PortTable::Rules::udp),
      udplite_ports_(socket::PortTable::Rules::udp),
      network_(first_network(config.inet6 != nullptr)) {
  IOPKT_ASSERT(config.shards >= 1 && config.shards <= 64 && rings.size() == config.shards);
  for (std::uint32_t n = 0; n < config.shards; ++n) shards_.push_back(std::make_unique<Shard>(*this, n, *rings[n]));
  for (auto& from : shards_)
    for (auto& to : shards_)
      if (from != to) to->state().inbox[from->number()] = from->state().outbox[to->number()].get();
}

Stack::~Stack() {
  // Messages under way hold packets of their senders' caches and claims of ports: they go first.
  for (auto& shard : shards_) {
    ShardState& s = shard->state();
    for (SpscQueue<Message>* queue : s.inbox) {
      Message message;
      while (queue != nullptr && queue->pop(message)) message = std::monostate{};
    }
    for (auto& waiting : s.overflow) waiting.clear();
  }
}

void Stack::publish(Network next) {
  ShardState& first = shards_[0]->state();
  next.version = network_->version + 1;
  network_ = std::make_shared<const Network>(std::move(next));
  adopt_network(first, network_);
  send_to_all_others(first, [&] { return message::NewNetwork{network_}; });
}

std::uint32_t Stack::shard_of_flow(std::uint32_t hash) const {
  if (config_.dedicated_local) return 0;
  return hash / 2 % shard_count();
}

std::uint32_t Stack::shard_of_port(wire::Port port) const {
  if (config_.dedicated_local) return 0;
  return port_hash(config_.key, port) % shard_count();
}

}  // namespace iopkt::stack
