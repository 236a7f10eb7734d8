// Both ends of the readiness socket over real AF_UNIX descriptors, and the start-up check of what the protocol assumes.
#include "ipc/descriptor.hpp"

#include <linux/futex.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

#include "ipc/doorbell.hpp"
#include "ipc/rights.hpp"
#include "ipc/sys.hpp"

namespace iopkt::ipc {

namespace {
/// Errno as the caller had it, whatever happens in between.
class KeepErrno {
 public:
  KeepErrno() = default;
  ~KeepErrno() { errno = saved_; }
  KeepErrno(const KeepErrno&) = delete;
  KeepErrno& operator=(const KeepErrno&) = delete;

 private:
  int saved_ = errno;
};

StackIo::Sent sent_of(ssize_t result) {
  if (result >= 0) return StackIo::Sent::done;
  return errno == EAGAIN || errno == EINTR || errno == ENOBUFS || errno == ENOMEM ? StackIo::Sent::again
                                                                                : StackIo::Sent::gone;
}
constexpr int kSendFlags = MSG_DONTWAIT | MSG_NOSIGNAL;
/// Once another one follows, a byte out of band is an ordinary one to the kernel: this tells it from a token, which is 0.
constexpr char kOutOfBand = 1;
/// Bytes out of band that nobody has taken, in one look.
constexpr unsigned kSweepMax = 64;
/// The program's buffer holds a handful of units; more in a row are a flood.
constexpr unsigned kUnitsQueuedMax = 64;
}  // namespace

Unit Unit::hello(std::uint32_t client, std::uint64_t slot, std::uint64_t nonce, std::uint64_t cookie) {
  return {static_cast<std::uint32_t>(UnitType::hello), client, slot, nonce, cookie, {}};
}
Unit Unit::stall() { return {static_cast<std::uint32_t>(UnitType::stall), 0, 0, 0, 0, {}}; }
Unit Unit::attach(std::uint64_t nonce) { return {static_cast<std::uint32_t>(UnitType::attach), 0, 0, nonce, 0, {}}; }

// ---------------------------------------------------------------------------------------------- the stack's end

StackEnd::StackEnd(int fd) : fd_(fd) {
  const int zero = 0;  // each MSG_PEEK then shows what no MSG_PEEK has shown, and taking moves the mark back by itself
  sys::setsockopt(fd_, SOL_SOCKET, SO_PEEK_OFF, &zero, sizeof zero);
}

/// Adds what has arrived to seen_; stops at a HELLO or ATTACH that nobody has asked for yet, and at a fault.
void StackEnd::look() {
  while (!seen_.unit && !seen_.closed && seen_.fault == Fault::none) {
    Unit unit;
    iovec piece{.iov_base = &unit, .iov_len = sizeof unit};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    const ssize_t n = sys::recvmsg(fd_, &message, MSG_PEEK | MSG_DONTWAIT | MSG_TRUNC);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
      seen_.closed = true;
    } else if ((message.msg_flags & MSG_CTRUNC) != 0) {
      // A descriptor with it: perhaps the program's own end, which would stay open in our queue for as long as the ballast.
      seen_.fault = Fault::descriptor;
    } else if (n != static_cast<ssize_t>(sizeof unit)) {
      seen_.fault = Fault::short_unit;
    } else if (++queued_ > kUnitsQueuedMax) {
      seen_.fault = Fault::too_many_units;
    } else if (unit.type == static_cast<std::uint32_t>(UnitType::stall)) {
      ++seen_.stalls;
    } else if (unit.type == static_cast<std::uint32_t>(UnitType::hello)) {
      seen_.unit = std::make_unique<Unit>(unit);
    } else if (unit.type == static_cast<std::uint32_t>(UnitType::attach)) {
      seen_.unit = std::make_unique<Unit>(unit);
      take_oldest();
    } else {
      seen_.fault = Fault::unknown_unit;
    }
  }
}

