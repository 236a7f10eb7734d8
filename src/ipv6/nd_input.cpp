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
constexpr std::size_t kServersMax = wire::kNdServersMax;

Instant after(Instant now, std::uint32_t seconds) {
  return seconds == wire::kLifetimeForever ? Instant::never() : now + std::chrono::seconds{seconds};
}

/// A station's address: neither a group's nor none, and not ours, which would send our own packets back to us.
bool is_station(const std::optional<wire::MacAddress>& mac, const iface::Interface& in) {
  return !mac || (!mac->is_multicast() && !mac->is_zero() && *mac != in.mac);
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
  if (own == nullptr && !proxied) return unexpected(Drop::nd_not_for_us);
  if (own != nullptr && !own->is_usable()) {
    // RFC 4862 section 5.4.3: whoever probes wants the same address; who asks for it will find nobody.
    if (!probes || !own->is(aflag::tentative)) return unexpected(Drop::nd_not_for_us);
    found_taken(links_[context.in.index], target, context.now);
    return DiscoveryOutcome{};
  }
  DiscoveryOutcome out;
  if (options.source_link && !probes)
    out.heard.push_back({{context.in.index, src}, options.source_link, neigh::Heard::request});
  const bool override_ = !proxied && !own->is(aflag::anycast);
  DiscoveryMessage answer{.interface_index = context.in.index,
                          .src = proxied ? IpAddress{} : target,
                          .dst = probes ? context.in.here(Ipv6Address::all_nodes()) : src,
                          .bytes = {}};
  std::optional<wire::MacAddress> mac = context.in.mac;
  if (proxied) {
    mac = context.neighbours->published(context.in.index, target);
    const auto from = std::ranges::find_if(context.in.addresses, [](const iface::InterfaceAddress& a) {
      return a.address.is_v6() && a.address.is_link_local() && a.is_usable();
    });
    if (from == context.in.addresses.end()) return unexpected(Drop::nd_not_for_us);
    answer.src = from->address;
  }
  wire::append_neighbour_advertisement(
      answer.bytes, {.target = m.target, .router = config_.tunables.forwarding != 0, .solicited = !probes, .override_ = override_}, mac);
  out.send.push_back(std::move(answer));
  return out;
}

/// A line of the log now and then, whatever the rate of what it is about.
bool Host::may_complain(Link& link, Instant now) {
  if (now < link.next_complaint) return false;
  link.next_complaint = now + kComplaintTime;
  return true;
}

Host::Answer Host::advertised(const DiscoveryContext& context, const wire::NeighbourAdvertisement& m, const wire::NdOptions& options) {
  if (m.target.is_multicast() || m.target.is_unspecified() || (m.solicited && context.header.dst.is_multicast()))
    return unexpected(Drop::nd_bad_address);
  const IpAddress target = context.in.here(m.target);
  DiscoveryOutcome out;
  if (const iface::InterfaceAddress* own = context.in.find(target)) {
    // RFC 4862 section 5.4.4: of a tentative address the other one is the owner; of one in use somebody has to look.
    if (own->is(aflag::tentative)) found_taken(links_[context.in.index], target, context.now);
    else if (may_complain(links_[context.in.index], context.now)) out.log.push_back(context.in.name + ": another station says that it has " + m.target.to_string());
    return out;
  }
  // RFC 4861 section 7.2.5: who is no router any more is no default router either.
  if (const auto link = links_.find(context.in.index); !m.router && link != links_.end()) {
    if (std::erase_if(link->second.routers, [&](const Router& r) { return r.address == m.target; }) != 0) wake(context.now);
  }
  const neigh::Key key{context.in.index, target};
  if (!options.target_link) {
    if (!m.solicited) return unexpected(Drop::nd_not_for_us);  // it says nothing
    out.heard.push_back({key, std::nullopt, neigh::Heard::solicited});
    return out;
  }
  const auto how = m.solicited ? (m.override_ ? neigh::Heard::solicited_override : neigh::Heard::solicited)
                               : (m.override_ ? neigh::Heard::announcement : neigh::Heard::unsolicited);
  out.heard.push_back({key, options.target_link, how});
  return out;
}

