// Multicast Listener Discovery: RFC 2710 (version 1), RFC 3810 and its successor RFC 9777 (version 2). Messages as a host reads and
// writes them; they are ICMPv6 messages, whole, whose checksum somebody else looks at and fills in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/bytes.hpp"
#include "base/expected.hpp"
#include "wire/address.hpp"
#include "wire/icmpv6.hpp"
#include "wire/igmp.hpp"
#include "wire/parse_error.hpp"

namespace iopkt::wire {

/// ff02::16: where reports of version 2 go (RFC 3810 section 5.2.14).
inline constexpr Ipv6Address kMldRouters{{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x16}};

/// A maximum response code's milliseconds: up to 32767 itself, above a floating-point number (RFC 3810 section 5.1.3). 0..8387584.
constexpr std::uint32_t mld_code_value(std::uint16_t code) {
  return code < 32768 ? code : ((code & 0xfffu) | 0x1000u) << ((code >> 12 & 7u) + 3);
}

/// Shape of a message. Owns nothing and must not outlive its bytes.
class MldView {
 public:
  static constexpr std::size_t kHeaderLen = 8, kQueryV1Len = 24, kQueryLen = 28, kRecordLen = 20;

  /// Takes the whole of `bytes` as one message.
  /// Errors: bad_type (none of listener discovery); truncated (below its fixed part, or shorter than its lists say); bad_length
  /// (a query between the lengths of the two versions: RFC 3810 section 8.1).
  static Expected<MldView, ParseError> parse(Bytes bytes);

  Icmpv6Type type() const { return static_cast<Icmpv6Type>(load_u8(bytes_, 0)); }
  /// Of all but a report of version 2; "::": a query about all.
  Ipv6Address group() const { return load_ipv6(bytes_, 8); }

  /// Of a query: 1 or 2.
  int query_version() const { return bytes_.size() == kQueryV1Len ? 1 : 2; }
  /// As it is in version 1: milliseconds. Version 2: mld_code_value().
  std::uint16_t response_code() const { return load_be16(bytes_, 4); }
  // Of a query of version 2.
  bool suppress_routers() const { return (load_u8(bytes_, 24) & 8) != 0; }
  std::uint8_t robustness() const { return load_u8(bytes_, 24) & 7; }
  std::uint8_t interval_code() const { return load_u8(bytes_, 25); }  ///< igmp_code_value() of it: seconds
  std::size_t source_count() const { return load_be16(bytes_, 26); }
  /// i < source_count()
  Ipv6Address source(std::size_t i) const { return load_ipv6(bytes_, kQueryLen + 16 * i); }

  // Of a report of version 2.
  std::size_t record_count() const { return load_be16(bytes_, 6); }
  Bytes records() const { return bytes_.subspan(kHeaderLen); }

 private:
  explicit MldView(Bytes bytes) : bytes_(bytes) {}
  Bytes bytes_;
};

/// One record of a report of version 2.
class MldRecordView {
 public:
  /// The record at the front of `bytes`. Errors: truncated.
  static Expected<MldRecordView, ParseError> parse(Bytes bytes);
  GroupRecordType type() const { return static_cast<GroupRecordType>(load_u8(bytes_, 0)); }
  Ipv6Address group() const { return load_ipv6(bytes_, 4); }
  std::size_t source_count() const { return load_be16(bytes_, 2); }
  Ipv6Address source(std::size_t i) const { return load_ipv6(bytes_, MldView::kRecordLen + 16 * i); }
  /// Bytes, with what auxiliary data there is.
  std::size_t size() const { return bytes_.size(); }

 private:
  explicit MldRecordView(Bytes bytes) : bytes_(bytes) {}
  Bytes bytes_;
};

/// A message of 24 bytes, with a zero checksum: query, report and done of version 1. `out` has 24 bytes or more.
void encode_mld(Icmpv6Type type, std::uint16_t response_code, const Ipv6Address& group, MutableBytes out);

struct MldRecord {
  GroupRecordType type{};
  Ipv6Address group;
  std::span<const Ipv6Address> sources;
  std::size_t encoded_len() const { return MldView::kRecordLen + 16 * sources.size(); }
};
/// Writes a report of version 2 with a zero checksum. `out`: 8 bytes and those of all records, exactly.
void encode_mld(std::span<const MldRecord> records, MutableBytes out);

}  // namespace iopkt::wire
