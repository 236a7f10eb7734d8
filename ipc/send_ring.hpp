// The send ring: writers of the client, one at a time, add bytes; the stack reads them in place and frees them when they are
// acknowledged. A STALL unit above the ballast says "not writable" exactly while STALLED is set in V.
//
//   V open    -> stalled  [writer, under the lock: room fell below stall_room(); the winner sends one STALL]
//   V stalled -> open     [stack: consume_to() found unstall_room()]
// A limit below the size (TCP_NOTSENT_LOWAT) lies in words of its own, which the CAS of V does not see change. So who stalls for it rings
// afterwards, and the stack looks again then.
// Units are balanced, not counted off: whenever a unit arrives or V opens, the stack looks at the units that are there and
// *then* at V, and takes all but the ballast if V is open, all but the ballast and one if it is stalled. A unit that was seen
// before V was seen open belongs to a stall that is over, so the next round's STALL is never taken; and a writer that died
// between its CAS and its unit is forgotten with the next round.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "ipc/descriptor.hpp"
#include "ipc/layout.hpp"

namespace iopkt::ipc {

// ---------------------------------------------------------------------------------------------- stack side

/// The stack's side of one send ring. Trusts nothing that the client can write. One thread. No allocation.
/// The bytes in [head(), checked_tail()) lie at position & (size - 1) of the memory; the client may change them at any time, so
/// whatever is decided from them is decided on a copy.
class SendRingConsumer {
 public:
  static constexpr int kCasTriesMax = 8;

  SendRingConsumer() = default;
  SendRingConsumer(Slot& slot, bool datagram);

  /// Gives the ring its memory; nothing may be queued.
  void set_ring(std::byte* base, RingRef ref);
  /// Moves the queued bytes to other memory while writers run; `ref` must have epoch() + 1. False: does not fit, broken, or the
  /// memory of the move before is still in use. What lay at the old place stays the slot's until old_place_in_use() is false.
  [[nodiscard]] bool move_ring(std::byte* base, RingRef ref);
  /// Takes the memory away while nothing is queued. False: something is (or arrived meanwhile), or as above; nothing changed.
  [[nodiscard]] bool drop_ring();
  /// Ends the ring for its writers, after the mode was changed; memory and queued bytes are the stack's alone once
  /// old_place_in_use() is false. False: writers were in the way, or broken(); the caller tries again.
  [[nodiscard]] bool close_ring();
  /// True while a writer that began before the last move, drop or close may still be copying to the old place: its CAS of the tail is
  /// going to fail, but its bytes land there. Until this is false, or the slot is released, that memory is given to nobody.
  [[nodiscard]] bool old_place_in_use();
  /// Once the program's last descriptor is closed: true while a thread may still be writing that began before. Until this is false, or
  /// the client has ended, slot and ring are given to nobody. (A writer takes the lock, then looks whether its number is still open.)
  [[nodiscard]] bool writer_inside() const { return lock_is_held(slot_->tx_lock.load()); }

  std::byte* base() const { return base_; }
  std::size_t size() const { return size_; }
  std::uint16_t epoch() const { return epoch_; }
  /// The stack's own; never read back from V.
  std::uint64_t head() const { return head_; }
  /// How far the client has written: monotonic, between head and head + size. Anything else makes the client broken(), and
  /// the answer stays what it was.
  std::uint64_t checked_tail();
  std::size_t queued() { return static_cast<std::size_t>(distance(head_, checked_tail())); }
  /// MSG_OOB: the byte before `position` is urgent. Asked after checked_tail(): head() < position <= that tail. False: nothing
  /// new. Taken once.
  bool take_urgent(std::uint64_t& position);
  /// MSG_MORE: the last write before checked_tail() said that more follows at once. A hint: never wrong for long.
  bool more_follows() const;

  /// Frees everything before `new_head` for reuse by the client, lifts a stall once unstall_room() is free, and wakes blocked
  /// writers then. Precondition: head() <= new_head <= the last checked_tail().
  void consume_to(std::uint64_t new_head, StackIo& io);
  /// Call on each EPOLLIN of the stack's end, after inspect(): takes the units that V no longer asks for.
  void on_units(StackIo& io);
  /// TCP_NOTSENT_LOWAT: writers fill the ring up to `position`, and stall where half of the `low_water` bytes before it are there; 0: no
  /// limit. Does not lift a stall: look_again() does.
  void limit_to(std::uint64_t position, std::uint32_t low_water);
  bool limited() const { return low_water_ != 0; }
  /// Lifts a stall if there is room enough by now: after limit_to(), and whenever a writer has rung.
  void look_again(StackIo& io);
  /// Lifts a stall whatever the room (connection established, refused, reset, closed), and wakes every blocked writer.
  void release(StackIo& io);
  /// A connect in progress starts stalled: the shim sends HELLO and one STALL; call before the slot is given out.
  void begin_stalled();
  bool stalled() const;

  bool broken() const { return broken_; }
  void set_broken() { broken_ = true; }
  struct Counts {
    std::uint64_t lifted{}, late_units{}, forced_stores{};
  };
  /// For a test: from now on; outlives this.
  void count_into(Counts& counts) { counts_ = &counts; }

