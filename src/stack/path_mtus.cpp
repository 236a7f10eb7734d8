// What is learned of the MTU of paths: RFC 1191, RFC 8201. Whoever sent the packet that a message quotes has to know it first: connections
// (tcp_input.cpp), senders of datagrams here.
#include <bit>

#include "stack/ways.hpp"

namespace iopkt::stack {

namespace {

/// IPv6 has no choice: nobody else cuts.
bool learns(const ShardState& s, wire::IpFamily family) { return family == wire::IpFamily::v6 || s.settings.ipv4.mtu_discovery != 0; }

}  // namespace

std::uint32_t known_path_mtu(const ShardState& s, const wire::IpAddress& destination, std::uint8_t fib) {
  return learns(s, destination.family()) ? s.path_mtus.find({destination, fib}, s.now) : 0;
}

bool take_path_mtu(ShardState& s, const message::PathMtu& news) {
  const bool narrowed = s.path_mtus.learn({news.destination, news.fib}, news.mtu, s.now);
  s.path_narrowed = s.path_narrowed || narrowed;
  return narrowed;
}

void learn_path_mtu(ShardState& s, const wire::IpAddress& destination, std::uint8_t fib, std::uint32_t mtu) {
  const message::PathMtu news{destination, fib, mtu};
  if (learns(s, destination.family()) && take_path_mtu(s, news)) send_to_all_others(s, [&] { return news; });
}

void note_long_datagram(ShardState& s, const Socket& k, const Outgoing& how, const Path& path, std::size_t length) {
  // What routers quote.
  const wire::IpAddress& to = how.destination.is_v4() ? how.towards() : how.final_destination();
  if (path.local || length <= route::least_path_mtu(to.family()) || !socket::accepts_path_mtu(*k.options, to)) return;
  s.long_sent.note({to, k.local.port.value, k.protocol}, k.fib, s.now);
}

void claim_path_mtu(ShardState& s, message::PathMtuClaim claim) {
  claim.shards &= ~(std::uint64_t{1} << s.number);
  const auto fib = s.long_sent.find({claim.destination, claim.port.value, static_cast<std::uint16_t>(claim.protocol)}, s.now);
  if (fib) return learn_path_mtu(s, claim.destination, *fib, claim.mtu);
  if (claim.shards == 0) return s.drop(packet::Drop::icmp_not_sent);
  send_to(s, static_cast<std::uint32_t>(std::countr_zero(claim.shards)), Message{claim});
}

}  // namespace iopkt::stack
