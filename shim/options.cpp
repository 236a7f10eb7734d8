// Socket options.
#include "shim/options.hpp"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/time.h>

#include <algorithm>

#include "ipc/receive_ring.hpp"
#include "ipc/send_ring.hpp"
#include "shim/addresses.hpp"
#include "shim/confine.hpp"
#include "shim/data.hpp"
#include "shim/destinations.hpp"
#include "shim/native.hpp"
#include "shim/sockets.hpp"
#include "shim/stream.hpp"

namespace iopkt::shim {

namespace {

constexpr int kAddAoKey = 38, kGetAoKeys = 41;  // TCP_AO_ADD_KEY, TCP_AO_GET_KEYS, which older headers lack

int fail(int error) {
  errno = error;
  return -1;
}

int give(const void* from, std::size_t size, void* value, socklen_t* length) {
  const std::size_t n = std::min<std::size_t>(*length, size);
  if (n > 0) memcpy(value, from, n);
  *length = static_cast<socklen_t>(n);
  return 0;
}
int give_int(int number, void* value, socklen_t* length) {
  return give(&number, sizeof number, value, length);
}

/// Options that the kernel keeps for the descriptor itself: they work on it as they do on any socket.
bool is_native(int level, int name) {
  if (level != SOL_SOCKET) return false;
  switch (name) {
    case SO_RCVTIMEO:
    case SO_SNDTIMEO:
#if SO_RCVTIMEO != 66
    case 66:  // SO_RCVTIMEO_NEW, SO_SNDTIMEO_NEW
    case 67:
#endif
    case SO_COOKIE:
      return true;
    default:
      return false;
  }
}

/// Answers the options that need nobody else. False: ask the stack.
bool get_locally(int fd, const Socket& s, int name, void* value, socklen_t* length, int& result) {
  const ipc::Slot& slot = *s.slot;
  switch (name) {
    case SO_TYPE:
      result = give_int(slot.type.load(std::memory_order_relaxed), value, length);
      return true;
    case SO_DOMAIN:
      result = give_int(slot.domain.load(std::memory_order_relaxed), value, length);
      return true;
    case SO_ERROR:
      result = give_int(take_socket_error(fd, s), value, length);
      return true;
    case SO_ACCEPTCONN:
      result = give_int((s.status() & ipc::Status::listening) != 0 ? 1 : 0, value, length);
      return true;
    case SO_RCVLOWAT:
      result = give_int(static_cast<int>(std::max(1u, slot.rx_lowat.load(std::memory_order_relaxed))), value,
                        length);
      return true;
    case SO_SNDLOWAT:
      result = give_int(1, value, length);
      return true;
    default:
      return false;
  }
}

void remember(const Socket& s, std::uint64_t hint, bool on) {
  std::atomic<std::uint64_t>& hints = client_word(s, ClientWord::hints);
  if (on) {
    hints.fetch_or(hint);
  } else {
    hints.fetch_and(~hint);
  }
}

/// What this library has to know about an option that the stack has taken.
void note_option(int fd, Entry entry, const Socket& s, int level, int name, const void* value,
                 socklen_t length) {
  int number = 0;
  if (s.datagram) change_rules(s);
  memcpy(&number, value, std::min<std::size_t>(length, sizeof number));
  static constexpr struct {
    int name;
    std::uint64_t hint;
  } kOfIpv6[] = {{IPV6_RECVPKTINFO, Hint::want_pktinfo6},
                 {IPV6_RECVHOPLIMIT, Hint::want_hop_limit},
                 {IPV6_RECVTCLASS, Hint::want_class},
                 {IPV6_RECVORIGDSTADDR, Hint::want_origdst6},
                 {IPV6_RECVERR, Hint::error_queue6},
                 {IPV6_DONTFRAG, Hint::dont_cut6}};
  for (const auto& row : kOfIpv6)
    if (level == IPPROTO_IPV6 && name == row.name) remember(s, row.hint, number != 0);
  static constexpr struct {
    int name;
    std::uint64_t wish;
  } kWishes[] = {{kFlowInfo, Wish::flow_info},
                 {kFlowInfoSend, Wish::send_flow_info},
                 {IPV6_RECVHOPOPTS, Wish::hop_options},
                 {IPV6_RECVRTHDR, Wish::routing},
                 {IPV6_RECVDSTOPTS, Wish::destination_options},
                 {IPV6_2292PKTINFO, Wish::old_packet_info},
                 {IPV6_2292HOPLIMIT, Wish::old_hop_limit},
                 {IPV6_2292HOPOPTS, Wish::old_hop_options},
                 {IPV6_2292RTHDR, Wish::old_routing},
                 {IPV6_2292DSTOPTS, Wish::old_destination_options}};
  for (const auto& row : kWishes) {
    if (level != IPPROTO_IPV6 || name != row.name) continue;
    if (number != 0) client_word(s, ClientWord::wishes).fetch_or(row.wish);
    else client_word(s, ClientWord::wishes).fetch_and(~row.wish);
  }
  if (level == SOL_SOCKET && name == SO_TIMESTAMP) remember(s, Hint::timestamp, number != 0);
  if (level == SOL_SOCKET && name == SO_TIMESTAMPNS) remember(s, Hint::timestampns, number != 0);
  if (level == IPPROTO_IP && name == IP_PKTINFO) remember(s, Hint::want_pktinfo, number != 0);
  if (level == IPPROTO_IP && name == IP_RECVTTL) remember(s, Hint::want_ttl, number != 0);
  if (level == IPPROTO_IP && name == IP_RECVTOS) remember(s, Hint::want_tos, number != 0);
  if (level == IPPROTO_IP && name == IP_RECVOPTS) remember(s, Hint::want_options, number != 0);
  if (level == IPPROTO_IP && name == IP_RETOPTS) remember(s, Hint::want_return_options, number != 0);
  if (level == IPPROTO_IP && name == IP_RECVORIGDSTADDR) remember(s, Hint::want_origdst, number != 0);
  if (level == SOL_SOCKET && name == SO_RXQ_OVFL) remember(s, Hint::want_ovfl, number != 0);
  if (level == IPPROTO_IP && name == IP_RECVERR) remember(s, Hint::error_queue, number != 0);
  if (level == IPPROTO_IP && name == IP_MTU_DISCOVER)
    remember(s, Hint::dont_fragment, number == IP_PMTUDISC_DO || number == IP_PMTUDISC_PROBE);
  if (level == IPPROTO_IPV6 && name == IPV6_MTU_DISCOVER)
    remember(s, Hint::dont_fragment6, number == IPV6_PMTUDISC_DO || number == IPV6_PMTUDISC_PROBE);
  if ((level == IPPROTO_IP && name == IP_HDRINCL) || (level == IPPROTO_IPV6 && name == kHeaderIncluded))
    remember(s, Hint::header_included, number != 0);
  if (level == IPPROTO_TCP && (name == TCP_MD5SIG || name == TCP_MD5SIG_EXT || name == kAddAoKey) && !s.datagram) remember(s, kHasKeys, true);
  if (level == IPPROTO_UDP && name == UDP_CORK) remember(s, Hint::cork, number != 0);
  if (level == IPPROTO_UDP && name == UDP_SEGMENT) client_word(s, ClientWord::segment).store(static_cast<std::uint64_t>(number));
  if (level == IPPROTO_UDP && name == UDP_GRO) remember(s, Hint::want_gro, number != 0);
  const bool send_size = level == SOL_SOCKET && (name == SO_SNDBUF || name == SO_SNDBUFFORCE);
  if (send_size) remember(s, Hint::sized_send, true);
  if (level == SOL_SOCKET && (name == SO_RCVBUF || name == SO_RCVBUFFORCE)) remember(s, Hint::sized_receive, true);
  if ((send_size || (level == IPPROTO_TCP && name == TCP_NOTSENT_LOWAT)) && !s.datagram) {
    // A smaller ring may be full with what it holds.
    ipc::ProgramEnd end = s.end(fd);
    end.open_while(g_table[fd], entry.bits);
    ipc::SendRingWriter(*s.slot, s.arena, s.arena_size, end).size_changed();
  }
  if (level == SOL_SOCKET && name == SO_OOBINLINE && !s.datagram) {
    // The urgent byte may be the next: to be read now, or not any more.
    ipc::ProgramEnd end = s.end(fd);
    end.open_while(g_table[fd], entry.bits);
    ipc::ReceiveRingReader(*s.slot, s.arena, s.arena_size, end).lowat_changed();
  }
  if (level == SOL_SOCKET && name == SO_LINGER && length >= sizeof(linger)) {
    struct linger l;
    memcpy(&l, value, sizeof l);
    std::atomic<std::uint64_t>& hints = client_word(s, ClientWord::hints);
    std::uint64_t before = hints.load(), after = 0;
    do {
      after = (before & 0xffffffffu & ~Hint::linger);
      if (l.l_onoff != 0)
        after |= Hint::linger | static_cast<std::uint64_t>(static_cast<std::uint32_t>(l.l_linger)) << 32;
    } while (!hints.compare_exchange_weak(before, after));
  }
}

constexpr std::size_t kAoKeyLen = 304, kAoCountAt = 272;  // struct tcp_ao_getsockopt and its `nkeys`

int get_ao_keys(const Socket& s, void* value, socklen_t* length) {
  if (*length < kAoKeyLen) return fail(EINVAL);
  std::byte room[8 * kAoKeyLen];
  std::uint32_t asked = 0;
  memcpy(&asked, static_cast<const std::byte*>(value) + kAoCountAt, sizeof asked);
  const std::size_t most = std::clamp<std::size_t>(asked, 1, 8) * kAoKeyLen;
  const ipc::OptionRequest request{
      .slot = s.name, .level = IPPROTO_TCP, .name = kGetAoKeys, .capacity = static_cast<std::uint32_t>(most), .reserved = 0};
  std::size_t got = 0;
  const int error = request_about<ipc::MessageId::getsockopt>(s, request, {static_cast<const std::byte*>(value), kAoKeyLen}, room, &got);
  if (error != 0) return fail(error);
  memcpy(value, room, std::min(got, most));
  *length = kAoKeyLen;
  return 0;
}

/// The label that was got goes to where the program asked for one.
int manage_flow_label(const Socket& s, const void* value, socklen_t length) {
  constexpr std::size_t kLen = 32, kLabelAt = 16, kActionAt = 20;  // struct in6_flowlabel_req
  if (length < kLen) return fail(EINVAL);
  std::byte wish[kLen];
  memcpy(wish, value, kLen);
  const ipc::OptionRequest request{.slot = s.name, .level = IPPROTO_IPV6, .name = kFlowLabelManager, .capacity = kLen, .reserved = 0};
  std::uint32_t label = 0;
  const std::span<const std::byte> given{static_cast<const std::byte*>(value), std::min<std::size_t>(length, 65536)};
  const int error = request_about<ipc::MessageId::setsockopt>(s, request, given, std::as_writable_bytes(std::span{&label, 1}));
  if (error != 0) return fail(error);
  std::uint32_t asked = 0;
  memcpy(&asked, wish + kLabelAt, sizeof asked);
  if (asked != 0 || wish[kActionAt] != std::byte{0}) return 0;
  label = htonl(label);
  memcpy(static_cast<std::byte*>(const_cast<void*>(value)) + kLabelAt, &label, sizeof label);
  return 0;
}

int set_receive_lowat(int fd, const Socket& s, const void* value, socklen_t length) {
  if (length < sizeof(int)) return fail(EINVAL);
  int number = 0;
  memcpy(&number, value, sizeof number);
  if (number < 0) number = INT_MAX;
  s.slot->rx_lowat.store(static_cast<std::uint32_t>(std::max(1, number)), std::memory_order_release);
  if (is_streaming(fd, s)) return native::setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, value, length);
  if (!s.datagram) {
    ipc::ProgramEnd end = s.end(fd);
    ipc::ReceiveRingReader(*s.slot, s.arena, s.arena_size, end).lowat_changed();
  }
  return 0;
}

}  // namespace