 private:
  void count(std::uint64_t Counts::*what) {
    if (counts_ != nullptr) ++(counts_->*what);
  }
  void store_head(bool force_open, StackIo& io);
  unsigned balance(StackIo& io);
  void leave_place();
  bool over_limit();

  Slot* slot_ = nullptr;
  std::uint64_t limit_ = 0;        ///< a position; only with low_water_
  std::byte* base_ = nullptr;
  std::uint64_t head_ = 0, tail_ = 0;
  std::uint32_t low_water_ = 0, size_ = 0;
  std::uint64_t left_lock_ = 0;  ///< the writer lock as it was held when the last place was left; 0: nobody held it
  std::uint16_t epoch_ = 0;
  bool datagram_ = false, broken_ = false, closed_ = false;
  Counts* counts_ = nullptr;
};

// ---------------------------------------------------------------------------------------------- client side

/// The writer lock: thread id (32) | pid-namespace tag (8) | generation (24) in Slot::tx_lock. Held for a copy and its STALL,
/// never across a wait for room. The same thread (a signal handler, or after longjmp) steals its own lock; what it interrupted
/// notices the generation and copies again. A dead holder is stolen from after a while, within one pid namespace.
/// Limit: a handler that writes to the very socket whose write it interrupted in the middle of the copy, and returns, may see its
/// bytes overwritten by the rest of that copy (at most 16 KiB), also where that place was left by a move in between.
class WriterLock {
 public:
  WriterLock(Slot& slot, ProgramIo& io);
  ~WriterLock();
  WriterLock(const WriterLock&) = delete;
  WriterLock& operator=(const WriterLock&) = delete;
  /// False: a signal handler of this thread, or a rescuer, has taken it meanwhile.
  bool still_mine() const;
  /// Takes it again after still_mine() was false.
  void retake();

 private:
  void acquire();
  Slot* slot_;
  ProgramIo* io_;
  std::uint64_t mine_ = 0;
};

struct WriteOutcome {
  enum class Kind : std::uint8_t {
    data,      ///< bytes > 0 (fewer than asked for: the ring is full now)
    full,      ///< EAGAIN, or sleep_for_room()
    closed,    ///< EPIPE: SHUT_WR by the program, or the connection has ended and its error was taken already
    failed,    ///< the connection ended with a pending error: take_error()
    no_ring,   ///< not connected yet (connecting: sleep or EAGAIN; fresh: ENOTCONN/EPIPE)
    too_long,  ///< datagram: EMSGSIZE
    stream,    ///< the mode is not ring: use the descriptor itself
    gone,      ///< the program has closed the number meanwhile: EBADF
  };
  Kind kind{Kind::full};
  std::size_t bytes{};
};

/// The lock caches the thread's id. To be called in the child after fork (and vfork, clone) before it writes. `same_namespace`: the
/// child's ids are of the parent's kind, so /proc need not be read again.
void forget_thread_id(bool same_namespace = false);
/// Makes the calling thread's id known, so that its writes need not ask for it.
void know_thread_id();

/// The client's side of a send ring of bytes. Any thread, process or signal handler; made on the stack for one call.
class SendRingWriter {
 public:
  SendRingWriter(Slot& slot, std::byte* arena, std::size_t arena_size, ProgramIo& io)
      : slot_(&slot), arena_(arena), arena_size_(arena_size), io_(&io) {}

  /// Copies as much of `from` as there is room for, publishes it, stalls the descriptor if that filled the ring, and rings.
  /// `urgent`: the last byte that it copies is urgent (MSG_OOB). `more`: more follows at once (MSG_MORE).
  WriteOutcome write(std::span<const iovec> from, bool urgent = false, bool more = false);
  /// SIOCOUTQ: bytes that the peer has not acknowledged.
  std::size_t queued() const;
  /// Free bytes now; 0 without a ring.
  std::size_t room() const;
  /// After the ring moved to one of another size: stalls if too little of it is free.
  void size_changed();
  /// While the mode is switching: returns when no writer copies or sends a STALL any more. One that died in the middle delays
  /// this by a second.
  void wait_for_others();

  /// The sleep of a blocking write, while V is stalled: a futex on V. `timeout_ns` < 0: none (SO_SNDTIMEO not set); then the
  /// death of the shard's thread (`alive` in the status page) also ends it. 0: look again; else ETIMEDOUT, EINTR, or EPIPE
  /// (the stack is gone). Returns at once if V is not stalled.
  int sleep_for_room(const std::atomic<std::uint32_t>& alive, std::int64_t timeout_ns);

 private:
  WriteOutcome blocked() const;
  /// False: there is room, so V stays open.
  bool stall_if_full(std::uint64_t tail, std::size_t size, std::size_t least_room);
  void send_stall();
  std::size_t below_limit(std::uint64_t tail) const;
  bool over_limit(std::uint64_t tail) const;
  std::optional<WriteOutcome> try_write(std::span<const iovec> from, std::size_t want, bool urgent, bool more);
  struct View {
    PositionWord tail;
    SendWord word;
    std::byte* base{};
    std::size_t size{};
    std::size_t room{};
    std::size_t allowed{};  ///< of the room: up to the limit
  };
  bool load(View& view) const;

  Slot* slot_;
  std::byte* arena_;
  std::size_t arena_size_;
  ProgramIo* io_;
  friend class DatagramWriter;
};

}  // namespace iopkt::ipc
