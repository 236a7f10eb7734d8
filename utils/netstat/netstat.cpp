#include "utils/netstat/netstat.hpp"

#include <unistd.h>

#include "utils/common/route_table.hpp"

namespace iopkt::utils {
namespace {

constexpr char kUsage[] =
    "usage: netstat [-AanT] [-f family] [--json]\n"
    "       netstat [-dgiLmnrsTv] [-f family] [-F fib] [--json]\n"
    "       netstat [-dnbT] [-I interface] [-w wait]\n"
    "       netstat [-T] [-p protocol] [--json]\n";

int usage(Io& io, const std::string& fault) {
  if (!fault.empty()) io.error(fault);
  io.complain(kUsage);
  return 1;
}

/// False: told already.
bool read_flags(Io& io, Options& options, NetstatFlags& f) {
  for (char letter = options.next(); letter != 0; letter = options.next()) switch (letter) {
      case 'A':
        f.addresses = true;
        break;
      case 'a':
        f.all = true;
        break;
      case 'b':
        f.bytes = true;
        break;
      case 'd':
        f.drops = true;
        break;
      case 'F':
        f.fib = options.value();
        f.verbose = true;
        break;
      case 'f':
        f.family = options.value();
        break;
      case 'I':
        f.interface = options.value();
        f.interfaces = true;
        break;
      case 'i':
        f.interfaces = true;
        break;
      case 'L':
        f.no_link = true;
        break;
      case 'm':
        f.buffers = true;
        break;
      case 'n':
        f.numeric = true;
        break;
      case 'p':
        f.protocol = options.value();
        break;
      case 'r':
        f.routes = true;
        break;
      case 's':
        ++f.statistics;
        break;
      case 'T':
        f.wide = true;
        break;
      case 'v':
        f.verbose = true;
        break;
      case 'w': {
        const auto wait = parse_number(options.value(), 1u << 30);
        if (!wait || *wait == 0) return io.error(options.value() + ": bad value"), false;
        f.wait = *wait;
        break;
      }
      case 'g':
        f.groups = true;
        break;
      case 'P':
        return io.error("-P: not built yet"), false;
      default:
        return usage(io, options.fault()), false;
    }
  return true;
}

/// Those of the families that are shown; of IPv6 where there is any.
bool ask_neighbours(Io& io, Stack& stack, const NetstatFlags& f, const Node& routes, Node& out) {
  bool any_inet6 = f.family == "inet6";
  for (const Node& route : routes.list("routes")) any_inet6 |= f.family.empty() && route.text_of("family") == "inet6";
  if (f.family != "inet6" && !asked(io, stack, "arp.list", {}, out)) return false;
  if (!any_inet6) return true;
  Node arguments, more;
  arguments.add_text("family", "inet6");
  if (!asked(io, stack, "arp.list", arguments, more)) return false;
  for (Node& list : out.inner)
    for (Node& added : more.inner)
      if (list.key == added.key) list.inner.insert(list.inner.end(), added.inner.begin(), added.inner.end());
  if (out.inner.empty()) out = std::move(more);
  return true;
}

int print_routes(Io& io, Stack& stack, const NetstatFlags& f) {
  Node arguments, routes, neighbours;
  if (f.fib == "a") {
    arguments.add_text("fib", "a");
  } else if (!f.fib.empty()) {
    const auto fib = parse_number(f.fib, 15);
    if (!fib) return io.error("-F: a routing table is 0 to 15, or a");
    arguments.add_number("fib", *fib);
  }
  if (!asked(io, stack, "route.list", arguments, routes)) return 1;
  if (!f.no_link && !ask_neighbours(io, stack, f, routes, neighbours)) return 1;
  if (!io.json) return io.print(show_routes(routes, neighbours, {.with_fib = f.verbose, .family = f.family})), 0;
  for (Node& one : neighbours.inner) routes.inner.push_back(std::move(one));
  io.print(to_json(routes));
  return 0;
}

int repeat(Io& io, Stack& stack, const NetstatFlags& f) {
  constexpr unsigned kLinesPerHeading = 20;
  Node before, now;
  for (unsigned line = 0;; ++line) {
    if (!asked(io, stack, "interface.list", {}, now)) return 1;
    if (line % kLinesPerHeading == 0 && !io.json) io.print(show_rate_heading(f));
    io.print(io.json ? to_json(now) : show_rate(now, line == 0 ? nullptr : &before, f));
    io.flush();
    before = std::move(now);
    ::sleep(static_cast<unsigned>(f.wait));
  }
}

template <class Show>
int print(Io& io, Stack& stack, std::string_view verb, const Node& arguments, Show show) {
  Node answer;
  if (!asked(io, stack, verb, arguments, answer)) return 1;
  io.print(io.json ? to_json(answer) : show(answer));
  return 0;
}

int print_interfaces(Io& io, Stack& stack, const NetstatFlags& f) {
  Node arguments;
  if (!f.interface.empty()) arguments.add_text("name", f.interface);
  return print(io, stack, "interface.list", arguments, [&](const Node& n) { return show_interfaces(n, f); });
}

int print_statistics(Io& io, Stack& stack, const NetstatFlags& f) {
  Node arguments;
  if (!f.protocol.empty()) arguments.add_text("protocol", f.protocol);
  return print(io, stack, "statistics", arguments, [&](const Node& n) { return show_statistics(n, f); });
}

}  // namespace

int netstat(Io& io, Stack& stack, const Words& words) {
  if (helped(io, kUsage, words)) return 0;
  NetstatFlags f;
  Options options{words, "AabdgiLmnrsTv", "FfIPpw"};
  if (!read_flags(io, options, f)) return 1;
  if (!options.rest().empty()) return usage(io, {});
  if (f.family == "local" || f.family == "unix")
    return io.error(f.family + ": unix sockets are the kernel's own; see ss -x");
  if (!f.family.empty() && f.family != "inet" && f.family != "inet6" && f.family != "arp")
    return io.error(f.family + ": unknown address family");
  if (f.wait != 0) return repeat(io, stack, f);
  if (f.groups) return print(io, stack, "group.list", {}, show_groups);
  if (f.buffers) return print(io, stack, "buffers", {}, show_buffers);
  if (f.family == "arp" || f.statistics > 0 || !f.protocol.empty()) {
    if (f.family == "arp") f.protocol = "arp";
    if (f.protocol.empty() && f.interfaces) return print_interfaces(io, stack, f);
    return print_statistics(io, stack, f);
  }
  if (f.interfaces) return print_interfaces(io, stack, f);
  if (f.routes || !f.fib.empty()) return print_routes(io, stack, f);
  return print(io, stack, "sockets", {}, [&](const Node& n) { return show_sockets(n, f); });
}

}  // namespace iopkt::utils
