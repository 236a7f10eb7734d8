// Transmission Control Protocol segments: RFC 9293 (header, options), RFC 7323 (window scale, timestamps),
// RFC 2018 (SACK), RFC 7413 (Fast Open), RFC 9768 (AccECN), RFC 2385 and 5925 (signatures). No state, no I/O, no allocation.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/bytes.hpp"
#include "base/expected.hpp"
#include "wire/address.hpp"
#include "wire/parse_error.hpp"

namespace iopkt::wire {

/// A sequence number. Arithmetic is modulo 2^32 (RFC 9293 section 3.4); the order only means something
/// between numbers less than 2^31 apart and is not transitive: never sort by it, never use it as a key of an
/// ordered container.
struct SeqNum {
  std::uint32_t value{};

  friend constexpr SeqNum operator+(SeqNum a, std::uint32_t n) { return {a.value + n}; }
  friend constexpr SeqNum operator-(SeqNum a, std::uint32_t n) { return {a.value - n}; }
  /// How far `a` is after `b`; negative when it is before.
  friend constexpr std::int32_t operator-(SeqNum a, SeqNum b) {
    return static_cast<std::int32_t>(a.value - b.value);
  }
  constexpr SeqNum& operator+=(std::uint32_t n) { return value += n, *this; }
  constexpr SeqNum& operator-=(std::uint32_t n) { return value -= n, *this; }
  friend constexpr bool operator==(SeqNum, SeqNum) = default;
  friend constexpr bool operator<(SeqNum a, SeqNum b) { return a - b < 0; }
  friend constexpr bool operator<=(SeqNum a, SeqNum b) { return a - b <= 0; }
  friend constexpr bool operator>(SeqNum a, SeqNum b) { return b < a; }
  friend constexpr bool operator>=(SeqNum a, SeqNum b) { return b <= a; }
};

/// As in the two bytes with the data offset. `ae` was once the nonce sum.
enum TcpFlag : std::uint16_t { fin = 1, syn = 2, rst = 4, psh = 8, ack = 16, urg = 32, ece = 64, cwr = 128, ae = 256 };
inline constexpr std::uint16_t kTcpFlags = 0x1ff;

/// RFC 9768 section 3.2.2: AE, CWR and ECE as one number, 0..7.
constexpr std::uint8_t ace_of(std::uint16_t flags) { return static_cast<std::uint8_t>(flags >> 6 & 7); }
constexpr std::uint16_t flags_of_ace(std::uint32_t ace) { return static_cast<std::uint16_t>((ace & 7) << 6); }

/// Received bytes [left, right) that the cumulative acknowledgment does not cover.
struct SackBlock {
  SeqNum left{}, right{};
  friend constexpr bool operator==(const SackBlock&, const SackBlock&) = default;
};

struct TcpTimestamps {
  std::uint32_t value{}, echo{};  ///< TSval, TSecr
  friend constexpr bool operator==(const TcpTimestamps&, const TcpTimestamps&) = default;
};

/// RFC 7413 section 4.1.1. An empty one asks for a cookie.
struct FastOpenCookie {
  static constexpr std::size_t kMin = 4, kMax = 16;
  std::array<std::byte, kMax> bytes{};
  std::uint8_t size{};  ///< 0, or 4..16 and even
  friend constexpr bool operator==(const FastOpenCookie&, const FastOpenCookie&) = default;
};

/// TCP-MD5 (RFC 2385) or TCP-AO (RFC 5925 section 2.2).
struct TcpSignature {
  enum class Kind : std::uint8_t { none = 0, md5 = 19, ao = 29 } kind{};
  std::uint8_t key_id{}, next_key_id{};  ///< TCP-AO's KeyID and RNextKeyID
  std::uint8_t length{};                 ///< Of the MAC; MD5: 16
  std::array<std::byte, 16> mac{};       ///< Its beginning, if it is longer.
  bool twice{};                          ///< Another one was there as well: RFC 5925 section 2.2 forbids it.
  friend constexpr bool operator==(const TcpSignature&, const TcpSignature&) = default;
};

/// RFC 9768 section 3.2.3: counts of payload bytes by their mark, modulo 2^24.
struct AccEcnOption {
  bool order1{};          ///< Kind 174, which begins with ECT(1); else 172.
  std::uint8_t fields{};  ///< 0..3: how many of its fields are there; those that are not are zero here.
  std::uint32_t e0b{}, ceb{}, e1b{};
  static constexpr std::uint32_t kMask = 0xffffff;
  bool has_e0b() const { return fields > (order1 ? 2 : 0); }
  bool has_ceb() const { return fields > 1; }
  bool has_e1b() const { return fields > (order1 ? 0 : 2); }
  friend constexpr bool operator==(const AccEcnOption&, const AccEcnOption&) = default;
};

struct TcpOptions {
  std::optional<std::uint16_t> mss;
  std::optional<std::uint8_t> window_scale;  ///< As sent: RFC 7323 section 2.3 takes more than 14 as 14.
  bool sack_permitted{};
  std::optional<TcpTimestamps> timestamps;
  std::array<SackBlock, 4> sack{};  ///< The first sack_count count, the others are zero.
  std::uint8_t sack_count{};        ///< 0..4
  std::optional<FastOpenCookie> fast_open;
  std::optional<AccEcnOption> accecn;
  TcpSignature signature;
  friend constexpr bool operator==(const TcpOptions&, const TcpOptions&) = default;
};

struct TcpHeader {
  Port src, dst;
  SeqNum seq, ack;
  std::uint16_t flags{};   ///< TcpFlag, or'ed; the reserved bits are ignored, and written as zero.
  std::uint16_t window{};  ///< As sent: not scaled
  std::uint16_t urgent{};
  TcpOptions options;
  friend constexpr bool operator==(const TcpHeader&, const TcpHeader&) = default;
};

/// Shape of a segment. Owns nothing and must not outlive its bytes.
class TcpView {
 public:
  static constexpr std::size_t kMinHeaderLen = 20;
  static constexpr std::size_t kMaxHeaderLen = 60;

