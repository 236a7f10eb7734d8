// Redirects of IPv4 that a host follows: RFC 1122 section 3.2.2.2. On shard 0; routes of the tables in run() alone.
#pragma once

#include <array>
#include <bitset>
#include <span>
#include <vector>

#include "base/expected.hpp"
#include "base/time.hpp"
#include "icmp/input.hpp"
#include "iface/interface.hpp"
#include "ipv4/tunables.hpp"
#include "packet/drops.hpp"
#include "route/dynamic.hpp"

namespace iopkt::ipv4 {

class Redirects {
 public:
  static constexpr std::size_t kMost = 256;

  /// Both outlive it, and may change between calls.
  Redirects(const Ipv4Tunables& ipv4, const icmp::IcmpTunables& icmp) : ipv4_(ipv4), icmp_(icmp) {}

  /// A redirect that came by `in`. It counts in those of the FIBs in which the sender is the one that we send to. Errors: icmp_ignored
  /// (we are a router, or there is no such FIB, or there are too many).
  Expected<void, packet::Drop> heard(const iface::Interface& in, std::span<const route::Fib> fibs, const icmp::Redirected& said, Instant now);
  void tables_changed(Instant now) { look_ = true, wake(now); }
  Instant next_deadline() const { return deadline_; }
  /// True: the FIBs changed.
  bool run(Instant now, const iface::InterfaceTable& interfaces, std::span<route::Fib> fibs);

 private:
  using FibSet = std::bitset<route::kFibCount>;
  struct Entry {
    FibSet fibs;
    wire::Ipv4Address destination, gateway;
    std::uint32_t interface_index;
    Instant until;
  };
  void wake(Instant now) { deadline_ = std::min(deadline_, now); }

  const Ipv4Tunables& ipv4_;
  const icmp::IcmpTunables& icmp_;
  std::vector<Entry> entries_;
  std::array<route::DynamicRoutes, route::kFibCount> routes_;
  route::NewsLimit news_;
  bool look_ = false;
  Instant deadline_{Instant::never()};
};

}  // namespace iopkt::ipv4