int get_option(int fd, Entry entry, int level, int name, void* value, socklen_t* length) {
  if (length == nullptr) return fail(EFAULT);
  if (static_cast<int>(*length) < 0) return fail(EINVAL);
  if (value == nullptr && *length > 0) return fail(EFAULT);
  if (is_native(level, name)) return native::getsockopt(fd, level, name, value, length);
  const Socket s = socket_of(entry);
  int result = 0;
  if (level == SOL_SOCKET && get_locally(fd, s, name, value, length, result)) return result;

  std::byte room[8448];  // the longest value is a filter of 64 IPv6 sources (MCAST_MSFILTER)
  std::size_t got = 0;
  // An array of structures, of which *length is one.
  if (level == IPPROTO_TCP && name == kGetAoKeys && !s.datagram) return get_ao_keys(s, value, length);
  // Some options read what they are given first (IP_MSFILTER, TCP_ZEROCOPY_RECEIVE).
  const std::size_t given = std::min<std::size_t>(*length, sizeof room);
  const ipc::OptionRequest request{.slot = s.name,
                                   .level = level,
                                   .name = name,
                                   .capacity = static_cast<std::uint32_t>(given),
                                   .reserved = 0};
  const std::span<const std::byte> blob{static_cast<const std::byte*>(value), given};
  const int error = request_about<ipc::MessageId::getsockopt>(s, request, blob, room, &got);
  // Reading at a level that the socket does not have is answered in other words than writing; of AF_INET6 it is not.
  const int own_level =
      s.datagram ? static_cast<int>(s.slot->protocol.load(std::memory_order_relaxed)) : IPPROTO_TCP;
  const bool known = level == SOL_SOCKET || level == IPPROTO_IP || level == IPPROTO_RAW || level == own_level || domain_of(s) == AF_INET6;
  if (error != 0) return fail(error == ENOPROTOOPT && !known ? EOPNOTSUPP : error);
  return give(room, std::min(got, sizeof room), value, length);
}

