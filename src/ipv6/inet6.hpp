// The seam between the stack and IPv6: io-pkt-v6-hc hands this table over, io-pkt-v4-hc does not and links nothing of this
// folder. Types may be used without it, functions only through it.
#pragma once

#include <memory>

#include "ipv6/discovery.hpp"
#include "ipv6/input.hpp"
#include "ipv6/mld.hpp"
#include "ipv6/output.hpp"

namespace iopkt::ipv6 {

struct Inet6 {
  Expected<Ipv6In, Refused> (*input)(const InputContext& context, packet::Packet& packet);
  Expected<void, Drop> (*add_header)(packet::Packet& packet, wire::Ipv6Header& header, Ipv6Counters<Counter>& counters);
  Expected<void, Drop> (*add_extensions)(packet::Packet& packet, wire::IpProtocol protocol, const wire::Ipv6Extensions& extensions);
  Expected<void, Drop> (*fragment)(packet::PacketPtr& packet, std::uint32_t mtu, std::uint32_t id, packet::Burst& out,
                                   Ipv6Counters<Counter>& counters);
  std::unique_ptr<Discovery> (*make_discovery)(const DiscoveryConfig& config);
  Expected<MldHeard, Drop> (*mld_input)(const wire::IpHeader& header, std::uint32_t zone, Bytes message);
  std::vector<MldMessage> (*mld_messages)(const group::Message& message, const iface::Interface& out);
};

/// The one there is.
const Inet6& inet6();

}  // namespace iopkt::ipv6
