// Tunables of ICMP: sysctl net.inet.icmp.*.
#pragma once

#include <array>
#include <cstdint>

#include "base/tunable.hpp"

namespace iopkt::icmp {

struct IcmpTunables {
  std::uint32_t bmcastecho, drop_redirect, error_burst, error_rate, mask_reply, redirect_timeout_s, timestamp_reply;

  static constexpr auto table() {
    using T = IcmpTunables;
    using R = Tunable<T>;
    return std::array{
        R{"net.inet.icmp.bmcastecho", "flag", "Answer echo requests to broadcast and multicast addresses.",
          &T::bmcastecho, 0, 0, 1},
        R{"net.inet.icmp.drop_redirect", "flag", "Ignore redirects (RFC 1812 5.2.7.2; RFC 6274 4.2).",
          &T::drop_redirect, 1, 0, 1},
        // A port scan draws that many at once before the rate holds.
        R{"net.inet.icmp.errburst", "messages", "Errors that may be sent at once after a silence.",
          &T::error_burst, 50, 1, 65536},
        R{"net.inet.icmp.errppslimit", "messages/s",
          "Most errors sent per second and shard (RFC 1812 4.3.2.8); 0: none.", &T::error_rate, 100, 0,
          1000000},
        R{"net.inet.icmp.maskrepl", "flag", "Answer address mask requests (RFC 6918 deprecates them).",
          &T::mask_reply, 0, 0, 1},
        R{"net.inet.icmp.redirtimeout", "seconds", "Time for which a redirect is followed.", &T::redirect_timeout_s, 600, 1, 86400},
        R{"net.inet.icmp.tstamprepl", "flag", "Answer timestamp requests.", &T::timestamp_reply, 0, 0, 1},
    };
  }
};
static_assert(tunables_are_sound<IcmpTunables>());

}  // namespace iopkt::icmp
