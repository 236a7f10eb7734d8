#include "utils/common/route_table.hpp"

#include <algorithm>
#include <map>

namespace iopkt::utils {
namespace {

struct Row {
  std::string destination, gateway, flags, mtu, interface;
};
/// Addresses of IPv6 are as long as this.
constexpr std::size_t kWidth[2] = {18, 39};

std::string line(const Row& r, bool inet6) {
  const int destination = static_cast<int>(kWidth[inet6]), gateway = static_cast<int>(inet6 ? 31 : kWidth[0]);
  // We count neither references nor uses.
  return format("%-*s %-*s %-8s %5s %8s %6s  %s\n", destination, r.destination.c_str(), gateway, r.gateway.c_str(), r.flags.c_str(),
                r.interface == "Interface" ? "Refs" : "-", r.interface == "Interface" ? "Use" : "-", r.mtu.c_str(),
                r.interface.c_str());
}

std::string spaced(std::string_view letters, bool apart) {
  std::string out;
  for (const char letter : letters) {
    if (apart && !out.empty()) out += ' ';
    out += letter;
  }
  return out;
}

std::string gateway_of(const Node& route) {
  if (const auto gateway = route.text_of("gateway"); !gateway.empty()) return std::string(gateway);
  return "link#" + std::to_string(route.number_of("interface_index"));
}

}  // namespace

std::string show_routes(const Node& routes, const Node& neighbours, const RouteTableStyle& style) {
  // By table and family; a stack without IPv6 has no such routes.
  std::map<std::pair<std::uint64_t, bool>, std::string> tables;
  for (const Node& route : routes.list("routes")) {
    const std::uint64_t mtu = route.number_of("mtu");
    const bool inet6 = route.text_of("family") == "inet6";
    if (!style.family.empty() && (style.family == "inet6") != inet6) continue;
    tables[{route.number_of("fib"), inet6}] +=
        line({network_name(route.text_of("destination"), route.number_of("prefix_length")), gateway_of(route),
              spaced(route.text_of("flag_letters"), style.spaced_flags), mtu != 0 ? std::to_string(mtu) : "-",
              std::string(route.text_of("interface"))},
             inet6);
  }
  if (tables.empty()) tables[{0, style.family == "inet6"}] = "";
  for (const Node& entry : neighbours.list("neighbours")) {
    const bool inet6 = entry.text_of("family") == "inet6";
    if (!style.family.empty() && (style.family == "inet6") != inet6) continue;
    const std::string mac = entry.has("mac") ? std::string(entry.text_of("mac")) : "(incomplete)";
    const char* letters = entry.number_of("permanent") != 0 ? "UHLS" : "UHLc";
    tables[{tables.begin()->first.first, inet6}] += line(
        {std::string(entry.text_of("address")), mac, spaced(letters, style.spaced_flags), "-", std::string(entry.text_of("interface"))},
        inet6);
  }
  std::string out = "Routing tables\n";
  for (const auto& [table, lines] : tables) {
    const auto& [fib, inet6] = table;
    out += inet6 ? "\nInternet6" : "\nInternet";
    out += style.with_fib ? " (FIB " + std::to_string(fib) + "):\n" : ":\n";
    out += line({"Destination", "Gateway", "Flags", "Mtu", "Interface"}, inet6);
    out += lines;
  }
  return out;
}

}  // namespace iopkt::utils
