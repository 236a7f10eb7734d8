#include "wire/ipv4_options.hpp"

namespace iopkt::wire {
namespace {

/// The offset from the option's type that a 1-based pointer means, if `len` bytes of the option lie there.
std::optional<std::size_t> slot_at(std::uint8_t pointer, std::size_t len, std::size_t option_len) {
  const std::size_t offset = std::size_t{pointer} - 1;  // parse() has refused 0
  if (offset + len > option_len) return std::nullopt;
  return offset;
}

}  // namespace

Expected<std::optional<Ipv4Option>, ParseError> Ipv4OptionReader::next() {
  if (at_ >= options_.size()) return std::nullopt;
  const auto type = static_cast<Ipv4OptionType>(load_u8(options_, at_));
  if (type == Ipv4OptionType::end) {
    at_ = options_.size();
    return std::nullopt;
  }
  const std::size_t left = options_.size() - at_;
  std::size_t len = 1;
  if (type != Ipv4OptionType::no_operation) {
    len = left < 2 ? 0 : load_u8(options_, at_ + 1);
    if (len < 2 || len > left) {
      error_offset_ = at_;
      at_ = options_.size();
      return unexpected(ParseError::bad_length);
    }
  }
  const Ipv4Option option{.type = type, .offset = at_, .bytes = options_.subspan(at_, len)};
  at_ += len;
  return option;
}

Expected<Ipv4RouteOption, ParseError> Ipv4RouteOption::parse(const Ipv4Option& option) {
  if (option.type != Ipv4OptionType::record_route && option.type != Ipv4OptionType::loose_source_route &&
      option.type != Ipv4OptionType::strict_source_route)
    return unexpected(ParseError::bad_type);
  if (option.bytes.size() < kListOffset) return unexpected(ParseError::bad_length);
  if (load_u8(option.bytes, 2) < kListOffset + 1) return unexpected(ParseError::bad_pointer);
  return Ipv4RouteOption{option.bytes};
}

std::optional<std::size_t> Ipv4RouteOption::next_slot_offset() const {
  return slot_at(pointer(), 4, bytes_.size());
}

Expected<Ipv4TimestampOption, ParseError> Ipv4TimestampOption::parse(const Ipv4Option& option) {
  if (option.type != Ipv4OptionType::timestamp) return unexpected(ParseError::bad_type);
  if (option.bytes.size() < kListOffset) return unexpected(ParseError::bad_length);
  if (load_u8(option.bytes, 2) < kListOffset + 1) return unexpected(ParseError::bad_pointer);
  return Ipv4TimestampOption{option.bytes};
}

std::optional<std::size_t> Ipv4TimestampOption::next_entry_offset() const {
  return slot_at(pointer(), entry_len(), bytes_.size());
}

Expected<std::uint16_t, ParseError> router_alert_value(const Ipv4Option& option) {
  if (option.type != Ipv4OptionType::router_alert) return unexpected(ParseError::bad_type);
  if (option.bytes.size() != 4) return unexpected(ParseError::bad_length);
  return load_be16(option.bytes, 2);
}

}  // namespace iopkt::wire
