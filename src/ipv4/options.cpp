#include "ipv4/options.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "wire/ipv4_options.hpp"

namespace iopkt::ipv4 {
namespace {

using wire::Ipv4Option;
using wire::Ipv4OptionReader;
using wire::Ipv4OptionType;
using wire::Ipv4RouteOption;
using wire::Ipv4TimestampOption;
using wire::ParseError;

/// ICMP's pointer to byte `within` of an option.
OptionError error_at(std::size_t offset, std::size_t within) {
  return {static_cast<std::uint8_t>(wire::Ipv4View::kMinHeaderLen + offset + within)};
}
/// The length byte is at fault, or the pointer behind it.
OptionError error_of(const Ipv4Option& option, ParseError error) {
  return error_at(option.offset, error == ParseError::bad_length ? 1 : 2);
}

/// Calls `each` for every option; the header passed check_options().
template <class Each>
void for_each_option(Bytes options, Each each) {
  Ipv4OptionReader reader{options};
  for (auto next = reader.next(); next && *next; next = reader.next()) each(**next);
}

void append(wire::Ipv4OptionBytes& to, Bytes option) {
  std::copy(option.begin(), option.end(), to.bytes.begin() + to.len);
  to.len = static_cast<std::uint8_t>(to.len + option.size());
}

Expected<void, OptionError> check_one(const Ipv4Option& option, OptionReport& report) {
  switch (option.type) {
    case Ipv4OptionType::loose_source_route:
    case Ipv4OptionType::strict_source_route: {
      const auto route = Ipv4RouteOption::parse(option);
      if (!route) return unexpected(error_of(option, route.error()));
      report.source_route = true;
      report.source_route_completed = !route->next_slot_offset().has_value();
      return {};
    }
    case Ipv4OptionType::record_route:
      if (const auto route = Ipv4RouteOption::parse(option); !route)
        return unexpected(error_of(option, route.error()));
      return {};
    case Ipv4OptionType::timestamp: {
      const auto stamp = Ipv4TimestampOption::parse(option);
      if (!stamp) return unexpected(error_of(option, stamp.error()));
      const auto flag = static_cast<std::uint8_t>(stamp->flag());
      if (flag > 3 || flag == 2) return unexpected(error_at(option.offset, 3));
      return {};
    }
    case Ipv4OptionType::router_alert:
      if (!wire::router_alert_value(option)) return unexpected(error_at(option.offset, 1));
      report.router_alert = true;
      return {};
    default:
      return {};  // RFC 1122 3.2.1.8: unknown options are passed over
  }
}

bool is_source_route(Ipv4OptionType type) {
  return type == Ipv4OptionType::loose_source_route || type == Ipv4OptionType::strict_source_route;
}

bool occurs_once(Ipv4OptionType type) {
  return type == Ipv4OptionType::record_route || type == Ipv4OptionType::timestamp ||
         type == Ipv4OptionType::router_alert || type == Ipv4OptionType::security ||
         type == Ipv4OptionType::stream_id;
}

/// RFC 791 3.1: some room, but not for a whole entry.
bool has_part_of_entry(const Ipv4Option& option, std::uint8_t pointer, std::size_t entry_len) {
  return pointer <= option.bytes.size() && pointer + entry_len - 1 > option.bytes.size();
}

Expected<void, OptionError> stamp_time(MutableBytes options, const Ipv4Option& option, const Stamp& who) {
  const auto stamp = *Ipv4TimestampOption::parse(option);
  const auto slot = stamp.next_entry_offset();
  const auto flag = stamp.flag();
  if (has_part_of_entry(option, stamp.pointer(), stamp.entry_len())) return unexpected(error_at(option.offset, 2));
  if (!slot) {
    // Whoever was asked by name and is none of those has nothing to complain about.
    if (flag == Ipv4TimestampOption::Flag::prespecified || !who.counts_overflow) return {};
    if (stamp.overflow() == 15) return unexpected(error_at(option.offset, 3));
    store_u8(options, option.offset + 3,
             static_cast<std::uint8_t>(load_u8(options, option.offset + 3) + 0x10));
    return {};
  }
  std::size_t at = option.offset + *slot;
  if (flag == Ipv4TimestampOption::Flag::prespecified) {
    const wire::Ipv4Address asked = wire::load_ipv4(options, at);
    if (asked != who.address && who.own.find_local(asked) == nullptr) return {};
  } else if (flag == Ipv4TimestampOption::Flag::with_addresses) {
    wire::store_ipv4(options, at, who.address);
  }
  if (flag != Ipv4TimestampOption::Flag::timestamps_only) at += 4;
  store_be32(options, at, who.clock.time());
  store_u8(options, option.offset + 2, static_cast<std::uint8_t>(stamp.pointer() + stamp.entry_len()));
  return {};
}

constexpr std::uint64_t kMsOfDay = 86'400'000;
constexpr std::uint32_t kOtherClock = 0x8000'0000;  // RFC 791 3.1: milliseconds, but not of the universal time

}  // namespace

std::uint32_t StampClock::time() const {
  if (ms_of_day != nullptr) return ms_of_day();
  return static_cast<std::uint32_t>(static_cast<std::uint64_t>((now - Instant{}).count()) / 1'000'000 % kMsOfDay) | kOtherClock;
}

Expected<OptionReport, OptionError> check_options(Bytes options) {
  OptionReport report;
  Ipv4OptionReader reader{options};
  std::array<bool, 256> seen{};
  for (;;) {
    const auto next = reader.next();
    if (!next) return unexpected(error_at(reader.error_offset(), 0));
    if (!*next) return report;
    const Ipv4Option& option = **next;
    const bool again = std::exchange(seen[static_cast<std::uint8_t>(option.type)], true);
    // RFC 1122 3.2.1.8 (c): one source route, of either kind.
    if ((again && occurs_once(option.type)) || (is_source_route(option.type) && report.source_route))
      return unexpected(error_at(option.offset, 0));
    if (const auto good = check_one(option, report); !good) return unexpected(good.error());
  }
}

Expected<void, OptionError> stamp_options(MutableBytes options, const Stamp& stamp) {
  Expected<void, OptionError> result;
  for_each_option(options, [&](const Ipv4Option& option) {
    if (option.type == Ipv4OptionType::record_route) {
      const auto route = *Ipv4RouteOption::parse(option);
      const auto slot = route.next_slot_offset();
      if (has_part_of_entry(option, route.pointer(), 4)) result = unexpected(error_at(option.offset, 2));
      if (!slot) return;  // RFC 791 3.1: full, the packet passes unchanged
      wire::store_ipv4(options, option.offset + *slot, stamp.address);
      store_u8(options, option.offset + 2, static_cast<std::uint8_t>(route.pointer() + 4));
    } else if (option.type == Ipv4OptionType::timestamp && result) {
      result = stamp_time(options, option, stamp);
    }
  });
  return result;
}

namespace {

/// The hops that a packet has passed, last first; RFC 1122 4.1.3.2: without its source, where that entered itself.
void append_way_back(wire::Ipv4OptionBytes& to, const Ipv4Option& option, wire::Ipv4Address source) {
  const auto route = *Ipv4RouteOption::parse(option);
  std::size_t passed = std::min(route.size(), (std::size_t{route.pointer()} - 4) / 4);
  const std::size_t from = passed != 0 && route.address(0) == source ? 1 : 0;
  if (passed == from) return;
  std::array<std::byte, wire::Ipv4OptionBytes::kMaxLen> back{};
  store_u8(back, 0, static_cast<std::uint8_t>(option.type));
  store_u8(back, 1, static_cast<std::uint8_t>(Ipv4RouteOption::kListOffset + 4 * (passed - from)));
  store_u8(back, 2, 4);
  for (std::size_t at = Ipv4RouteOption::kListOffset; passed > from; at += 4) wire::store_ipv4(back, at, route.address(--passed));
  append(to, Bytes{back}.first(load_u8(back, 1)));
}

void fill_up(wire::Ipv4OptionBytes& options) { options.len = static_cast<std::uint8_t>((options.len + 3) / 4 * 4); }

/// RFC 1112 section 4: a host group never stands in a source route.
bool has_group(const Ipv4RouteOption& route) {
  for (std::size_t i = 0; i < route.size(); ++i)
    if (route.address(i).is_multicast()) return true;
  return false;
}

/// RFC 1122 3.2.1.8 (c): where options have their source route, of which there is one at most.
std::optional<Ipv4Option> source_route_of(Bytes options) {
  std::optional<Ipv4Option> found;
  for_each_option(options, [&](const Ipv4Option& option) {
    if (is_source_route(option.type)) found = option;
  });
  return found;
}

}  // namespace

wire::Ipv4OptionBytes options_for_reply(Bytes options, wire::Ipv4Address source) {
  wire::Ipv4OptionBytes out;
  for_each_option(options, [&](const Ipv4Option& option) {
    if (option.type == Ipv4OptionType::record_route || option.type == Ipv4OptionType::timestamp)
      append(out, option.bytes);
    else if (is_source_route(option.type) && !has_group(*Ipv4RouteOption::parse(option)))
      append_way_back(out, option, source);
  });
  fill_up(out);
  return out;
}

wire::Ipv4OptionBytes way_back(Bytes options, wire::Ipv4Address source) {
  wire::Ipv4OptionBytes out;
  if (const auto route = source_route_of(options); route && !has_group(*Ipv4RouteOption::parse(*route))) append_way_back(out, *route, source);
  fill_up(out);
  return out;
}

std::optional<wire::Ipv4OptionBytes> given_options(Bytes value, bool any) {
  wire::Ipv4OptionBytes given;
  if (value.size() > wire::Ipv4OptionBytes::kMaxLen) return std::nullopt;
  append(given, value);
  fill_up(given);
  if (!check_options(given.span())) return std::nullopt;
  bool good = true;
  for_each_option(given.span(), [&](const Ipv4Option& option) {
    switch (option.type) {
      case Ipv4OptionType::loose_source_route:
      case Ipv4OptionType::strict_source_route: {
        const auto route = *Ipv4RouteOption::parse(option);
        good = good && route.pointer() == 4 && route.size() != 0 && option.bytes.size() == Ipv4RouteOption::kListOffset + 4 * route.size() &&
               !has_group(route);
        break;
      }
      case Ipv4OptionType::record_route: good = good && !has_part_of_entry(option, Ipv4RouteOption::parse(option)->pointer(), 4); break;
      case Ipv4OptionType::timestamp: {
        const auto stamp = *Ipv4TimestampOption::parse(option);
        good = good && !has_part_of_entry(option, stamp.pointer(), stamp.entry_len());
        break;
      }
      case Ipv4OptionType::no_operation:
      case Ipv4OptionType::router_alert: break;
      default: good = good && any;
    }
  });
  return good ? std::optional{given} : std::nullopt;
}

bool has_source_route(const wire::Ipv4OptionBytes& given) { return source_route_of(given.span()).has_value(); }

wire::Ipv4Address first_hop(const wire::Ipv4OptionBytes& given, wire::Ipv4Address destination) {
  const auto option = source_route_of(given.span());
  return option ? Ipv4RouteOption::parse(*option)->address(0) : destination;
}

wire::Ipv4OptionBytes on_the_wire(const wire::Ipv4OptionBytes& given, wire::Ipv4Address destination) {
  wire::Ipv4OptionBytes out = given;
  const auto option = source_route_of(given.span());
  if (!option) return out;
  const auto route = *Ipv4RouteOption::parse(*option);
  const MutableBytes list = MutableBytes{out.bytes}.subspan(option->offset + Ipv4RouteOption::kListOffset, 4 * route.size());
  for (std::size_t i = 1; i < route.size(); ++i) wire::store_ipv4(list, 4 * (i - 1), route.address(i));
  wire::store_ipv4(list, 4 * (route.size() - 1), destination);
  return out;
}

wire::Ipv4OptionBytes copied_options(Bytes options) {
  wire::Ipv4OptionBytes out;
  for_each_option(options, [&](const Ipv4Option& option) {
    if (wire::is_copied(option.type)) append(out, option.bytes);
  });
  return out;
}

}  // namespace iopkt::ipv4
