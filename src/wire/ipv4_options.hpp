// IPv4 options as views over the header's option bytes: RFC 791 section 3.1 (end, no-op, source routes,
// record route, timestamp), RFC 1122 3.2.1.8, RFC 2113 (router alert).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/bytes.hpp"
#include "base/expected.hpp"
#include "wire/address.hpp"
#include "wire/parse_error.hpp"

namespace iopkt::wire {

/// The whole option-type byte. Other values than the named occur.
enum class Ipv4OptionType : std::uint8_t {
  end = 0,
  no_operation = 1,
  record_route = 7,
  timestamp = 68,
  security = 130,
  loose_source_route = 131,
  stream_id = 136,
  strict_source_route = 137,
  router_alert = 148,
};

/// The copied flag: each fragment carries the option, not only the first.
constexpr bool is_copied(Ipv4OptionType type) { return (static_cast<std::uint8_t>(type) & 0x80) != 0; }

struct Ipv4Option {
  Ipv4OptionType type{};
  std::size_t offset{};  ///< Of the type byte, from the start of the option bytes: plus 20 is ICMP's pointer.
  Bytes bytes;           ///< Type, length and data. no_operation has 1 byte, all others 2 or more.
};

/// Walks the options of one header. The end-of-list option ends the walk and is not reported.
class Ipv4OptionReader {
 public:
  /// `options`: Ipv4View::options(), 0..40 bytes.
  explicit Ipv4OptionReader(Bytes options) : options_(options) {}

  /// The next option; nullopt at the end.
  /// Errors: bad_length (a length of 0 or 1, or one that reaches over the end; error_offset() says where).
  /// The walk is over after it.
  Expected<std::optional<Ipv4Option>, ParseError> next();
  /// After an error: offset of the option in question from the start of the option bytes.
  std::size_t error_offset() const { return error_offset_; }

 private:
  Bytes options_;
  std::size_t at_ = 0;
  std::size_t error_offset_ = 0;
};

/// Record route, loose and strict source route: a list of addresses and a pointer into it.
class Ipv4RouteOption {
 public:
  /// Errors: bad_type (another option); bad_length (length below 3); bad_pointer (below 4, the least that
  ///         RFC 791 allows). Bytes behind the last whole slot are no error and no slot.
  static Expected<Ipv4RouteOption, ParseError> parse(const Ipv4Option& option);

  Ipv4OptionType type() const { return static_cast<Ipv4OptionType>(load_u8(bytes_, 0)); }
  /// Number of slots, 0..9.
  std::size_t size() const { return (bytes_.size() - kListOffset) / 4; }
  /// Slot i < size().
  Ipv4Address address(std::size_t i) const { return load_ipv4(bytes_, kListOffset + 4 * i); }
  /// Offset, from the type byte, of the next slot to read or write; nullopt when the pointer is behind the
  /// list (a route that is completed, a record that is full) or leaves less than four bytes of it.
  std::optional<std::size_t> next_slot_offset() const;
  /// The pointer as sent: 1-based offset.
  std::uint8_t pointer() const { return load_u8(bytes_, 2); }

  static constexpr std::size_t kListOffset = 3;

 private:
  explicit Ipv4RouteOption(Bytes bytes) : bytes_(bytes) {}
  Bytes bytes_;
};

/// Internet timestamp option.
class Ipv4TimestampOption {
 public:
  enum class Flag : std::uint8_t { timestamps_only = 0, with_addresses = 1, prespecified = 3 };

  /// Errors: bad_type (another option); bad_length (length below 4); bad_pointer (below 5).
  static Expected<Ipv4TimestampOption, ParseError> parse(const Ipv4Option& option);

  /// The pointer as sent: 1-based offset of the next free entry.
  std::uint8_t pointer() const { return load_u8(bytes_, 2); }
  /// Routers that had no room, 0..15.
  std::uint8_t overflow() const { return load_u8(bytes_, 3) >> 4; }
  /// As sent, 0..15: other values than the named occur.
  Flag flag() const { return static_cast<Flag>(load_u8(bytes_, 3) & 0xf); }
  /// 4 or 8 bytes, by the flag.
  std::size_t entry_len() const { return flag() == Flag::timestamps_only ? 4 : 8; }
  /// Offset, from the type byte, of the entry to fill; nullopt when none is free.
  std::optional<std::size_t> next_entry_offset() const;
  Bytes bytes() const { return bytes_; }

  static constexpr std::size_t kListOffset = 4;

 private:
  explicit Ipv4TimestampOption(Bytes bytes) : bytes_(bytes) {}
  Bytes bytes_;
};

/// Router alert: its value (0: every router shall look at the packet).
/// Errors: bad_type (another option); bad_length (not 4 bytes).
Expected<std::uint16_t, ParseError> router_alert_value(const Ipv4Option& option);

}  // namespace iopkt::wire
