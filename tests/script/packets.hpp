// Packets of a script and packets of the wire: the script's numbers begin where it says, the stack's where it chose.
#pragma once

#include <optional>
#include <string>

#include "tests/script/machine.hpp"
#include "tests/script/syntax.hpp"

namespace iopkt::script {

/// The byte at an offset of every stream that a script sends and receives: what arrives elsewhere than it should is seen.
inline std::byte pattern(std::uint64_t offset) { return static_cast<std::byte>(offset * 131 + offset / 251 + 7); }
PacketBytes pattern(std::uint64_t offset, std::size_t count);

/// One pair of ports. What is the script's own number, and what the stack's, differ by these offsets.
struct Flow {
  wire::IpFamily family = wire::IpFamily::v4;
  std::uint16_t local = 8080, remote = 40001;
  bool local_known = false;               ///< the ports were seen, or said
  std::optional<std::uint32_t> iss;       ///< the stack's number less the script's; none: no SYN of it was seen
  std::uint32_t irs = 0;                  ///< the same for numbers of the peer
  std::uint32_t script_iss = 0, script_irs = 0;  ///< the script's numbers of the SYNs
  std::optional<std::uint32_t> timestamp; ///< the stack's TSval less the script's
  std::optional<std::uint32_t> peer_syn;  ///< of the last SYN that arrived
  bool new_incarnation = false;           ///< a SYN with another number came: the next SYN that leaves may choose anew
  PacketBytes pieces;                     ///< of a packet that leaves in fragments, so far
  std::uint32_t pieces_id = 0;
};

/// The wire's packet for one that arrives. `flow` learns from it.
PacketBytes encode(const Packet& packet, Flow& flow);

/// What left, in the script's numbers. A SYN teaches `flow` its offset as `said` wants it. Errors: a line that says what is broken
/// beyond what scripts can say (a checksum, a length, a payload that is not the stream's).
struct Decoded {
  Packet packet;
  std::string broken;  ///< empty: nothing
};
Decoded decode(Bytes bytes, const Packet& said, Flow& flow, Bytes last_injected, bool check_payload);

/// Whether what left is what was said; only what was said counts. `tick`: how far timestamps may be apart.
bool matches(const Packet& said, const Packet& seen, std::uint32_t tick);

}  // namespace iopkt::script
