// A client: one credential and one process tree, its shared memory, and what it may use.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/counted.hpp"
#include "base/expected.hpp"
#include "fd.hpp"
#include "ipc/arena.hpp"
#include "ring_allocator.hpp"

namespace iopkt::daemon {

struct ClientSocket;

/// Root, or the user that runs the stack.
inline bool is_privileged(uid_t user) { return user == 0 || user == ::geteuid(); }

/// Who made a control connection (SO_PEERCRED) or sent a message through it (SCM_CREDENTIALS), as the kernel says.
struct Credential {
  pid_t pid{};
  uid_t user{};
  gid_t group{};
  bool privileged{};  ///< of a sender: it and whoever made the connection are root or the user that runs the stack
};
/// Whether that sender may do what `capability` (CAP_NET_ADMIN and the like, capabilities(7)) allows on the host: it is privileged and
/// has not put its rights aside (seteuid), or it has the capability in its ambient set. Reads /proc; any thread.
bool may(const Credential& who, int capability);

/// What one client may hold at most. Memory counts as promised, not as touched.
struct Quota {
  std::uint32_t sockets = 65536;
  std::uint32_t arenas = 512;
  std::uint64_t ring_bytes = std::uint64_t{64} << 30;
  std::uint64_t grown_bytes = std::uint64_t{256} << 20;  ///< of them, rings that have grown by themselves
  std::uint64_t part_bytes = std::uint64_t{16} << 20;  ///< of datagrams whose parts are still coming (MSG_MORE), and of error queues
};

/// A count with a bound that several threads raise and lower.
class Bounded {
 public:
  bool take(std::uint64_t n, std::uint64_t most) {
    std::uint64_t seen = used_.load(std::memory_order_relaxed);
    do {
      if (n > most || seen > most - n) return false;
    } while (!used_.compare_exchange_weak(seen, seen + n, std::memory_order_relaxed));
    return true;
  }
  void give(std::uint64_t n) { used_.fetch_sub(n, std::memory_order_relaxed); }
  std::uint64_t used() const { return used_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> used_{0};
};

/// What one user may hold of the process's file descriptors (descriptors.hpp). Any thread.
class DescriptorShare {
 public:
  DescriptorShare(Bounded& all, std::uint64_t all_most, std::uint64_t own_most) : all_(all), all_most_(all_most), own_most_(own_most) {}
  bool take(std::uint64_t n) {
    if (!own_.take(n, own_most_)) return false;
    if (all_.take(n, all_most_)) return true;
    own_.give(n);
    return false;
  }
  void give(std::uint64_t n) {
    all_.give(n);
    own_.give(n);
  }

 private:
  Bounded& all_;
  const std::uint64_t all_most_, own_most_;
  Bounded own_;
};

/// Descriptors that are counted as long as this lives.
class DescriptorCharge {
 public:
  DescriptorCharge() = default;
  DescriptorCharge(DescriptorCharge&& other) noexcept : share_(std::move(other.share_)), count_(std::exchange(other.count_, 0)) {}
  DescriptorCharge& operator=(DescriptorCharge&& other) noexcept {
    std::swap(share_, other.share_);
    std::swap(count_, other.count_);
    return *this;
  }
  ~DescriptorCharge() { drop(); }
  /// `n` more of the share. Without a share everything is granted: nobody counts.
  bool take(const std::shared_ptr<DescriptorShare>& share, std::uint64_t n) {
    if (!share) return true;
    if (!share->take(n)) return false;
    share_ = share;
    count_ += n;
    return true;
  }
  void give(std::uint64_t n) {
    if (!share_) return;
    share_->give(n);
    count_ -= n;
  }
  void drop() { give(count_); }
  /// Somebody else gives them back.
  void hand_over() { count_ = 0; }
  explicit operator bool() const { return count_ != 0; }

 private:
  std::shared_ptr<DescriptorShare> share_;
  std::uint64_t count_ = 0;
};

/// One memory file of a client, for sockets of one shard. The shard's thread alone uses it, but for what is const.
class Arena {
 public:
  /// Null: errno is set.
  static std::shared_ptr<Arena> make(std::uint32_t client, std::uint32_t id, std::uint32_t shard, std::uint32_t first_slot,
                                     const ipc::ArenaGeometry& geometry);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  const std::uint32_t id, shard, first_slot, slot_count;
  int fd() const { return fd_.get(); }
  std::byte* base() const { return mapping_.base; }
  ipc::Slot& slot(std::uint32_t index) { return ipc::slot_at(mapping_.base, header_, index); }

