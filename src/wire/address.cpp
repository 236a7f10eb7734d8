#include "wire/address.hpp"

#include <algorithm>

namespace iopkt::wire {
namespace {

constexpr char kHexDigits[] = "0123456789abcdef";

/// The value of a digit in bases up to 16, or 16.
std::uint32_t digit_value(char c) {
  if (c >= '0' && c <= '9') return static_cast<std::uint32_t>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<std::uint32_t>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<std::uint32_t>(c - 'A' + 10);
  return 16;
}

/// Digits of one base, one at least, up to a value of `max`; takes the whole text.
std::optional<std::uint32_t> parse_number(std::string_view text, std::uint32_t base, std::uint32_t max) {
  if (text.empty()) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : text) {
    const std::uint32_t digit = digit_value(c);
    if (digit >= base) return std::nullopt;
    value = value * base + digit;
    if (value > max) return std::nullopt;
  }
  return static_cast<std::uint32_t>(value);
}

/// Cuts `text` before the next `separator` and returns what stood before it; the rest, or nothing, stays in
/// `text`.
std::optional<std::string_view> next_part(std::optional<std::string_view>& text, char separator) {
  if (!text) return std::nullopt;
  const std::string_view all = *text;
  const std::size_t at = all.find(separator);
  if (at == std::string_view::npos) {
    text.reset();
    return all;
  }
  text = all.substr(at + 1);
  return all.substr(0, at);
}

/// A number as in C: 0x… hexadecimal, 0… octal, else decimal.
std::optional<std::uint32_t> parse_c_number(std::string_view text, std::uint32_t max) {
  if (text.size() > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
    return parse_number(text.substr(2), 16, max);
  if (text.size() > 1 && text[0] == '0') return parse_number(text.substr(1), 8, max);
  return parse_number(text, 10, max);
}

void append_group(std::string& out, std::uint32_t group) {
  bool started = false;
  for (int shift = 12; shift >= 0; shift -= 4) {
    const std::uint32_t digit = group >> shift & 0xf;
    started = started || digit != 0 || shift == 0;
    if (started) out += kHexDigits[digit];
  }
}

std::uint32_t group_of(const Ipv6Address& a, std::size_t i) {
  return std::uint32_t{a.bytes[2 * i]} << 8 | a.bytes[2 * i + 1];
}

/// Appends the groups of `text` (no "::" in it) to the `count` that `groups` has; a dotted quad may end it if
/// `quad`.
bool parse_groups(std::string_view text, bool quad, std::array<std::uint16_t, 8>& groups,
                  std::size_t& count) {
  if (text.empty()) return true;
  std::optional<std::string_view> rest = text;
  while (const auto part = next_part(rest, ':')) {
    if (quad && !rest && part->find('.') != std::string_view::npos) {
      const auto v4 = Ipv4Address::parse_strict(*part);
      if (!v4 || count + 2 > groups.size()) return false;
      groups[count++] = static_cast<std::uint16_t>(v4->value >> 16);
      groups[count++] = static_cast<std::uint16_t>(v4->value);
      return true;
    }
    if (part->size() > 4 || count == groups.size()) return false;
    const auto group = parse_number(*part, 16, 0xffff);
    if (!group) return false;
    groups[count++] = static_cast<std::uint16_t>(*group);
  }
  return true;
}

}  // namespace

std::optional<std::uint32_t> parse_decimal(std::string_view text, std::uint32_t max) {
  return parse_number(text, 10, max);
}

std::optional<MacAddress> MacAddress::parse(std::string_view text) {
  MacAddress mac;
  const std::size_t separator = text.find_first_of(":-");
  if (separator == std::string_view::npos) {
    if (text.size() != 12) return std::nullopt;
    for (std::size_t i = 0; i < 6; ++i) {
      const auto byte = parse_number(text.substr(2 * i, 2), 16, 0xff);
      if (!byte) return std::nullopt;
      mac.bytes[i] = static_cast<std::uint8_t>(*byte);
    }
    return mac;
  }
  const char parts_by = text[separator];
  std::optional<std::string_view> rest = text;
  for (auto& byte : mac.bytes) {
    const auto part = next_part(rest, parts_by);
    if (!part || part->size() > 2) return std::nullopt;
    const auto value = parse_number(*part, 16, 0xff);
    if (!value) return std::nullopt;
    byte = static_cast<std::uint8_t>(*value);
  }
  if (rest) return std::nullopt;
  return mac;
}

std::string MacAddress::to_string() const {
  std::string out;
  out.reserve(17);
  for (const std::uint8_t byte : bytes) {
    if (!out.empty()) out += ':';
    out += kHexDigits[byte >> 4];
    out += kHexDigits[byte & 0xf];
  }
  return out;
}

std::optional<Ipv4Address> Ipv4Address::parse_strict(std::string_view text) {
  std::optional<std::string_view> rest = text;
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) {
    const auto part = next_part(rest, '.');
    if (!part || part->size() > 3 || (part->size() > 1 && part->front() == '0')) return std::nullopt;
    const auto byte = parse_number(*part, 10, 255);
    if (!byte) return std::nullopt;
    value = value << 8 | *byte;
  }
  if (rest) return std::nullopt;
  return Ipv4Address{value};
}

