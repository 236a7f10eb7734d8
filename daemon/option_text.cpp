// Syntax of the option values that are text: owners and modes, FIB maps, interface names, station addresses.
#include <algorithm>
#include <array>

#include "option_tables.hpp"

namespace iopkt::daemon {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/// A user or group id that fits: decimal, below 2^32 - 1 (which means "none" to the system).
bool is_id(std::string_view word) {
  if (word.empty() || !std::ranges::all_of(word, is_digit)) return false;
  const auto id = read_number(word);
  return id && *id < 0xffffffff;
}

/// A name as in the password file: not all digits, no separators of ours, nothing unprintable.
bool is_account_name(std::string_view word) {
  if (word.empty() || word.size() > 64 || std::ranges::all_of(word, is_digit)) return false;
  return std::ranges::all_of(word, [](char c) {
    return is_letter(c) || is_digit(c) || c == '_' || c == '-' || c == '.' || c == '$';
  });
}

bool is_id_or_name(std::string_view word) { return is_id(word) || is_account_name(word); }

/// Splits at each `separator` and asks for each part; an empty part is a part.
template <class Check>
bool all_parts(std::string_view text, char separator, Check check) {
  for (;;) {
    const auto end = text.find(separator);
    if (!check(text.substr(0, end))) return false;
    if (end == text.npos) return true;
    text.remove_prefix(end + 1);
  }
}

int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::span<const std::string_view> node_types() {
  static constexpr std::array<std::string_view, 7> kTypes{"all",    "bpf", "crypto", "pf",
                                                          "socket", "tap", "tun"};
  return kTypes;
}

bool is_prefix_path(std::string_view text) {
  // A control character has no business in a path that goes to log lines and instance files.
  return text.starts_with('/') && std::ranges::none_of(text, [](char c) { return c >= 0 && c < 0x20; });
}

/// uid[:gid[,sup]*] or name[,sup]*
bool is_drop_user(std::string_view text) {
  const auto comma = text.find(',');
  const std::string_view who = text.substr(0, comma);
  const auto colon = who.find(':');
  const std::string_view user = who.substr(0, colon);
  if (colon != who.npos && !(is_id(user) && is_id(who.substr(colon + 1)))) return false;
  if (colon == who.npos && !is_id_or_name(user)) return false;
  if (comma == text.npos) return true;
  // The first form has groups only behind a gid.
  if (colon == who.npos && is_id(user)) return false;
  return all_parts(text.substr(comma + 1), ',', is_id);
}

/// type,uid:gid,mode
bool is_node_access(std::string_view text) {
  const auto first = text.find(',');
  if (first == text.npos) return false;
  const auto second = text.find(',', first + 1);
  if (second == text.npos) return false;
  if (std::ranges::find(node_types(), text.substr(0, first)) == node_types().end()) return false;
  const std::string_view owner = text.substr(first + 1, second - first - 1);
  const auto colon = owner.find(':');
  if (colon == owner.npos || !is_id_or_name(owner.substr(0, colon)) ||
      !is_id_or_name(owner.substr(colon + 1)))
    return false;
  const std::string_view mode = text.substr(second + 1);
  return !mode.empty() && mode.size() <= 4 && (mode.size() < 4 || mode.front() == '0') &&
         std::ranges::all_of(mode, [](char c) { return c >= '0' && c <= '7'; });
}

/// gid_fib[;gid_fib]*, FIB 0..15
bool is_fib_map(std::string_view text) {
  return all_parts(text, ';', [](std::string_view pair) {
    const auto line = pair.find('_');
    if (line == pair.npos || !is_id(pair.substr(0, line)) || !is_id(pair.substr(line + 1))) return false;
    return *read_number(pair.substr(line + 1)) <= 15;
  });
}

bool is_memory_object(std::string_view text) {
  if (text == "ram" || text == "ram/dma" || text == "hugetlb/2M" || text == "hugetlb/1G") return true;
  if (text.starts_with("node/")) return is_id(text.substr(5));
  return is_prefix_path(text);
}

bool is_interface_prefix(std::string_view text) {
  // The unit follows at once, so a digit at the end would make two readings of one name.
  return !text.empty() && text.size() <= 14 && is_letter(text.front()) && !is_digit(text.back()) &&
         std::ranges::all_of(text, [](char c) { return is_letter(c) || is_digit(c) || c == '_'; });
}

bool read_station_address(std::string_view text, std::uint8_t out[6]) {
  const char separator = text.size() == 17 ? text[2] : '\0';
  if (text.size() != 12 && separator != ':' && separator != '-') return false;
  const std::size_t step = separator ? 3 : 2;
  for (std::size_t i = 0; i < 6; ++i) {
    const std::size_t at = i * step;
    const int high = hex_digit(text[at]), low = hex_digit(text[at + 1]);
    if (high < 0 || low < 0 || (separator && i < 5 && text[at + 2] != separator)) return false;
    out[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return true;
}

bool is_station_address(std::string_view text) {
  std::uint8_t mac[6];
  if (!read_station_address(text, mac)) return false;
  // A group address or all zeroes names no station.
  return !(mac[0] & 1) && std::ranges::any_of(mac, [](std::uint8_t byte) { return byte != 0; });
}

bool is_power_of_two_or_zero(std::string_view number) {
  const auto value = read_number(number);
  return value && (*value == 0 || (*value >= 2 && round_down_pow2(*value) == *value));
}

}  // namespace iopkt::daemon
