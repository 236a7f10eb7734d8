// Internet Group Management Protocol: RFC 1112 appendix I (version 1), RFC 2236 (2), RFC 3376 (3). Messages as a host reads and
// writes them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/bytes.hpp"
#include "base/expected.hpp"
#include "wire/address.hpp"
#include "wire/parse_error.hpp"

namespace iopkt::wire {

/// Other values than the named occur.
enum class IgmpType : std::uint8_t { query = 0x11, report_v1 = 0x12, report_v2 = 0x16, leave = 0x17, report_v3 = 0x22 };

/// RFC 3376 section 4.2.12. MLDv2 has the same (RFC 3810 section 5.2.12).
enum class GroupRecordType : std::uint8_t {
  is_include = 1,
  is_exclude = 2,
  to_include = 3,
  to_exclude = 4,
  allow = 5,
  block = 6,
};

/// Where reports go: all routers that speak version 3; all routers.
inline constexpr Ipv4Address kIgmpRouters{224, 0, 0, 22}, kAllRouters{224, 0, 0, 2}, kAllSystems{224, 0, 0, 1};

/// A code's value: up to 127 itself, above a floating-point number (RFC 3376 section 4.1.1). 0..31744.
constexpr std::uint32_t igmp_code_value(std::uint8_t code) {
  return code < 128 ? code : ((code & 15u) | 16u) << ((code >> 4 & 7u) + 3);
}

/// Shape of a message. Owns nothing and must not outlive its bytes.
class IgmpView {
 public:
  static constexpr std::size_t kHeaderLen = 8, kQueryLen = 12, kRecordLen = 8, kChecksumOffset = 2;

  /// Takes the whole of `bytes` as one message.
  /// Errors: truncated (below 8 bytes; a query of version 3 or a report of version 3 shorter than its lists say). Judges no checksum.
  static Expected<IgmpView, ParseError> parse(Bytes bytes);

  IgmpType type() const { return static_cast<IgmpType>(load_u8(bytes_, 0)); }
  std::uint8_t response_code() const { return load_u8(bytes_, 1); }
  /// Of all but a report of version 3; 0.0.0.0: a query about all.
  Ipv4Address group() const { return load_ipv4(bytes_, 4); }
  bool checksum_ok() const;

  /// Of a query: 1, 2 or 3; 0: of a length that no version has (RFC 3376 section 7.1).
  int query_version() const;
  // Of a query of version 3.
  bool suppress_routers() const { return (load_u8(bytes_, 8) & 8) != 0; }
  std::uint8_t robustness() const { return load_u8(bytes_, 8) & 7; }
  std::uint8_t interval_code() const { return load_u8(bytes_, 9); }
  std::size_t source_count() const { return load_be16(bytes_, 10); }
  /// i < source_count()
  Ipv4Address source(std::size_t i) const { return load_ipv4(bytes_, kQueryLen + 4 * i); }

  // Of a report of version 3.
  std::size_t record_count() const { return load_be16(bytes_, 6); }
  Bytes records() const { return bytes_.subspan(kHeaderLen); }

 private:
  explicit IgmpView(Bytes bytes) : bytes_(bytes) {}
  Bytes bytes_;
};

/// One record of a report of version 3.
class IgmpRecordView {
 public:
  /// The record at the front of `bytes`. Errors: truncated.
  static Expected<IgmpRecordView, ParseError> parse(Bytes bytes);
  GroupRecordType type() const { return static_cast<GroupRecordType>(load_u8(bytes_, 0)); }
  Ipv4Address group() const { return load_ipv4(bytes_, 4); }
  std::size_t source_count() const { return load_be16(bytes_, 2); }
  Ipv4Address source(std::size_t i) const { return load_ipv4(bytes_, IgmpView::kRecordLen + 4 * i); }
  /// Bytes, with what auxiliary data there is.
  std::size_t size() const { return bytes_.size(); }

 private:
  explicit IgmpRecordView(Bytes bytes) : bytes_(bytes) {}
  Bytes bytes_;
};

/// A message of 8 bytes: queries of version 1 and 2, their reports, leave. Writes it with its checksum; `out` has 8 bytes or more.
void encode_igmp(IgmpType type, std::uint8_t response_code, Ipv4Address group, MutableBytes out);

struct IgmpRecord {
  GroupRecordType type{};
  Ipv4Address group;
  std::span<const Ipv4Address> sources;
  std::size_t encoded_len() const { return IgmpView::kRecordLen + 4 * sources.size(); }
};
/// Writes a report of version 3 with its checksum. `out`: 8 bytes and those of all records, exactly.
void encode_igmp(std::span<const IgmpRecord> records, MutableBytes out);

}  // namespace iopkt::wire
