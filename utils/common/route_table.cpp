#include "utils/common/route_table.hpp"

#include <algorithm>
#include <map>

namespace iopkt::utils {
namespace {

std::string line(const std::string& destination, const std::string& gateway, const std::string& flags,
                 const std::string& mtu, std::string_view interface) {
  // We count neither references nor uses.
  return format("%-18s %-18s %-8s %5s %8s %6s  %s\n", destination.c_str(), gateway.c_str(), flags.c_str(),
                "-", "-", mtu.c_str(), std::string(interface).c_str());
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
  std::map<std::uint64_t, std::string> tables;
  for (const Node& route : routes.list("routes")) {
    const std::uint64_t mtu = route.number_of("mtu");
    tables[route.number_of("fib")] +=
        line(network_name(route.text_of("destination"), route.number_of("prefix_length")), gateway_of(route),
             spaced(route.text_of("flag_letters"), style.spaced_flags), mtu != 0 ? std::to_string(mtu) : "-",
             route.text_of("interface"));
  }
  if (tables.empty()) tables[0] = "";
  for (const Node& entry : neighbours.list("neighbours")) {
    const std::string mac = entry.has("mac") ? std::string(entry.text_of("mac")) : "(incomplete)";
    const char* letters = entry.number_of("permanent") != 0 ? "UHLS" : "UHLc";
    tables.begin()->second += line(std::string(entry.text_of("address")), mac,
                                   spaced(letters, style.spaced_flags), "-", entry.text_of("interface"));
  }
  std::string out = "Routing tables\n";
  for (const auto& [fib, lines] : tables) {
    out += style.with_fib ? "\nInternet (FIB " + std::to_string(fib) + "):\n" : "\nInternet:\n";
    out += format("%-18s %-18s %-8s %5s %8s %6s  %s\n", "Destination", "Gateway", "Flags", "Refs", "Use",
                  "Mtu", "Interface");
    out += lines;
  }
  return out;
}

}  // namespace iopkt::utils