StackEnd::Arrivals StackEnd::inspect() {
  look();
  const Seen seen = std::exchange(seen_, {});
  Arrivals out{.stalls = seen.stalls, .closed = seen.closed, .fault = seen.fault};
  if (!seen.unit) return out;
  out.unit = *seen.unit;
  out.hello = out.unit.type == static_cast<std::uint32_t>(UnitType::hello);
  out.attach = !out.hello;
  out.more = true;
  return out;
}

bool StackEnd::take_oldest() {
  if (queued_ < 2) return false;
  Unit unit;
  ssize_t n;
  do {
    n = sys::recv(fd_, &unit, sizeof unit, MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  if (n <= 0) return false;
  --queued_;
  return true;
}

unsigned StackEnd::units_above_ballast() {
  look();
  return queued_ > 0 ? queued_ - 1 : 0;
}

bool StackEnd::take_unit() { return take_oldest(); }

unsigned StackEnd::drain_to_ballast() {
  look();
  unsigned taken = 0;
  while (take_oldest()) ++taken;
  return taken;
}

void StackEnd::show_fin() { sys::shutdown(fd_, SHUT_WR); }

bool StackEnd::send_witness(int fd) {
  char byte = 0;
  iovec piece{.iov_base = &byte, .iov_len = 1};
  RightsBuffer rights;
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  carry(message, rights, fd);
  return sys::sendmsg(fd_, &message, kSendFlags) == 1;
}

StackIo::Sent StackEnd::send_urgent() {
  // Tokens have room always, whatever the program leaves here.
  constexpr int kUnreadMax = 32 << 10;
  int unread = 0;
  if (sys::unread_by_peer(fd_, SIOCOUTQ, &unread) == 0 && unread > kUnreadMax) return Sent::again;
  return sent_of(sys::send(fd_, &kOutOfBand, 1, kSendFlags | MSG_OOB));
}

StackIo::Sent StackEnd::send_token() {
  const char byte = 0;
  return sent_of(sys::send(fd_, &byte, 1, kSendFlags));
}

bool StackEnd::token_queued() {
  int unread = 0;
  return sys::unread_by_peer(fd_, SIOCOUTQ, &unread) == 0 && unread > 0;
}

void StackEnd::wake(const std::atomic<std::uint64_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

// ---------------------------------------------------------------------------------------------- the program's end

namespace {
constexpr std::int64_t kNapNs = 200'000;
/// Looks at something that another thread or the stack is about to change, before it is worth a nap.
constexpr unsigned kYieldsAwake = 16;

/// Only with O_NONBLOCK is a read() sure to return. A byte out of band shows as data, too, and read() passes it: it returns only if
/// there is a token besides, as there is for who has won one.
bool would_block(int fd, Calls calls, const Slot& slot) {
  if (calls == Calls::plain_nonblocking) return false;
  pollfd p{.fd = fd, .events = POLLIN | POLLPRI, .revents = 0};
  if (sys::poll_one(p, 0) != 1 || p.revents == POLLPRI) return true;
  if ((p.revents & POLLPRI) == 0) return false;
  const ReceiveWord word{slot.rx_word.load(std::memory_order_acquire)};
  return !word.removing() || word.mode() != Mode::ring;
}
}  // namespace

bool ProgramEnd::take_token() {
  const KeepErrno keep;
  char byte;
  for (;;) {
    if (!still_open()) return false;
    if (calls_ != Calls::all && would_block(fd_, calls_, *slot_)) return false;
    const ssize_t n = calls_ == Calls::all ? sys::recv(fd_, &byte, 1, MSG_DONTWAIT) : sys::read(fd_, &byte, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && calls_ == Calls::all && sys::refused(errno)) {
      calls_ = Calls::plain;
      continue;
    }
    if (n == 1 && byte == kOutOfBand) continue;
    return n == 1;
  }
}

ProgramIo::Swept ProgramEnd::sweep_urgent(bool keep) {
  const KeepErrno keep_errno;
  if (calls_ == Calls::plain || !still_open()) return Swept::some;
  char byte;
  if (calls_ == Calls::plain_nonblocking) {
    // A read passes the byte out of band, and answers EAGAIN unless a token comes just now.
    const TokenState state = ReceiveWord{slot_->rx_word.load(std::memory_order_acquire)}.state();
    if (keep || state != TokenState::none) return Swept::some;
    for (unsigned i = 0; i < kSweepMax; ++i) {
      const ssize_t n = sys::read(fd_, &byte, 1);
      if (n == 1 && byte == kOutOfBand) continue;
      if (n == 1) return Swept::stray;
      return n < 0 && errno == EAGAIN ? Swept::clean : Swept::some;
    }
    return Swept::some;
  }
  // Taken, it leaves a place in the queue, which the kernel shows as data until an ordinary call has passed it.
  if (!keep) sys::recv(fd_, &byte, 1, MSG_OOB | MSG_DONTWAIT);
  for (unsigned i = 0; i < kSweepMax; ++i) {
    const ssize_t n = sys::recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n != 1) {
      if (n == 0 || errno != EAGAIN || keep) return Swept::some;
      // A call for no bytes passes such places, and takes nothing.
      sys::recv(fd_, &byte, 0, MSG_DONTWAIT);
      return Swept::clean;
    }
    if (byte != kOutOfBand) return Swept::token;
    if (sys::recv(fd_, &byte, 1, MSG_DONTWAIT) != 1) return Swept::some;
  }
  return Swept::some;
}

ProgramIo::Await ProgramEnd::await_token() {
  const KeepErrno keep;
  if (calls_ != Calls::all) {
    yield();
    // The stack comes back from send() and says so: nothing needs to be looked at in the descriptor.
    const bool gone = (slot_->status.load(std::memory_order_acquire) & (Status::reset | Status::closed)) != 0;
    return gone ? Await::gone : Await::not_yet;
  }
  pollfd p{.fd = fd_, .events = POLLIN, .revents = 0};
  const int n = sys::poll_one(p, 1);
  if (n <= 0) return Await::not_yet;
  if ((p.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) return Await::gone;
  return (p.revents & POLLIN) != 0 ? Await::there : Await::not_yet;
}

ProgramIo::Stalled ProgramEnd::send_stall() {
  const KeepErrno keep;
  const Unit unit = Unit::stall();
  ssize_t n = -1;
  if (!still_open()) return Stalled::gone;
  if (calls_ == Calls::all) {
    n = sys::send(fd_, &unit, sizeof unit, kSendFlags);
    if (n < 0 && sys::refused(errno)) calls_ = Calls::plain;
  }
  if (calls_ != Calls::all) {
    // Nothing keeps this one from raising SIGPIPE but that the end is still there. It never blocks: the stack takes a stall's unit
    // before it lets the next stall come about, so there are three at most, and twice as many have room.
    if ((slot_->status.load(std::memory_order_acquire) & (Status::reset | Status::closed)) != 0) return Stalled::gone;
    n = sys::write(fd_, &unit, sizeof unit);
  }
  if (n == static_cast<ssize_t>(sizeof unit)) return Stalled::sent;
  return n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOBUFS || errno == ENOMEM) ? Stalled::again
                                                                                            : Stalled::gone;
}

void ProgramEnd::yield() {
  if (calls_ == Calls::all) {
    sched_yield();
    return;
  }
  const KeepErrno keep;
  if (++yields_ > kYieldsAwake) {
    sys::nap(kNapNs);
    return;
  }
  for (int i = 0; i < 64; ++i) sys::pause_cpu();
}

std::uint64_t ProgramEnd::now_us() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000 + static_cast<std::uint64_t>(now.tv_nsec) / 1000;
}

void ProgramEnd::ring() {
  const std::uint32_t shard = slot_->shard.load(std::memory_order_relaxed);
  const auto& header = *static_cast<const ControlHeader*>(control_);
  if (shard >= header.shard_count) return;
  ipc::ring(doorbell_at(control_, shard), slot_number_, event_fds_[shard]);
}

bool ProgramEnd::send_unit(const Unit& unit) {
  const KeepErrno keep;
  ssize_t n;
  do {
    n = sys::send(fd_, &unit, sizeof unit, MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  return n == static_cast<ssize_t>(sizeof unit);
}

std::uint64_t socket_cookie(int fd) {
  const KeepErrno keep;
  std::uint64_t cookie = 0;
  socklen_t length = sizeof cookie;
  return sys::getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) == 0 ? cookie : 0;
}

int set_minimum_buffer(int fd) {
  const KeepErrno keep;
  const int one = 1;  // the kernel raises it to its minimum
  return sys::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &one, sizeof one) == 0 ? 0 : errno;
}

int sleep_for_token(int fd) {
  char byte;
  const ssize_t n = sys::recv(fd, &byte, 1, MSG_PEEK);
  return n > 0 ? 0 : n == 0 ? kSleepEof : errno;
}

// ---------------------------------------------------------------------------------------------- the start-up check

namespace {
bool writable(int fd) {
  pollfd p{.fd = fd, .events = POLLOUT, .revents = 0};
  return sys::poll_one(p, 0) == 1 && (p.revents & POLLOUT) != 0;
}

struct Pair {
  int program = -1, stack = -1;
  explicit Pair(int type) {
    int fds[2];
    if (socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0) program = fds[0], stack = fds[1];
  }
  ~Pair() {
    if (program >= 0) sys::close(program);
    if (stack >= 0) sys::close(stack);
  }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;
};

/// One unit leaves writable, the second does not, taking the oldest makes writable again and leaves one.
bool units_ok(int type) {
  Pair pair{type};
  if (pair.program < 0 || set_minimum_buffer(pair.program) != 0) return false;
  const Unit unit = Unit::stall();
  char buffer[kUnitSize];
  for (int round = 0; round < 3; ++round) {
    if (round == 0 && sys::send(pair.program, &unit, kUnitSize, kSendFlags) != static_cast<ssize_t>(kUnitSize)) return false;
    if (!writable(pair.program)) return false;
    if (sys::send(pair.program, &unit, kUnitSize, kSendFlags) != static_cast<ssize_t>(kUnitSize)) return false;
    if (writable(pair.program)) return false;
    if (sys::recv(pair.stack, buffer, kUnitSize, MSG_DONTWAIT) != static_cast<ssize_t>(kUnitSize)) return false;
  }
  return writable(pair.program);
}

bool peek_offset_ok(int type) {
  Pair pair{type};
  if (pair.program < 0) return false;
  StackEnd end{pair.stack};
  const Unit hello = Unit::hello(1, 2, 3, 4), stall = Unit::stall(), attach = Unit::attach(5);
  for (const Unit* unit : {&hello, &stall, &attach}) {
    if (sys::send(pair.program, unit, kUnitSize, kSendFlags) != static_cast<ssize_t>(kUnitSize)) return false;
  }
  const auto first = end.inspect();
  if (!first.hello || first.unit.nonce != 3 || end.queued() != 1) return false;
  const auto second = end.inspect();
  if (!second.attach || second.unit.nonce != 5 || second.stalls != 1 || end.queued() != 2) return false;
  return end.units_above_ballast() == 1 && end.take_unit() && !end.take_unit() && !end.inspect().more;
}

bool outq_ok(int type) {
  Pair pair{type};
  if (pair.program < 0) return false;
  StackEnd end{pair.stack};
  char byte;
  for (int round = 0; round < 2; ++round) {
    if (end.token_queued() || end.send_token() != StackIo::Sent::done || !end.token_queued()) return false;
    if (sys::recv(pair.program, &byte, 1, MSG_DONTWAIT) != 1) return false;
  }
  return !end.token_queued();
}
}  // namespace

UnitCheck check_units() {
  return {.stream_ok = units_ok(SOCK_STREAM),
          .seqpacket_ok = units_ok(SOCK_SEQPACKET),
          .peek_offset_ok = peek_offset_ok(SOCK_STREAM) && peek_offset_ok(SOCK_SEQPACKET),
          .outq_ok = outq_ok(SOCK_STREAM) && outq_ok(SOCK_SEQPACKET)};
}

}  // namespace iopkt::ipc
