// connect(2), blocking and not, and again after a failure.
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <string.h>

#include <algorithm>
#include <utility>

#include "ipc/send_ring.hpp"
#include "ipc/sys.hpp"
#include "shim/addresses.hpp"
#include "shim/confine.hpp"
#include "shim/data.hpp"
#include "shim/destinations.hpp"
#include "shim/epoll.hpp"
#include "shim/native.hpp"
#include "shim/options.hpp"
#include "shim/sockets.hpp"

namespace iopkt::shim {

namespace {

using Status = ipc::Status;

int fail(int error) {
  errno = error;
  return -1;
}

int ask_to_connect(const Socket& s, const sockaddr* address, socklen_t length, std::uint32_t flags = 0) {
  return request_about<ipc::MessageId::connect>(s, {.slot = s.name, .flags = flags, .reserved = 0},
                                                {reinterpret_cast<const std::byte*>(address), length});
}

/// The stack shows the connection first and then lifts the stall that lasted while it connected: what is connected may be polled, or
/// written to without blocking, at once. With bytes queued (Fast Open) the stall may be these'. A stack that is held up is not waited for
/// much longer.
void wait_for_room(int fd, const Socket& s) {
  ipc::ProgramEnd end = s.end(fd);
  const ipc::SendRingWriter writer(*s.slot, s.arena, s.arena_size, end);
  pollfd shown{.fd = fd, .events = POLLOUT, .revents = 0};
  for (int tries = 0; tries < 100; ++tries)
    if (!s.alive() || (s.status() & Status::reset) != 0 || writer.queued() != 0 || ipc::sys::poll_one(shown, 1) != 0) return;
}

/// The outcome of a connect that has started; blocks unless the descriptor does not. 0 or an errno.
int outcome(int fd, Entry entry, const Socket& s, bool dont_wait) {
  std::atomic<std::uint64_t>& hints = client_word(s, ClientWord::hints);
  for (;;) {
    const std::uint32_t status = s.status();
    if ((status & Status::reset) != 0 || (status & (Status::connecting | Status::connected)) == 0) {
      hints.fetch_and(~Hint::connect_unconfirmed);
      hints.fetch_or(Hint::connect_refused);
      const int error = take_socket_error(fd, s);
      return error != 0 ? error : ECONNABORTED;
    }
    if ((status & Status::connected) != 0) {
      hints.fetch_and(~Hint::connect_unconfirmed);
      wait_for_room(fd, s);
      return 0;
    }
    if (!s.alive()) return ENETDOWN;
    if (dont_wait || is_nonblocking(fd, s, 0)) return EINPROGRESS;
    const int error = sleep_until_writable(fd, entry, s);
    if (error == EAGAIN) return EINPROGRESS;  // SO_SNDTIMEO is over
    if (error == EPIPE) return ENETDOWN;
    if (error != 0) return error;
    if ((s.status() & Status::connecting) != 0) sched_yield();
  }
}

/// How a stream is to be connected.
struct How {
  std::uint32_t flags = 0;   ///< AddressRequest::fast_open, no_data
  bool dont_wait = false;    ///< MSG_DONTWAIT
};

int connect_stream(int fd, Entry entry, const sockaddr* address, socklen_t length, const How& how) {
  Socket s = socket_of(entry);
  std::atomic<std::uint64_t>& hints = client_word(s, ClientWord::hints);
  const std::uint32_t status = s.status();
  const bool unconfirmed = (hints.load() & Hint::connect_unconfirmed) != 0;
  if ((status & Status::listening) != 0) return EISCONN;
  if (unconfirmed) {
    const int result = outcome(fd, entry, s, how.dont_wait);
    return result == EINPROGRESS && (how.dont_wait || is_nonblocking(fd, s, 0)) ? EALREADY : result;
  }
  if ((status & Status::reset) != 0) {
    if ((hints.load() & Hint::connect_refused) == 0) return EISCONN;  // it was connected, and has ended
    if (const int error = revive(fd, entry); error != 0) return error;
    s = socket_of(entry);
  } else if ((status & (Status::connected)) != 0) {
    return EISCONN;
  }
  if (const int error = attach(fd, s); error != 0) return error;
  client_word(s, ClientWord::hints).fetch_or(Hint::connect_unconfirmed);
  const int error = ask_to_connect(s, address, length, how.flags);
  // 0: a cookie is known, and the SYN waits for data to take along.
  if (error != EINPROGRESS) {
    client_word(s, ClientWord::hints).fetch_and(~Hint::connect_unconfirmed);
    if (error == 0) client_word(s, ClientWord::hints).fetch_or(Hint::syn_held);
    return error;
  }
  // Even if it is over by now (loopback): the kernel, too, tells a non-blocking caller later.
  if (how.dont_wait || is_nonblocking(fd, s, 0)) return EINPROGRESS;
  const int result = outcome(fd, entry, s, false);
  // A blocking attempt that has failed leaves a socket as new, in the kernel, too. Where that does not work the next attempt says why.
  if ((client_word(s, ClientWord::hints).load() & Hint::connect_refused) != 0 && !is_nonblocking(fd, s, 0))
    revive(fd, entry);
  return result;
}

void copy_limit(int from, int to, const Socket& born, int name) {
  timeval value{};
  socklen_t length = sizeof value;
  if (native::getsockopt(from, SOL_SOCKET, name, &value, &length) == 0 &&
      (value.tv_sec != 0 || value.tv_usec != 0) &&
      native::setsockopt(to, SOL_SOCKET, name, &value, length) == 0)
    remember_limit(born, name, value);
}

struct OptionName {
  int level, name;
  bool usually_on = false;  ///< a new socket has another value than 0
};
/// What a program sets before it connects, and expects to still be set when it tries again.
constexpr OptionName kCarried[] = {
    {SOL_SOCKET, SO_REUSEADDR},   {SOL_SOCKET, SO_REUSEPORT},   {SOL_SOCKET, SO_KEEPALIVE},   {SOL_SOCKET, SO_OOBINLINE},
    {SOL_SOCKET, SO_BROADCAST},   {SOL_SOCKET, SO_DONTROUTE},   {SOL_SOCKET, SO_PRIORITY},    {SOL_SOCKET, SO_TIMESTAMP},
    {SOL_SOCKET, SO_TIMESTAMPNS}, {SOL_SOCKET, SO_RXQ_OVFL},    {SOL_SOCKET, SO_LINGER},      {SOL_SOCKET, SO_BINDTODEVICE},
    {SOL_SOCKET, kSetFib},        {SOL_SOCKET, kTxPrio},        {SOL_SOCKET, SO_BUSY_POLL},
    {IPPROTO_TCP, TCP_NODELAY},   {IPPROTO_TCP, TCP_CORK},      {IPPROTO_TCP, TCP_KEEPIDLE},  {IPPROTO_TCP, TCP_KEEPINTVL},
    {IPPROTO_TCP, TCP_KEEPCNT},   {IPPROTO_TCP, TCP_SYNCNT},    {IPPROTO_TCP, TCP_LINGER2},   {IPPROTO_TCP, TCP_USER_TIMEOUT},
    {IPPROTO_TCP, TCP_WINDOW_CLAMP}, {IPPROTO_TCP, TCP_NOTSENT_LOWAT}, {IPPROTO_TCP, TCP_FASTOPEN_CONNECT},
    {IPPROTO_TCP, TCP_CONGESTION, true}, {IPPROTO_TCP, TCP_MAXSEG, true}, {IPPROTO_TCP, TCP_QUICKACK}, {IPPROTO_TCP, TCP_DEFER_ACCEPT},
    {IPPROTO_IP, IP_OPTIONS},     {IPPROTO_IP, IP_TOS},         {IPPROTO_IP, IP_TTL},         {IPPROTO_IP, IP_MINTTL},
    {IPPROTO_IP, IP_PKTINFO},     {IPPROTO_IP, IP_RECVTTL},     {IPPROTO_IP, IP_RECVTOS},     {IPPROTO_IP, IP_RECVOPTS},
    {IPPROTO_IP, IP_RETOPTS},     {IPPROTO_IP, IP_RECVERR},     {IPPROTO_IP, IP_RECVERR_RFC4884}, {IPPROTO_IP, IP_FREEBIND},
    {IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT}, {IPPROTO_IP, IP_MTU_DISCOVER, true},
    {IPPROTO_IPV6, IPV6_V6ONLY, true},      {IPPROTO_IPV6, IPV6_TCLASS},       {IPPROTO_IPV6, IPV6_UNICAST_HOPS, true},
    {IPPROTO_IPV6, IPV6_MINHOPCOUNT},       {IPPROTO_IPV6, IPV6_MTU_DISCOVER, true}, {IPPROTO_IPV6, IPV6_DONTFRAG},
    {IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, true}, {IPPROTO_IPV6, IPV6_ADDR_PREFERENCES, true},
    {IPPROTO_IPV6, IPV6_RECVPKTINFO},       {IPPROTO_IPV6, IPV6_RECVHOPLIMIT}, {IPPROTO_IPV6, IPV6_RECVTCLASS},
    {IPPROTO_IPV6, IPV6_RECVERR},           {IPPROTO_IPV6, kErrorExtension6},  {IPPROTO_IPV6, IPV6_RECVPATHMTU},
    {IPPROTO_IPV6, IPV6_RECVHOPOPTS},       {IPPROTO_IPV6, IPV6_RECVRTHDR},    {IPPROTO_IPV6, IPV6_RECVDSTOPTS},
    {IPPROTO_IPV6, kFlowInfo},              {IPPROTO_IPV6, kFlowInfoSend},
    {IPPROTO_IPV6, IPV6_2292PKTINFO},       {IPPROTO_IPV6, IPV6_2292HOPLIMIT}, {IPPROTO_IPV6, IPV6_2292HOPOPTS},
    {IPPROTO_IPV6, IPV6_2292RTHDR},         {IPPROTO_IPV6, IPV6_2292DSTOPTS},
    {IPPROTO_IPV6, IPV6_HOPOPTS},           {IPPROTO_IPV6, IPV6_RTHDRDSTOPTS}, {IPPROTO_IPV6, IPV6_RTHDR},
    {IPPROTO_IPV6, IPV6_DSTOPTS},
};

struct OptionValue {
  std::byte bytes[ipc::kExtensionsMax];
  std::size_t length = 0;
  bool is_zero() const {
    return std::all_of(bytes, bytes + length, [](std::byte one) { return one == std::byte{0}; });
  }
  bool operator==(const OptionValue& other) const { return length == other.length && memcmp(bytes, other.bytes, length) == 0; }
};

/// False: the socket has no such option.
bool read_option(const Socket& s, const OptionName& o, OptionValue& out) {
  const ipc::OptionRequest get{.slot = s.name, .level = o.level, .name = o.name, .capacity = sizeof out.bytes, .reserved = 0};
  return request_about<ipc::MessageId::getsockopt>(s, get, {}, out.bytes, &out.length) == 0 && out.length <= sizeof out.bytes;
}

/// What is shown is twice what was asked for. 0 or an errno.
int carry_size(const Socket& from, int fd, Entry born, int name) {
  OptionValue shown;
  int bytes = 0;
  if (!read_option(from, {SOL_SOCKET, name}, shown) || shown.length != sizeof bytes) return 0;
  memcpy(&bytes, shown.bytes, sizeof bytes);
  bytes /= 2;
  return set_option(fd, born, SOL_SOCKET, name, &bytes, sizeof bytes) != 0 ? errno : 0;
}

/// 0 or an errno: what the process may not set any more, it may not go without unasked.
int carry_options(const Socket& from, int fd, Entry born) {
  const Socket to = socket_of(born);
  const std::uint64_t hints = client_word(from, ClientWord::hints).load();
  for (const auto& [sized, name] : {std::pair{Hint::sized_send, SO_SNDBUF}, std::pair{Hint::sized_receive, SO_RCVBUF}}) {
    if ((hints & sized) == 0) continue;
    if (const int error = carry_size(from, fd, born, name); error != 0) return error;
  }
  for (const OptionName& o : kCarried) {
    if (o.level == IPPROTO_IPV6 && domain_of(from) != AF_INET6) continue;
    OptionValue wanted, fresh;
    if (!read_option(from, o, wanted) || (wanted.is_zero() && !o.usually_on)) continue;
    if (!read_option(to, o, fresh) || wanted == fresh) continue;
    if (set_option(fd, born, o.level, o.name, wanted.bytes, static_cast<socklen_t>(wanted.length)) != 0) return errno;
  }
  if (const auto lowat = from.slot->rx_lowat.load(std::memory_order_relaxed); lowat > 1) to.slot->rx_lowat.store(lowat);
  return 0;
}

}  // namespace

int revive(int fd, Entry& entry) {
  const Socket old = socket_of(entry);
  // Without its keys it would go on unsigned.
  if ((client_word(old, ClientWord::hints).load() & kHasKeys) != 0) return EOPNOTSUPP;
  const int flags = native::fcntl(fd, F_GETFL);
  const int fd_flags = native::fcntl(fd, F_GETFD);
  const int fresh = open_socket(
      old.slot->domain.load(),
      old.slot->type.load() | SOCK_CLOEXEC | (flags > 0 && (flags & O_NONBLOCK) != 0 ? SOCK_NONBLOCK : 0),
      static_cast<int>(old.slot->protocol.load()));
  if (fresh < 0) return errno;
  const Entry born = entry_of(fresh);
  if (const int error = carry_options(old, fresh, born); error != 0) {
    const Leaving leaving = leave(born);
    clear_entry(fresh, born);
    native::close(fresh);
    left(leaving);
    return error;
  }
  copy_limit(fd, fresh, socket_of(born), SO_RCVTIMEO);
  copy_limit(fd, fresh, socket_of(born), SO_SNDTIMEO);
  // Every number of this process that means the old socket gets the new one.
  const int end = g_table_end.load(std::memory_order_acquire);
  int error = 0;
  for (int other = 0; other < end; ++other) {
    const Entry was = entry_of(other);
    if (!was.same_socket(entry)) continue;
    const Leaving leaving = leave(was);
    const int other_flags = other == fd ? fd_flags : native::fcntl(other, F_GETFD);
    if (native::dup3(fresh, other, (other_flags & FD_CLOEXEC) != 0 ? O_CLOEXEC : 0) < 0) {
      if (other == fd) error = errno;
      client_word(old, ClientWord::holders).fetch_add(1, std::memory_order_relaxed);
      continue;
    }
    add_holder(other, born);
    left(leaving);
    restore_epoll(other);
  }
  const Leaving leaving = leave(born);
  clear_entry(fresh, born);
  native::close(fresh);
  if (error != 0) left(leaving);
  entry = entry_of(fd);
  return error;
}

int connect_socket(int fd, Entry entry, const sockaddr* address, socklen_t length) {
  if (address == nullptr) return fail(EFAULT);
  if (length < sizeof(sa_family_t) || length > sizeof(sockaddr_storage)) return fail(EINVAL);
  const Socket s = socket_of(entry);
  int error = 0;
  if (s.datagram) {
    error = ask_to_connect(s, address, length);
    change_rules(s);
  } else if (address->sa_family == AF_UNSPEC) {
    // Back to the beginning, whatever it was; the peer of a connection sees a reset.
    if ((s.status() & (Status::connected | Status::connecting)) != 0) ask_to_connect(s, address, length);
    error = revive(fd, entry);
  } else if (length < (domain_of(s) == AF_INET6 ? kIn6Least : sizeof(sockaddr_in))) {
    error = EINVAL;
  } else if (address->sa_family != domain_of(s)) {
    error = EAFNOSUPPORT;
  } else {
    error = connect_stream(fd, entry, address, length, {});
  }
  return error != 0 ? fail(error) : 0;
}

int connect_fast(int fd, Entry entry, const sockaddr* address, socklen_t length, bool data, bool dont_wait) {
  const Socket s = socket_of(entry);
  if (address != nullptr && length >= sizeof(sa_family_t) && address->sa_family == AF_UNSPEC) return EOPNOTSUPP;
  if ((s.status() & Status::connected) != 0) return EISCONN;
  if (address == nullptr || length > sizeof(sockaddr_storage) || length < (domain_of(s) == AF_INET6 ? kIn6Least : sizeof(sockaddr_in)))
    return EINVAL;
  if (address->sa_family != domain_of(s)) return EAFNOSUPPORT;
  const std::uint32_t flags = ipc::AddressRequest::fast_open | (data ? 0 : ipc::AddressRequest::no_data);
  return connect_stream(fd, entry, address, length, {.flags = flags, .dont_wait = dont_wait});
}

}  // namespace iopkt::shim
