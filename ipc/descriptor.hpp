// Both ends of the AF_UNIX socket that shows readiness: units from the program to the stack, token bytes back.
//
// Program -> stack: units of one size, HELLO first. One unread unit (the ballast) leaves the program's end
// writable, two make it not writable; the stack keeps one unread always, so closing its end is a reset. Units
// are equal, so the queue rolls: whichever is oldest is taken, and the youngest becomes the next ballast.
// Stack -> program: one byte per token; on a listener's end an offer per connection (offer.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/expected.hpp"
#include "ipc/layout.hpp"

namespace iopkt::ipc {

// ---------------------------------------------------------------------------------------------- units

enum class UnitType : std::uint32_t { hello = 0x6f6c6548, stall = 0x6c617453, attach = 0x63747441 };

/// What a program's end sends, kUnitSize bytes on the wire (the rest is zero). Host order: both ends are this machine.
struct Unit {
  std::uint32_t type{};    ///< UnitType
  std::uint32_t client{};  ///< hello: client id
  std::uint64_t slot{};    ///< hello: arena id << 32 | index
  std::uint64_t nonce{};   ///< hello and attach: Slot::nonce (attach: the number that the daemon gave for this attach)
  std::uint64_t cookie{};  ///< hello: SO_COOKIE of the program's end, where that made it; 0: not known
  std::uint64_t zero[4]{};
  static Unit hello(std::uint32_t client, std::uint64_t slot, std::uint64_t nonce, std::uint64_t cookie);
  static Unit stall();
  static Unit attach(std::uint64_t nonce);
};
inline constexpr std::size_t kUnitSize = 64;
static_assert(sizeof(Unit) == kUnitSize);

constexpr std::uint64_t slot_name(std::uint32_t arena, std::uint32_t index) { return std::uint64_t{arena} << 32 | index; }
constexpr std::uint32_t arena_of(std::uint64_t slot) { return static_cast<std::uint32_t>(slot >> 32); }
constexpr std::uint32_t index_of(std::uint64_t slot) { return static_cast<std::uint32_t>(slot); }

// ---------------------------------------------------------------------------------------------- what the rings call

/// The system calls of the stack's side, as the rings need them; tests inject their own.
class StackIo {
 public:
  enum class Sent { done, again, gone };
  /// One token byte, never blocking. again: no room; gone: the program shut its reading side, or no other end is left.
  virtual Sent send_token() = 0;
  /// One byte out of band: the kernel sends SIGURG and shows POLLPRI. Which byte of the stream it stands for is in the urgent word.
  virtual Sent send_urgent() { return Sent::done; }
  /// True while at least one token byte is unread by the program, or what is left of bytes out of band.
  virtual bool token_queued() = 0;
  /// How many units lie above the ballast, those that arrived just now among them.
  virtual unsigned units_above_ballast() = 0;
  /// Takes the oldest unit, if at least one lies above the ballast.
  virtual bool take_unit() = 0;
  /// Wakes every writer that sleeps on the futex `word` (the low half of V).
  virtual void wake(const std::atomic<std::uint64_t>& word) = 0;

 protected:
  ~StackIo() = default;
};

/// Points of the client's protocols where being interrupted is interesting; tests inject preemption or death there.
enum class Step : std::uint8_t {
  copied, claimed, settling, deciding, won_token, took_token, write_copied, write_published, deciding_stall, won_stall,
};

/// The system calls of the client's side, as the rings need them; tests inject their own.
class ProgramIo {
 public:
  enum class Stalled { sent, again, gone };
  /// Takes one token byte without blocking; false: none there.
  virtual bool take_token() = 0;
  enum class Await { there, not_yet, gone };
  /// Waits until a token byte is there, at most a millisecond. gone: so is the stack's end, none will ever come.
  virtual Await await_token() = 0;
  enum class Swept {
    clean,  ///< nothing is left
    some,   ///< something is, or only plain calls may be made
    token,  ///< a token is the next; what is left lies behind it
    stray,  ///< nothing is left, and a token that came just now was taken, too: the stack is to compare
  };
  /// Takes what bytes out of band have left in the descriptor, and POLLPRI with it; `keep`: not the newest, which shows it. To be called
  /// by who holds R, since nobody else may take a byte meanwhile.
  virtual Swept sweep_urgent(bool) { return Swept::clean; }
  /// Sends one STALL unit without blocking. again: no room; gone: the stack's end is gone, a stall has no meaning any more.
  virtual Stalled send_stall() = 0;
  virtual void yield() = 0;
  /// Whether system calls may be made that have nothing to do with data: to see whether another process lives.
  virtual bool may_ask() { return true; }
  /// False once the program has closed the number that the call was made with: the slot may be another socket's by now.
  virtual bool still_open() const { return true; }
  /// Microseconds of a monotonic clock.
  virtual std::uint64_t now_us() = 0;
  /// Rings the doorbell of the slot's shard.
  virtual void ring() = 0;
  virtual void step(Step) {}

