// Where packet filters hook into a packet's way, and the proof that each packet which leaves has passed
// there.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/expected.hpp"
#include "iface/interface.hpp"
#include "packet/drops.hpp"
#include "packet/packet.hpp"

namespace iopkt::filter {

using packet::Drop;

/// The packet begins with its network header at each of them.
enum class Hook : std::uint8_t {
  in,      ///< After the network layer accepted it, before it is delivered or forwarded.
  out,     ///< Before it is given to the link.
  forward  ///< Between routing and output of a packet that is not for us.
};
inline constexpr std::size_t kHooks = 3;

/// Nothing reaches a link without one; only a FilterChain can make it.
class EgressPass {
  EgressPass() = default;
  friend class FilterChain;
};

/// A filter: passes the packet (perhaps changed in place) or names its end. `context` is the one it was added
/// with.
using Filter = Expected<void, Drop> (*)(void* context, Hook hook, const iface::Interface& interface,
                                        packet::Packet& packet);

/// The filters of a stack, in the order in which they are asked. Empty: everything passes.
class FilterChain {
 public:
  /// `context` outlives the chain or its removal.
  void add(Hook hook, Filter filter, void* context);
  void remove(Hook hook, Filter filter, void* context);

  /// The first that refuses decides.
  Expected<void, Drop> run(Hook hook, const iface::Interface& interface, packet::Packet& packet) const;
  /// Hook::out, with the proof.
  Expected<EgressPass, Drop> egress(const iface::Interface& interface, packet::Packet& packet) const;

 private:
  struct Entry {
    Filter filter;
    void* context;
    friend bool operator==(const Entry&, const Entry&) = default;
  };
  std::array<std::vector<Entry>, kHooks> filters_;
};

}  // namespace iopkt::filter