std::optional<Ipv4Address> Ipv4Address::parse_bsd(std::string_view text) {
  std::optional<std::string_view> rest = text;
  std::uint32_t value = 0;
  for (int bytes_before = 0; bytes_before < 4; ++bytes_before) {
    const auto part = next_part(rest, '.');
    if (!part) return std::nullopt;
    const bool last = !rest;
    const int bits = last ? 32 - 8 * bytes_before : 8;
    const auto number = parse_c_number(*part, static_cast<std::uint32_t>((std::uint64_t{1} << bits) - 1));
    if (!number) return std::nullopt;
    if (last) return Ipv4Address{value | *number};
    value |= *number << (24 - 8 * bytes_before);
  }
  return std::nullopt;  // a fifth part
}

std::string Ipv4Address::to_string() const {
  std::string out;
  out.reserve(15);
  for (int shift = 24; shift >= 0; shift -= 8) {
    if (shift != 24) out += '.';
    out += std::to_string(value >> shift & 0xff);
  }
  return out;
}

std::optional<Ipv6Address> Ipv6Address::parse(std::string_view text) {
  std::array<std::uint16_t, 8> head{}, tail{};
  std::size_t head_count = 0, tail_count = 0;
  const std::size_t gap = text.find("::");
  if (gap == std::string_view::npos) {
    if (!parse_groups(text, true, head, head_count) || head_count != 8) return std::nullopt;
  } else {
    if (!parse_groups(text.substr(0, gap), false, head, head_count)) return std::nullopt;
    if (!parse_groups(text.substr(gap + 2), true, tail, tail_count)) return std::nullopt;
    if (head_count + tail_count > 7) return std::nullopt;  // "::" stands for one group at least
    std::copy_n(tail.begin(), tail_count, head.end() - static_cast<std::ptrdiff_t>(tail_count));
  }
  Ipv6Address a;
  for (std::size_t i = 0; i < 8; ++i) {
    a.bytes[2 * i] = static_cast<std::uint8_t>(head[i] >> 8);
    a.bytes[2 * i + 1] = static_cast<std::uint8_t>(head[i]);
  }
  return a;
}

std::string Ipv6Address::to_string() const {
  std::string out;
  if (is_v4_mapped()) {
    out = "::ffff:";
    out += Ipv4Address{bytes[12], bytes[13], bytes[14], bytes[15]}.to_string();
    return out;
  }
  // RFC 5952 section 4.2: the longest run of two or more zero groups becomes "::", the first of equals.
  std::size_t run_at = 8, run_len = 1;
  for (std::size_t i = 0; i < 8;) {
    std::size_t end = i;
    while (end < 8 && group_of(*this, end) == 0) ++end;
    if (end - i > run_len) run_at = i, run_len = end - i;
    i = end + 1;
  }
  for (std::size_t i = 0; i < 8;) {
    if (i == run_at) {
      out += "::";
      i += run_len;
      continue;
    }
    if (!out.empty() && out.back() != ':') out += ':';
    append_group(out, group_of(*this, i));
    ++i;
  }
  return out;
}

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  if (const auto v4 = Ipv4Address::parse_strict(text)) return *v4;
  const auto [address, zone] = split_zone(text);
  const auto v6 = Ipv6Address::parse(address);
  if (!v6) return std::nullopt;
  if (address.size() == text.size()) return *v6;
  const auto number = parse_decimal(zone, kZoneMax);
  if (!number || !v6->has_zone()) return std::nullopt;
  return IpAddress{*v6, *number};
}

std::string IpAddress::to_string() const {
  if (is_v4()) return v4().to_string();
  std::string out = v6().to_string();
  if (zone() != 0) out += '%' + std::to_string(zone());
  return out;
}

std::string Endpoint::to_string() const {
  std::string out = address.is_v6() ? "[" + address.to_string() + "]" : address.to_string();
  out += ':';
  out += std::to_string(port.value);
  return out;
}

std::optional<Ipv4Prefix> Ipv4Prefix::parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  const auto address = Ipv4Address::parse_strict(text.substr(0, slash));
  if (!address) return std::nullopt;
  if (slash == std::string_view::npos) return Ipv4Prefix{*address, 32};
  const auto length = parse_decimal(text.substr(slash + 1), 32);
  if (!length) return std::nullopt;
  return Ipv4Prefix{*address, static_cast<std::uint8_t>(*length)};
}

std::string Ipv4Prefix::to_string() const {
  std::string out = address.to_string();
  out += '/';
  out += std::to_string(length);
  return out;
}

}  // namespace iopkt::wire
