// Words of the command line, and a lease as verbs of the stack.
#include "utils/dhcp.client/dhcp_client.hpp"

#include <algorithm>

namespace iopkt::utils {
namespace {

/// False: told already.
bool one_flag(Io& io, char letter, const std::string& value, DhcpFlags& f) {
  const auto number = [&](std::uint64_t max) {
    const auto read = parse_number(value, max);
    if (!read) (void)io.error(value + ": bad value");
    return read;
  };
  switch (letter) {
    case 'a': return f.alias = true;
    case 'd': return f.debug = true;
    case 'n': return f.no_resolver = true;
    case 'u': return f.until_configured = true;
    case 'H': return true;  // the host's name is never changed
    case 'D': return f.client_id = value, true;
    case 'f': return f.resolver = value, true;
    case 'h': return f.hostname = value, true;
    case 'i': return f.interface = value, true;
    case 's':
      f.server = wire::Ipv4Address::parse_strict(value);
      return f.server || io.error(value + ": bad value") == 0;
    case 'A': {
      const auto probes = number(255);
      if (probes) f.conflicts = static_cast<std::uint32_t>(*probes);
      return probes.has_value();
    }
    case 'I':
    case 't': {
      const auto read = number(1'000'000);
      if (read) (letter == 'I' ? f.polls : f.attempts) = static_cast<std::uint32_t>(*read);
      return read.has_value();
    }
    case 'P':
    case 'p': {
      const auto read = number(65535);
      if (read) (letter == 'P' ? f.server_port : f.client_port) = static_cast<std::uint16_t>(*read);
      return read.has_value();
    }
    case 'b': return f.unicast = true;
    case 'k':
    case 'm': return io.error(std::string{"-"} + letter + ": configuration strings are QNX's"), false;
    default: return false;
  }
}

Node named(const std::string& interface) {
  Node out;
  out.add_text("name", interface);
  return out;
}

using Routes = std::vector<wire::DhcpMessage::ClasslessRoute>;

/// RFC 3442: who says classless routes means nothing else.
Routes routes_of(const dhcp::Lease& lease) {
  if (!lease.routes.empty() || lease.routers.empty()) return lease.routes;
  return {{.destination = {}, .length = 0, .gateway = lease.routers.front()}};
}

Node route_as_node(const Routes::value_type& route, const std::string& interface) {
  Node out;
  out.add_address("destination", route.destination.to_string());
  out.add_number("prefix_length", route.length);
  if (route.gateway.is_unspecified()) out.add_text("interface", interface);
  else out.add_address("gateway", route.gateway.to_string());
  return out;
}

}  // namespace

std::optional<DhcpFlags> read_dhcp_flags(Io& io, const Words& words) {
  DhcpFlags f;
  Options options{words, "abdHkmnu", "ADfhIiPpst"};
  for (char letter = options.next(); letter != 0; letter = options.next()) {
    if (letter == '?') {
      (void)io.error(options.fault());
      io.complain(kDhcpUsage);
      return std::nullopt;
    }
    if (!one_flag(io, letter, options.value(), f)) return std::nullopt;
  }
  if (!options.rest().empty()) return io.complain(kDhcpUsage), std::nullopt;
  if (f.hostname.size() > 255 || f.client_id.size() > 254) return (void)io.error("a name of more than 255 bytes"), std::nullopt;
  return f;
}

namespace {

/// `tentative`: used only once nobody else is found to have it.
bool add_address(Io& io, Stack& stack, const std::string& interface, const DhcpFlags& flags, const dhcp::Lease& lease, bool tentative) {
  Node address = named(interface), none;
  address.add_address("address", lease.address.to_string());
  address.add_number("prefix_length", lease.prefix_length);
  if (lease.broadcast && lease.prefix_length < 31) address.add_address("broadcast", lease.broadcast->to_string());
  if (flags.alias) address.add_boolean("alias", true);
  if (tentative) address.add_text("flags_on", "tentative");
  return asked(io, stack, "address.add", address, none);
}

}  // namespace

bool probe_lease(Io& io, Stack& stack, const std::string& interface, const DhcpFlags& flags, const dhcp::Lease& lease) {
  return add_address(io, stack, interface, flags, lease, true);
}

Granted on_granted(const dhcp::Lease& lease, const std::optional<dhcp::Lease>& applied, const std::optional<dhcp::Lease>& probing, bool probes) {
  if (!probes || (applied && applied->address == lease.address)) return Granted::use;
  return probing && probing->address == lease.address ? Granted::keep_probing : Granted::probe;
}

Probed probed(Io& io, Stack& stack, const std::string& interface, const dhcp::Lease& lease) {
  Node answer;
  if (!asked(io, stack, "interface.list", named(interface), answer)) return Probed::unknown;
  for (const Node& one : answer.list("interfaces"))
    for (const Node& address : one.list("addresses")) {
      if (address.text_of("address") != lease.address.to_string()) continue;
      const std::string_view state = address.text_of("flag_names");
      if (state.find("duplicated") != state.npos) return Probed::taken;
      return state.find("tentative") != state.npos ? Probed::waiting : Probed::free;
    }
  return Probed::gone;
}

bool apply_lease(Io& io, Stack& stack, const std::string& interface, const DhcpFlags& flags, const dhcp::Lease& lease,
                 const dhcp::Lease* before) {
  if (!add_address(io, stack, interface, flags, lease, false)) return false;
  Node none;
  if (lease.mtu != 0) {
    Node mtu = named(interface);
    mtu.add_number("mtu", lease.mtu);
    (void)asked(io, stack, "interface.set", mtu, none);
  }
  const Routes routes = routes_of(lease), old = before != nullptr ? routes_of(*before) : Routes{};
  // Those that are over go first: another way to the same destination would be refused.
  for (const auto& route : old)
    if (std::ranges::find(routes, route) == routes.end()) (void)stack.ask("route.delete", route_as_node(route, interface));
  for (const auto& route : routes) {
    // One that is there already, of an earlier lease, say, is as good.
    const auto added = stack.ask("route.add", route_as_node(route, interface));
    if (!added && added.error().error != EEXIST) (void)io.error(added.error());
  }
  return true;
}

void withdraw_lease(Stack& stack, const std::string& interface, const dhcp::Lease& lease) {
  for (const auto& route : routes_of(lease)) (void)stack.ask("route.delete", route_as_node(route, interface));
  Node address = named(interface);
  address.add_address("address", lease.address.to_string());
  (void)stack.ask("address.delete", address);
}

}  // namespace iopkt::utils