  RingAllocator rings;
  std::size_t grown = 0;                    ///< bytes of `rings` that rings have grown into
  std::vector<ClientSocket*> sockets;       ///< by index; null: free
  std::vector<std::uint32_t> free_slots;

 private:
  Arena(std::uint32_t arena, std::uint32_t shard_number, std::uint32_t first, const ipc::ArenaGeometry& geometry, Fd fd,
        ipc::Mapping mapping);
  Fd fd_;
  ipc::Mapping mapping_;
  ipc::ArenaHeader header_;  ///< a private copy: the client can write the one in the file
};

class Client {
 public:
  /// Null: errno is set.
  static std::shared_ptr<Client> make(std::uint32_t id, std::uint64_t secret, const Credential& credential, std::uint32_t shards,
                                      std::uint32_t spin_ns, const Quota& quota);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  const std::uint32_t id;
  const std::uint64_t secret;
  const Credential credential;
  const Quota quota;

  int control_fd() const { return control_fd_.get(); }
  /// Readable edge when the client rang for the shard; the client's own, so that none can take another's wake-ups.
  int event_fd(std::uint32_t shard) const { return events_[shard].get(); }
  /// A byte was sent out of band on one of its sockets.
  void count_urgent() { ipc::control_header(control_).urgent.fetch_add(1, std::memory_order_release); }
  ipc::Doorbell& bell(std::uint32_t shard) { return ipc::doorbell_at(control_.base, shard); }
  void tell_dead();

  /// Any thread.
  std::shared_ptr<Arena> arena(std::uint32_t arena_id) const;
  /// Makes an arena for a shard; null: quota, descriptors or memory.
  std::shared_ptr<Arena> add_arena(std::uint32_t shard);

  /// Set before any other thread knows the client; null: its descriptors are not counted.
  std::shared_ptr<DescriptorShare> share;
  DescriptorCharge charge;  ///< its own descriptors and its arenas'; under lock_ once it is known
  Bounded sockets, arenas, ring_bytes, grown_bytes, part_bytes;
  /// Control connections and attached ends. At 0 the client is over.
  std::atomic<std::int64_t> holders{0};
  /// Control connections alone. At 0 no process is left that could say anything of the client's sockets.
  std::atomic<std::int64_t> connections{0};
  std::atomic<bool> dead{false};
  std::atomic<bool> joined{false};  ///< a second process speaks for it, or did

 private:
  Client(std::uint32_t number, std::uint64_t its_secret, const Credential& who, const Quota& its_quota);
  Fd control_fd_;
  ipc::Mapping control_;
  std::vector<Fd> events_;
  mutable std::mutex lock_;  // arenas_, next_*
  std::vector<std::shared_ptr<Arena>> arenas_;
  std::uint32_t next_arena_ = 1, next_slot_ = 0;
};

/// A listening socket as every shard sees it that completes a connection for it. Any thread, but for
/// open_pipe().
class ListenerEntry : public Counted<ListenerEntry> {
 public:
  ListenerEntry(std::uint64_t its_cookie, std::uint32_t its_shard, std::shared_ptr<Client> its_client)
      : cookie(its_cookie), shard(its_shard), client(std::move(its_client)) {}

  const std::uint64_t cookie;
  const std::uint32_t shard;  ///< where the socket lives
  const std::shared_ptr<Client> client;
  std::atomic<bool> closed{false};
  std::uint16_t domain = AF_INET;  ///< of the socket, and of those that it accepts
  DescriptorCharge charge;  ///< of the copy that open_pipe() makes

  /// Connections can be sent to the program now, through `end`, the stack's end of the listener, of which it
  /// keeps a copy: the shard may close its own while another one is sending. 0 or an errno.
  int open_pipe(int end);
  /// -1: the program has not attached the listener yet.
  int pipe() const { return shown_.load(std::memory_order_acquire); }

 private:
  Fd pipe_;
  std::atomic<int> shown_{-1};
};

/// EPOLLHUP: no process holds the other end any more, or both directions are shut, which looks the same. EPOLLERR: it was closed
/// over unread bytes. 0: neither.
std::uint32_t shown_by(int end);

/// All listeners of the stack, by cookie; read by every shard that completes a connection.
class ListenerRegistry {
 public:
  void add(const CountedPtr<ListenerEntry>& entry);
  void remove(std::uint64_t cookie);
  CountedPtr<ListenerEntry> find(std::uint64_t cookie) const;
  std::vector<CountedPtr<ListenerEntry>> all() const;

 private:
  mutable std::mutex lock_;
  std::vector<CountedPtr<ListenerEntry>> entries_;  // sorted by cookie
};

}  // namespace iopkt::daemon
