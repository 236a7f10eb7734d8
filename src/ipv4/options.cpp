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

bool occurs_once(Ipv4OptionType type) {
  return type == Ipv4OptionType::record_route || type == Ipv4OptionType::timestamp ||
         type == Ipv4OptionType::router_alert || type == Ipv4OptionType::security ||
         type == Ipv4OptionType::stream_id;
}

Expected<void, OptionError> stamp_time(MutableBytes options, const Ipv4Option& option,
                                       wire::Ipv4Address address, std::uint32_t ms_of_day) {
  const auto stamp = *Ipv4TimestampOption::parse(option);
  const auto slot = stamp.next_entry_offset();
  const auto flag = stamp.flag();
  if (!slot) {
    // Whoever was asked by name and is none of those has nothing to complain about.
    if (flag == Ipv4TimestampOption::Flag::prespecified) return {};
    if (stamp.overflow() == 15) return unexpected(error_at(option.offset, 3));
    store_u8(options, option.offset + 3,
             static_cast<std::uint8_t>(load_u8(options, option.offset + 3) + 0x10));
    return {};
  }
  std::size_t at = option.offset + *slot;
  if (flag == Ipv4TimestampOption::Flag::prespecified && wire::load_ipv4(options, at) != address) return {};
  if (flag != Ipv4TimestampOption::Flag::timestamps_only) {
    wire::store_ipv4(options, at, address);
    at += 4;
  }
  store_be32(options, at, ms_of_day);
  store_u8(options, option.offset + 2, static_cast<std::uint8_t>(stamp.pointer() + stamp.entry_len()));
  return {};
}

}  // namespace

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
    const bool is_source_route = option.type == Ipv4OptionType::loose_source_route ||
                                 option.type == Ipv4OptionType::strict_source_route;
    // RFC 1122 3.2.1.8 (c): one source route, of either kind.
    if ((again && occurs_once(option.type)) || (is_source_route && report.source_route))
      return unexpected(error_at(option.offset, 0));
    if (const auto good = check_one(option, report); !good) return unexpected(good.error());
  }
}

Expected<void, OptionError> stamp_options(MutableBytes options, wire::Ipv4Address address,
                                          std::uint32_t ms_of_day) {
  Expected<void, OptionError> result;
  for_each_option(options, [&](const Ipv4Option& option) {
    if (option.type == Ipv4OptionType::record_route) {
      const auto route = *Ipv4RouteOption::parse(option);
      const auto slot = route.next_slot_offset();
      if (!slot) return;  // RFC 791 3.1: full, the packet passes unchanged
      wire::store_ipv4(options, option.offset + *slot, address);
      store_u8(options, option.offset + 2, static_cast<std::uint8_t>(route.pointer() + 4));
    } else if (option.type == Ipv4OptionType::timestamp && result) {
      result = stamp_time(options, option, address, ms_of_day);
    }
  });
  return result;
}

wire::Ipv4OptionBytes options_for_reply(Bytes options) {
  wire::Ipv4OptionBytes out;
  for_each_option(options, [&](const Ipv4Option& option) {
    if (option.type == Ipv4OptionType::record_route || option.type == Ipv4OptionType::timestamp)
      append(out, option.bytes);
  });
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
