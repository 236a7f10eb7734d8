// Interfaces and routes as records, with the words and numbers that BSD's tools print.
#include <array>
#include <cstdio>

#include "control/handlers.hpp"

namespace iopkt::control {
namespace {

/// IFCAP_*: what ifconfig calls offloads, and which bits of a device stand behind.
struct Capability {
  std::uint32_t number;
  std::string_view name;  ///< as printed
  std::string_view word;  ///< as typed; also with -tx or -rx
  std::uint32_t device;   ///< IOPKT_CAP_*; 0: nothing here
};
constexpr std::array kCapabilities{
    Capability{0x80, "TSO4", "tso4", IOPKT_CAP_TSO4},
    Capability{0x400, "TCP4CSUM_Rx", "tcp4csum-rx", IOPKT_CAP_CSUM_RX},
    Capability{0x800, "TCP4CSUM_Tx", "tcp4csum-tx", IOPKT_CAP_CSUM_TX},
    Capability{0x1000, "UDP4CSUM_Rx", "udp4csum-rx", IOPKT_CAP_CSUM_RX},
    Capability{0x2000, "UDP4CSUM_Tx", "udp4csum-tx", IOPKT_CAP_CSUM_TX},
    Capability{0x40000, "TSO6", "tso6", IOPKT_CAP_TSO6},
    Capability{0x80000, "USO", "uso", IOPKT_CAP_USO},
    Capability{0x100000, "LRO", "lro", IOPKT_CAP_LARGE_RX},
};
// IP header checksums are the stack's own work on every device.
constexpr std::array<std::string_view, 3> kStackWork{"ip4csum", "ip4csum-tx", "ip4csum-rx"};
constexpr std::array<std::string_view, 6> kVersion6{"tcp6csum", "tcp6csum-tx", "tcp6csum-rx",
                                                    "udp6csum", "udp6csum-tx", "udp6csum-rx"};

std::string hex(std::uint32_t value) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%08x", value);
  return text;
}

/// With the lifetimes as the machine of neighbour discovery has them: the tables may be older.
Record describe_address(const Network& network, const iface::InterfaceAddress& a, Instant now, const ipv6::DiscoveryState& discovery) {
  Record out;
  out.text("family", family_name(a.address.family()));
  out.address("address", address_text(network, a.address));
  out.number("prefix_length", a.prefix_length);
  if (a.address.is_v4()) out.text("netmask", hex(wire::Ipv4Prefix::mask_of(a.prefix_length).value));
  if (a.address.zone() != 0) out.number("scope", a.address.zone());
  if (a.peer) out.address("peer", address_text(network, *a.peer));
  if (a.broadcast) out.address("broadcast", a.broadcast->to_string());
  // BSD calls those autoconf alone that a router's prefix made.
  const std::uint32_t flags = a.address.is_v6() && a.address.is_link_local() ? a.flags & ~iface::address_flag::autoconf : a.flags;
  if (flags != 0) out.text("flag_names", address_flag_names(flags));
  if (a.address.is_v4()) return out;
  Instant preferred = a.preferred_until, valid = a.valid_until;
  for (const auto& life : discovery.lifetimes)
    if (life.address == a.address) preferred = life.preferred_until, valid = life.valid_until;
  if (!preferred.is_never()) out.number("pltime", seconds_until(now, preferred));
  if (!valid.is_never()) out.number("vltime", seconds_until(now, valid));
  return out;
}

std::string media_of(const iface::Interface& i) {
  if (i.speed_mbps == 0) return "Ethernet autoselect";
  return "Ethernet autoselect (" + std::to_string(i.speed_mbps) + "baseT full-duplex)";
}

Record interface_counters(stack::Stack& stack, const iface::Interface& i) {
  const auto sum = count_interface(stack, i.index);
  Record out;
  for (const auto& row : iface::InterfaceCounters<std::uint64_t>::table())
    out.number(row.name.substr(3), sum.*row.member - i.zero.*row.member);
  return out;
}

}  // namespace

iface::InterfaceCounters<std::uint64_t> count_interface(stack::Stack& stack, std::uint32_t index) {
  iface::InterfaceCounters<std::uint64_t> sum;
  for (std::uint32_t n = 0; n < stack.shard_count(); ++n)
    add_counters<iface::InterfaceCounters>(stack.shard(n).counters().interfaces[index], sum);
  return sum;
}

std::string join(std::span<const std::string_view> words) {
  std::string out;
  for (const std::string_view word : words) {
    if (!out.empty()) out += ',';
    out += word;
  }
  return out;
}

std::string flag_names(std::uint32_t flags) {
  std::vector<std::string_view> names;
  for (const iface::FlagName& row : iface::kFlagNames)
    if ((flags & row.bit) != 0) names.push_back(row.name);
  return join(names);
}

std::string address_flag_names(std::uint32_t flags) {
  std::vector<std::string_view> names;
  for (const iface::FlagName& row : iface::kAddressFlagNames)
    if ((flags & row.bit) != 0) names.push_back(row.name);
  return join(names);
}

