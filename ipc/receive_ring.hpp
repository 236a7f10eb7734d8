// The receive ring: the stack publishes bytes, any reader of the client takes them without a lock, and a token byte in the
// descriptor says "readable" exactly while the ring is.
//
//   state of the token in W          [who]
//   none    -> want     [stack: publish() makes the ring readable; or a reader that lowered SO_RCVLOWAT]
//   want    -> none     [reader: ring is empty; cancelled without a system call]
//   want    -> sending  [stack: flush()]
//   sending -> present  [stack: flush(), after the byte was sent]
//   sending -> none + R [reader: ring is empty and the byte lies there already; the stack, back from send(), leaves it so]
//   present -> sending  [stack: flush() renews the edge; extra + 1]
//   present -> none + R [reader: ring is empty; it then takes 1 + extra bytes and clears R]
//   present -> present + R, extra = 0  [reader that leaves data, at 15 extra: it takes 15 bytes and clears R]
//   any     -> the same + R  [reader that takes what bytes out of band have left, and no token; see below]
// Invariants: bytes sent - bytes owed to winners of these last steps = 1 + extra while present, else 0.
// A reader never leaves a byte behind that was sent for what it has read (but after a second of waiting for a stack that does not
// come back from send()): `readable` then means that a blocking read returns, as on any TCP socket.
// Only one reader at a time holds R; others wait for it, and take over from one that died.
//
// Urgent data (RFC 6093): the byte lies in the ring, and U (layout.hpp) says where. Readers stop there and leave it out; no request is
// needed. Alone it is not readable. A byte out of band in the descriptor raises SIGURG and shows POLLPRI, and is no token: whoever reads on
// takes it or sweeps it away. What it shows beside POLLPRI is put right by who polls (shown()).
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/box.hpp"
#include "ipc/descriptor.hpp"
#include "ipc/layout.hpp"

namespace iopkt::ipc {

// ---------------------------------------------------------------------------------------------- stack side

/// The stack's side of one receive ring. Trusts nothing that the client can write. One thread. No allocation, but for urgent data.
/// The payload is written by the owner straight into the ring's memory at position & (size - 1), anywhere in
/// [tail, checked_head() + size); only publish() makes it visible.
class ReceiveRingProducer {
 public:
  static constexpr int kCasTriesMax = 8;

  ReceiveRingProducer() = default;
  /// A slot without ring memory: size() is 0 until set_ring().
  explicit ReceiveRingProducer(Slot& slot, Mode mode = Mode::ring);

  /// Gives the ring its memory; nothing may be unread. `base` is the stack's own mapping of `ref` in the slot's arena.
  void set_ring(std::byte* base, RingRef ref);
  /// Moves unread bytes to other memory (growing, or into another size), while readers run. `ref` must have epoch() + 1.
  /// False: refused, more is unread than fits. Bytes beyond the tail (out of order) are the caller's to copy, before.
  [[nodiscard]] bool move_ring(std::byte* base, RingRef ref);
  /// Takes the memory away while nothing is unread (the daemon then punches the hole). False: something is unread.
  [[nodiscard]] bool drop_ring();
  /// Ends the ring for its readers, after the mode was changed: those that are copying lose their CAS, and what lies between
  /// checked_head() and tail() is the stack's alone. False: readers were in the way, or broken(); the caller tries again.
  [[nodiscard]] bool close_ring();

  std::byte* base() const { return base_; }
  std::size_t size() const { return size_; }
  std::uint16_t epoch() const { return epoch_; }
  /// The stack's own; never read back from W.
  std::uint64_t tail() const { return tail_; }
  /// How far the client has read: monotonic, between tail - size and tail. A client that wrote anything else is broken(), and
  /// the answer stays what it was.
  std::uint64_t checked_head();
  std::size_t unread() { return static_cast<std::size_t>(distance(checked_head(), tail_)); }
  std::size_t free_space() { return size_ - unread(); }

  /// Makes everything up to `new_tail` readable. Precondition: tail() <= new_tail <= checked_head() + size().
  /// Returns true if flush() has to be called at the end of the burst.
  bool publish(std::uint64_t new_tail);
  /// Sends what publish() left to send: at most one token. Returns true if it must be called again soon (no room in the
  /// descriptor, or a repair that waits for a reader): the shard then sleeps at most a millisecond.
  bool flush(StackIo& io);
  bool wants_flush() const { return flush_; }
  /// A doorbell with Kick::recheck or Kick::repair: decide anew. Returns true if flush() has to be called.
  bool recheck();
  bool repair();

