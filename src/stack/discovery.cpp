// IPv6 neighbour discovery, on shard 0: between packets, the machine of src/ipv6 and the tables that all shards read.
#include "stack/ways.hpp"

namespace iopkt::stack {

using packet::Drop;
using packet::PacketPtr;

namespace {

/// RFC 6980 section 5: in fragments, or with the header of one that is the whole.
bool has_fragment_header(const Arrival& at) {
  if (at.fragmented) return true;
  const auto upper = wire::find_upper_layer(at.ip.bytes.span());
  return upper && upper->fragment;
}

void carry_out(ShardState& s, const ipv6::DiscoveryOutcome& outcome) {
  neigh::Actions actions;
  for (const ipv6::DiscoveryHeard& heard : outcome.heard) {
    if (heard.mac) s.neighbours->learned(heard.key, *heard.mac, heard.how, s.now, actions);
    else s.neighbours->confirm(heard.key, s.now, actions);
  }
  apply_neighbour_actions(s, actions);
  for (const ipv6::DiscoveryMessage& message : outcome.send) send_discovery(s, message);
  for (const std::string& line : outcome.log) s.stack.log().write(LogLevel::warning, line);
}

}  // namespace

ipv6::DiscoveryState Shard::discovery_state() const {
  return state_->discovery ? state_->discovery->state() : ipv6::DiscoveryState{};
}

Errno Shard::solicit_routers(std::uint32_t interface_index) {
  ShardState& s = *state_;
  const bool taken = s.discovery && s.settings.ipv6.accept_rtadv != 0 && s.settings.ipv6.forwarding == 0;
  if (!taken) return Errno::opnotsupp;
  return s.discovery->solicit_again(interface_index, s.now) ? Errno::ok : Errno::nxio;
}

std::size_t Shard::forget_advertised(ipv6::Discovery::What what) {
  return state_->discovery ? state_->discovery->forget(what, state_->now) : 0;
}

void rx_discovery(ShardState& s, const Arrival& at, const packet::Packet& message) {
  if (!s.discovery) return s.drop(Drop::nd_ignored);  // another shard got it: a sender that plays with extension headers
  if (has_fragment_header(at)) return s.drop(Drop::nd_malformed);
  std::vector<std::byte> bytes(message.size());
  message.copy_out(0, bytes);
  const ipv6::DiscoveryContext context{*at.in, s.network->fibs[at.in->fib], at.ip, membership6(s), s.neighbours.get(), s.now};
  const auto outcome = s.discovery->input(context, bytes);
  if (!outcome) return s.drop(outcome.error());
  carry_out(s, *outcome);
}

void run_discovery(ShardState& s) {
  Network next = *s.network;
  ipv6::DiscoveryOutcome outcome;
  if (s.discovery->run(s.now, {next.interfaces, next.fibs}, outcome)) s.stack.publish(std::move(next));
  carry_out(s, outcome);
}

void send_discovery(ShardState& s, const ipv6::DiscoveryMessage& message, const wire::MacAddress& to) {
  const iface::Interface* out = s.interface(message.interface_index);
  if (out == nullptr || !out->is_up()) return s.drop(Drop::ip_down);
  PacketPtr packet = packet::allocate_header(s.cache);
  if (!packet || !packet->append(message.bytes)) return s.drop(Drop::no_buffer);
  const auto added = put_ipv6_header(s, *packet, {.payload_len = 0,
                                                  .next_header = wire::IpProtocol::icmpv6,
                                                  .hop_limit = 255,
                                                  .src = message.src.v6(),
                                                  .dst = message.dst.v6()});
  if (!added) return s.drop(added.error());
  if (!to.is_zero()) return tx_link(s, *out, std::move(packet), to, wire::EtherType::ipv6);
  static_cast<void>(tx_packet(s, std::move(packet), {out, message.dst, out->mtu, out->mtu, false}));
}

}  // namespace iopkt::stack
