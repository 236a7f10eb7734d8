// Clients, their arenas and their listeners.
#include "client.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>

#include "ipc/offer.hpp"

namespace iopkt::daemon {
namespace {

/// Arenas of a client grow with its number of sockets: programs with few have little to map.
constexpr std::uint32_t kFirstSlots = 128, kMostSlots = 4096;
/// Room for two rings of the default size per slot, and then some.
constexpr std::size_t kBytesPerSlot = std::size_t{1} << 20;
/// Ring memory that stays touched in an arena although no socket has it.
constexpr std::size_t kWarmBytes = std::size_t{8} << 20;

}  // namespace

// ---------------------------------------------------------------------------------------------- arenas

Arena::Arena(std::uint32_t arena, std::uint32_t shard_number, std::uint32_t first, const ipc::ArenaGeometry& geometry, Fd fd,
             ipc::Mapping mapping)
    : id(arena),
      shard(shard_number),
      first_slot(first),
      slot_count(geometry.slot_count),
      rings(ipc::ring_area_offset(geometry), geometry.size, kWarmBytes,
            [this](std::size_t offset, std::size_t size) { ipc::punch_hole(fd_.get(), offset, size); }),
      sockets(geometry.slot_count, nullptr),
      fd_(std::move(fd)),
      mapping_(mapping),
      header_(ipc::arena_header(mapping)) {
  free_slots.reserve(slot_count);
  for (std::uint32_t i = slot_count; i-- > 0;) free_slots.push_back(i);
}

Arena::~Arena() { ipc::unmap(mapping_); }

std::shared_ptr<Arena> Arena::make(std::uint32_t client, std::uint32_t id, std::uint32_t shard, std::uint32_t first_slot,
                                   const ipc::ArenaGeometry& geometry) {
  ipc::Mapping mapping;
  Fd fd{ipc::make_arena(geometry, client, id, first_slot, mapping)};
  if (!fd) return nullptr;
  return std::shared_ptr<Arena>{new Arena{id, shard, first_slot, geometry, std::move(fd), mapping}};
}

// ---------------------------------------------------------------------------------------------- clients

Client::Client(std::uint32_t number, std::uint64_t its_secret, const Credential& who, const Quota& its_quota)
    : id(number), secret(its_secret), credential(who), quota(its_quota) {}

Client::~Client() {
  tell_dead();
  ipc::unmap(control_);
}

std::shared_ptr<Client> Client::make(std::uint32_t id, std::uint64_t secret, const Credential& credential, std::uint32_t shards,
                                     std::uint32_t spin_ns, const Quota& quota) {
  std::shared_ptr<Client> client{new Client{id, secret, credential, quota}};
  client->control_fd_.reset(ipc::make_control(id, shards, spin_ns, client->control_));
  if (!client->control_fd_) return nullptr;
  for (std::uint32_t i = 0; i < shards; ++i) {
    client->events_.emplace_back(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!client->events_.back()) return nullptr;
  }
  return client;
}

void Client::tell_dead() {
  if (control_) ipc::control_header(control_).alive.store(0, std::memory_order_release);
}

std::shared_ptr<Arena> Client::arena(std::uint32_t arena_id) const {
  const std::lock_guard guard{lock_};
  for (const auto& arena : arenas_)
    if (arena->id == arena_id) return arena;
  return nullptr;
}

std::shared_ptr<Arena> Client::add_arena(std::uint32_t shard) {
  const std::lock_guard guard{lock_};
  std::uint32_t slots = kFirstSlots;
  for (const auto& arena : arenas_)
    if (arena->shard == shard) slots = std::min(kMostSlots, std::max(slots, arena->slot_count * 2));
  if (next_slot_ + slots > ipc::kClientSlotsMax) return nullptr;
  if (!arenas.take(1, quota.arenas)) return nullptr;
  const ipc::ArenaGeometry geometry{.size = slots * kBytesPerSlot, .slot_count = slots};
  const bool counted = charge.take(share, 1);
  auto arena = counted ? Arena::make(id, next_arena_, shard, next_slot_, geometry) : nullptr;
  if (!arena) {
    if (counted) charge.give(1);
    arenas.give(1);
    return nullptr;
  }
  ++next_arena_;
  next_slot_ += slots;
  arenas_.push_back(arena);
  return arena;
}

// ---------------------------------------------------------------------------------------------- listeners

std::uint32_t shown_by(int end) {
  pollfd look{.fd = end, .events = 0, .revents = 0};
  if (::poll(&look, 1, 0) <= 0) return 0;
  // The numbers are epoll's.
  return static_cast<std::uint32_t>(look.revents) & (POLLHUP | POLLERR);
}

int ListenerEntry::open_pipe(int end) {
  pipe_.reset(::fcntl(end, F_DUPFD_CLOEXEC, 0));
  if (!pipe_) return errno;
  if (const int error = ipc::limit_offers(pipe_.get()); error != 0) return error;
  shown_.store(pipe_.get(), std::memory_order_release);
  return 0;
}

void ListenerRegistry::add(const CountedPtr<ListenerEntry>& entry) {
  const std::lock_guard guard{lock_};
  entries_.insert(std::ranges::lower_bound(entries_, entry->cookie, {}, [](const auto& e) { return e->cookie; }), entry);
}

void ListenerRegistry::remove(std::uint64_t cookie) {
  const std::lock_guard guard{lock_};
  std::erase_if(entries_, [&](const auto& entry) { return entry->cookie == cookie; });
}

CountedPtr<ListenerEntry> ListenerRegistry::find(std::uint64_t cookie) const {
  const std::lock_guard guard{lock_};
  const auto at = std::ranges::lower_bound(entries_, cookie, {}, [](const auto& e) { return e->cookie; });
  return at != entries_.end() && (*at)->cookie == cookie ? *at : CountedPtr<ListenerEntry>{};
}

std::vector<CountedPtr<ListenerEntry>> ListenerRegistry::all() const {
  const std::lock_guard guard{lock_};
  return entries_;
}

}  // namespace iopkt::daemon
