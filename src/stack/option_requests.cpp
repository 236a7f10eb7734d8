// setsockopt(2): what an option of a socket makes of the tables that know the socket, beside what src/socket keeps.
#include <cstring>

#include "socket/numbers.hpp"
#include "stack/ways.hpp"

namespace iopkt::stack {

namespace num = socket::num;

socket::PortTable& ports_of(ShardState& s, const Socket& k) {
  switch (k.kind) {
    case socket::SocketKind::tcp: return s.stack.tcp_ports();
    case socket::SocketKind::udplite: return s.stack.udplite_ports();
    default: return s.stack.udp_ports();
  }
}

namespace {

/// Before a connection is, or while others are waited for.
Errno fast_open_refused(const ShardState& s, const Socket& k, int name) {
  const bool unconnected = k.state == SocketState::fresh || k.state == SocketState::bound;
  if (name == num::tcp_fastopen) return unconnected || k.state == SocketState::listening ? Errno::ok : Errno::inval;
  if (name != num::tcp_fastopen_connect) return Errno::ok;
  if (s.settings.tcp.fastopen_client == 0) return Errno::opnotsupp;
  return unconnected ? Errno::ok : Errno::inval;
}

/// What only the socket's state forbids of its options. Errors: inval, nodev.
Errno refused_now(const ShardState& s, const Socket& k, int level, int name, Bytes value) {
  if (level == num::kSolTcp && k.kind == socket::SocketKind::tcp) return fast_open_refused(s, k, name);
  if (level != num::kSolIpv6 || k.family != wire::IpFamily::v6) return Errno::ok;
  if (name == num::ipv6_v6only && (k.binding || k.kind == socket::SocketKind::raw)) return Errno::inval;
  if (name == num::ipv6_checksum && k.protocol == static_cast<std::uint8_t>(wire::IpProtocol::icmpv6)) return Errno::inval;
  std::uint32_t index = 0;
  if (name != num::ipv6_multicast_if || k.kind == socket::SocketKind::tcp || value.size() < sizeof index) return Errno::ok;
  std::memcpy(&index, value.data(), sizeof index);
  if (index == 0) return Errno::ok;
  if (s.interface(index) == nullptr) return Errno::nodev;
  return k.bound_interface != 0 && k.bound_interface != index ? Errno::inval : Errno::ok;
}

/// A server sets the same on each connection that it accepts. Keys count as long as somebody has them, so they are not kept here.
void adopt_options(ShardState& s, Socket& k, socket::SocketOptions&& wanted) {
  if (wanted == *k.options) return;
  for (const socket::SharedOptions& one : s.recent_options)
    if (*one == wanted) return void(k.options = one);
  k.options.adopt(std::move(wanted));
  if (!k.options->keys) s.recent_options[s.next_recent++ % s.recent_options.size()] = k.options;
}

}  // namespace

namespace {
constexpr std::uint32_t kLabelMask = 0xfffff;
}

socket::Result<std::uint32_t> Shard::manage_flow_label(SocketId id, Bytes request, std::uint32_t process, bool privileged) {
  ShardState& s = *state_;
  Socket* k = s.find(id);
  if (k == nullptr) return unexpected(Errno::badf);
  if (k->family != wire::IpFamily::v6) return unexpected(Errno::noprotoopt);
  const auto wish = socket::FlowLabelRequest::parse(request);
  if (!wish) return unexpected(wish.error());
  const auto label = s.stack.flow_labels().change(k->flow_labels.make(), *wish, {process, k->user, privileged}, s.now, s.random);
  if (label && wish->action == socket::FlowLabelRequest::Action::put && wish->label == k->options->flow_label6) k->options.change([](socket::SocketOptions& o) { o.flow_label6 = 0; });
  return label;
}

Errno Shard::use_flow_info(SocketId id, std::uint32_t flow_info) {
  ShardState& s = *state_;
  Socket* k = s.find(id);
  if (k == nullptr) return Errno::badf;
  const std::uint32_t label = k->options->flow_info_send != 0 ? flow_info & kLabelMask : 0;
  if (label == k->options->flow_label6) return Errno::ok;
  if (!s.stack.flow_labels().may_send(k->leased_labels(), label)) return Errno::inval;
  k->options.change([&](socket::SocketOptions& o) { o.flow_label6 = label; });
  return Errno::ok;
}

Errno Shard::check_flow_label(SocketId id, std::uint32_t label) const {
  const Socket* k = state_->find(id);
  if (k == nullptr) return Errno::badf;
  return state_->stack.flow_labels().may_send(k->leased_labels(), label & kLabelMask) ? Errno::ok : Errno::inval;
}

Errno Shard::set_option(SocketId id, int level, int name, Bytes value, bool privileged) {
  ShardState& s = *state_;
  Socket* k = s.find(id);
  if (k == nullptr) return Errno::badf;
  if (const Errno refused = refused_now(s, *k, level, name, value); refused != Errno::ok) return refused;
  if (const auto done = set_group_option(s, *k, level, name, value, privileged)) return *done;
  socket::SocketOptions wanted_options = *k->options;
  const auto key_set = set_key_option(s, *k, wanted_options, level, name, value);
  const bool txprio = s.stack.config().txprio_enabled;
  const Errno result = key_set ? *key_set : socket::set_option(wanted_options, k->kind, level, name, value, privileged, txprio, k->family);
  if (result != Errno::ok) return result;
  const bool binds = level == num::kSolSocket && name == num::so_bindtodevice;
  const bool to_device = binds && !wanted_options.bind_device.empty();
  const iface::Interface* device = to_device ? s.network->interfaces.by_name(wanted_options.bind_device) : nullptr;
  if (to_device && device == nullptr) return Errno::nodev;
  adopt_options(s, *k, std::move(wanted_options));
  k->fib = static_cast<std::uint8_t>(k->options->fib);
  if (binds) {
    k->bound_interface = device == nullptr ? 0 : device->index;
    if (k->kind == socket::SocketKind::raw) register_raw(s, *k);
  }
  const bool group_rule = (level == num::kSolIp && name == num::ip_multicast_all) || (level == num::kSolIpv6 && name == num::ipv6_multicast_all);
  const bool filter_rule = (level == num::kSolRaw && name == num::icmp_filter) || k->family == wire::IpFamily::v6;
  if (k->kind == socket::SocketKind::raw && (group_rule || filter_rule)) register_raw(s, *k);
  // What the directory of the port knows of a socket.
  const bool listed = (level == num::kSolSocket && (name == num::so_bindtodevice || name == num::so_reuseport)) || group_rule ||
                      (level == num::kSolUdpLite && name == num::udplite_recv_cscov);
  if (listed && is_udp(k->kind) && k->binding) unregister_port(s, *k), register_port(s, *k);
  if (level == num::kSolSocket && (name == num::so_reuseaddr || name == num::so_reuseport) && k->binding)
    ports_of(s, *k).update(*k->binding, k->options->reuse_address != 0, k->options->reuse_port != 0);
  if (k->listener && k->state == SocketState::listening) k->listener->set_options(k->options);
  if (k->tcp) {
    tcp::Options wanted = tcp_options(*k->options);
    wanted.signature_len = signature_len(*k->options, k->remote.address);
    wanted.network_words = static_cast<std::uint8_t>(way_of({k->local, k->remote}, &*k->options).extra_len() / 4);
    k->tcp->set_options(wanted, s.now);
    if (level == num::kSolTcp && name == num::tcp_window_clamp)
      k->tcp->set_receive_capacity(offered_capacity(*k->options, k->receive.memory.size));
    mark_dirty(s, *k);
  }
  return Errno::ok;
}

}  // namespace iopkt::stack
