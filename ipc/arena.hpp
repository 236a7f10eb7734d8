// Making and mapping the shared memory files. The daemon creates, the client maps; see layout.hpp for what lies in them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ipc/layout.hpp"

namespace iopkt::ipc {

/// A mapped memory file. Plain value: whoever made it unmaps it once.
struct Mapping {
  std::byte* base{};
  std::size_t size{};
  explicit operator bool() const { return base != nullptr; }
};

/// Daemon: a memory file of `size` bytes, sealed against shrinking, growing and further seals, close-on-exec. -1: errno is set.
int make_sealed_memory(const char* name, std::size_t size);
/// Daemon: makes an arena and writes its header. `first_slot` + slot_count <= kClientSlotsMax. Returns the descriptor and the
/// daemon's own mapping; -1: errno is set. Slots are zero.
int make_arena(const ArenaGeometry& geometry, std::uint64_t client_id, std::uint32_t arena_id, std::uint32_t first_slot,
               Mapping& out);
/// Daemon: makes a client's control file: header filled in, every bell armed, alive = 1.
int make_control(std::uint64_t client_id, std::uint32_t shards, std::uint32_t spin_ns, Mapping& out);
/// Daemon: makes the status file. Its descriptor goes to every client; only this mapping can write.
int make_status(std::uint32_t shards, Mapping& out);
/// Daemon: binds StatusPage::alive[shard] to the calling thread's life, by the thread's robust list (which it must not use
/// otherwise: no robust mutexes). `node` is private memory that outlives the thread, so never on its stack. False: errno is set.
struct AliveNode {
  void* words[4];
};
bool bind_alive(std::atomic<std::uint32_t>& alive, AliveNode& node);
/// True while the shard's thread runs.
bool shard_alive(const std::atomic<std::uint32_t>& alive);
/// Where ring memory may lie in an arena: [first, end), multiples of kPage.
constexpr std::size_t ring_area_offset(const ArenaGeometry& g) {
  return (kPage + g.slot_count * sizeof(Slot) + kPage - 1) / kPage * kPage;
}
/// Daemon: gives touched pages back to the system; they read as zero afterwards. `offset` and `size` multiples of kPage.
void punch_hole(int fd, std::size_t offset, std::size_t size);
/// Daemon: makes `slot` ready for a new socket: every word reset, incarnation raised. `domain` etc. as in Slot.
void reset_slot(Slot& slot, std::uint16_t domain, std::uint16_t type, std::uint32_t protocol, std::uint64_t nonce,
                std::uint32_t shard);

/// Client: maps an arena or a control file that came over the control connection, after checking that it is sealed, and its header.
/// No mapping: errno is set (EPROTO: not what was expected).
Mapping map_arena(int fd);
Mapping map_control(int fd);
/// Read-only.
Mapping map_status(int fd);
void unmap(Mapping& mapping);
inline const ArenaHeader& arena_header(const Mapping& m) { return *reinterpret_cast<const ArenaHeader*>(m.base); }
inline const StatusPage& status_page(const Mapping& m) { return *reinterpret_cast<const StatusPage*>(m.base); }
inline ControlHeader& control_header(const Mapping& m) { return *reinterpret_cast<ControlHeader*>(m.base); }

}  // namespace iopkt::ipc
