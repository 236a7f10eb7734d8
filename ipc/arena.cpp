// Making and mapping the shared memory files, and the robust futex that says when a shard's thread is gone.
#include "ipc/arena.hpp"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>

#include "base/assert.hpp"
#include "ipc/sys.hpp"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

namespace iopkt::ipc {

namespace {
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

/// A memory file of that size, mapped for writing before `seals` are set. -1: errno is set.
int make_mapped(const char* name, std::size_t size, int seals, Mapping& out) {
  const int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return -1;
  out = {};
  void* base = MAP_FAILED;
  if (ftruncate(fd, static_cast<off_t>(size)) == 0) {
    base = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  }
  if (base != MAP_FAILED && fcntl(fd, F_ADD_SEALS, seals) == 0) {
    out = {static_cast<std::byte*>(base), size};
    return fd;
  }
  const int error = errno;
  if (base != MAP_FAILED) munmap(base, size);
  sys::close(fd);
  errno = error;
  return -1;
}

/// Maps what the other side sent. The seals are the promise that it cannot be cut short under us.
Mapping map_sealed(int fd, std::size_t size_min, int protection) {
  struct stat st{};
  const int seals = sys::get_seals(fd);
  if (seals < 0 || fstat(fd, &st) != 0 || (seals & (F_SEAL_SHRINK | F_SEAL_GROW)) != (F_SEAL_SHRINK | F_SEAL_GROW) ||
      static_cast<std::size_t>(st.st_size) < size_min) {
    errno = EPROTO;
    return {};
  }
  const auto size = static_cast<std::size_t>(st.st_size);
  void* base = mmap(nullptr, size, protection, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (base == MAP_FAILED) return {};
  return {static_cast<std::byte*>(base), size};
}

Mapping refuse(Mapping mapping) {
  unmap(mapping);
  errno = EPROTO;
  return {};
}
}  // namespace

int make_sealed_memory(const char* name, std::size_t size) {
  Mapping mapping;
  const int fd = make_mapped(name, size, kSeals, mapping);
  unmap(mapping);
  return fd;
}

int make_arena(const ArenaGeometry& geometry, std::uint64_t client_id, std::uint32_t arena_id,
               std::uint32_t first_slot, Mapping& out) {
  IOPKT_ASSERT(geometry.slot_count > 0 && first_slot + geometry.slot_count <= kClientSlotsMax);
  IOPKT_ASSERT(geometry.size % kPage == 0 && geometry.size > ring_area_offset(geometry));
  const int fd = make_mapped("io-pkt-arena", geometry.size, kSeals, out);
  if (fd < 0) return -1;
  auto& header = *reinterpret_cast<ArenaHeader*>(out.base);
  header = {.magic = kArenaMagic,
            .version = kLayoutVersion,
            .arena_id = arena_id,
            .slot_count = geometry.slot_count,
            .first_slot = first_slot,
            .slot_offset = kPage,
            .size = geometry.size,
            .ring_offset = ring_area_offset(geometry),
            .client_id = client_id};
  return fd;
}

int make_control(std::uint64_t client_id, std::uint32_t shards, std::uint32_t spin_ns, Mapping& out) {
  IOPKT_ASSERT(shards > 0 && shards <= 64);
  const int fd = make_mapped("io-pkt-control", control_size(shards), kSeals, out);
  if (fd < 0) return -1;
  auto& header = *reinterpret_cast<ControlHeader*>(out.base);
  header.magic = kControlMagic;
  header.version = kLayoutVersion;
  header.client_id = client_id;
  header.shard_count = shards;
  header.spin_ns.store(spin_ns, std::memory_order_relaxed);
  for (std::uint32_t i = 0; i < shards; ++i) doorbell_at(out.base, i).need_wake.store(1);
  header.alive.store(1, std::memory_order_release);
  return fd;
}

int make_status(std::uint32_t shards, Mapping& out) {
  const int fd = make_mapped("io-pkt-status", kPage, kSeals | F_SEAL_FUTURE_WRITE, out);
  if (fd < 0) return -1;
  auto& page = *reinterpret_cast<StatusPage*>(out.base);
  page.magic = kStatusMagic;
  page.version = kLayoutVersion;
  page.shard_count = shards;
  return fd;
}

// The kernel walks the thread's robust list when it ends: for our one entry it finds the futex at entry + offset, sees our
// thread id in it, sets FUTEX_OWNER_DIED and wakes one waiter.
bool bind_alive(std::atomic<std::uint32_t>& alive, AliveNode& node) {
  auto* head = reinterpret_cast<robust_list_head*>(&node);
  static_assert(sizeof(robust_list_head) + sizeof(robust_list) <= sizeof(AliveNode));
  auto* entry = reinterpret_cast<robust_list*>(head + 1);
  entry->next = &head->list;
  head->list.next = entry;
  head->futex_offset = reinterpret_cast<std::byte*>(&alive) - reinterpret_cast<std::byte*>(entry);
  head->list_op_pending = nullptr;
  alive.store(static_cast<std::uint32_t>(syscall(SYS_gettid)) | FUTEX_WAITERS, std::memory_order_release);
  return syscall(SYS_set_robust_list, head, sizeof *head) == 0;
}

bool shard_alive(const std::atomic<std::uint32_t>& alive) {
  return (alive.load(std::memory_order_acquire) & FUTEX_TID_MASK) != 0;
}

void punch_hole(int fd, std::size_t offset, std::size_t size) {
  fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset), static_cast<off_t>(size));
}

