// What both families do alike before an address is used: RFC 4862 section 5.4, RFC 5227 section 2.1.
#pragma once

#include <cstdint>

#include "iface/interface.hpp"

namespace iopkt::iface {

/// Whether the interface is one on which somebody could have the address, and nobody said to take it without asking.
inline bool can_detect(const Interface& interface, wire::IpFamily family, std::uint32_t flags) {
  const bool heard = family == wire::IpFamily::v4 || interface.is(flag::multicast);
  return heard && interface.link_type == LinkType::ethernet && !interface.is(flag::no_arp) &&
         (flags & (address_flag::anycast | address_flag::no_dad)) == 0;
}

/// Duplicate address detection of one address.
struct Detection {
  IpAddress address;
  std::uint32_t left{};  ///< Questions still to be asked
  Instant next;          ///< When the next is due, or the end
  bool taken{};          ///< Somebody else has it

  enum class Step : std::uint8_t { wait, ask, free, taken };
  /// What is due. Of `ask` whoever asks says when the next step is.
  Step step(Instant now) {
    if (taken) return Step::taken;
    if (next > now) return Step::wait;
    if (left == 0) return Step::free;
    --left;
    return Step::ask;
  }
};

}  // namespace iopkt::iface
