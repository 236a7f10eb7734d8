#include <algorithm>

#include "utils/route/route.hpp"
#include "wire/ip_prefix.hpp"

namespace iopkt::utils {
namespace {

/// inet_network(3) and BSD's choice of a mask: the numbers are the leading bytes.
std::optional<Destination> parse_network(std::string_view word) {
  std::uint32_t value = 0;
  int parts = 0;
  while (true) {
    const std::size_t dot = std::min(word.find('.'), word.size());
    const auto part = parse_number(word.substr(0, dot), 255);
    if (!part || ++parts > 4) return std::nullopt;
    value = value << 8 | static_cast<std::uint32_t>(*part);
    if (dot == word.size()) break;
    word.remove_prefix(dot + 1);
  }
  value <<= 8 * (4 - parts);
  const wire::Ipv4Address address{value};
  int length = value == 0 ? 0 : address.class_prefix_length();
  // More bytes than the class has: the mask covers those that say something.
  for (int octet = 3; octet >= 0; --octet) {
    if ((value >> (8 * (3 - octet)) & 0xff) == 0) continue;
    length = std::max(length, 8 * (octet + 1));
    break;
  }
  return Destination{address.to_string(), length};
}

}  // namespace

std::optional<Destination> parse_destination(std::string_view word, DestinationKind kind) {
  if (word == "default") return Destination{"0.0.0.0", 0};
  if (const std::size_t slash = word.find('/'); slash != word.npos) {
    const auto length = parse_number(word.substr(slash + 1), 32);
    const auto net = parse_network(word.substr(0, slash));
    const auto host = wire::Ipv4Address::parse_strict(word.substr(0, slash));
    if (!length || (!net && !host) || kind == DestinationKind::host) return std::nullopt;
    const auto address = host ? *host : *wire::Ipv4Address::parse_strict(net->address);
    const wire::Ipv4Prefix prefix{address, static_cast<std::uint8_t>(*length)};
    return Destination{prefix.network().to_string(), prefix.length};
  }
  if (kind == DestinationKind::net) return parse_network(word);
  const auto address = wire::Ipv4Address::parse_bsd(word);
  if (!address) return std::nullopt;
  if (kind == DestinationKind::host) return Destination{address->to_string(), 32};
  if (address->value == 0) return Destination{"0.0.0.0", 0};
  const wire::Ipv4Prefix by_class{*address, address->class_prefix_length()};
  const bool network = by_class.network() == *address;
  return Destination{address->to_string(), network ? by_class.length : 32};
}

std::string network_of6(const std::string& address, int length) {
  const auto [plain, zone] = wire::split_zone(address);
  const wire::IpAddress network = wire::network_of(*wire::Ipv6Address::parse(plain), static_cast<std::uint8_t>(length));
  return network.to_string() + (zone.empty() ? "" : "%" + std::string(zone));
}

std::optional<Destination> parse_destination6(std::string_view word, DestinationKind kind) {
  if (word == "default") return Destination{"::", 0, true};
  const std::size_t slash = std::min(word.find('/'), word.size());
  std::optional<std::uint64_t> length = kind == DestinationKind::net ? 64 : 128;
  if (slash != word.size()) length = kind == DestinationKind::host ? std::nullopt : parse_number(word.substr(slash + 1), 128);
  const auto [plain, zone] = wire::split_zone(word.substr(0, slash));
  const auto address = wire::Ipv6Address::parse(plain);
  if (!address || !length) return std::nullopt;
  const std::string text = address->to_string() + (zone.empty() ? "" : "%" + std::string(zone));
  return Destination{network_of6(text, static_cast<int>(*length)), static_cast<int>(*length), true};
}

}  // namespace iopkt::utils
