// ARP packets in and out: RFC 826, RFC 1122 2.3.2, RFC 5227 (probes, announcements, conflicts).
#pragma once

#include <optional>

#include "base/expected.hpp"
#include "iface/interface.hpp"
#include "neigh/counters.hpp"
#include "neigh/neighbours.hpp"
#include "packet/drops.hpp"
#include "packet/packet.hpp"
#include "wire/arp.hpp"

namespace iopkt::link {

struct ArpContext {
  const iface::Interface& in;
  const iface::InterfaceTable& interfaces;
  neigh::ArpCounters<Counter>& counters;
  /// For published entries; nullptr on a shard that does not own the table.
  const neigh::Neighbours* neighbours{};
};

struct ArpIn {
  /// For Neighbours::learned().
  struct Mapping {
    neigh::Key key;
    wire::MacAddress mac;
    neigh::Heard how{};
  };
  std::optional<Mapping> learned;
  /// A whole frame to send out of the interface.
  packet::PacketPtr answer;
  /// Another station uses this address of ours, or asks for it while we do (RFC 5227 sections 2.1.1 and 2.4). Nothing is learned.
  std::optional<wire::Ipv4Address> contested;
};

/// Reads the packet behind the Ethernet header.
/// Errors: arp_malformed (also: interface without ARP, an operation other than request and reply);
///         arp_bad_sender (group, zero or our own MAC; an IP that no host can have);
///         arp_not_for_us (nothing to learn and nothing to answer); no_buffer (an answer was due).
Expected<ArpIn, packet::Drop> arp_input(const ArpContext& context, packet::Packet& packet);

/// A whole frame that asks who has `target`: to all, or to `unicast` alone. `sender`: one of our addresses on
/// `out`. Null: no packet buffer.
packet::PacketPtr arp_request(packet::Cache& cache, const iface::Interface& out, wire::Ipv4Address sender,
                              wire::Ipv4Address target, const std::optional<wire::MacAddress>& unicast = {});
/// A whole frame that says to all that `address` is ours (RFC 5227 section 2.3).
packet::PacketPtr arp_announcement(packet::Cache& cache, const iface::Interface& out,
                                   wire::Ipv4Address address);
/// A whole frame that asks whether `address` is taken (RFC 5227 section 2.1).
packet::PacketPtr arp_probe(packet::Cache& cache, const iface::Interface& out, wire::Ipv4Address address);

/// The sender address for a request: of the interface's addresses the one whose network holds `target`, else
/// the first. nullopt: the interface has no IPv4 address that may be used, nothing can be asked.
std::optional<wire::Ipv4Address> arp_sender_for(const iface::Interface& out, wire::Ipv4Address target);

}  // namespace iopkt::link