  /// RFC 6093: the byte at `position` is urgent, at or behind every tail that was published. `byte`: once it is here. To be called before
  /// what lies behind it is published. True: flush() has to be called; it tells the program of a new one, and of a byte that came later
  /// than its announcement.
  [[nodiscard]] bool set_urgent(std::uint64_t position, std::optional<std::uint8_t> byte, bool in_line);
  /// Calls of flush() that have told the program of urgent data.
  std::uint32_t urgent_told() const { return rare_ ? rare_->told : 0; }
  bool tells_urgent() const { return rare_ && rare_->tell; }

  /// Asks for a doorbell when the reader reaches `position`. False: it already has; no doorbell will come.
  [[nodiscard]] bool ask_for_bell(std::uint64_t position);
  void cancel_bell();

  /// A new end takes the place of one that no program ever used; its tokens are lost with it. Flush when
  /// wants_flush().
  void restart_tokens();
  /// The program shut its reading side, or the end is gone: no more tokens.
  void stop_tokens() { tokens_off_ = true; }
  /// No token is sent in any mode but `ring`.
  void set_mode(Mode mode);
  Mode mode() const { return mode_; }
  /// The client wrote an impossible position: kill it.
  bool broken() const { return broken_; }

  struct Counts {
    std::uint64_t tokens{}, renewed{}, repaired{}, forced_stores{};
  };
  /// For a test: from now on; outlives this.
  void count_into(Counts& counts) { rare_.make().counts = &counts; }

 private:
  /// What few rings have. The slot's words are never read back.
  struct Rare {
    Counts* counts = nullptr;
    UrgentWord urgent;
    std::uint64_t left_out = 0;
    std::uint32_t told = 0;
    bool tell = false;
  };
  void count(std::uint64_t Counts::*what) {
    if (rare_ && rare_->counts != nullptr) ++(rare_->counts->*what);
  }
  void tell_urgent(StackIo& io);
  template <class Change>
  void update(Change change);
  bool send_first(StackIo& io);
  bool send_renewal(StackIo& io);
  bool repair_now(StackIo& io);
  bool readable_to(std::uint64_t new_tail);

  Slot* slot_ = nullptr;
  std::byte* base_ = nullptr;
  std::uint64_t tail_ = 0, head_ = 0;
  std::uint32_t size_ = 0;
  std::uint16_t epoch_ = 0;
  Mode mode_ = Mode::ring;
  bool flush_ : 1 = false, renew_ : 1 = false, repair_ : 1 = false, tokens_off_ : 1 = false, broken_ : 1 = false, closed_ : 1 = false;
  Box<Rare> rare_;
};

// ---------------------------------------------------------------------------------------------- client side

/// What one look at a receive ring gave. `bytes` counts for `data` only.
struct ReadOutcome {
  enum class Kind : std::uint8_t {
    data,   ///< bytes > 0
    empty,  ///< nothing now: EAGAIN or sleep
    eof,    ///< FIN was received, or SHUT_RD; and all data before it was read
    reset,  ///< the connection is gone and all data was read: take_error() says why
    stream, ///< the mode is not ring: use the descriptor itself
    gone,   ///< the program has closed the number meanwhile: EBADF
    mark,   ///< the next byte is the urgent one, or its place: no call goes on over it
  };
  Kind kind{Kind::empty};
  std::size_t bytes{};
  bool at_mark{};  ///< data: behind them is the urgent byte's place
};

inline constexpr int kOobEnd = -1;

/// What all readers share: looking, claiming, and leaving the token right. Not for direct use.
class ReaderCore {
 public:
  ReaderCore(Slot& slot, std::byte* arena, std::size_t arena_size, ProgramIo& io)
      : slot_(&slot), arena_(arena), arena_size_(arena_size), io_(&io) {}

  struct View {
    PositionWord head;
    ReceiveWord word;
    const std::byte* base{};
    std::size_t size{};
    std::size_t unread{};
    UrgentView urgent;
    /// What a reader can get.
    std::size_t usable() const { return unread - urgent.left_out; }
  };
  /// Head, ring and W that belong together, and to the socket that the number means. False: there is no ring yet, the mode is not
  /// ring, or the number was closed.
  bool load(View& view) const;
  /// The outcome when nothing is unread; `status` was loaded before that was seen.
  ReadOutcome nothing(std::uint32_t status) const;
  /// Moves the head from the view's by `bytes`. False: another reader was first, discard what was copied.
  bool claim(const View& view, std::size_t bytes);
  /// True if nobody moved the head since the view was loaded, so that what was copied is right.
  bool still_valid(const View& view);
  /// Makes the token agree with the ring. Called after every claim and whenever the ring was found below the low-water mark.
  void settle();
  /// Something is left unread after a look at `view`: the next arrival has to renew the edge.
  void observe(const View& view);
  void kick(std::uint32_t why);
  void lowat_changed();
  void set_edge();
  void drain();
  /// True: the descriptor shows nothing of them any more.
  bool sweep_urgent(bool keep);
  bool hold_removal();
  void tidy_urgent();
  bool has_urgent_byte(const View& view) const;
  UrgentWord urgent() const { return {slot_->rx_urgent.load(std::memory_order_relaxed)}; }
  bool reaches_lowat() const;
  /// The descriptor may show what is not there, or may just come to do so.
  bool oob_left() const {
    const std::uint32_t shown = slot_->rx_oob_shown.load(std::memory_order_acquire);
    return (shown & 1) != 0 || shown != slot_->rx_oob_swept.load(std::memory_order_relaxed);
  }
  int take_urgent(bool peek, std::uint8_t& byte);
  std::uint32_t status() const { return slot_->status.load(std::memory_order_acquire); }
  Mode mode() const { return ReceiveWord{slot_->rx_word.load(std::memory_order_acquire)}.mode(); }

