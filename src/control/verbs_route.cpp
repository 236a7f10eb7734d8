// route.*: what route and netstat -r ask. BSD route(8); errors as the routing socket gives them.
#include <array>

#include "control/handlers.hpp"
#include "route/source.hpp"
#include "tcp/congestion.hpp"

namespace iopkt::control {
namespace {

namespace rflag = route::flag;

struct Parsed {
  RouteRequest request;
  Outcome fault;
};

std::optional<wire::IpAddress> address_of(const Network& network, const Record& arguments, std::string_view key, std::uint32_t link,
                                          bool& bad) {
  const std::string_view text = arguments.text_of(key);
  if (text.empty()) return std::nullopt;
  auto address = read_address(network, text, link);
  if (!address) bad = true;
  return address;
}

Parsed parse(const Context& context, const Record& arguments) {
  const Network& network = *context.stack.network();
  Parsed out;
  std::uint32_t link = 0;
  if (arguments.has("interface")) {
    const iface::Interface* over = named_interface(network, arguments, "interface");
    if (over == nullptr) return {{}, no_interface(arguments.text_of("interface"))};
    out.request.interface_index = link = over->index;
  }
  bool bad = false;
  const auto destination = address_of(network, arguments, "destination", link, bad);
  out.request.gateway = address_of(network, arguments, "gateway", link, bad);
  out.request.source = address_of(network, arguments, "source", link, bad);
  if (bad || !destination) return {{}, refuse(Errno::inval, "bad address")};
  if (Outcome lacks = check_family(context.stack, destination->family()); lacks.error != Errno::ok) return {{}, std::move(lacks)};
  for (const auto& other : {out.request.gateway, out.request.source})
    if (other && other->family() != destination->family()) return {{}, refuse(Errno::inval, "addresses of two families")};
  // A gateway of a link says which link.
  if (out.request.gateway && out.request.gateway->zone() != 0) out.request.interface_index = out.request.gateway->zone();
  const std::uint64_t length = arguments.number_of("prefix_length", destination->bit_length());
  if (length > destination->bit_length()) return {{}, refuse(Errno::inval, "bad prefix length")};
  out.request.prefix = wire::IpPrefix::of(*destination, static_cast<std::uint8_t>(length));
  const auto fib = fib_of(arguments);
  if (!fib) return {{}, refuse(Errno::inval, "fib: 0 to 15")};
  out.request.fib = *fib;
  const std::uint64_t mtu = arguments.number_of("mtu"), least = destination->is_v4() ? 68 : 1280;
  if (mtu != 0 && (mtu < least || mtu > 65535)) return {{}, refuse(Errno::inval, "mtu: " + std::to_string(least) + " to 65535")};
  out.request.mtu = static_cast<std::uint32_t>(mtu);
  if (const std::string_view name = arguments.text_of("congestion"); !name.empty()) {
    const tcp::CongestionControl* found = tcp::find_congestion(name);
    if (found == nullptr) return {{}, refuse(Errno::inval, "congestion: one of " + std::string(tcp::congestion_names()))};
    out.request.congestion = found->name();
  }
  constexpr std::array<std::pair<std::string_view, std::uint32_t>, 4> kFlags{{{"reject", rflag::reject},
                                                                              {"blackhole", rflag::blackhole},
                                                                              {"proto1", rflag::proto1},
                                                                              {"proto2", rflag::proto2}}};
  for (const auto& [key, bit] : kFlags)
    if (arguments.number_of(key) != 0) out.request.flags |= bit;
  return out;
}

std::string line_of(Errno error) {
  switch (error) {
    case Errno::exist:
      return "File exists";
    case Errno::esrch:
      return "not in table";
    case Errno::inval:
      return "several routes match: name the gateway";
    case Errno::netunreach:
      return "Network is unreachable";
    case Errno::nxio:
      return "Device not configured";
    default:
      return "Invalid argument";
  }
}

Outcome change(const Context& context, const Record& arguments,
               Errno (*step)(Network&, const RouteRequest&)) {
  const Parsed parsed = parse(context, arguments);
  if (parsed.fault.error != Errno::ok) return parsed.fault;
  Network next = *context.stack.network();
  const Errno error = step(next, parsed.request);
  if (error != Errno::ok) return refuse(error, line_of(error));
  Outcome outcome;
  outcome.next = std::move(next);
  return outcome;
}

}  // namespace

Outcome route_add(const Context& c, const Record& a) { return change(c, a, add_route); }
Outcome route_change(const Context& c, const Record& a) { return change(c, a, change_route); }
Outcome route_delete(const Context& c, const Record& a) { return change(c, a, remove_route); }

Outcome route_flush(const Context& context, const Record& arguments) {
  const auto fib = fib_of(arguments);
  if (!fib) return refuse(Errno::inval, "fib: 0 to 15");
  std::optional<wire::IpFamily> only = family_of(arguments);
  if (!only) return refuse(Errno::inval, "family: inet or inet6");
  if (!arguments.has("family")) only.reset();
  Outcome outcome;
  Network next = *context.stack.network();
  std::vector<Record> gone;
  next.fibs[*fib].for_each([&](const route::Route& r) {
    if (r.gateway && (!only || r.prefix.address.family() == *only)) gone.push_back(describe_route(next, r, *fib));
  });
  flush_routes(next, *fib, only);
  outcome.answer.list("routes", std::move(gone));
  outcome.next = std::move(next);
  return outcome;
}

Outcome route_list(const Context& context, const Record& arguments) {
  const Network& network = *context.stack.network();
  const bool all = arguments.text_of("fib") == "a";
  const auto fib = fib_of(arguments);
  if (!fib) return refuse(Errno::inval, "fib: 0 to 15, or a");
  Outcome outcome;
  std::vector<Record> list;
  for (const route::Fib& table : network.fibs)
    if (all || table.number() == *fib)
      table.for_each(
          [&](const route::Route& r) { list.push_back(describe_route(network, r, table.number())); });
  outcome.answer.list("routes", std::move(list));
  return outcome;
}

Outcome route_get(const Context& context, const Record& arguments) {
  const Network& network = *context.stack.network();
  const Parsed parsed = parse(context, arguments);
  if (parsed.fault.error != Errno::ok) return parsed.fault;
  const wire::IpAddress& destination = parsed.request.prefix.address;
  const route::Route* found = network.fibs[parsed.request.fib].lookup(destination);
  route::Route local;
  if (const iface::Interface* own = network.interfaces.find_local(destination)) {
    local.prefix = wire::IpPrefix::host(destination);
    local.interface_index = own->is_loopback() ? own->index : network.interfaces.by_name("lo0")->index;
    local.flags = rflag::up | rflag::host;
    local.source = destination;
    found = &local;
  }
  if (found == nullptr) return refuse(Errno::esrch, "not in table");
  Outcome outcome;
  Record r = describe_route(network, *found, parsed.request.fib);
  r.address("asked", address_text(network, destination));
  if (const auto source = route::choose_source(network.interfaces, *found, destination))
    r.address("local", address_text(network, *source));
  outcome.answer.group("route", std::move(r));
  return outcome;
}

}  // namespace iopkt::control
