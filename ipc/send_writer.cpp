// The client's side of the send ring: the writer lock, copying, stalling, sleeping. The protocol stands in send_ring.hpp.
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "ipc/arena.hpp"
#include "ipc/ring_copy.hpp"
#include "ipc/send_ring.hpp"
#include "ipc/sys.hpp"

namespace iopkt::ipc {

namespace {

constexpr std::size_t kCopyChunk = 16384;
/// A holder keeps the lock for one copy; after that long it is worth a system call to see whether it lives.
constexpr std::uint64_t kHolderPatienceUs = 2000;
constexpr unsigned kStallSendsMax = 100'000;
/// How long the switch to stream mode waits for a writer that is about to send a STALL.
constexpr std::uint64_t kStallerPatienceUs = 1'000'000;

// ---------------------------------------------------------------------------------------------- who am I

/// Thread id << 8 | tag of the pid namespace; 0: not known yet. Initial-exec, so that a signal handler may read it.
__attribute__((tls_model("initial-exec"))) thread_local std::uint64_t own_identity = 0;

/// 8 bits of the pid namespace's inode, never 0 when it is known: thread ids of others mean nothing here.
std::uint8_t namespace_tag() {
  char link[64];
  const ssize_t n = readlink("/proc/self/ns/pid", link, sizeof link);
  if (n <= 0) return 0;
  std::uint32_t hash = 2166136261u;
  for (ssize_t i = 0; i < n; ++i) hash = (hash ^ static_cast<std::uint8_t>(link[i])) * 16777619u;
  return static_cast<std::uint8_t>(hash % 255 + 1);
}

/// The tag, read once per process: a program that confines itself later (seccomp) must not be seen to read links then.
constexpr std::uint32_t kTagKnown = 1 << 8;
std::atomic<std::uint32_t> process_tag{0};

std::uint64_t identity() {
  if (own_identity == 0) {
    const int saved = errno;
    std::uint32_t tag = process_tag.load(std::memory_order_relaxed);
    if (tag == 0) {
      tag = kTagKnown | namespace_tag();
      process_tag.store(tag, std::memory_order_relaxed);
    }
    own_identity = static_cast<std::uint64_t>(syscall(SYS_gettid)) << 8 | (tag & 0xff);
    errno = saved;
  }
  return own_identity;
}

/// A killed process stays a zombie until its parent looks; its threads do no more harm.
bool is_zombie(std::uint32_t tid) {
  char path[32] = "/proc/", text[512];
  char digits[12];
  int n = 0;
  for (std::uint32_t v = tid; v != 0 || n == 0; v /= 10) digits[n++] = static_cast<char>('0' + v % 10);
  std::size_t at = std::strlen(path);
  while (n > 0) path[at++] = digits[--n];
  std::memcpy(path + at, "/stat", 6);
  const int fd = sys::open_for_reading(path);
  if (fd < 0) return errno == ENOENT;
  const ssize_t got = sys::read(fd, text, sizeof text - 1);
  sys::close(fd);
  if (got <= 0) return errno == ESRCH;
  text[got] = 0;
  const char* end = std::strrchr(text, ')');  // the name may hold anything
  return end != nullptr && (end[2] == 'Z' || end[2] == 'X');
}

bool is_dead(std::uint32_t tid) {
  const int saved = errno;
  const bool dead = (syscall(SYS_kill, static_cast<pid_t>(tid), 0) < 0 && errno == ESRCH) || is_zombie(tid);
  errno = saved;
  return dead;
}

constexpr std::uint64_t kGenerationMask = (std::uint64_t{1} << kLockGenerationBits) - 1;
constexpr std::uint64_t owner_of(std::uint64_t lock) { return lock >> kLockGenerationBits; }  // identity: tid << 8 | tag
constexpr std::uint64_t next_generation(std::uint64_t lock) { return (lock + 1) & kGenerationMask; }

}  // namespace

void know_thread_id() { identity(); }

void forget_thread_id(bool same_namespace) {
  own_identity = 0;
  if (!same_namespace) process_tag.store(0, std::memory_order_relaxed);
  identity();
}

// ---------------------------------------------------------------------------------------------- the lock

WriterLock::WriterLock(Slot& slot, ProgramIo& io) : slot_(&slot), io_(&io) { acquire(); }

void WriterLock::acquire() {
  const std::uint64_t me = identity();
  std::uint64_t watched = 0, since_us = 0;
  for (unsigned yields = 0;; ++yields) {
    std::uint64_t seen = slot_->tx_lock.load(std::memory_order_acquire);
    const std::uint64_t owner = owner_of(seen);
    bool take = owner == 0 || owner == me;
    if (!take) {
      const std::uint64_t now = yields % 16 == 0 || seen != watched ? io_->now_us() : 0;
      if (seen != watched) {
        watched = seen;
        since_us = now;
      } else if (now != 0 && now - since_us > kHolderPatienceUs) {
        since_us = now;
        take = io_->may_ask() && (owner & 0xff) == (me & 0xff) && is_dead(static_cast<std::uint32_t>(owner >> 8));
      }
    }
    const std::uint64_t next = me << kLockGenerationBits | next_generation(seen);
    // seq_cst, as the load of the tail that follows: see SendRingConsumer::leave_place().
    if (take && slot_->tx_lock.compare_exchange_strong(seen, next)) {
      mine_ = next;
      return;
    }
    if (!take) io_->yield();
  }
}

bool WriterLock::still_mine() const { return slot_->tx_lock.load(std::memory_order_acquire) == mine_; }

void WriterLock::retake() { acquire(); }

WriterLock::~WriterLock() {
  std::uint64_t seen = mine_;
  slot_->tx_lock.compare_exchange_strong(seen, mine_ & kGenerationMask, std::memory_order_acq_rel);
}

// ---------------------------------------------------------------------------------------------- writing

/// Tail, ring and V that belong together; the caller holds the lock or only wants numbers. False: no ring.
bool SendRingWriter::load(View& view) const {
  for (unsigned tries = 0; tries < 10'000; ++tries) {
    const PositionWord tail{slot_->tx_tail.load()};
    const RingRef ref{slot_->tx_ring.load(std::memory_order_acquire)};
    const SendWord word{slot_->tx_word.load(std::memory_order_acquire)};
    if (!ref.exists()) return false;
    if (ref.size() > arena_size_ || ref.offset() > arena_size_ - ref.size()) return false;
    const std::uint64_t used = distance(word.head(), tail.position());
    if (ref.epoch() != tail.epoch() || used > ref.size()) {
      io_->yield();
      continue;
    }
    view = {tail, word, arena_ + ref.offset(), ref.size(), ref.size() - static_cast<std::size_t>(used), 0};
    view.allowed = std::min(view.room, below_limit(tail.position()));
    return true;
  }
  return false;
}

/// Bytes until the limit; SIZE_MAX: there is none.
std::size_t SendRingWriter::below_limit(std::uint64_t tail) const {
  const std::uint64_t limit = slot_->tx_limit.load(std::memory_order_acquire);
  if ((limit & 1) == 0) return SIZE_MAX;
  const std::uint64_t ahead = distance(tail, position_of(limit));
  return ahead > kPositionMask / 2 ? 0 : static_cast<std::size_t>(ahead);
}

bool SendRingWriter::over_limit(std::uint64_t tail) const {
  const std::uint64_t limit = slot_->tx_limit.load(std::memory_order_acquire);
  return (limit & 1) != 0 && over_low_water(tail, position_of(limit), slot_->tx_lowat.load(std::memory_order_relaxed));
}

/// Why nothing can be written, judged by the status; `full` if nothing speaks against it.
WriteOutcome SendRingWriter::blocked() const {
  const std::uint32_t status = slot_->status.load(std::memory_order_acquire);
  if (ReceiveWord{slot_->rx_word.load(std::memory_order_acquire)}.mode() != Mode::ring) {
    return {WriteOutcome::Kind::stream};
  }
  if ((status & (Status::reset | Status::closed)) != 0) {
    const bool pending = slot_->error.load(std::memory_order_acquire) != 0;
    return {pending ? WriteOutcome::Kind::failed : WriteOutcome::Kind::closed};
  }
  if ((status & Status::shut_wr) != 0) return {WriteOutcome::Kind::closed};
  return {WriteOutcome::Kind::full};
}

WriteOutcome SendRingWriter::write(std::span<const iovec> from, bool urgent, bool more) {
  const std::size_t want = total_length(from, kRingSizeMax);
  for (;;) {
    if (const auto outcome = try_write(from, want, urgent, more)) return *outcome;
  }
}

/// Nothing: the ring was full when it was looked at, and is not any more.
std::optional<WriteOutcome> SendRingWriter::try_write(std::span<const iovec> from, std::size_t want, bool urgent, bool more) {
  const WriteOutcome obstacle = blocked();
  if (obstacle.kind != WriteOutcome::Kind::full) return obstacle;
  View view;
  std::size_t n = 0;
  bool stalled = false;
  {
    // Until the descriptor shows what was written: so long the slot is not given to another socket.
    WriterLock lock(*slot_, *io_);
    for (;;) {
      if (!io_->still_open()) return WriteOutcome{WriteOutcome::Kind::gone};
      if (!load(view)) {
        const bool streaming = blocked().kind == WriteOutcome::Kind::stream;
        return WriteOutcome{streaming ? WriteOutcome::Kind::stream : WriteOutcome::Kind::no_ring};
      }
      n = std::min(want, view.allowed);
      std::size_t done = 0;
      for (const iovec& piece : from) {
        for (std::size_t at = 0; at < piece.iov_len && done < n && lock.still_mine();) {
          const std::size_t k = std::min({piece.iov_len - at, n - done, kCopyChunk});
          copy_to_ring(view.base, view.size, view.tail.position() + done,
                       static_cast<const std::byte*>(piece.iov_base) + at, k);
          at += k;
          done += k;
        }
      }
      io_->step(Step::write_copied);
      if (!lock.still_mine()) {
        lock.retake();
        continue;
      }
      if (n == 0) break;
      std::uint64_t seen = view.tail.bits;
      const std::uint64_t next = PositionWord::make((view.tail.position() + n) & kPositionMask, view.tail.epoch()).bits;
      // Before the tail, so that the stack sends none of these bytes without knowing.
      if (urgent) slot_->tx_urgent.store(position_of(next) << kPositionShift | 1, std::memory_order_release);
      if (more) slot_->tx_more.store(position_of(next) << kPositionShift | 1, std::memory_order_release);
      if (slot_->tx_tail.compare_exchange_strong(seen, next, std::memory_order_acq_rel)) break;
    }
    io_->step(Step::write_published);
    stalled = stall_if_full(view.tail.position() + n, view.size, stall_room(false, view.size));
  }
  if (n == 0 && want > 0) {
    // The writer that filled the ring may not have stalled it when the stack made room: `full` would announce an edge that
    // nobody owes.
    if (!stalled) return std::nullopt;
    if (below_limit(view.tail.position()) != SIZE_MAX) io_->ring();
    return blocked();
  }
  if (n > 0) io_->ring();
  return WriteOutcome{WriteOutcome::Kind::data, n};
}

/// `tail` may be old by now: then there is even less room, and whoever moved it looks himself.
bool SendRingWriter::stall_if_full(std::uint64_t tail, std::size_t size, std::size_t least_room) {
  const auto room = [&](SendWord word) {
    const std::uint64_t used = distance(word.head(), tail);
    // Beyond the tail: the stack has consumed everything up to it and more.
    return used > size || size - used >= least_room;
  };
  const auto open_and_full = [&](SendWord word) { return !word.stalled() && (!room(word) || over_limit(tail)); };
  std::uint64_t seen = slot_->tx_word.load(std::memory_order_acquire);
  if (!open_and_full(SendWord{seen})) return SendWord{seen}.stalled();
  io_->step(Step::deciding_stall);
  // Counted first, then the mode is looked at; who switches does it the other way round. So no STALL gets into a stream.
  slot_->tx_stalling.fetch_add(1);
  const bool ring = ReceiveWord{slot_->rx_word.load()}.mode() == Mode::ring;
  bool won = false;
  while (ring && !won && open_and_full(SendWord{seen})) {
    io_->step(Step::deciding_stall);
    const SendWord next = SendWord{seen}.with(SendWord::kStalled, true);
    won = slot_->tx_word.compare_exchange_strong(seen, next.bits, std::memory_order_acq_rel);
  }
  if (won) send_stall();
  slot_->tx_stalling.fetch_sub(1);
  return !ring || won || SendWord{seen}.stalled();
}

void SendRingWriter::send_stall() {
  io_->step(Step::won_stall);
  for (unsigned tries = 0; tries < kStallSendsMax; ++tries) {
    if (io_->send_stall() != ProgramIo::Stalled::again) return;
    io_->ring();  // the stack is about to take units
    io_->yield();
  }
}

void SendRingWriter::wait_for_others() {
  { const WriterLock none_copies(*slot_, *io_); }
  const std::uint64_t since = io_->now_us();
  while (slot_->tx_stalling.load() != 0 && io_->now_us() - since < kStallerPatienceUs) io_->yield();
}

std::size_t SendRingWriter::queued() const {
  View view;
  return load(view) ? view.size - view.room : 0;
}

std::size_t SendRingWriter::room() const {
  View view;
  return load(view) ? view.room : 0;
}

void SendRingWriter::size_changed() {
  View view;
  const WriterLock lock(*slot_, *io_);
  if (!io_->still_open() || !load(view)) return;
  if (stall_if_full(view.tail.position(), view.size, stall_room(false, view.size)) && view.allowed < view.room) io_->ring();
}

// ---------------------------------------------------------------------------------------------- sleeping

namespace {
struct WaitEntry {  // struct futex_waitv, which older headers lack
  std::uint64_t value, address;
  std::uint32_t flags, reserved;
};
constexpr long kSysFutexWaitv = 449;
constexpr std::uint32_t kFutex32 = 2;

/// The low half of V, as the kernel sees it.
const std::uint32_t* low_half(const std::atomic<std::uint64_t>& word) {
  return reinterpret_cast<const std::uint32_t*>(&word);
}
}  // namespace

int SendRingWriter::sleep_for_room(const std::atomic<std::uint32_t>& alive, std::int64_t timeout_ns) {
  const std::uint32_t alive_seen = alive.load(std::memory_order_acquire);
  if (!shard_alive(alive)) return EPIPE;
  std::uint64_t seen = slot_->tx_word.load(std::memory_order_acquire);
  if (!SendWord{seen}.stalled()) return 0;
  const SendWord waiting = SendWord{seen}.with(SendWord::kWaiters, true);
  if (waiting.bits != seen && !slot_->tx_word.compare_exchange_strong(seen, waiting.bits, std::memory_order_acq_rel)) {
    return 0;
  }
  const std::uint32_t expected = static_cast<std::uint32_t>(waiting.bits);
  long result = -1;
  if (timeout_ns < 0) {
    const WaitEntry entries[2] = {
        {expected, reinterpret_cast<std::uint64_t>(low_half(slot_->tx_word)), kFutex32, 0},
        {alive_seen, reinterpret_cast<std::uint64_t>(&alive), kFutex32, 0}};
    result = syscall(kSysFutexWaitv, entries, 2, 0, nullptr, 0);
    if (result < 0 && sys::refused(errno)) {  // before Linux 5.16, or by a filter: the death of the stack is seen at the next call only
      result = syscall(SYS_futex, low_half(slot_->tx_word), FUTEX_WAIT, expected, nullptr, nullptr, 0);
    }
  } else {
    const timespec timeout{.tv_sec = timeout_ns / 1'000'000'000, .tv_nsec = timeout_ns % 1'000'000'000};
    result = syscall(SYS_futex, low_half(slot_->tx_word), FUTEX_WAIT, expected, &timeout, nullptr, 0);
  }
  const int error = result < 0 ? errno : 0;
  if (!shard_alive(alive)) {
    // The kernel wakes one sleeper when the thread dies; it passes the news on.
    syscall(SYS_futex, &alive, FUTEX_WAKE, INT32_MAX, nullptr, nullptr, 0);
    return EPIPE;
  }
  return error == EAGAIN ? 0 : error;
}

}  // namespace iopkt::ipc
