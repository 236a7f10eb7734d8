// Which ports are taken, over all shards: bind(2) and ephemeral ports (RFC 6056). One per transport protocol.
//
// Taken under a spin lock by requests (bind, connect, listen), never by a packet. A Binding is shared by the socket that
// made it and by the connections that a listener accepted on it: the port is free when the last of them is gone.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/random.hpp"
#include "base/spinlock.hpp"
#include "socket/errno.hpp"
#include "wire/address.hpp"

namespace iopkt::socket {

/// The ports that are given out when none is asked for. RFC 6335: the dynamic ones.
struct EphemeralPorts {
  std::uint16_t first = 49152, last = 65535;  ///< first <= last
};

/// Whether a socket bound to `bound` takes what comes for `address`: its own address; unspecified: every address of its family,
/// and the unspecified one of IPv6 also those of IPv4, unless IPV6_V6ONLY says otherwise (RFC 3493 section 5.3).
constexpr bool takes(const wire::IpAddress& bound, bool v6_only, const wire::IpAddress& address) {
  if (!bound.is_unspecified()) return bound == address;
  return bound.family() == address.family() || (bound.is_v6() && !v6_only);
}

/// Of two sockets that take the same packet the higher number gets it: bound to the address, to its family, to
/// both families. Being bound to the interface counts 2.
constexpr int closeness(const wire::IpAddress& bound, const wire::IpAddress& address) {
  return bound == address ? 5 : bound.family() == address.family() ? 1 : 0;
}

struct BindRequest {
  wire::IpAddress address;  ///< unspecified: every local address, see takes()
  wire::Port port;          ///< 0: any free one of `ephemeral`
  EphemeralPorts ephemeral{};
  std::uint32_t user = 0;
  bool reuse_address = false, reuse_port = false;
  std::uint8_t fib = 0;
  bool v6_only = false;
  std::optional<wire::Endpoint> remote;  ///< of TCP: connect() asks for a port to this peer, which gets along with ports to others

  /// Some packet would be for both.
  bool overlaps(const BindRequest& other) const {
    if (remote && other.remote && *remote != *other.remote) return false;
    return fib == other.fib &&
           (takes(address, v6_only, other.address) || takes(other.address, other.v6_only, address));
  }
};

class PortTable;

/// One claim to a port. Released by its destructor.
class Binding {
 public:
  Binding(PortTable& table, const BindRequest& claim) : table_(table), claim_(claim) {}
  ~Binding();
  Binding(const Binding&) = delete;
  Binding& operator=(const Binding&) = delete;

  const BindRequest& claim() const { return claim_; }
  wire::Port port() const { return claim_.port; }

 private:
  friend class PortTable;
  PortTable& table_;
  BindRequest claim_;
  bool listening_ = false;
};

using BindingPtr = std::shared_ptr<Binding>;

class PortTable {
 public:
  enum class Rules : std::uint8_t { tcp, udp };
  explicit PortTable(Rules rules) : rules_(rules) {}

  /// Claims a port. With port 0 one is chosen at random for which `suits` holds (a shard wants ports that hash to it). For a `remote`
  /// the first will do that others have to other peers, so that a range of ports is enough for more connections than it has ports.
  /// Errors: addrinuse.
  Result<BindingPtr> bind(BindRequest request, Random& random, const std::function<bool(wire::Port)>& suits = {});

  /// listen(2) on a claim. Errors: addrinuse (another socket listens on an overlapping address of the port).
  Errno start_listening(Binding& binding);
  void stop_listening(Binding& binding);

  /// setsockopt(SO_REUSEADDR) after bind.
  void update(Binding& binding, bool reuse_address, bool reuse_port);

  std::size_t size() const;

 private:
  friend class Binding;
  bool conflicts(const BindRequest& wanted, const Binding* self) const;
  void release(Binding& binding);

  Rules rules_;
  mutable SpinLock lock_;
  std::unordered_map<std::uint16_t, std::vector<Binding*>> claims_;
};

}  // namespace iopkt::socket