 private:
  struct Patience;
  bool settle_once(Patience& patience);
  bool take_from_sender(ReceiveWord word, Patience& patience);
  bool remove_token(ReceiveWord word);
  void finish_removal(unsigned bytes);
  bool wait_for_remover(ReceiveWord word, Patience& patience);
  bool below_lowat(ReceiveWord word, bool& torn) const;

  Slot* slot_;
  std::byte* arena_;
  std::size_t arena_size_;
  ProgramIo* io_;
};

/// The client's side of a receive ring of bytes: any number of these, in any thread, process or signal handler, work on one
/// ring at the same time. Made on the stack for one call; owns nothing; no lock, no allocation; async-signal-safe.
class ReceiveRingReader {
 public:
  /// `arena` is where the slot's arena is mapped here, `arena_size` how much of it.
  ReceiveRingReader(Slot& slot, std::byte* arena, std::size_t arena_size, ProgramIo& io)
      : core_(slot, arena, arena_size, io), io_(&io) {}

  /// Moves up to the sum of `to` out of the ring, and not across the urgent byte, which is left out if it is the first and not read in
  /// line. Leaves the token right (settles) before it returns. `more`: the call has data already, so it does not begin at that byte either.
  ReadOutcome read(std::span<const iovec> to, bool more = false);
  /// Copies without taking, from `skip` bytes after the first unread one.
  ReadOutcome peek(std::span<const iovec> to, std::size_t skip = 0);
  /// Takes up to `bytes` without copying (MSG_TRUNC).
  ReadOutcome discard(std::size_t bytes, bool more = false);
  /// SIOCATMARK.
  bool at_mark();
  /// recv(MSG_OOB): 0, kOobEnd (announced, and will not come), or the errno of what it fails with: EINVAL (none, taken already, or read in
  /// line), EAGAIN (announced, not here yet), ENOTCONN (reset).
  int take_urgent(bool peek, std::uint8_t& byte) { return core_.take_urgent(peek, byte); }
  /// What poll(2) is to show beside what the descriptor shows by itself. Only the first word counts while there was never urgent data.
  struct Shown {
    bool urgent = false;    ///< there was some
    bool priority = false;  ///< POLLPRI: its byte is here and nobody has taken it
    bool readable = false;  ///< POLLIN
    bool left = false;      ///< the descriptor shows what it has no more, until sweep_urgent()
  };
  Shown shown();
  /// at_mark(), and something is unread: splice(2) does not go on.
  bool stopped_at_mark();
  /// `keep`: POLLPRI stays.
  bool sweep_urgent(bool keep) { return core_.sweep_urgent(keep); }
  /// FIONREAD. Counts as a look: the next arrival renews the edge.
  std::size_t readable();
  /// True if nothing can be read; without any effect, for spinning.
  bool nothing_unread() const;
  /// After SO_RCVLOWAT was stored in the slot: makes the token agree with it.
  void lowat_changed() { core_.lowat_changed(); }
  /// A holder polls edge-triggered (epoll_ctl with EPOLLET, or a descriptor that left our sight).
  void set_edge() { core_.set_edge(); }
  /// While the mode is switching: takes every token byte out of the descriptor, so that the stack may go on to stream mode, and
  /// returns when no reader can take one any more. A reader that died in the middle delays this by a second, one that sleeps
  /// for longer than that just there (stopped by a debugger) takes a byte of the stream instead.
  void drain() { core_.drain(); }

 private:
  ReadOutcome take(std::span<const iovec> to, std::size_t want, bool copy, bool more);
  ReaderCore core_;
  ProgramIo* io_;
};

/// SO_ERROR: the pending error, taken (0: none). The caller also reads the native SO_ERROR, so that POLLERR goes away.
int take_error(Slot& slot);

}  // namespace iopkt::ipc