void reset_slot(Slot& slot, std::uint16_t domain, std::uint16_t type, std::uint32_t protocol, std::uint64_t nonce,
                std::uint32_t shard) {
  const std::uint32_t incarnation = slot.incarnation.load(std::memory_order_relaxed);
  for (auto* word : {&slot.rx_word, &slot.rx_ring, &slot.rx_bell, &slot.rx_head, &slot.tx_word, &slot.tx_ring,
                     &slot.tx_tail, &slot.tx_lock, &slot.tx_urgent, &slot.tx_more, &slot.backlog, &slot.tx_limit,
                     &slot.rx_urgent, &slot.rx_left_out, &slot.rx_oob_taken}) {
    word->store(0, std::memory_order_relaxed);
  }
  for (auto* word : {&slot.rx_lowat, &slot.rx_strays, &slot.tx_stalling, &slot.tx_lowat, &slot.status, &slot.error, &slot.kicks,
                     &slot.mss, &slot.errors, &slot.rx_oob_shown, &slot.rx_oob_swept}) {
    word->store(0, std::memory_order_relaxed);
  }
  for (std::size_t i = 0; i < kClientWords; ++i) client_word(slot, i).store(0, std::memory_order_relaxed);
  slot.domain.store(domain, std::memory_order_relaxed);
  slot.type.store(type, std::memory_order_relaxed);
  slot.protocol.store(protocol, std::memory_order_relaxed);
  slot.shard.store(shard, std::memory_order_relaxed);
  slot.nonce.store(nonce, std::memory_order_relaxed);
  write_names(slot, {});
  slot.incarnation.store(incarnation + 1, std::memory_order_release);
}

Mapping map_arena(int fd) {
  Mapping mapping = map_sealed(fd, 2 * kPage, PROT_READ | PROT_WRITE);
  if (!mapping) return mapping;
  const ArenaHeader& h = arena_header(mapping);
  const bool good = h.magic == kArenaMagic && h.version == kLayoutVersion && h.size == mapping.size &&
                    h.slot_offset == kPage && h.slot_count > 0 && h.slot_count <= kClientSlotsMax &&
                    h.first_slot <= kClientSlotsMax - h.slot_count &&
                    kPage + h.slot_count * sizeof(Slot) <= h.ring_offset && h.ring_offset <= h.size;
  return good ? mapping : refuse(mapping);
}

Mapping map_control(int fd) {
  Mapping mapping = map_sealed(fd, kPage, PROT_READ | PROT_WRITE);
  if (!mapping) return mapping;
  const ControlHeader& h = control_header(mapping);
  const bool good = h.magic == kControlMagic && h.version == kLayoutVersion && h.shard_count > 0 &&
                    h.shard_count <= 64 && control_size(h.shard_count) <= mapping.size;
  return good ? mapping : refuse(mapping);
}

Mapping map_status(int fd) {
  Mapping mapping = map_sealed(fd, kPage, PROT_READ);
  if (!mapping) return mapping;
  const StatusPage& page = status_page(mapping);
  const bool good = page.magic == kStatusMagic && page.version == kLayoutVersion && page.shard_count <= 64;
  return good ? mapping : refuse(mapping);
}

void unmap(Mapping& mapping) {
  if (mapping) munmap(mapping.base, mapping.size);
  mapping = {};
}

}  // namespace iopkt::ipc
