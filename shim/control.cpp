// ioctl(2).
#include <errno.h>
#include <linux/if.h>
#include <linux/sockios.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

#include "ipc/datagram_ring.hpp"
#include "ipc/receive_ring.hpp"
#include "shim/confine.hpp"
#include "shim/data.hpp"
#include "shim/native.hpp"
#include "shim/options.hpp"
#include "shim/sockets.hpp"
#include "shim/stream.hpp"

namespace iopkt::shim {

namespace {

int fail(int error) {
  errno = error;
  return -1;
}

int unread_bytes(int fd, const Socket& s, int* answer) {
  if (answer == nullptr) return fail(EFAULT);
  if ((s.status() & ipc::Status::listening) != 0) return fail(EINVAL);
  if (is_streaming(fd, s)) return native::ioctl(fd, FIONREAD, answer);
  ipc::ProgramEnd end = s.end(fd);
  if (s.datagram) {
    *answer = static_cast<int>(ipc::DatagramReader(*s.slot, s.arena, s.arena_size, end).next_size());
  } else {
    *answer = static_cast<int>(ipc::ReceiveRingReader(*s.slot, s.arena, s.arena_size, end).readable());
  }
  return 0;
}

int unsent_bytes(int fd, const Socket& s, int* answer) {
  if (answer == nullptr) return fail(EFAULT);
  if ((s.status() & ipc::Status::listening) != 0) return fail(EINVAL);
  if (is_streaming(fd, s)) {
    ipc::IoctlAnswer asked{};
    *answer = 0;  // nothing, once the connection has ended
    request_about<ipc::MessageId::ioctl>(s, {.slot = s.name, .code = SIOCOUTQ, .capacity = sizeof *answer},
                                         {}, std::as_writable_bytes(std::span{answer, 1}), nullptr, &asked);
    return 0;
  }
  ipc::ProgramEnd end = s.end(fd);
  *answer = static_cast<int>(ipc::SendRingWriter(*s.slot, s.arena, s.arena_size, end).queued());
  return 0;
}

/// SIOCGIFCONF: the buffer lies beside the struct, which says where.
int interface_list(const Socket& s, ifconf* conf) {
  if (conf == nullptr) return fail(EFAULT);
  if (conf->ifc_len < 0) return fail(EINVAL);
  std::byte room[16384];
  const std::size_t wanted = conf->ifc_buf != nullptr ? static_cast<std::size_t>(conf->ifc_len) : sizeof room;
  ipc::IoctlAnswer answer{};
  std::size_t got = 0;
  const int error = request_about<ipc::MessageId::ioctl>(
      s, {.slot = s.name, .code = SIOCGIFCONF, .capacity = wanted < sizeof room ? wanted : sizeof room}, {},
      room, &got, &answer);
  if (error != 0) return fail(error);
  got = got < sizeof room ? got : sizeof room;
  if (conf->ifc_buf != nullptr) {
    got = got < wanted ? got : wanted;
    got -= got % sizeof(ifreq);
    memcpy(conf->ifc_buf, room, got);
  }
  conf->ifc_len = static_cast<int>(got);
  return answer.result;
}

/// How much of the program's memory an interface request reads and writes; 0: not one that is known.
std::size_t argument_size(unsigned long code) {
  switch (code) {
    case SIOCSARP:
    case SIOCGARP:
    case SIOCDARP:
      return sizeof(arpreq);
    case SIOCETHTOOL:  // holds a pointer of its own: not built yet
    case SIOCGIFMAP:
    case SIOCSIFMAP:
      return 0;
    default:
      break;
  }
  const bool interface = (code >= SIOCGIFNAME && code <= SIOCSIFTXQLEN && code != SIOCGIFCONF);
  return interface ? sizeof(ifreq) : 0;
}

int interface_request(const Socket& s, unsigned long code, void* argument) {
  const std::size_t size = argument_size(code);
  if (size == 0) return fail(code == SIOCETHTOOL ? EOPNOTSUPP : ENOTTY);
  if (argument == nullptr) return fail(EFAULT);
  const std::span<std::byte> data{static_cast<std::byte*>(argument), size};
  ipc::IoctlAnswer answer{};
  const int error = request_about<ipc::MessageId::ioctl>(s, {.slot = s.name, .code = code, .capacity = size},
                                                         data, data, nullptr, &answer);
  return error != 0 ? fail(error) : answer.result;
}

/// SIOCADDRT, SIOCDELRT: the struct points to the interface's name, which goes behind it.
int route_request(const Socket& s, unsigned long code, const rtentry* route) {
  if (route == nullptr) return fail(EFAULT);
  std::byte data[sizeof *route + IFNAMSIZ]{};
  rtentry plain = *route;
  plain.rt_dev = nullptr;
  memcpy(data, &plain, sizeof plain);
  if (route->rt_dev != nullptr) {
    const std::size_t length = strnlen(route->rt_dev, IFNAMSIZ);
    if (length == IFNAMSIZ) return fail(ENODEV);
    memcpy(data + sizeof plain, route->rt_dev, length);
  }
  const int error = request_about<ipc::MessageId::ioctl>(s, {.slot = s.name, .code = code, .capacity = 0}, data);
  return error != 0 ? fail(error) : 0;
}

}  // namespace

int at_mark(int fd, Entry entry) {
  if (entry.datagram()) return fail(EINVAL);
  const Socket s = socket_of(entry);
  ipc::ProgramEnd end = s.end(fd);
  return ipc::ReceiveRingReader(*s.slot, s.arena, s.arena_size, end).at_mark() ? 1 : 0;
}

int control(int fd, Entry entry, unsigned long code, void* argument) {
  const Socket s = socket_of(entry);
  code &= 0xffffffffu;
  switch (code) {
    case FIONBIO: {
      const int result = native::ioctl(fd, code, argument);
      if (result == 0) remember_blocking(s, *static_cast<const int*>(argument) != 0);
      return result;
    }
    case FIOASYNC:
    case FIOCLEX:
    case FIONCLEX:
    case FIOSETOWN:
    case FIOGETOWN:
    case SIOCSPGRP:
    case SIOCGPGRP:
      return native::ioctl(fd, code, argument);
    case FIONREAD:
      return unread_bytes(fd, s, static_cast<int*>(argument));
    case SIOCOUTQ:
    case 0x894B:  // SIOCOUTQNSD: the ring holds what is not acknowledged; what of it was sent is the stack's
                  // secret
      return unsent_bytes(fd, s, static_cast<int*>(argument));
    case SIOCATMARK: {
      if (argument == nullptr) return fail(EFAULT);
      const int mark = at_mark(fd, entry);
      if (mark >= 0) *static_cast<int*>(argument) = mark;
      return mark < 0 ? -1 : 0;
    }
    case SIOCGIFCONF:
      return interface_list(s, static_cast<ifconf*>(argument));
    case SIOCADDRT:
    case SIOCDELRT:
      return route_request(s, code, static_cast<const rtentry*>(argument));
    default:
      return interface_request(s, code, argument);
  }
}

}  // namespace iopkt::shim
