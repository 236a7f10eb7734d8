// Tunables of UDP: sysctl net.inet.udp.*.
#pragma once

#include <array>
#include <cstdint>

#include "base/tunable.hpp"

namespace iopkt::udp {

struct UdpTunables {
  std::uint32_t checksum, do_loopback_cksum, recvspace, sendspace;

  static constexpr auto table() {
    using T = UdpTunables;
    using R = Tunable<T>;
    return std::array{
        R{"net.inet.udp.checksum", "flag", "Send checksums (RFC 1122 4.1.3.4: on unless a program asks).",
          &T::checksum, 1, 0, 1},
        R{"net.inet.udp.do_loopback_cksum", "flag", "Compute and check checksums on loopback.",
          &T::do_loopback_cksum, 0, 0, 1},
        // Holds forty datagrams of a kilobyte with their addresses.
        R{"net.inet.udp.recvspace", "bytes", "Receive buffer of a new socket.", &T::recvspace, 41600, 1024,
          16u << 20},
        R{"net.inet.udp.sendspace", "bytes", "Send buffer of a new socket: the largest datagram.",
          &T::sendspace, 9216, 1024, 16u << 20},
    };
  }
};
static_assert(tunables_are_sound<UdpTunables>());

}  // namespace iopkt::udp