void Host::found_taken(Link& link, const IpAddress& address, Instant now) {
  for (Detection& d : link.detections)
    if (d.address == address) d.taken = true;
  wake(now);
}

Host::Answer Host::router_advertised(const DiscoveryContext& context, const wire::RouterAdvertisement& m, const wire::NdOptions& options) {
  if (!context.header.src.is_link_local()) return unexpected(Drop::nd_bad_address);
  const auto found = links_.find(context.in.index);
  if (config_.tunables.accept_rtadv == 0 || config_.tunables.forwarding != 0 || found == links_.end() || !found->second.up)
    return unexpected(Drop::nd_ignored);
  Link& link = found->second;
  bool all = take_router(link, context, m);
  link.solicits_left = 0;
  link.next_solicit = Instant::never();
  // RFC 4861 section 6.2.1 trusts routers; a forged 1 would cut the interface off from all that is not on the link.
  if (m.hop_limit >= kLeastHopLimit) link.hop_limit = m.hop_limit;
  if (options.mtu && *options.mtu >= wire::Ipv6View::kMinMtu && *options.mtu <= context.in.mtu) link.mtu = options.mtu;
  all = take_prefixes(link, options, context.now) && all;
  take_servers(link, options, context.now);
  wake(context.now);
  if (!all || options.left_out) return unexpected(Drop::nd_limit);
  DiscoveryOutcome out;
  if (options.source_link)
    out.heard.push_back({{context.in.index, context.header.src}, options.source_link, neigh::Heard::request});
  return out;
}

/// False: there is no room for it.
bool Host::take_router(Link& link, const DiscoveryContext& context, const wire::RouterAdvertisement& m) {
  const Ipv6Address address = context.header.src.v6();
  const auto known = std::ranges::find(link.routers, address, &Router::address);
  if (known != link.routers.end()) {
    if (m.lifetime_s == 0) return link.routers.erase(known), true;
    known->preference = m.preference;
    known->until = after(context.now, m.lifetime_s);
    return true;
  }
  if (m.lifetime_s == 0) return true;
  if (link.routers.size() >= config_.tunables.max_routers) return false;
  link.routers.push_back({.address = address, .preference = m.preference, .until = after(context.now, m.lifetime_s)});
  ++config_.counters.routers_learned;
  return true;
}

bool Host::take_prefixes(Link& link, const wire::NdOptions& options, Instant now) {
  bool all = true;
  for (const wire::NdPrefix& said : options.prefixes) {
    // RFC 4861 section 6.3.4, RFC 4862 section 5.5.3 (b): the link's own prefix is not advertised.
    if (said.prefix.is_link_local() || said.prefix.is_multicast()) continue;
    const auto same = [&](const Prefix& p) {
      return p.said.length == said.length && wire::IpPrefix::of(p.said.prefix, said.length) == wire::IpPrefix::of(said.prefix, said.length);
    };
    const auto known = std::ranges::find_if(link.prefixes, same);
    if (known != link.prefixes.end()) *known = {said, now, true};
    else if (said.valid_s == 0) continue;
    else if (link.prefixes.size() < config_.tunables.max_prefixes) link.prefixes.push_back({said, now, true});
    else all = false;
  }
  return all;
}

void Host::take_servers(Link& link, const wire::NdOptions& options, Instant now) {
  for (const Ipv6Address& address : options.dns_servers) {
    std::erase_if(link.servers, [&](const Server& s) { return s.address == address; });
    if (options.dns_lifetime_s == 0 || link.servers.size() >= kServersMax) continue;
    link.servers.push_back({address, after(now, options.dns_lifetime_s)});
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
  wake(context.now);
  DiscoveryOutcome out;
  if (options.target_link)
    out.heard.push_back({{context.in.index, context.in.here(m.target)}, options.target_link, neigh::Heard::request});
  return out;
}

}  // namespace iopkt::ipv6
