// What all shards agree on: interfaces, routes and settings, as one immutable version after the other.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "iface/interface.hpp"
#include "icmp/tunables.hpp"
#include "ipv4/tunables.hpp"
#include "ipv6/tunables.hpp"
#include "neigh/tunables.hpp"
#include "route/fib.hpp"
#include "tcp/congestion.hpp"
#include "tcp/tunables.hpp"
#include "udp/tunables.hpp"

namespace iopkt::stack {

/// Settings that sysctl changes while the stack runs.
struct Settings {
  tcp::Tunables tcp = tcp::default_tunables();
  const tcp::CongestionControl* congestion = &tcp::cubic();  ///< net.inet.tcp.congctl.selected
  ipv4::Ipv4Tunables ipv4 = initial_values<ipv4::Ipv4Tunables>();
  ipv6::Ipv6Tunables ipv6 = initial_values<ipv6::Ipv6Tunables>();
  icmp::IcmpTunables icmp = initial_values<icmp::IcmpTunables>();
  udp::UdpTunables udp = initial_values<udp::UdpTunables>();
  neigh::NeighbourTunables neigh = initial_values<neigh::NeighbourTunables>();
};

/// Immutable once published; control makes the next one from a copy. Interfaces and FIBs share their structure.
struct Network {
  iface::InterfaceTable interfaces;
  std::array<route::Fib, route::kFibCount> fibs;
  Settings settings;
  std::uint64_t version = 0;
};

using NetworkPtr = std::shared_ptr<const Network>;

}  // namespace iopkt::stack