  /// Takes the whole of `bytes` as one segment.
  /// Errors: truncated (shorter than 20 bytes, or than the data offset says); bad_length (data offset below
  /// 5). What options hold is never an error (RFC 9293 section 3.1, MUST-7).
  static Expected<TcpView, ParseError> parse(Bytes bytes) {
    if (bytes.size() < kMinHeaderLen) return unexpected(ParseError::truncated);
    const std::size_t len = std::size_t{load_u8(bytes, At::data_offset)} / 16 * 4;
    if (len < kMinHeaderLen) return unexpected(ParseError::bad_length);
    if (len > bytes.size()) return unexpected(ParseError::truncated);
    return TcpView{bytes, len};
  }

  /// Decodes options too. Reading them stops at the end-of-list option and at the first length that is 0, 1
  /// or reaches over the header's end; what was read before counts. An option with another length than its
  /// kind has is skipped, as are unknown kinds. Of an option that occurs twice, the last counts. A fifth SACK
  /// block does not fit into a header.
  TcpHeader header() const;

  Port src() const { return Port{load_be16(bytes_, At::src)}; }
  Port dst() const { return Port{load_be16(bytes_, At::dst)}; }
  SeqNum seq() const { return SeqNum{load_be32(bytes_, At::seq)}; }
  SeqNum ack() const { return SeqNum{load_be32(bytes_, At::ack)}; }
  std::uint16_t flags() const { return load_be16(bytes_, At::data_offset) & kTcpFlags; }
  std::uint16_t window() const { return load_be16(bytes_, At::window); }
  std::uint16_t checksum() const { return load_be16(bytes_, At::checksum); }
  std::uint16_t urgent() const { return load_be16(bytes_, At::urgent); }

  std::size_t header_len() const { return header_len_; }
  Bytes option_bytes() const { return bytes_.subspan(kMinHeaderLen, header_len_ - kMinHeaderLen); }
  Bytes payload() const { return bytes_.subspan(header_len_); }

  /// Offset of the checksum in the header.
  static constexpr std::size_t kChecksumOffset = 16;

 private:
  struct At {
    static constexpr std::size_t src = 0, dst = 2, seq = 4, ack = 8, data_offset = 12, window = 14,
                                 checksum = kChecksumOffset, urgent = 18;
  };
  TcpView(Bytes bytes, std::size_t header_len) : bytes_(bytes), header_len_(header_len) {}
  friend std::size_t encode(const TcpHeader& h, MutableBytes out);
  Bytes bytes_;
  std::size_t header_len_;
};

/// Bytes that a signature takes in a header, a multiple of 4; 0: there is none.
std::size_t encoded_len(const TcpSignature& s);
/// With the NOPs behind it: 4, 8 or 12.
std::size_t encoded_len(const AccEcnOption& o);
/// Where its MAC lies in a header that encode() wrote.
inline constexpr std::size_t kSignatureOffset = 24;

/// Length of the header that encode() writes: 20..60, a multiple of 4. SACK blocks and the Fast Open cookie are left out
/// where they do not fit beside the other options (the fourth block beside timestamps), and AccECN's beside all of them.
std::size_t encoded_len(const TcpHeader& h);

/// Writes `h` with a zero checksum to the front of `out`, which holds at least encoded_len(h) bytes; answers
/// that length. Options come in the customary order with NOPs so that each lies aligned: signature, MSS, SACK-permitted,
/// timestamps, window scale, Fast Open cookie, AccECN, SACK.
std::size_t encode(const TcpHeader& h, MutableBytes out);

}  // namespace iopkt::wire