std::uint64_t seconds_until(Instant now, Instant end) {
  return end > now ? static_cast<std::uint64_t>((end - now) / 1s) : 0;
}

std::uint32_t capability_number(std::uint32_t capabilities) {
  std::uint32_t number = 0;
  for (const Capability& row : kCapabilities)
    if ((capabilities & row.device) != 0) number |= row.number;
  return number;
}

std::string capability_names(std::uint32_t capabilities) {
  std::vector<std::string_view> names;
  for (const Capability& row : kCapabilities)
    if ((capabilities & row.device) != 0) names.push_back(row.name);
  return join(names);
}

std::optional<std::uint32_t> capability_word(std::string_view word) {
  for (const std::string_view ours : kStackWork)
    if (word == ours) return 0;
  std::uint32_t device = 0;
  for (const Capability& row : kCapabilities) {
    const bool both =
        row.word.size() == word.size() + 3 && row.word.starts_with(word) && row.word[word.size()] == '-';
    if (row.word == word || both) device |= row.device;
  }
  for (const std::string_view v6 : kVersion6)
    if (word == v6)
      device = word.ends_with("-tx")   ? IOPKT_CAP_CSUM_TX
               : word.ends_with("-rx") ? IOPKT_CAP_CSUM_RX
                                       : IOPKT_CAP_CSUM_TX | IOPKT_CAP_CSUM_RX;
  if (device == 0) return std::nullopt;
  return device;
}

Record describe_interface(const Context& context, const iface::Interface& i, const ipv6::DiscoveryState& discovery) {
  Record out;
  out.text("name", i.name);
  out.number("index", i.index);
  out.number("flags", i.flags);
  out.text("flag_names", flag_names(i.flags));
  out.number("mtu", i.mtu).number("mtu_min", i.mtu_min).number("mtu_max", i.mtu_max);
  out.number("metric", i.metric).number("fib", i.fib);
  out.text("link_type", i.link_type == iface::LinkType::ethernet ? "ethernet"
                        : i.is_loopback()                        ? "loopback"
                                                                 : "raw");
  out.number("capabilities", capability_number(i.capabilities));
  out.text("capability_names", capability_names(i.capabilities));
  out.number("enabled", capability_number(i.enabled_capabilities));
  out.text("enabled_names", capability_names(i.enabled_capabilities));
  if (i.autoip) out.boolean("autoip", true);
  if (i.link_type == iface::LinkType::ethernet) {
    out.text("mac", i.mac.to_string());
    out.text("media", media_of(i));
    out.number("speed_mbps", i.speed_mbps);
  }
  // Down takes the physical link down with it.
  const bool carrier = i.link_up && (i.is_up() || i.is_loopback());
  out.boolean("carrier", carrier);
  if (!i.is_loopback()) out.text("status", carrier ? "active" : "no carrier");
  std::vector<Record> addresses;
  const Instant now = context.stack.shard(0).time();
  for (const iface::InterfaceAddress& a : i.addresses) addresses.push_back(describe_address(*context.stack.network(), a, now, discovery));
  out.list("addresses", std::move(addresses));
  out.group("counters", interface_counters(context.stack, i));
  context.surroundings.describe_device(i, out);
  return out;
}

Record describe_route(const Network& network, const route::Route& r, std::uint32_t fib) {
  Record out;
  out.text("family", family_name(r.prefix.address.family()));
  out.address("destination", address_text(network, r.prefix.address));
  out.number("prefix_length", r.prefix.length);
  if (r.gateway) out.address("gateway", address_text(network, *r.gateway));
  const iface::Interface* over = network.interfaces.by_index(r.interface_index);
  if (over != nullptr) out.text("interface", over->name);
  out.number("interface_index", r.interface_index);
  out.number("flags", r.flags);
  std::string letters;
  std::vector<std::string_view> names;
  constexpr std::array<std::pair<std::uint32_t, std::string_view>, 12> kNames{
      {{route::flag::up, "UP"},
       {route::flag::gateway, "GATEWAY"},
       {route::flag::host, "HOST"},
       {route::flag::reject, "REJECT"},
       {route::flag::dynamic, "DYNAMIC"},
       {route::flag::modified, "MODIFIED"},
       {route::flag::cloning, "CLONING"},
       {route::flag::link_info, "LLINFO"},
       {route::flag::static_route, "STATIC"},
       {route::flag::blackhole, "BLACKHOLE"},
       {route::flag::proto2, "PROTO2"},
       {route::flag::proto1, "PROTO1"}}};
  for (const route::FlagLetter& row : route::kFlagLetters)
    if ((r.flags & row.bit) != 0) letters += row.letter;
  for (const auto& [bit, name] : kNames)
    if ((r.flags & bit) != 0) names.push_back(name);
  out.text("flag_letters", letters).text("flag_names", join(names));
  out.number("mtu", r.mtu != 0 ? r.mtu : over != nullptr ? over->mtu : 0);
  if (r.source) out.address("source", address_text(network, *r.source));
  if (!r.congestion.empty()) out.text("congestion", r.congestion);
  out.number("fib", fib);
  return out;
}

}  // namespace iopkt::control