int set_option(int fd, Entry entry, int level, int name, const void* value, socklen_t length) {
  if (static_cast<int>(length) < 0) return fail(EINVAL);
  if (value == nullptr && length > 0) return fail(EFAULT);
  const Socket s = socket_of(entry);
  if (is_native(level, name)) {
    const int result = native::setsockopt(fd, level, name, value, length);
    timeval limit{};
    if (result == 0) {
      memcpy(&limit, value, std::min<std::size_t>(length, sizeof limit));
      remember_limit(s, name, limit);
    }
    return result;
  }
  if (level == SOL_SOCKET && name == SO_RCVLOWAT) return set_receive_lowat(fd, s, value, length);
  if (level == IPPROTO_IPV6 && name == kFlowLabelManager && domain_of(s) == AF_INET6) return manage_flow_label(s, value, length);
  // Never changeable, as in the kernel.
  if (level == SOL_SOCKET && (name == SO_TYPE || name == SO_DOMAIN || name == SO_PROTOCOL ||
                              name == SO_ERROR || name == SO_ACCEPTCONN || name == SO_SNDLOWAT)) {
    return fail(ENOPROTOOPT);
  }
  const ipc::OptionRequest request{
      .slot = s.name, .level = level, .name = name, .capacity = length, .reserved = 0};
  const int error = request_about<ipc::MessageId::setsockopt>(
      s, request, {static_cast<const std::byte*>(value), std::min<std::size_t>(length, 65536)});
  if (error != 0) return fail(error);
  note_option(fd, entry, s, level, name, value, length);
  return 0;
}

}  // namespace iopkt::shim
