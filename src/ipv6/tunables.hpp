// Tunables of IPv6: sysctl net.inet6.*. Fragments, ephemeral ports and the rate of ICMP errors have one set for both families:
// net.inet.ip.*, net.inet.icmp.*.
#pragma once

#include <array>
#include <cstdint>

#include "base/tunable.hpp"

namespace iopkt::ipv6 {

struct Ipv6Tunables {
  std::uint32_t redirect_accept, redirect_timeout_s;
  std::uint32_t accept_rtadv, auto_linklocal, dad_count, dad_enhanced, forwarding, hop_limit, max_routes, max_prefixes, max_redirects,
      max_routers, optimistic_dad, prefer_temporary, redirect, temporary_preferred_s, temporary_valid_s, use_deprecated, use_temporary;

  static constexpr auto table() {
    using T = Ipv6Tunables;
    using R = Tunable<T>;
    return std::array{
        R{"net.inet6.icmp6.rediraccept", "flag", "Follow redirects of the router that is in use (RFC 4861 8.3).", &T::redirect_accept,
          1, 0, 1},
        R{"net.inet6.icmp6.redirtimeout", "seconds", "Time for which a redirect is followed.", &T::redirect_timeout_s, 600, 1, 86400},
        R{"net.inet6.ip6.accept_rtadv", "flag", "Take routers, prefixes and parameters from router advertisements; not while forwarding.",
          &T::accept_rtadv, 1, 0, 1},
        R{"net.inet6.ip6.auto_linklocal", "flag", "Give each interface a link-local address when it comes up.", &T::auto_linklocal, 1, 0,
          1},
        R{"net.inet6.ip6.dad_count", "messages", "Solicitations of duplicate address detection (RFC 4862 5.1); 0: none is done.",
          &T::dad_count, 1, 0, 16},
        R{"net.inet6.ip6.dad_enhanced", "flag",
          "Solicitations of duplicate address detection carry a nonce: a link that loops is known (RFC 7527).", &T::dad_enhanced, 1, 0, 1},
        R{"net.inet6.ip6.forwarding", "flag", "Forward packets that are not for us.", &T::forwarding, 0, 0, 1},
        R{"net.inet6.ip6.hlim", "hops", "Hop limit of packets that we send, where no router says another.", &T::hop_limit, 64, 1, 255},
        R{"net.inet6.ip6.maxdynroutes", "routes",
          "Most more specific routes kept of an interface's routers (RFC 4191); 0: none is taken.", &T::max_routes, 64, 0, 4096},
        R{"net.inet6.ip6.maxifprefixes", "prefixes", "Most prefixes kept for an interface.", &T::max_prefixes, 16, 1, 256},
        R{"net.inet6.ip6.maxredirects", "routes", "Most destinations kept that were redirected.", &T::max_redirects, 256, 0, 65536},
        R{"net.inet6.ip6.maxrouters", "routers", "Most default routers kept for an interface.", &T::max_routers, 16, 1, 256},
        R{"net.inet6.ip6.optimistic_dad", "flag",
          "Addresses that are formed here are used before duplicate address detection is over (RFC 4429).", &T::optimistic_dad, 0, 0, 1},
        R{"net.inet6.ip6.prefer_tempaddr", "flag",
          "Connections go from temporary addresses rather than from the others (RFC 6724 rule 7).", &T::prefer_temporary, 1, 0, 1},
        R{"net.inet6.ip6.redirect", "flag", "Send redirects when forwarding back to the same link.", &T::redirect, 1, 0, 1},
        R{"net.inet6.ip6.temppltime", "seconds", "Preferred lifetime of temporary addresses (RFC 8981 3.8).",
          &T::temporary_preferred_s, 86400, 60, 31536000},
        R{"net.inet6.ip6.tempvltime", "seconds", "Valid lifetime of temporary addresses.", &T::temporary_valid_s, 172800, 60,
          31536000},
        R{"net.inet6.ip6.use_deprecated", "flag", "Deprecated addresses may still be the source of new connections (RFC 4862 5.5.4).",
          &T::use_deprecated, 1, 0, 1},
        R{"net.inet6.ip6.use_tempaddr", "flag", "Form temporary addresses of advertised prefixes (RFC 8981), beside the others.",
          &T::use_temporary, 0, 0, 1},
    };
  }
};
static_assert(tunables_are_sound<Ipv6Tunables>());

}  // namespace iopkt::ipv6
