// Conflict detection and link-local addresses of IPv4, on shard 0: between frames, the machine of src/ipv4 and the tables.
#include "ipv4/claims.hpp"

#include "link/arp.hpp"
#include "stack/ways.hpp"

namespace iopkt::stack {

void carry_out(ShardState& s, const ipv4::AddressClaims::Outcome& outcome) {
  for (const std::string& line : outcome.log) s.stack.log().write(LogLevel::warning, line);
  for (const auto& one : outcome.send) {
    const iface::Interface* out = s.interface(one.interface_index);
    if (out == nullptr) continue;
    packet::PacketPtr frame = one.probe ? link::arp_probe(s.cache, *out, one.address) : link::arp_announcement(s.cache, *out, one.address);
    if (!frame) {
      s.drop(packet::Drop::no_buffer);
      continue;
    }
    enqueue_frame(s, *out, std::move(frame));
  }
}

void run_claims(ShardState& s) {
  Network next = *s.network;
  ipv4::AddressClaims::Outcome outcome;
  if (s.claims->run(s.now, {next.interfaces, next.fibs}, outcome)) s.stack.publish(std::move(next));
  carry_out(s, outcome);
}

}  // namespace iopkt::stack
