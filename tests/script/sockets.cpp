#include "tests/script/sockets.hpp"

#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "ipc/layout.hpp"
#include "socket/numbers.hpp"
#include "socket/options.hpp"

namespace iopkt::script {
namespace {

using socket::Errno;
namespace num = socket::num;

std::int64_t result_of(Errno error) { return error == Errno::ok ? 0 : -static_cast<std::int64_t>(error); }

std::int32_t int_in(const std::string& value) {
  std::int32_t number = 0;
  std::memcpy(&number, value.data(), std::min(value.size(), sizeof number));
  return number;
}

PacketBytes bytes_of(std::int32_t number) {
  const Bytes b = as_bytes(&number, sizeof number);
  return {b.begin(), b.end()};
}

}  // namespace

PacketBytes to_sockaddr(const wire::Endpoint& endpoint) {
  if (endpoint.address.is_v6()) {
    sockaddr_in6 in6{};
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(endpoint.port.value);
    const wire::Ipv6Address address = endpoint.address.v6();
    std::memcpy(&in6.sin6_addr, address.bytes.data(), 16);
    const Bytes b = as_bytes(&in6, sizeof in6);
    return {b.begin(), b.end()};
  }
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = htons(endpoint.port.value);
  in.sin_addr.s_addr = htonl(endpoint.address.v4().value);
  const Bytes b = as_bytes(&in, sizeof in);
  return {b.begin(), b.end()};
}

std::optional<wire::Endpoint> from_sockaddr(Bytes address) {
  sockaddr_in in;
  if (address.size() < sizeof in) return std::nullopt;
  std::memcpy(&in, address.data(), sizeof in);
  if (in.sin_family == AF_INET) return wire::Endpoint{wire::Ipv4Address{ntohl(in.sin_addr.s_addr)}, wire::Port{ntohs(in.sin_port)}};
  sockaddr_in6 in6;
  if (in.sin_family != AF_INET6 || address.size() < sizeof in6) return std::nullopt;
  std::memcpy(&in6, address.data(), sizeof in6);
  wire::Ipv6Address host;
  std::memcpy(host.bytes.data(), &in6.sin6_addr, 16);
  return wire::Endpoint{host, wire::Port{ntohs(in6.sin6_port)}};
}

Sockets::~Sockets() = default;

std::optional<std::uint64_t> Sockets::drops(std::string_view reason) const {
  for (const packet::DropRow& row : packet::kDrops)
    if (row.name == reason) return Machine::drops(row.reason);
  return std::nullopt;
}

bool Sockets::step(Instant limit) {
  Instant to = limit;
  if (const auto wake = std::exchange(wake_at_, std::nullopt)) to = std::min(to, std::max(*wake, now()));
  for (const auto& [fd, until] : closing_) to = std::min(to, std::max(until, now()));
  return Machine::step(to) || to < limit;
}

std::optional<std::int64_t> Sockets::attempt(Request& r) {
  using Op = Request::Op;
  Result result;
  switch (r.op) {
    case Op::socket: result = open(r); break;
    case Op::poll: result = poll(r); break;
    case Op::close: result = close(r.fd); break;
    case Op::epoll_create: result = epoll_create(r); break;
    case Op::epoll_ctl: result = epoll_ctl(r); break;
    case Op::epoll_wait: result = epoll_wait(r); break;
    case Op::pipe: result = make_pipe(r); break;
    case Op::splice: result = splice(r); break;
    default: result = on_descriptor(r);
  }
  settle();
  return result;
}

Sockets::Result Sockets::on_descriptor(Request& r) {
  using Op = Request::Op;
  if (const auto end = pipes_.find(r.fd); end != pipes_.end()) return on_pipe(end->second, r);
  if (epolls_.contains(r.fd)) return r.op == Op::read || r.op == Op::readv || r.op == Op::write || r.op == Op::writev ? -EINVAL : -ENOTSOCK;
  const auto found = fds_.find(r.fd);
  if (found == fds_.end()) return -EBADF;
  Socket& k = *found->second;
  switch (r.op) {
    case Op::bind: return bind(k, r);
    case Op::connect: return connect(k, r);
    case Op::listen: return listen(k, r);
    case Op::accept: return accept(k, r);
    case Op::shutdown: return shutdown(k, r);
    case Op::getsockopt: return get_option(k, r);
    case Op::setsockopt: return set_option(k, r);
    case Op::fcntl: return fcntl(k, r);
    case Op::ioctl: return ioctl(k, r);
    case Op::read: case Op::readv: case Op::recv: case Op::recvfrom: case Op::recvmsg:
      return k.is_stream() ? receive_bytes(k, r) : receive_datagram(k, r);
    default: return k.is_stream() ? send_bytes(k, r) : send_datagram(k, r);
  }
}

// ---- what the stack says

void Sockets::on_event(std::uint32_t, const stack::SocketEvent& event) {
  const auto found = sockets_.find(event.cookie);
  if (found == sockets_.end()) return;
  Socket& k = *found->second;
  if ((event.what & stack::event::readable) != 0) k.receive_tail = of(k).receive_tail(k.id);
  const int could = events_of(k) & POLLOUT;
  if ((event.what & stack::event::writable) != 0) k.send_head = of(k).send_head(k.id);
  if ((event.what & stack::event::connected) != 0) k.connected = true, k.connecting = false;
  if ((event.what & stack::event::peer_fin) != 0) k.peer_fin = true;
  if ((event.what & stack::event::urgent) != 0) k.urgent = true;
  if ((event.what & stack::event::send_done) != 0) k.send_done = true;
  if ((event.what & stack::event::failed) != 0) k.failed = true, k.connecting = false, k.error = event.error;
  if ((event.what & stack::event::soft_error) != 0) k.error = event.error;
  // As the host wakes who waits: room in a buffer that was not full is no news.
  int news = events_of(k) & POLLOUT & ~could;
  if ((event.what & stack::event::readable) != 0) news |= POLLIN;
  if ((event.what & stack::event::urgent) != 0) news |= POLLPRI;
  if ((event.what & stack::event::soft_error) != 0) news |= POLLERR;
  if ((event.what & (stack::event::connected | stack::event::peer_fin | stack::event::failed)) != 0) news = ~0;
  wake(k, news);
  if ((event.what & stack::event::released) != 0) {
    k.released = true;
    if (k.closed) forget(event.cookie);
  }
}

void Sockets::on_accept(std::uint32_t shard, const stack::AcceptEvent& event) {
  const auto child = sockets_.find(event.child_cookie);
  if (child == sockets_.end()) return;
  child->second->id = event.child;
  child->second->connected = child->second->announced = true;
  if (const auto found = sockets_.find(event.listener); found != sockets_.end()) {
    found->second->queue.emplace_back(shard, event);
    wake(*found->second, POLLIN);
  }
}

void Sockets::on_datagram(std::uint32_t, stack::Datagram&& datagram) {
  const auto found = sockets_.find(datagram.cookie);
  if (found == sockets_.end() || datagram.path_mtu != 0) return;
  Socket& k = *found->second;
  const bool error = datagram.error.has_value();
  // A local error is the answer of the call itself: the queue shows it, SO_ERROR does not.
  if (error && datagram.error->origin != stack::ErrorInfo::kLocal) k.error = datagram.error->error;
  (error ? k.errors : k.datagrams).push_back(std::move(datagram));
  wake(k, error ? POLLERR : POLLIN);
}

void Sockets::give_rings(Socket& k, std::uint32_t send, std::uint32_t receive) {
  const auto size = [](std::uint32_t asked, std::uint32_t common) {
    return std::bit_ceil(std::clamp(asked != 0 ? asked : common, socket::kRingMin, socket::kRingMax));
  };
  k.send_memory.resize(size(send, settings().tcp.sendspace));
  k.receive_memory.resize(size(receive, settings().tcp.recvspace));
}

bool Sockets::provide_rings(std::uint32_t shard, std::uint32_t send, std::uint32_t receive, stack::Rings& out) {
  auto made = std::make_unique<Socket>();
  made->type = SOCK_STREAM;
  made->shard = shard;
  made->cookie = next_cookie_++;
  give_rings(*made, send, receive);
  out = {made->send_ring(), made->receive_ring(), made->cookie};
  sockets_.emplace(made->cookie, std::move(made));
  return true;
}

void Sockets::take_back_rings(stack::Cookie cookie) { forget(cookie); }
void Sockets::forget(stack::Cookie cookie) { sockets_.erase(cookie); }

// ---- opening

int Sockets::lowest_free() const {
  int fd = 3;
  while (fds_.contains(fd) || epolls_.contains(fd) || pipes_.contains(fd)) ++fd;
  return fd;
}

Sockets::Result Sockets::open(const Request& r) {
  if (r.a != AF_INET && r.a != AF_INET6) return -EAFNOSUPPORT;
  auto made = std::make_unique<Socket>();
  made->type = static_cast<int>(r.b) & 15;
  made->protocol = static_cast<int>(r.c);
  made->family = r.a == AF_INET6 ? wire::IpFamily::v6 : wire::IpFamily::v4;
  made->nonblocking = (r.b & SOCK_NONBLOCK) != 0;
  made->cookie = next_cookie_++;
  made->shard = next_shard_++ % shards();
  const auto id = of(*made).open({.family = made->family, .type = made->type, .protocol = made->protocol, .privileged = true, .cookie = made->cookie});
  if (!id) return result_of(id.error());
  made->id = *id;
  const int fd = lowest_free();
  fds_.emplace(fd, made.get());
  sockets_.emplace(made->cookie, std::move(made));
  return fd;
}

Sockets::Result Sockets::bind(Socket& k, const Request& r) {
  const auto to = from_sockaddr(r.address);
  if (!to) return -EINVAL;
  return result_of(of(k).bind(k.id, *to, true));
}

Sockets::Result Sockets::listen(Socket& k, const Request& r) {
  if (k.connecting || k.connected) return -EINVAL;
  const Errno done = of(k).listen(k.id, static_cast<std::uint32_t>(std::max<std::int64_t>(r.a, 0)));
  k.listening = k.listening || done == Errno::ok;
  return result_of(done);
}

Sockets::Result Sockets::connect(Socket& k, const Request& r, bool fast_open) {
  if (!k.is_stream()) {
    if (r.address.size() >= sizeof(sa_family_t) && load_be16(r.address, 0) == 0) return result_of(of(k).disconnect(k.id));
    const auto to = from_sockaddr(r.address);
    if (!to) return -EINVAL;
    const Errno done = of(k).connect(k.id, *to);
    if (done == Errno::ok) k.peer = *to;
    return result_of(done);
  }
  if (k.failed && k.error != Errno::ok) return result_of(std::exchange(k.error, Errno::ok));
  if (k.failed) return -ECONNABORTED;
  if (k.connecting) return k.nonblocking ? Result{-EALREADY} : std::nullopt;
  // The first call that finds the connection made says so, the next one that it is there already.
  if (k.connected) return std::exchange(k.announced, true) ? -EISCONN : 0;
  if (k.listening) return -EISCONN;
  const auto to = from_sockaddr(r.address);
  if (!to) return -EAFNOSUPPORT;
  const auto asked = [&](int name) {
    const auto value = of(k).get_option(k.id, num::kSolSocket, name, 4);
    return value ? static_cast<std::uint32_t>(int_in(*value)) : 0;
  };
  give_rings(k, asked(num::so_sndbuf), asked(num::so_rcvbuf));
  if (const Errno given = of(k).set_rings(k.id, k.send_ring(), k.receive_ring()); given != Errno::ok) return result_of(given);
  const Errno begun = of(k).connect(k.id, *to, fast_open, !fast_open || !r.data.empty());
  if (begun == Errno::ok) k.connected = k.announced = true;  // the SYN waits for data
  if (begun != Errno::inprogress) return result_of(begun);
  k.connecting = true;
  if (k.nonblocking) return -EINPROGRESS;
  return std::nullopt;
}

Sockets::Result Sockets::accept(Socket& k, Request& r) {
  if (!k.is_stream()) return -EOPNOTSUPP;
  if (!k.listening) return -EINVAL;
  while (!k.queue.empty()) {
    const auto [shard, event] = k.queue.front();
    k.queue.pop_front();
    const auto child = sockets_.find(event.child_cookie);
    if (child == sockets_.end()) continue;
    this->shard(shard).accepted(event.child);
    const int fd = lowest_free();
    fds_.emplace(fd, child->second.get());
    r.address = to_sockaddr(event.remote);
    return fd;
  }
  return blocked(k, 0);
}

Sockets::Result Sockets::blocked(const Socket& k, int flags) const {
  if (k.nonblocking || (flags & MSG_DONTWAIT) != 0) return -EAGAIN;
  return std::nullopt;
}

// ---- streams

void Sockets::progress(Socket& k) { IOPKT_ASSERT(of(k).progress(k.id, k.send_tail, k.receive_head)); }

Sockets::Result Sockets::receive_bytes(Socket& k, Request& r) {
  if ((r.flags & MSG_ERRQUEUE) != 0) return -EAGAIN;
  if (k.listening || (!k.connected && !k.connecting && !k.failed)) return -ENOTCONN;
  const bool all = (r.flags & MSG_WAITALL) != 0 && !k.peer_fin && !k.failed && !k.shut_read;
  if (k.unread() > 0 && !(all && k.unread() < r.room)) {
    const auto count = static_cast<std::uint32_t>(std::min(k.unread(), r.room));
    const auto spans = k.receive_ring().at(k.receive_head, count);
    r.data.assign(spans.first.begin(), spans.first.end());
    r.data.insert(r.data.end(), spans.second.begin(), spans.second.end());
    if ((r.flags & MSG_PEEK) == 0) {
      k.receive_head += count;
      progress(k);
    }
    r.flags = 0;
    return count;
  }
  if (k.failed && k.error != Errno::ok) return result_of(std::exchange(k.error, Errno::ok));
  if (k.peer_fin || k.failed || k.shut_read || r.room == 0) return 0;
  return blocked(k, r.flags);
}

/// TCP_NOTSENT_LOWAT, as ipc/layout.hpp has it.
std::size_t Sockets::allowed(const Socket& k) const {
  const auto limit = const_cast<Sockets*>(this)->of(k).send_limit(k.id);
  return limit.low_water == 0 ? k.room() : std::min<std::size_t>(k.room(), limit.position > k.send_tail ? limit.position - k.send_tail : 0);
}

bool Sockets::above_low_water(const Socket& k) const {
  const auto limit = const_cast<Sockets*>(this)->of(k).send_limit(k.id);
  return limit.low_water != 0 && ipc::over_low_water(k.send_tail, limit.position, limit.low_water);
}

Sockets::Result Sockets::send_bytes(Socket& k, Request& r) {
  const auto answer = [&](std::int64_t error) { return r.done > 0 ? static_cast<std::int64_t>(r.done) : error; };
  if (const Errno wrong = check_stream_control(r.control); wrong != Errno::ok) return answer(result_of(wrong));
  if ((r.flags & MSG_FASTOPEN) != 0 && !k.announced) {
    const Result opened = connect(k, r, true);
    if (!opened || *opened < 0) return opened;
  }
  if (k.failed && k.error != Errno::ok) return answer(result_of(std::exchange(k.error, Errno::ok)));
  if (k.shut_write || k.failed) return answer(-EPIPE);
  if (!k.connected) {
    if (!k.connecting) return -EPIPE;
    return blocked(k, r.flags);
  }
  if (r.data.empty() && of(k).release_syn(k.id) && k.nonblocking) return -EINPROGRESS;
  const std::size_t count = std::min(allowed(k), r.data.size() - r.done);
  if (count > 0) {
    k.send_ring().write(k.send_tail, Bytes{r.data}.subspan(r.done, count));
    k.send_tail += count;
    r.done += count;
    progress(k);
    const bool last = r.done == r.data.size();
    if ((r.flags & MSG_MORE) != 0 && last) of(k).more_follows(k.id, k.send_tail);
    if ((r.flags & MSG_OOB) != 0 && last) of(k).mark_urgent(k.id, k.send_tail);
  }
  if (r.done == r.data.size()) return static_cast<std::int64_t>(r.done);
  const Result would = blocked(k, r.flags);
  return would ? answer(*would) : would;
}

Sockets::Result Sockets::shutdown(Socket& k, const Request& r) {
  if (k.is_stream() && (k.failed || (!k.connected && !k.connecting && !k.listening))) return -ENOTCONN;
  const Errno done = of(k).shutdown(k.id, static_cast<int>(r.a));
  if (done != Errno::ok) return result_of(done);
  if (r.a != SHUT_WR) k.shut_read = true;
  if (r.a != SHUT_RD) k.shut_write = true;
  wake(k, ~0);
  return 0;
}

/// With SO_LINGER and a time it waits until everything is acknowledged, or the time is over.
Sockets::Result Sockets::close(int fd) {
  const auto found = fds_.find(fd);
  if (found == fds_.end() && !events_at(fd)) return -EBADF;
  forget_fd(fd);
  if (found == fds_.end()) return 0;
  Socket& k = *found->second;
  const auto done = [&] {
    closing_.erase(fd);
    fds_.erase(fd);
    if (std::exchange(k.closed, true) && k.released) forget(k.cookie);
    else if (k.released) forget(k.cookie);
    return 0;
  };
  if (const auto waits = closing_.find(fd); waits != closing_.end()) {
    // The descriptor is closed; only the caller still waits.
    if (!k.released && !k.failed && !k.send_done && now() < waits->second) return std::nullopt;
    return done();
  }
  Duration linger{};
  if (const auto value = of(k).get_option(k.id, num::kSolSocket, num::so_linger, 8); value && value->size() == 8) {
    std::int32_t pair[2];
    std::memcpy(pair, value->data(), sizeof pair);
    if (pair[0] != 0) linger = std::chrono::seconds(pair[1]);
  }
  if (linger > 0s && k.is_stream() && k.connected && !k.failed && !k.nonblocking) {
    if (!k.shut_write) static_cast<void>(of(k).shutdown(k.id, SHUT_WR));
    settle();
    if (!k.failed && !k.send_done) {
      closing_.emplace(fd, now() + linger);
      return std::nullopt;
    }
  }
  of(k).close(k.id);
  return done();
}

// ---- datagrams

Sockets::Result Sockets::receive_datagram(Socket& k, Request& r) {
  if ((r.flags & MSG_ERRQUEUE) != 0) return receive_error(k, r);
  if (k.error != Errno::ok) return result_of(std::exchange(k.error, Errno::ok));
  if (k.datagrams.empty()) return k.shut_read ? Result{0} : blocked(k, r.flags);
  const stack::Datagram& first = k.datagrams.front();
  const std::size_t size = first.payload->size();
  r.data.resize(std::min(size, r.room));
  first.payload->copy_out(0, r.data);
  r.address = to_sockaddr(first.source);
  const bool whole = (r.flags & MSG_TRUNC) != 0;
  const bool keep = (r.flags & MSG_PEEK) != 0;
  r.flags = size > r.room ? MSG_TRUNC : 0;
  if (r.op == Request::Op::recvmsg && put_control(first, options_of(k), now(), r.control_room, r.control)) r.flags |= MSG_CTRUNC;
  const std::size_t answer = whole ? size : r.data.size();
  if (!keep) k.datagrams.pop_front();
  return static_cast<std::int64_t>(answer);
}

/// SO_ERROR follows the queue.
Sockets::Result Sockets::receive_error(Socket& k, Request& r) {
  if (k.errors.empty()) return -EAGAIN;
  const stack::Datagram& first = k.errors.front();
  const std::size_t size = first.payload->size();
  r.data.resize(std::min(size, r.room));
  first.payload->copy_out(0, r.data);
  r.address = to_sockaddr(first.source);
  r.flags = MSG_ERRQUEUE | (size > r.room ? MSG_TRUNC : 0);
  if (r.op == Request::Op::recvmsg && put_error(first, r.control_room, r.control)) r.flags |= MSG_CTRUNC;
  const bool local = first.error->origin == stack::ErrorInfo::kLocal;
  k.errors.pop_front();
  if (!k.errors.empty() && k.errors.front().error->origin != stack::ErrorInfo::kLocal) k.error = k.errors.front().error->error;
  else if (!local) k.error = Errno::ok;
  return static_cast<std::int64_t>(r.data.size());
}

OptionReader Sockets::options_of(const Socket& k) {
  return [this, &k](int level, int name) {
    const auto value = of(k).get_option(k.id, level, name, sizeof(int));
    return value ? int_in(*value) : 0;
  };
}

Sockets::Result Sockets::send_datagram(Socket& k, const Request& r) {
  if (k.error != Errno::ok) return result_of(std::exchange(k.error, Errno::ok));
  stack::DatagramRequest request;
  if (!r.address.empty()) {
    const auto to = from_sockaddr(r.address);
    if (!to) return -EAFNOSUPPORT;
    request.destination = *to;
  }
  if (const auto size = of(k).get_option(k.id, num::kSolUdp, num::udp_segment, 4)) request.segment_size = static_cast<std::uint16_t>(int_in(*size));
  const wire::Endpoint to = request.destination.value_or(k.peer);
  if (const Errno wrong = take_control(r.control, to.address.family(), request); wrong != Errno::ok) return result_of(wrong);
  const Errno done = of(k).send(k.id, request, r.data, {});
  return done == Errno::ok ? static_cast<std::int64_t>(r.data.size()) : result_of(done);
}

// ---- the rest

Sockets::Result Sockets::get_option(Socket& k, Request& r) {
  if (r.a == num::kSolSocket && r.b == num::so_error) {
    r.data = bytes_of(static_cast<std::int32_t>(std::exchange(k.error, Errno::ok)));
    r.data.resize(std::min(r.data.size(), r.room));
    return 0;
  }
  const auto value = of(k).get_option(k.id, static_cast<int>(r.a), static_cast<int>(r.b), r.room);
  if (!value) return result_of(value.error());
  const Bytes b = as_bytes(value->data(), value->size());
  r.data.assign(b.begin(), b.end());
  return 0;
}

Sockets::Result Sockets::set_option(Socket& k, const Request& r) {
  return result_of(of(k).set_option(k.id, static_cast<int>(r.a), static_cast<int>(r.b), r.data, true));
}

Sockets::Result Sockets::fcntl(Socket& k, const Request& r) {
  if (r.a == F_GETFL) return O_RDWR | (k.nonblocking ? O_NONBLOCK : 0);
  if (r.a != F_SETFL) return -EINVAL;
  k.nonblocking = (r.b & O_NONBLOCK) != 0;
  return 0;
}

Sockets::Result Sockets::ioctl(Socket& k, Request& r) {
  std::int32_t answer = 0;
  switch (r.a) {
    case FIONREAD:
      if (k.listening) return -EINVAL;
      answer = k.is_stream() ? static_cast<std::int32_t>(k.unread())
                             : k.datagrams.empty() ? 0 : static_cast<std::int32_t>(k.datagrams.front().payload->size());
      break;
    case SIOCOUTQ:
      if (k.listening) return -EINVAL;
      answer = static_cast<std::int32_t>(k.send_tail - k.send_head);
      break;
    case SIOCATMARK: {
      const auto mark = of(k).urgent_mark(k.id);
      answer = mark && mark->end == k.receive_head + 1;
      break;
    }
    case FIONBIO: k.nonblocking = r.b != 0; return 0;
    default: return -EINVAL;
  }
  r.data = bytes_of(answer);
  return 0;
}

short Sockets::events_of(const Socket& k) const {
  int out = 0;
  if (!k.is_stream()) {
    if (!k.datagrams.empty() || k.shut_read) out |= POLLIN;
    if (!k.shut_write) out |= POLLOUT;
    if (k.error != Errno::ok || !k.errors.empty()) out |= POLLERR;
    return static_cast<short>(out);
  }
  if (k.listening) return k.queue.empty() ? 0 : POLLIN;
  const bool idle = !k.connected && !k.connecting && !k.failed;
  if (k.unread() > 0 || k.peer_fin || k.failed || k.shut_read) out |= POLLIN;
  if ((k.connected && k.room() > 0 && !above_low_water(k)) || k.failed || k.shut_write) out |= POLLOUT;
  if (k.failed && k.error != Errno::ok) out |= POLLERR;
  if (k.peer_fin || k.failed || k.shut_read) out |= 0x2000;  // POLLRDHUP
  if (k.failed || idle || ((k.peer_fin || k.shut_read) && k.shut_write)) out |= POLLHUP;
  if (idle) out |= POLLOUT;
  if (k.urgent) out |= POLLPRI;
  return static_cast<short>(out);
}

Sockets::Result Sockets::poll(Request& r) {
  std::int64_t ready = 0;
  for (pollfd& one : r.polls) {
    const auto events = events_at(one.fd);
    one.revents = !events ? POLLNVAL : static_cast<short>(*events & (one.events | POLLERR | POLLHUP));
    ready += one.revents != 0;
  }
  return ready > 0 ? ready : wait_until(r);
}

/// Nothing is ready: 0 once the timeout is over.
Sockets::Result Sockets::wait_until(Request& r) {
  if (r.a == 0) return 0;
  if (r.a > 0 && !r.until) r.until = now() + std::chrono::milliseconds(r.a);
  if (r.until && *r.until <= now()) return 0;
  if (r.until) wake_at_ = std::min(wake_at_.value_or(*r.until), *r.until);
  return std::nullopt;
}

}  // namespace iopkt::script