 protected:
  ~ProgramIo() = default;
};

// ---------------------------------------------------------------------------------------------- the real ones

/// What the start-up check found about this kernel. The unit size is fixed: a kernel on which 64 bytes do not behave is refused,
/// by name of what failed, rather than half supported.
struct UnitCheck {
  bool stream_ok{}, seqpacket_ok{};  ///< one unit leaves writable, two do not, taking one makes writable again
  bool peek_offset_ok{};             ///< SO_PEEK_OFF shows each unit once, for both types
  bool outq_ok{};                    ///< SIOCOUTQ is 0 exactly when all tokens were taken
  bool all() const { return stream_ok && seqpacket_ok && peek_offset_ok && outq_ok; }
};
/// Tries the protocol's assumptions on throw-away socket pairs. For the daemon's start (which refuses to start unless all()).
UnitCheck check_units();

/// The stack's end of one socket. Owns no descriptor. Edge-triggered: call inspect() on each EPOLLIN of the descriptor.
class StackEnd final : public StackIo {
 public:
  enum class Fault : std::uint8_t { none, short_unit, unknown_unit, too_many_units, descriptor };
  struct Arrivals {
    unsigned stalls{};          ///< STALL units that arrived
    bool hello{};               ///< HELLO arrived; `unit` holds it
    bool attach{};              ///< ATTACH arrived; `unit` holds it. At most one of both per call: call again while `more`
    bool more{};
    bool closed{};              ///< end of file: the program's last descriptor is closed, or it shut its writing side
    Fault fault{Fault::none};   ///< anything but none: the client broke the protocol and must be killed
    Unit unit{};
  };

  StackEnd() = default;
  /// Takes over a connected, non-blocking end: sets SO_PEEK_OFF. `fd` stays the caller's.
  explicit StackEnd(int fd);

  int fd() const { return fd_; }
  /// Looks at units that were not seen yet; takes none, but one for an ATTACH (so that it does not stall).
  Arrivals inspect();
  /// Units that are queued and were seen, the ballast among them.
  unsigned queued() const { return queued_; }
  /// Takes all but the ballast: after the program's SHUT_WR, where a stall has no meaning any more. Returns how many.
  unsigned drain_to_ballast();
  /// FIN: shuts the writing side; the program sees IN RDHUP.
  void show_fin();
  /// For an end that is (or may be) closed to show a reset, so that no event can tell of the program's last close: puts a copy of `fd`
  /// behind the tokens. Nobody reads that byte; the kernel closes the copy with the program's last descriptor. False: it cannot be sent.
  bool send_witness(int fd);

  Sent send_token() override;
  Sent send_urgent() override;
  bool token_queued() override;
  unsigned units_above_ballast() override;
  bool take_unit() override;
  void wake(const std::atomic<std::uint64_t>& word) override;

 private:
  void look();
  bool take_oldest();

  /// What arrived since inspect() was called last.
  struct Seen {
    std::unique_ptr<Unit> unit;  ///< HELLO or ATTACH; null mostly, and there are many ends
    std::uint16_t stalls = 0;    ///< up to kUnitsQueuedMax
    bool closed = false;
    Fault fault = Fault::none;
  };

  Seen seen_;
  int fd_ = -1;
  unsigned queued_ = 0;
};

/// Which system calls the program's end may make. A program that has confined itself (seccomp) and moves its data with read() and
/// write() is perhaps killed for any other.
enum class Calls : std::uint8_t {
  all,
  plain,              ///< read, write, futex, and poll before a read of a token
  plain_nonblocking,  ///< the same without poll: the descriptor has O_NONBLOCK
};

/// The program's end. Owns no descriptor; made on the stack for one call. Async-signal-safe; keeps errno. A call that is refused
/// (EPERM, EACCES, ENOSYS) is made as `plain` instead.
/// Limit of `plain`: poll and read are two steps. A reader that another one overtakes between them (because it was held up
/// there for longer than wait_for_remover() is patient) may sleep in that read until the next token comes.
class ProgramEnd final : public ProgramIo {
 public:
  /// `control` the mapped control file, `event_fds` one per shard, `slot_number` the doorbell's bit.
  ProgramEnd(int fd, const Slot& slot, void* control, const int* event_fds, std::uint32_t slot_number, Calls calls = Calls::all)
      : fd_(fd), slot_(&slot), control_(control), event_fds_(event_fds), slot_number_(slot_number), calls_(calls) {}

  bool take_token() override;
  Await await_token() override;
  Swept sweep_urgent(bool keep) override;
  Stalled send_stall() override;
  void yield() override;
  bool may_ask() override { return calls_ == Calls::all; }
  bool still_open() const override { return meaning_ == nullptr || meaning_->load() == meant_; }
  std::uint64_t now_us() override;
  void ring() override;

  /// The number is open as long as `meaning` is `meant`.
  void open_while(const std::atomic<std::uint64_t>& meaning, std::uint64_t meant) { meaning_ = &meaning, meant_ = meant; }
  /// For connect() in progress and after attach. False: gone.
  bool send_unit(const Unit& unit);

 private:
  int fd_;
  const Slot* slot_;
  void* control_;
  const int* event_fds_;
  std::uint32_t slot_number_;
  Calls calls_;
  unsigned yields_ = 0;
  const std::atomic<std::uint64_t>* meaning_ = nullptr;
  std::uint64_t meant_ = 0;
};

/// SO_COOKIE: the kernel's number of a socket, the same for every descriptor that means it. 0: not a socket.
std::uint64_t socket_cookie(int fd);

/// SO_SNDBUF to its minimum, as both socket types need it on the program's end. Returns 0 or an errno.
int set_minimum_buffer(int fd);

/// The sleep of a blocking read: recv(MSG_PEEK) of one byte, so SO_RCVTIMEO, EINTR, SA_RESTART and the death of the stack are the
/// kernel's own. 0: look again; otherwise the errno of recv (EAGAIN: SO_RCVTIMEO ran out, or O_NONBLOCK; EINTR; ECONNRESET).
/// End of file answers kSleepEof: the stack showed FIN, or is gone.
inline constexpr int kSleepEof = -1;
int sleep_for_token(int fd);


}  // namespace iopkt::ipc
