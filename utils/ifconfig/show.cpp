#include <algorithm>

#include "utils/ifconfig/ifconfig.hpp"

namespace iopkt::utils {
namespace {

/// Seconds; without a number: for ever.
std::string lifetime(const Node& address, std::string_view key) {
  return " " + std::string(key) + " " + (address.has(key) ? std::to_string(address.number_of(key)) : "infty");
}

std::string states(const Node& address) {
  std::string names{address.text_of("flag_names")};
  std::replace(names.begin(), names.end(), ',', ' ');
  return names.empty() ? names : " " + names;
}

std::string show_address6(const Node& address, bool lifetimes) {
  std::string out = "\tinet6 " + std::string(address.text_of("address"));
  if (const auto peer = address.text_of("peer"); !peer.empty()) out += " -> " + std::string(peer);
  out += " prefixlen " + std::to_string(address.number_of("prefix_length"));
  out += states(address);
  if (const auto scope = address.number_of("scope"); scope != 0) out += format(" scopeid 0x%llx", static_cast<unsigned long long>(scope));
  if (lifetimes) out += lifetime(address, "pltime") + lifetime(address, "vltime");
  return out + "\n";
}

std::string show_address(const Node& address, bool lifetimes) {
  const std::string_view text = address.text_of("address");
  if (address.text_of("family") == "inet6") return show_address6(address, lifetimes);
  std::string out = "\tinet " + std::string(text);
  if (const auto peer = address.text_of("peer"); !peer.empty()) out += " -> " + std::string(peer);
  out += " netmask " + std::string(address.text_of("netmask"));
  if (const auto broadcast = address.text_of("broadcast"); !broadcast.empty())
    out += " broadcast " + std::string(broadcast);
  return out + states(address) + "\n";
}

std::string show_capabilities(const Node& interface) {
  // What loopback saves is no device's work.
  if (interface.number_of("capabilities") == 0 || interface.text_of("link_type") == "loopback") return {};
  const auto line = [&](const char* label, std::string_view number, std::string_view names) {
    std::string out =
        format("\t%s=%llx", label, static_cast<unsigned long long>(interface.number_of(number)));
    if (const auto text = interface.text_of(names); !text.empty()) out += "<" + std::string(text) + ">";
    return out + "\n";
  };
  return line("capabilities", "capabilities", "capability_names") +
         line("enabled", "enabled", "enabled_names");
}

std::string amount(std::uint64_t n, std::string_view unit, bool short_form) {
  if (!short_form) return counted(n, unit);
  return human(n) + (n == 1 ? " " + std::string(unit.substr(0, unit.size() - 1)) : " " + std::string(unit));
}

std::string show_direction(const Node& counters, const std::string& way, bool human_form) {
  const auto value = [&](const char* what) { return counters.number_of(way + "." + what); };
  std::string out = way == "rx" ? "\tinput: " : "\toutput: ";
  out += amount(value("packets"), "packets", human_form) + ", " + amount(value("bytes"), "bytes", human_form);
  const std::pair<const char*, const char*> rest[] = {
      {"multicasts", "multicasts"}, {"broadcasts", "broadcasts"}, {"errors", "errors"}, {"dropped", "drops"}};
  for (const auto& [key, unit] : rest)
    if (value(key) != 0) out += ", " + amount(value(key), unit, human_form);
  return out + "\n";
}

}  // namespace

std::string show_interface(const Node& interface, const IfconfigFlags& flags) {
  const std::string name{interface.text_of("name")};
  std::string out = format("%s: flags=%llx<%s>", name.c_str(),
                           static_cast<unsigned long long>(interface.number_of("flags")),
                           std::string(interface.text_of("flag_names")).c_str());
  if (const auto metric = interface.number_of("metric"); metric != 0)
    out += " metric " + std::to_string(metric);
  out += " mtu " + std::to_string(interface.number_of("mtu")) + "\n";
  out += show_capabilities(interface);
  if (const auto mac = interface.text_of("mac"); !mac.empty()) out += "\taddress: " + std::string(mac) + "\n";
  if (const auto media = interface.text_of("media"); !media.empty())
    out += "\tmedia: " + std::string(media) + "\n";
  if (const auto status = interface.text_of("status"); !status.empty())
    out += "\tstatus: " + std::string(status) + "\n";
  if (flags.media && !interface.text_of("media").empty()) out += "\tsupported media:\n\t\tmedia autoselect\n";
  for (const Node& address : interface.list("addresses"))
    if (flags.family.empty() || address.text_of("family") == flags.family) out += show_address(address, flags.lifetimes);
  if (flags.counters) {
    if (const Node* counters = interface.find("counters"))
      out += show_direction(*counters, "rx", flags.human) + show_direction(*counters, "tx", flags.human);
  }
  return out;
}

}  // namespace iopkt::utils
