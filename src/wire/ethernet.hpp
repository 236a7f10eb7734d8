// Ethernet II frames (RFC 894, IEEE 802.3) and 802.1Q tags. The frame check sequence never gets here.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.hpp"
#include "base/expected.hpp"
#include "wire/address.hpp"
#include "wire/parse_error.hpp"

namespace iopkt::wire {

struct EthernetHeader {
  MacAddress dst, src;
  EtherType type{};
  friend constexpr bool operator==(const EthernetHeader&, const EthernetHeader&) = default;
};

/// Shape of a frame. Owns nothing and must not outlive its bytes.
class EthernetView {
 public:
  static constexpr std::size_t kHeaderLen = 14;

  /// Errors: truncated (below 14 bytes).
  static Expected<EthernetView, ParseError> parse(Bytes bytes) {
    if (bytes.size() < kHeaderLen) return unexpected(ParseError::truncated);
    return EthernetView{bytes};
  }
  EthernetHeader header() const { return {.dst = dst(), .src = src(), .type = type()}; }
  MacAddress dst() const { return load_mac(bytes_, 0); }
  MacAddress src() const { return load_mac(bytes_, 6); }
  EtherType type() const { return static_cast<EtherType>(load_be16(bytes_, 12)); }
  /// The type field holds a length: IEEE 802.3 with LLC, which the stack does not speak.
  bool is_llc() const { return load_be16(bytes_, 12) < 0x0600; }
  /// May end in padding.
  Bytes payload() const { return bytes_.subspan(kHeaderLen); }

 private:
  explicit EthernetView(Bytes bytes) : bytes_(bytes) {}
  Bytes bytes_;
};

/// Writes to the front of `out`, 14 bytes or more; answers 14.
inline std::size_t encode(const EthernetHeader& h, MutableBytes out) {
  store_mac(out, 0, h.dst);
  store_mac(out, 6, h.src);
  store_be16(out, 12, static_cast<std::uint16_t>(h.type));
  return EthernetView::kHeaderLen;
}

/// An IEEE 802.1Q tag: what stands between a type field that says vlan or qinq and the payload.
struct VlanTag {
  std::uint8_t priority{};  ///< PCP, 0..7
  bool drop_eligible{};     ///< DEI
  std::uint16_t vlan_id{};  ///< 0..4095; 0: priority only, 4095: reserved
  EtherType type{};         ///< Of the payload
  /// The first 16 bits.
  constexpr std::uint16_t tci() const {
    return static_cast<std::uint16_t>(priority << 13 | (drop_eligible ? 0x1000 : 0) | (vlan_id & 0xfff));
  }
  static constexpr VlanTag of_tci(std::uint16_t tci, EtherType type) {
    return {.priority = static_cast<std::uint8_t>(tci >> 13),
            .drop_eligible = (tci & 0x1000) != 0,
            .vlan_id = static_cast<std::uint16_t>(tci & 0xfff),
            .type = type};
  }
  friend constexpr bool operator==(const VlanTag&, const VlanTag&) = default;
};

class VlanView {
 public:
  static constexpr std::size_t kTagLen = 4;

  /// Takes an Ethernet payload whose type was vlan or qinq. Errors: truncated (below 4 bytes).
  static Expected<VlanView, ParseError> parse(Bytes bytes) {
    if (bytes.size() < kTagLen) return unexpected(ParseError::truncated);
    return VlanView{bytes};
  }
  VlanTag tag() const {
    return VlanTag::of_tci(load_be16(bytes_, 0), static_cast<EtherType>(load_be16(bytes_, 2)));
  }
  Bytes payload() const { return bytes_.subspan(kTagLen); }

 private:
  explicit VlanView(Bytes bytes) : bytes_(bytes) {}
  Bytes bytes_;
};

/// Writes to the front of `out`, 4 bytes or more; answers 4.
inline std::size_t encode(const VlanTag& tag, MutableBytes out) {
  store_be16(out, 0, tag.tci());
  store_be16(out, 2, static_cast<std::uint16_t>(tag.type));
  return VlanView::kTagLen;
}

}  // namespace iopkt::wire
