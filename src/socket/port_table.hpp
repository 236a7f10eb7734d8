// Which ports are taken, over all shards: bind(2) and ephemeral ports (RFC 6056). One per transport protocol.
//
// Taken under a spin lock by requests (bind, connect, listen), never by a packet. A Binding is shared by the socket that
// made it and by the connections that a listener accepted on it: the port is free when the last of them is gone.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "base/counted.hpp"
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

/// Each connection that chose its port has one.
struct BindRequest {
  wire::IpAddress address;  ///< unspecified: every local address, see takes()
  wire::Port port;          ///< 0: any free one
  bool reuse_address : 1 = false;
  bool reuse_port : 1 = false;
  bool v6_only : 1 = false;
  std::uint8_t fib = 0;
  std::uint32_t user = 0;
  wire::Endpoint remote;    ///< of TCP: connect() asks for a port to this peer, which gets along with ports to others; port 0: it did not

  bool is_connect() const { return remote.port.value != 0; }
  /// Some packet would be for both.
  bool overlaps(const BindRequest& other) const {
    if (is_connect() && other.is_connect() && remote != other.remote) return false;
    return fib == other.fib &&
           (takes(address, v6_only, other.address) || takes(other.address, other.v6_only, address));
  }
};

class PortTable;

/// One claim to a port. Released by its destructor.
class Binding : public Counted<Binding> {
 public:
  Binding(PortTable& table, const BindRequest& claim) : claim_(claim), table_(table) {}
  ~Binding();

  const BindRequest& claim() const { return claim_; }
  wire::Port port() const { return claim_.port; }

 private:
  friend class PortTable;
  BindRequest claim_;
  PortTable& table_;
  // Under the table's lock: the list of its port.
  Binding* next_ = nullptr;
  Binding** self_ = nullptr;  ///< what points to this one
  bool listening_ = false;
};
static_assert(sizeof(Binding) <= 88);

using BindingPtr = CountedPtr<Binding>;

class PortTable {
 public:
  enum class Rules : std::uint8_t { tcp, udp };
  explicit PortTable(Rules rules) : rules_(rules) {}

  /// Claims a port. With port 0 one of `ephemeral` is chosen at random for which `suits` holds (a shard wants ports that hash to it). For
  /// a `remote` the first will do that others have to other peers, so that a range of ports is enough for more connections than it has
  /// ports. Errors: addrinuse.
  Result<BindingPtr> bind(BindRequest request, Random& random, EphemeralPorts ephemeral = {}, const std::function<bool(wire::Port)>& suits = {});

  /// listen(2) on a claim. Errors: addrinuse (another socket listens on an overlapping address of the port).
  Errno start_listening(Binding& binding);
  void stop_listening(Binding& binding);

  /// setsockopt(SO_REUSEADDR) after bind.
  void update(Binding& binding, bool reuse_address, bool reuse_port);

  std::size_t size() const;

 private:
  friend class Binding;
  using Piece = std::array<Binding*, 256>;  ///< the first claim of each of so many ports
  Binding* first(wire::Port port) const;
  bool conflicts(const BindRequest& wanted) const;
  void add(Binding& binding);  ///< the piece is there
  void release(Binding& binding);

  Rules rules_;
  mutable SpinLock lock_;
  std::array<std::unique_ptr<Piece>, 256> pieces_;  ///< by the upper half of the port
  std::size_t size_ = 0;
};

}  // namespace iopkt::socket
