// Everything one shard counts, layer by layer; written by its thread, readable from any.
#pragma once

#include <array>
#include <cstdint>

#include "base/counters.hpp"
#include "icmp/counters.hpp"
#include "icmp/counters6.hpp"
#include "iface/counters.hpp"
#include "ipv4/counters.hpp"
#include "ipv6/counters.hpp"
#include "neigh/counters.hpp"
#include "packet/drops.hpp"
#include "tcp/counters.hpp"
#include "udp/counters.hpp"

namespace iopkt::stack {

inline constexpr std::size_t kInterfacesMax = 256;  ///< indices 1..255; an interface's cells live as long as the stack

/// What the way itself counts.
template <class Cell>
struct WayCounters {
  Cell to_other_shards{}, from_other_shards{}, looped{}, transmit_requeued{}, turns{};
  friend bool operator==(const WayCounters&, const WayCounters&) = default;

  static constexpr auto table() {
    using S = WayCounters;
    return std::array{
        CounterSpec<S, Cell>{"stack.rx.from_other_shards", "messages", "Taken from other shards.", &S::from_other_shards},
        CounterSpec<S, Cell>{"stack.rx.to_other_shards", "messages", "Handed to other shards.", &S::to_other_shards},
        CounterSpec<S, Cell>{"stack.looped", "packets", "Delivered to this stack itself.", &S::looped},
        CounterSpec<S, Cell>{"stack.tx.requeued", "packets", "Kept because the device had no room.", &S::transmit_requeued},
        CounterSpec<S, Cell>{"stack.turns", "turns", "Turns of the shard's loop.", &S::turns},
    };
  }
};

struct ShardCounters {
  packet::DropCounters drops;
  tcp::Counters<Counter> tcp;
  udp::UdpCounters<Counter> udp;
  ipv4::Ipv4Counters<Counter> ipv4;
  icmp::IcmpCounters<Counter> icmp;
  ipv6::Ipv6Counters<Counter> ipv6;
  icmp::Icmp6Counters<Counter> icmp6;
  neigh::ArpCounters<Counter> arp;
  WayCounters<Counter> way;
  std::array<iface::InterfaceCounters<Counter>, kInterfacesMax> interfaces;
};

}  // namespace iopkt::stack
