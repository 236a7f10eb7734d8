// ioctl(2) on sockets as the host's programs know it: netdevice(7), arp(7), SIOCADDRT and SIOCDELRT of <net/route.h>.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/expected.hpp"
#include "client_request.hpp"
#include "control/value.hpp"
#include "neigh/neighbours.hpp"
#include "stack/network.hpp"
#include "stack/shard.hpp"

namespace iopkt::daemon {

/// Whether the code asks about interfaces: those are answered from the Network, whatever the socket.
bool is_interface_ioctl(std::uint64_t code);
/// Shard 0's thread.
void interface_ioctl(Request& request, const stack::Network& network);

/// Whether the code changes an interface, the routes or the neighbours.
bool is_change_ioctl(std::uint64_t code);
/// The verb that does what the ioctl asks for.
struct IoctlChange {
  std::string verb;
  control::Record arguments;
};
/// `argument`: the program's struct; behind a struct rtentry IFNAMSIZ bytes, the name that rt_dev points to. An error is an errno,
/// the one that the host would give. Shard 0's thread.
Expected<IoctlChange, int> read_change(std::uint64_t code, std::span<const std::byte> argument, const stack::Network& network,
                                       const std::vector<neigh::Entry>& neighbours);
/// SIOCGARP. Shard 0's thread.
void neighbour_ioctl(Request& request, const stack::Network& network, const std::vector<neigh::Entry>& neighbours);

/// Of any other code.
void refuse_ioctl(Request& request);

}  // namespace iopkt::daemon
