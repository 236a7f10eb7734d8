// What neighbour discovery messages say: their validity (RFC 4861 sections 6.1, 7.1, 8.1) and what is made of them.
#include <algorithm>

#include "ipv6/host.hpp"
#include "wire/icmpv6.hpp"

namespace iopkt::ipv6 {
namespace {

namespace aflag = iface::address_flag;
using packet::Drop;
using wire::IpAddress;
using wire::Ipv6Address;

constexpr std::uint8_t kHopLimit = 255;
constexpr std::uint8_t kLeastHopLimit = 32;  // what routers may lower ours to: the paths of today's Internet are shorter
constexpr Duration kComplaintTime = 10s;
constexpr std::uint64_t kAnycastDelayNs = 1'000'000'000;  // RFC 4861 section 10: MAX_ANYCAST_DELAY_TIME
constexpr std::size_t kServersMax = wire::kNdServersMax, kDomainsMax = wire::kNdDomainsMax;
// RFC 4861 section 6.2.1 ends reachable times at an hour. The others are ours: what is said outside costs more than it is worth.
constexpr std::uint32_t kReachableLeast = 100, kReachableMost = 3'600'000, kRetransmitLeast = 100, kRetransmitMost = 60'000;
constexpr Duration kReachableRenewed = 7200s;  // RFC 4861 section 6.3.4: another random one every few hours

/// A station's address: neither a group's nor none, and not ours, which would send our own packets back to us.
bool is_station(const std::optional<wire::MacAddress>& mac, const iface::Interface& in) {
  return !mac || (!mac->is_multicast() && !mac->is_zero() && *mac != in.mac);
}

/// RFC 4861 section 7.2.5: whether the neighbour cache takes an advertisement in. What it does not take in says nothing of routers either.
bool is_taken_in(const neigh::Neighbours* neighbours, const neigh::Key& key, const wire::NeighbourAdvertisement& m,
                 const std::optional<wire::MacAddress>& mac) {
  using neigh::State;
  const neigh::Entry* known = neighbours != nullptr ? neighbours->find(key) : nullptr;
  if (known == nullptr || known->proxy_only) return false;
  if (known->state == State::incomplete || known->state == State::failed) return mac.has_value();
  return !mac || *mac == known->mac || (m.override_ && known->state != State::permanent);
}

}  // namespace

Expected<DiscoveryOutcome, Drop> Host::input(const DiscoveryContext& context, Bytes message) {
  if (context.header.ttl != kHopLimit) return unexpected(Drop::nd_bad_hop_limit);
  const auto nd = wire::parse_nd(message);
  if (!nd) return unexpected(Drop::nd_malformed);
  if (!is_station(nd->options.source_link, context.in) || !is_station(nd->options.target_link, context.in))
    return unexpected(Drop::nd_bad_address);
  if (const auto* m = std::get_if<wire::NeighbourSolicitation>(&nd->body)) return solicited(context, *m, nd->options);
  if (const auto* m = std::get_if<wire::NeighbourAdvertisement>(&nd->body)) return advertised(context, *m, nd->options);
  if (const auto* m = std::get_if<wire::RouterAdvertisement>(&nd->body)) return router_advertised(context, *m, nd->options);
  if (const auto* m = std::get_if<wire::NdRedirect>(&nd->body)) return redirected(context, *m, nd->options);
  return unexpected(Drop::nd_not_for_us);  // a router solicitation: advertising is no host's business
}

Host::Answer Host::solicited(const DiscoveryContext& context, const wire::NeighbourSolicitation& m, const wire::NdOptions& options) {
  const IpAddress &src = context.header.src, &dst = context.header.dst;
  const bool probes = src.is_unspecified();
  if (m.target.is_multicast() || m.target.is_unspecified()) return unexpected(Drop::nd_bad_address);
  if (probes && (options.source_link || dst.v6() != m.target.solicited_node())) return unexpected(Drop::nd_bad_address);
  const IpAddress target = context.in.here(m.target);
  const iface::InterfaceAddress* own = context.in.find(target);
  const bool proxied = own == nullptr && context.neighbours != nullptr && context.neighbours->published(context.in.index, target);
  const bool joined = own == nullptr && context.groups.anycast != nullptr &&
                      context.groups.anycast(context.groups.context, context.in.index, m.target, true);
  const bool anycast = joined || (own != nullptr && own->is(aflag::anycast));
  if (own == nullptr && !proxied && !joined) return unexpected(Drop::nd_not_for_us);
  if (own != nullptr && probes && is_in_detection(*own) && options.nonce &&
      found_looped(links_[context.in.index], target, *options.nonce))
    return unexpected(Drop::nd_looped);
  if (own != nullptr && probes && is_in_detection(*own)) {
    // RFC 4862 section 5.4.3: whoever probes wants the same address. RFC 4429 section 3.3: one in use already is no exception.
    found_taken(links_[context.in.index], target, context.now);
    return DiscoveryOutcome{};
  }
  // Who asks for one that is not ours yet will find nobody.
  if (own != nullptr && !own->is_usable()) return unexpected(Drop::nd_not_for_us);
  DiscoveryOutcome out;
  if (options.source_link && !probes)
    out.heard.push_back({{context.in.index, src}, options.source_link, neigh::Heard::request});
  const bool override_ = !proxied && !anycast && !own->is(aflag::optimistic);
  DiscoveryMessage answer{.interface_index = context.in.index,
                          .src = proxied || anycast ? IpAddress{} : target,
                          .dst = probes ? context.in.here(Ipv6Address::all_nodes()) : src,
                          .bytes = {}};
  std::optional<wire::MacAddress> mac = context.in.mac;
  if (proxied && !anycast) mac = context.neighbours->published(context.in.index, target);
  if (proxied || anycast) {
    const auto from = std::ranges::find_if(context.in.addresses, [](const iface::InterfaceAddress& a) {
      return is_link_local(a) && is_settled(a);
    });
    if (from == context.in.addresses.end()) return unexpected(Drop::nd_not_for_us);
    answer.src = from->address;
  }
  wire::append_neighbour_advertisement(
      answer.bytes, {.target = m.target, .router = config_.tunables.forwarding != 0, .solicited = !probes, .override_ = override_}, mac);
  if (!anycast) {
    out.send.push_back(std::move(answer));
    return out;
  }
  // RFC 4861 section 7.2.7: those that have it do not all answer at once. In a flood only the first do.
  if (delayed_.size() >= kDelayedMax) return unexpected(Drop::nd_limit);
  delayed_.push_back({context.now + Duration{static_cast<std::int64_t>(random_.below(kAnycastDelayNs))}, std::move(answer)});
  wake(delayed_.back().at);
  return out;
}

/// A line of the log now and then, whatever the rate of what it is about.
bool Host::may_complain(Link& link, Instant now) {
  if (now < link.next_complaint) return false;
  link.next_complaint = now + kComplaintTime;
  return true;
}

/// RFC 4861 sections 7.2.5 and 7.3.3: who is no router any more has no way to anywhere. True: there was one.
bool Host::forget_router(Link& link, const Ipv6Address& router, Instant now) {
  const std::size_t gone = std::erase_if(link.routers, [&](const Router& r) { return r.address == router; }) +
                           std::erase_if(link.routes, [&](const MoreSpecific& r) { return r.router == router; }) +
                           std::erase_if(link.redirects, [&](const Redirect& r) { return r.target == router && r.destination != router; });
  if (gone != 0) wake_for_news(now);
  return gone != 0;
}

Host::Answer Host::advertised(const DiscoveryContext& context, const wire::NeighbourAdvertisement& m, const wire::NdOptions& options) {
  if (m.target.is_multicast() || m.target.is_unspecified() || (m.solicited && context.header.dst.is_multicast()))
    return unexpected(Drop::nd_bad_address);
  const IpAddress target = context.in.here(m.target);
  DiscoveryOutcome out;
  if (const iface::InterfaceAddress* own = context.in.find(target)) {
    // RFC 4862 section 5.4.4: of a tentative address the other one is the owner; of one in use somebody has to look.
    if (is_in_detection(*own)) found_taken(links_[context.in.index], target, context.now);
    else if (may_complain(links_[context.in.index], context.now)) out.log.push_back(context.in.name + ": another station says that it has " + m.target.to_string());
    return out;
  }
  const neigh::Key key{context.in.index, target};
  const auto link = links_.find(context.in.index);
  const bool is_host = !m.router && is_taken_in(context.neighbours, key, m, options.target_link);
  const bool left = is_host && link != links_.end() && forget_router(link->second, m.target, context.now);
  if (!options.target_link) {
    if (left && !m.solicited) return out;
    if (!m.solicited) return unexpected(Drop::nd_not_for_us);  // it says nothing
    out.heard.push_back({key, std::nullopt, neigh::Heard::solicited});
    return out;
  }
  const auto how = m.solicited ? (m.override_ ? neigh::Heard::solicited_override : neigh::Heard::solicited)
                               : (m.override_ ? neigh::Heard::announcement : neigh::Heard::unsolicited);
  out.heard.push_back({key, options.target_link, how});
  return out;
}

Host::Answer Host::router_advertised(const DiscoveryContext& context, const wire::RouterAdvertisement& m, const wire::NdOptions& options) {
  if (!context.header.src.is_link_local()) return unexpected(Drop::nd_bad_address);
  const auto found = links_.find(context.in.index);
  if (config_.tunables.accept_rtadv == 0 || config_.tunables.forwarding != 0 || found == links_.end() || !found->second.up)
    return unexpected(Drop::nd_ignored);
  Link& link = found->second;
  ++link.advertisements;
  // RFC 4191 section 3.1: a route option for ::/0 says more of the default route than the message's head does.
  wire::NdRoute head{.prefix = {}, .length = 0, .preference = m.preference, .lifetime_s = m.lifetime_s};
  for (const wire::NdRoute& said : options.routes)
    if (said.length == 0) head = said;
  bool all = take_router(link, context, m, head);
  link.solicits_left = 0;
  link.next_solicit = Instant::never();
  // RFC 4861 section 6.2.1 trusts routers; a forged 1 would cut the interface off from all that is not on the link.
  if (m.hop_limit >= kLeastHopLimit) link.hop_limit = m.hop_limit;
  if (options.mtu && *options.mtu >= wire::Ipv6View::kMinMtu && *options.mtu <= context.in.mtu) link.mtu = options.mtu;
  take_times(link, m, context.now);
  all = take_prefixes(link, context, options) && all;
  all = take_routes(link, context, options) && all;
  take_servers(link, options, context.now);
  wake_for_news(context.now);
  if (!all || options.left_out) return unexpected(Drop::nd_limit);
  DiscoveryOutcome out;
  if (options.source_link)
    out.heard.push_back({{context.in.index, context.header.src}, options.source_link, neigh::Heard::request});
  return out;
}

/// `way`: the default route's preference and lifetime. False: there is no room for it.
bool Host::take_router(Link& link, const DiscoveryContext& context, const wire::RouterAdvertisement& m, const wire::NdRoute& way) {
  const Ipv6Address address = context.header.src.v6();
  const auto known = std::ranges::find(link.routers, address, &Router::address);
  if (known != link.routers.end()) {
    if (way.lifetime_s == 0) return link.routers.erase(known), true;
    known->preference = way.preference;
    known->managed = m.managed;
    known->other = m.other;
    known->until = after(context.now, way.lifetime_s);
    return true;
  }
  if (way.lifetime_s == 0) return true;
  if (link.routers.size() >= config_.tunables.max_routers) return false;
  link.routers.push_back({.address = address, .preference = way.preference, .until = after(context.now, way.lifetime_s),
                          .managed = m.managed, .other = m.other});
  ++config_.counters.routers_learned;
  return true;
}

/// RFC 4861 section 6.3.4; 0 says nothing.
void Host::take_times(Link& link, const wire::RouterAdvertisement& m, Instant now) {
  if (m.retransmit_ms >= kRetransmitLeast && m.retransmit_ms <= kRetransmitMost) link.retransmit_ms = m.retransmit_ms;
  if (m.reachable_ms < kReachableLeast || m.reachable_ms > kReachableMost) return;
  if (m.reachable_ms == link.base_reachable_ms && now < link.next_reachable) return;
  link.base_reachable_ms = m.reachable_ms;
  link.next_reachable = now + kReachableRenewed;
  // Between half and three halves of it, so that neighbours do not probe each other in step.
  link.reachable_ms = m.reachable_ms / 2 + static_cast<std::uint32_t>(random_.below(m.reachable_ms + 1));
}

/// RFC 4191 section 3.1. False: there is no room for one.
bool Host::take_routes(Link& link, const DiscoveryContext& context, const wire::NdOptions& options) {
  const Ipv6Address router = context.header.src.v6();
  bool all = true;
  for (const wire::NdRoute& said : options.routes) {
    if (said.prefix.is_link_local() || said.prefix.is_multicast()) continue;
    if (said.length == 0) continue;  // take_router()'s
    const auto prefix = wire::IpPrefix::of(said.prefix, said.length);
    const Instant until = after(context.now, said.lifetime_s);
    const auto known = std::ranges::find_if(link.routes, [&](const MoreSpecific& r) { return r.router == router && r.prefix == prefix; });
    if (known != link.routes.end()) known->preference = said.preference, known->until = until;
    else if (said.lifetime_s == 0) continue;
    else if (link.routes.size() < config_.tunables.max_routes) link.routes.push_back({router, prefix, said.preference, until});
    else all = config_.tunables.max_routes == 0 && all;
  }
  return all;
}

bool Host::take_prefixes(Link& link, const DiscoveryContext& context, const wire::NdOptions& options) {
  const Instant now = context.now;
  bool all = true;
  for (const wire::NdPrefix& said : options.prefixes) {
    // RFC 4861 section 6.3.4, RFC 4862 section 5.5.3 (b): the link's own prefix is not advertised.
    if (said.prefix.is_link_local() || said.prefix.is_multicast()) continue;
    const auto same = [&](const Prefix& p) {
      return p.said.length == said.length && wire::IpPrefix::of(p.said.prefix, said.length) == wire::IpPrefix::of(said.prefix, said.length);
    };
    auto known = std::ranges::find_if(link.prefixes, same);
    if (known != link.prefixes.end()) {
      known->said = said, known->heard = now, known->fresh = true;
    } else {
      if (said.valid_s == 0) continue;
      if (link.prefixes.size() >= config_.tunables.max_prefixes) {
        all = false;
        continue;
      }
      known = link.prefixes.insert(link.prefixes.end(), Prefix{.said = said, .heard = now, .fresh = true, .to_form = {}});
    }
    age_address(link, context.in, *known, now);
  }
  return all;
}

void Host::take_servers(Link& link, const wire::NdOptions& options, Instant now) {
  for (const wire::NdServer& said : options.dns_servers) {
    std::erase_if(link.servers, [&](const Server& s) { return s.address == said.address; });
    if (said.lifetime_s != 0 && link.servers.size() < kServersMax) link.servers.push_back({said.address, after(now, said.lifetime_s)});
  }
  for (const wire::NdDomain& said : options.dns_domains) {
    std::erase_if(link.domains, [&](const Domain& d) { return d.name == said.name; });
    if (said.lifetime_s != 0 && link.domains.size() < kDomainsMax) link.domains.push_back({said.name, after(now, said.lifetime_s)});
  }
}

/// RFC 4861 section 8.1 (validity), 8.3.
Host::Answer Host::redirected(const DiscoveryContext& context, const wire::NdRedirect& m, const wire::NdOptions& options) {
  const bool to_itself = m.target == m.destination;
  if (!context.header.src.is_link_local() || m.destination.is_multicast() || m.destination.is_link_local() ||
      (!to_itself && !m.target.is_link_local()) || context.in.find(context.in.here(m.target)) != nullptr)
    return unexpected(Drop::nd_bad_address);
  const auto found = links_.find(context.in.index);
  if (config_.tunables.redirect_accept == 0 || config_.tunables.forwarding != 0 || found == links_.end() || !found->second.up)
    return unexpected(Drop::nd_ignored);
  // Only the router that is in use for this destination knows a better way.
  const route::Route* present = context.fib.lookup(m.destination);
  if (present == nullptr || present->interface_index != context.in.index || !present->gateway ||
      present->gateway->with_zone(context.in.index) != context.header.src)
    return unexpected(Drop::nd_bad_address);
  Link& link = found->second;
  std::erase_if(link.redirects, [&](const Redirect& r) { return r.destination == m.destination; });
  std::size_t count = 0;
  for (const auto& [index, one] : links_) count += one.redirects.size();
  if (count >= config_.tunables.max_redirects) return unexpected(Drop::nd_limit);
  link.redirects.push_back({m.destination, m.target, context.now + std::chrono::seconds{config_.tunables.redirect_timeout_s}});
  wake_for_news(context.now);
  DiscoveryOutcome out;
  if (options.target_link)
    out.heard.push_back({{context.in.index, context.in.here(m.target)}, options.target_link, neigh::Heard::request});
  return out;
}

}  // namespace iopkt::ipv6
