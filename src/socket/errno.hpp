// What a client is told: the host's errno numbers, mapped in this folder and nowhere below it.
#pragma once

#include <cerrno>

#include "base/expected.hpp"

namespace iopkt::socket {

enum class Errno : int {
  ok = 0,
  perm = EPERM,
  noent = ENOENT,
  badf = EBADF,
  again = EAGAIN,
  nomem = ENOMEM,
  acces = EACCES,
  fault = EFAULT,
  exist = EEXIST,
  nodev = ENODEV,
  inval = EINVAL,
  nfile = ENFILE,
  pipe = EPIPE,
  dom = EDOM,
  notsock = ENOTSOCK,
  destaddrreq = EDESTADDRREQ,
  msgsize = EMSGSIZE,
  prototype = EPROTOTYPE,
  noprotoopt = ENOPROTOOPT,
  protonosupport = EPROTONOSUPPORT,
  socktnosupport = ESOCKTNOSUPPORT,
  opnotsupp = EOPNOTSUPP,
  afnosupport = EAFNOSUPPORT,
  addrinuse = EADDRINUSE,
  addrnotavail = EADDRNOTAVAIL,
  netdown = ENETDOWN,
  netunreach = ENETUNREACH,
  connaborted = ECONNABORTED,
  connreset = ECONNRESET,
  nobufs = ENOBUFS,
  isconn = EISCONN,
  notconn = ENOTCONN,
  timedout = ETIMEDOUT,
  connrefused = ECONNREFUSED,
  hostunreach = EHOSTUNREACH,
  already = EALREADY,
  inprogress = EINPROGRESS,
  esrch = ESRCH,
  proto = EPROTO,
  hostdown = EHOSTDOWN,
  nonet = ENONET,
  nxio = ENXIO,
  keyrejected = EKEYREJECTED,
  busy = EBUSY,
};

template <class T>
using Result = Expected<T, Errno>;

}  // namespace iopkt::socket
