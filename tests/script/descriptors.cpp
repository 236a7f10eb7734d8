// Descriptors that are no sockets: epoll(7) over the sockets and pipes of this process, pipe(2), and splice(2) between the two.
#include <fcntl.h>
#include <sys/ioctl.h>

#include <algorithm>

#include "tests/script/sockets.hpp"

namespace iopkt::script {
namespace {

constexpr std::size_t kPipeMax = 65536;  // pipe(7)
constexpr std::uint32_t kAlways = POLLERR | POLLHUP;
constexpr std::uint32_t kHow = EPOLLET | EPOLLONESHOT | EPOLLEXCLUSIVE | EPOLLWAKEUP;

}  // namespace

std::optional<short> Sockets::events_at(int fd) const {
  if (const auto found = fds_.find(fd); found != fds_.end()) return events_of(*found->second);
  if (const auto found = pipes_.find(fd); found != pipes_.end()) {
    const Pipe& pipe = *found->second.pipe;
    if (found->second.writes) return static_cast<short>((pipe.bytes.size() < kPipeMax ? POLLOUT : 0) | (pipe.reader ? 0 : POLLERR));
    return static_cast<short>((pipe.bytes.empty() ? 0 : POLLIN) | (pipe.writer ? 0 : POLLHUP));
  }
  const auto found = epolls_.find(fd);
  if (found == epolls_.end()) return std::nullopt;
  const bool any = std::ranges::any_of(found->second.interests, [this](const Interest& i) { return told(i) != 0; });
  return static_cast<short>(any ? POLLIN : 0);
}

std::uint32_t Sockets::told(const Interest& i) const {
  const std::uint32_t wanted = i.event.events & ~kHow;
  if (wanted == 0 || ((i.event.events & EPOLLET) != 0 && !i.edge)) return 0;
  return static_cast<std::uint16_t>(events_at(i.fd).value_or(0)) & wanted;
}

// ---- epoll

void Sockets::wake_fd(int fd, int what) {
  for (auto& [at, epoll] : epolls_)
    for (Interest& i : epoll.interests)
      if (i.fd == fd && (i.event.events & static_cast<std::uint32_t>(what)) != 0) i.edge = true;
}
void Sockets::wake(const Socket& k, int what) {
  for (const auto& [fd, socket] : fds_)
    if (socket == &k) wake_fd(fd, what);
}
void Sockets::wake(const Pipe& pipe, int what) {
  for (const auto& [fd, end] : pipes_)
    if (end.pipe.get() == &pipe) wake_fd(fd, what);
}

void Sockets::forget_fd(int fd) {
  for (auto& [at, epoll] : epolls_) std::erase_if(epoll.interests, [fd](const Interest& i) { return i.fd == fd; });
  epolls_.erase(fd);
  if (const auto found = pipes_.find(fd); found != pipes_.end()) {
    const PipeEnd end = found->second;
    pipes_.erase(found);
    (end.writes ? end.pipe->writer : end.pipe->reader) = false;
    wake(*end.pipe, ~0);
  }
}

Sockets::Result Sockets::epoll_create(const Request& r) {
  if (r.a <= 0) return -EINVAL;
  const int fd = lowest_free();
  epolls_.emplace(fd, Epoll{});
  return fd;
}

/// An epoll in an epoll is refused, as the host refuses those that are too deep.
Sockets::Result Sockets::epoll_ctl(const Request& r) {
  const int fd = static_cast<int>(r.b);
  const auto found = epolls_.find(r.fd);
  if (!events_at(r.fd) || !events_at(fd)) return -EBADF;
  if (found == epolls_.end() || fd == r.fd) return -EINVAL;
  if (epolls_.contains(fd)) return -ELOOP;
  std::list<Interest>& interests = found->second.interests;
  const auto one = std::ranges::find(interests, fd, &Interest::fd);
  if (r.a == EPOLL_CTL_DEL) {
    if (one == interests.end()) return -ENOENT;
    interests.erase(one);
    return 0;
  }
  if ((r.a != EPOLL_CTL_ADD && r.a != EPOLL_CTL_MOD) || r.events.size() != 1) return -EINVAL;
  Interest made{.fd = fd, .event = r.events[0]};
  made.event.events |= kAlways;
  if (r.a == EPOLL_CTL_ADD) {
    if (one != interests.end()) return -EEXIST;
    interests.push_back(made);
    return 0;
  }
  if (one == interests.end()) return -ENOENT;
  if (((made.event.events | one->event.events) & EPOLLEXCLUSIVE) != 0) return -EINVAL;
  *one = made;
  return 0;
}

Sockets::Result Sockets::epoll_wait(Request& r) {
  const auto found = epolls_.find(r.fd);
  if (found == epolls_.end()) return events_at(r.fd) ? -EINVAL : -EBADF;
  if (r.room == 0) return -EINVAL;
  std::list<Interest>& interests = found->second.interests;
  r.events.clear();
  // Each is asked once; who was told goes behind those that were not.
  std::size_t left = interests.size();
  for (auto i = interests.begin(); left > 0 && r.events.size() < r.room; --left) {
    const auto one = i++;
    const std::uint32_t ready = told(*one);
    one->edge = false;
    if (ready == 0) continue;
    r.events.push_back({.events = ready, .data = one->event.data});
    if ((one->event.events & EPOLLONESHOT) != 0) one->event.events &= kHow;
    interests.splice(interests.end(), interests, one);
  }
  return r.events.empty() ? wait_until(r) : Result{static_cast<std::int64_t>(r.events.size())};
}

// ---- pipes

Sockets::Result Sockets::make_pipe(Request& r) {
  const auto pipe = std::make_shared<Pipe>();
  for (const bool writes : {false, true}) {
    r.ends[writes ? 1 : 0] = lowest_free();
    pipes_.emplace(lowest_free(), PipeEnd{.pipe = pipe, .writes = writes});
  }
  return 0;
}

Sockets::Result Sockets::on_pipe(PipeEnd& end, Request& r) {
  using Op = Request::Op;
  Pipe& pipe = *end.pipe;
  switch (r.op) {
    case Op::read:
    case Op::readv:
      if (end.writes) return -EBADF;
      if (r.room == 0) return 0;
      if (pipe.bytes.empty()) return !pipe.writer ? Result{0} : end.nonblocking ? Result{-EAGAIN} : std::nullopt;
      r.data = take(pipe, r.room);
      return static_cast<std::int64_t>(r.data.size());
    case Op::write:
    case Op::writev: {
      if (!end.writes) return -EBADF;
      if (!pipe.reader) return r.done > 0 ? Result{static_cast<std::int64_t>(r.done)} : -EPIPE;
      const std::size_t count = std::min(kPipeMax - pipe.bytes.size(), r.data.size() - r.done);
      put(pipe, Bytes{r.data}.subspan(r.done, count));
      r.done += count;
      if (r.done == r.data.size() || (end.nonblocking && r.done > 0)) return static_cast<std::int64_t>(r.done);
      return end.nonblocking ? Result{-EAGAIN} : std::nullopt;
    }
    case Op::fcntl:
      if (r.a == F_GETFL) return (end.writes ? O_WRONLY : O_RDONLY) | (end.nonblocking ? O_NONBLOCK : 0);
      if (r.a != F_SETFL) return -EINVAL;
      end.nonblocking = (r.b & O_NONBLOCK) != 0;
      return 0;
    case Op::ioctl: {
      if (r.a != FIONREAD) return -EINVAL;
      const auto count = static_cast<std::int32_t>(pipe.bytes.size());
      const Bytes b = as_bytes(&count, sizeof count);
      r.data.assign(b.begin(), b.end());
      return 0;
    }
    default: return -ENOTSOCK;
  }
}

PacketBytes Sockets::take(Pipe& pipe, std::size_t most) {
  const auto end = pipe.bytes.begin() + static_cast<std::ptrdiff_t>(std::min(most, pipe.bytes.size()));
  PacketBytes out{pipe.bytes.begin(), end};
  const bool full = pipe.bytes.size() == kPipeMax;
  pipe.bytes.erase(pipe.bytes.begin(), end);
  if (full && !out.empty()) wake(pipe, POLLOUT);
  return out;
}

void Sockets::put(Pipe& pipe, Bytes bytes) {
  pipe.bytes.insert(pipe.bytes.end(), bytes.begin(), bytes.end());
  if (!bytes.empty()) wake(pipe, POLLIN);
}

Sockets::Result Sockets::splice(const Request& r) {
  const int other = static_cast<int>(r.a);
  if (!events_at(r.fd) || !events_at(other)) return -EBADF;
  const auto from = pipes_.find(r.fd), to = pipes_.find(other);
  if (from != pipes_.end() && from->second.writes) return -EBADF;
  if (to != pipes_.end() && !to->second.writes) return -EBADF;
  const auto stream = [this](int fd) {
    const auto found = fds_.find(fd);
    return found != fds_.end() && found->second->is_stream() ? found->second : nullptr;
  };
  if (to != pipes_.end() && stream(r.fd) != nullptr) return splice_in(*stream(r.fd), to->second, r);
  if (from != pipes_.end() && stream(other) != nullptr) return splice_out(from->second, *stream(other), r);
  return -EINVAL;
}

Sockets::Result Sockets::splice_in(Socket& from, PipeEnd& to, const Request& r) {
  if (r.room == 0) return 0;
  if (!to.pipe->reader) return -EPIPE;
  const bool waits = (r.flags & SPLICE_F_NONBLOCK) == 0 && !to.nonblocking;
  const std::size_t room = std::min(kPipeMax - to.pipe->bytes.size(), r.room);
  if (room == 0) return waits ? std::nullopt : Result{-EAGAIN};
  Request inner{.op = Request::Op::recv, .flags = waits ? 0 : MSG_DONTWAIT, .room = room};
  const Result result = receive_bytes(from, inner);
  if (result && *result > 0) put(*to.pipe, inner.data);
  return result;
}

/// What the socket's buffer takes now; it waits only until that is something.
Sockets::Result Sockets::splice_out(PipeEnd& from, Socket& to, const Request& r) {
  if (r.room == 0) return 0;
  const bool waits = (r.flags & SPLICE_F_NONBLOCK) == 0 && !from.nonblocking;
  std::deque<std::byte>& bytes = from.pipe->bytes;
  if (bytes.empty()) return !from.pipe->writer ? Result{0} : waits ? std::nullopt : Result{-EAGAIN};
  const auto end = bytes.begin() + static_cast<std::ptrdiff_t>(std::min(r.room, bytes.size()));
  Request inner{.op = Request::Op::send, .flags = MSG_DONTWAIT | ((r.flags & SPLICE_F_MORE) != 0 ? MSG_MORE : 0), .data = {bytes.begin(), end}};
  const Result result = send_bytes(to, inner);
  if (result && *result > 0) static_cast<void>(take(*from.pipe, static_cast<std::size_t>(*result)));
  if (result && *result == -EAGAIN && waits && !to.nonblocking) return std::nullopt;
  return result;
}

}  // namespace iopkt::script
