// discovery.*: what routers advertised, as ndp(8) and rtsol(8) ask for it.
#include "control/handlers.hpp"

namespace iopkt::control {
namespace {

using ipv6::DiscoveryState;

std::string_view name_of(wire::RouterPreference preference) {
  return preference == wire::RouterPreference::high ? "high" : preference == wire::RouterPreference::low ? "low" : "medium";
}

/// What is true of each row: its interface, and the seconds that are left; none: for ever.
Record row(const Context& context, std::uint32_t interface_index, Instant until) {
  const iface::Interface* over = context.stack.network()->interfaces.by_index(interface_index);
  Record out;
  out.text("interface", over != nullptr ? over->name : "");
  if (!until.is_never()) out.number("expires_s", seconds_until(context.stack.shard(0).time(), until));
  return out;
}

/// One list of the answer, of the rows that are on the wanted interface.
template <class Row, class Fill>
void add_list(const Context& context, std::uint32_t only, std::string_view key, const std::vector<Row>& rows, Record& answer, Fill fill) {
  std::vector<Record> list;
  for (const Row& one : rows) {
    if (only != 0 && one.interface_index != only) continue;
    Record out = row(context, one.interface_index, one.until);
    fill(out, one);
    list.push_back(std::move(out));
  }
  answer.list(key, std::move(list));
}

void add_prefixes(const Context& context, std::uint32_t only, const DiscoveryState& state, Record& answer) {
  const Network& network = *context.stack.network();
  add_list(context, only, "prefixes", state.prefixes, answer, [&](Record& out, const DiscoveryState::Prefix& p) {
    out.address("prefix", address_text(network, p.prefix.address)).number("prefix_length", p.prefix.length);
    out.boolean("on_link", p.on_link).boolean("autonomous", p.autonomous);
    if (!p.preferred_until.is_never()) out.number("preferred_s", seconds_until(context.stack.shard(0).time(), p.preferred_until));
  });
}

void add_routers(const Context& context, std::uint32_t only, const DiscoveryState& state, Record& answer) {
  const Network& network = *context.stack.network();
  add_list(context, only, "routers", state.routers, answer, [&](Record& out, const DiscoveryState::Router& r) {
    out.address("address", address_text(network, r.address)).text("preference", name_of(r.preference));
    out.boolean("reachable", r.reachable).boolean("managed", r.managed).boolean("other", r.other);
  });
  add_list(context, only, "routes", state.routes, answer, [&](Record& out, const DiscoveryState::MoreSpecific& r) {
    out.address("destination", address_text(network, r.prefix.address)).number("prefix_length", r.prefix.length);
    out.address("gateway", address_text(network, r.router)).text("preference", name_of(r.preference));
  });
}

/// Every interface that speaks IPv6 with others; none where there is no IPv6.
void add_links(const Context& context, std::uint32_t only, const DiscoveryState& state, Record& answer) {
  const Network& network = *context.stack.network();
  const auto& settings = network.settings;
  std::vector<Record> list;
  for (const auto& i : network.interfaces.all()) {
    if (i->is_loopback() || context.stack.config().inet6 == nullptr || (only != 0 && i->index != only)) continue;
    Record out;
    out.text("interface", i->name).number("mtu", i->mtu_of(wire::IpFamily::v6));
    out.number("hop_limit", i->hop_limit6 != 0 ? i->hop_limit6 : settings.ipv6.hop_limit);
    out.number("reachable_ms", i->reachable6_ms != 0 ? i->reachable6_ms : std::uint64_t{settings.neigh.reachable_s} * 1000);
    out.number("retransmit_ms", i->retransmit6_ms != 0 ? i->retransmit6_ms : settings.neigh.retransmit_ms);
    std::uint64_t base = std::uint64_t{settings.neigh.reachable_s} * 1000, advertisements = 0;
    for (const DiscoveryState::Link& link : state.links) {
      if (link.interface_index != i->index) continue;
      advertisements = link.advertisements;
      if (link.base_reachable_ms != 0) base = link.base_reachable_ms;
    }
    out.number("base_reachable_ms", base).number("advertisements", advertisements);
    const bool takes = settings.ipv6.accept_rtadv != 0 && settings.ipv6.forwarding == 0;
    out.boolean("accept_rtadv", takes).boolean("auto_linklocal", settings.ipv6.auto_linklocal != 0);
    list.push_back(std::move(out));
  }
  answer.list("interfaces", std::move(list));
}

}  // namespace

Outcome discovery_list(const Context& context, const Record& arguments) {
  std::uint32_t only = 0;
  if (const std::string_view name = arguments.text_of("name"); !name.empty()) {
    const iface::Interface* named = named_interface(*context.stack.network(), arguments);
    if (named == nullptr) return no_interface(name);
    only = named->index;
  }
  const DiscoveryState state = context.stack.shard(0).discovery_state();
  Outcome outcome;
  outcome.answer.boolean("settled", state.settled);
  add_links(context, only, state, outcome.answer);
  add_routers(context, only, state, outcome.answer);
  add_prefixes(context, only, state, outcome.answer);
  const Network& network = *context.stack.network();
  add_list(context, only, "dns_servers", state.dns_servers, outcome.answer,
           [&](Record& out, const DiscoveryState::Server& one) { out.address("address", address_text(network, one.address)); });
  add_list(context, only, "dns_domains", state.dns_domains, outcome.answer,
           [](Record& out, const DiscoveryState::Domain& one) { out.text("domain", one.name); });
  return outcome;
}

/// Answers how many advertisements the interface has taken: whoever waits for one asks until there are more.
Outcome discovery_solicit(const Context& context, const Record& arguments) {
  const std::string_view name = arguments.text_of("name");
  if (Outcome lacks = check_family(context.stack, wire::IpFamily::v6); lacks.error != Errno::ok) return lacks;
  const iface::Interface* over = named_interface(*context.stack.network(), arguments);
  if (over == nullptr) return no_interface(name);
  const Errno error = context.stack.shard(0).solicit_routers(over->index);
  if (error == Errno::opnotsupp)
    return refuse(error, "router advertisements are not taken: net.inet6.ip6.accept_rtadv is 0, or net.inet6.ip6.forwarding is not");
  if (error != Errno::ok) return refuse(error, over->name + ": is down, or has no neighbours");
  Outcome outcome;
  for (const DiscoveryState::Link& link : context.stack.shard(0).discovery_state().links)
    if (link.interface_index == over->index) outcome.answer.number("advertisements", link.advertisements);
  return outcome;
}

Outcome discovery_forget(const Context& context, const Record& arguments) {
  const std::string_view what = arguments.text_of("what");
  if (Outcome lacks = check_family(context.stack, wire::IpFamily::v6); lacks.error != Errno::ok) return lacks;
  if (what != "prefixes" && what != "routers") return refuse(Errno::inval, "what: prefixes or routers");
  Outcome outcome;
  outcome.answer.number("forgotten", context.stack.shard(0).forget_advertised(what == "prefixes" ? ipv6::Discovery::What::prefixes
                                                                                                 : ipv6::Discovery::What::routers));
  return outcome;
}

}  // namespace iopkt::control
