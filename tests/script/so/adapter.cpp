// libiopkt-packetdrill.so: the stack in virtual time behind packetdrill's table, so that the original tool can drive it:
//
//   packetdrill --so_filename=build/dev/tests/libiopkt-packetdrill.so --local_ip=192.168.0.1 --remote_ip=192.0.2.1 SCRIPT
//
// --so_flags is a list parted by commas: shards=N, mtu=N, NAME=VALUE of a sysctl variable.
//
// Time is the stack's: usleep() and netdev_receive() make it pass. A call that blocks waits on its own thread, and is asked again
// whenever something has happened.
#include <algorithm>
#include <condition_variable>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <list>
#include <mutex>

#include "tests/script/so/interface.h"
#include "tests/script/sockets.hpp"

namespace iopkt::script {
namespace {

using Op = Request::Op;

constexpr Duration kPatience = 1000s;  // nothing leaves for so long: nothing will

class Adapter {
 public:
  explicit Adapter(const MachineOptions& options) : system_(options) {}

  std::int64_t call(Request& request) {
    std::unique_lock lock{mutex_};
    Blocked mine{&request, system_.attempt(request)};
    ask_others();
    if (!mine.result) {
      const auto place = blocked_.insert(blocked_.end(), &mine);
      answered_.wait(lock, [&] { return mine.result.has_value(); });
      blocked_.erase(place);
    }
    if (*mine.result >= 0) return *mine.result;
    errno = static_cast<int>(-*mine.result);
    return -1;
  }
  void send(Bytes packet) {
    const std::lock_guard lock{mutex_};
    system_.inject(packet);
    ask_others();
  }
  std::optional<Captured> receive() {
    const std::lock_guard lock{mutex_};
    const Instant limit = system_.now() + kPatience;
    for (;;) {
      if (auto packet = system_.take()) return packet;
      const bool more = system_.step(limit);
      ask_others();
      if (!more) return system_.take();
    }
  }
  void sleep(Duration time) {
    const std::lock_guard lock{mutex_};
    const Instant until = system_.now() + time;
    for (bool more = true; more;) {
      more = system_.step(until);
      ask_others();
    }
  }
  Instant now() {
    const std::lock_guard lock{mutex_};
    return system_.now();
  }
  std::optional<std::string> set_variable(std::string_view name, std::string_view value) { return system_.set_variable(name, value); }

 private:
  struct Blocked {
    Request* request;
    std::optional<std::int64_t> result;
  };
  void ask_others() {
    for (Blocked* one : blocked_)
      if (!one->result) one->result = system_.attempt(*one->request);
    answered_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable answered_;
  std::list<Blocked*> blocked_;
  Sockets system_;
};

Adapter& of(void* userdata) { return *static_cast<Adapter*>(userdata); }

PacketBytes bytes_of(const void* data, std::size_t size) {
  const Bytes b = as_bytes(data, size);
  return {b.begin(), b.end()};
}
/// An address goes out as the kernel gives it: cut off at the caller's room, its length whole.
void give_address(const PacketBytes& from, sockaddr* address, socklen_t* length) {
  if (address == nullptr || length == nullptr) return;
  std::memcpy(address, from.data(), std::min<std::size_t>(from.size(), *length));
  *length = static_cast<socklen_t>(from.size());
}
std::size_t sum(const iovec* pieces, std::size_t count) {
  std::size_t out = 0;
  for (std::size_t i = 0; i < count; ++i) out += pieces[i].iov_len;
  return out;
}
void scatter(const PacketBytes& from, const iovec* pieces, std::size_t count) {
  std::size_t at = 0;
  for (std::size_t i = 0; i < count && at < from.size(); ++i) {
    const std::size_t part = std::min(pieces[i].iov_len, from.size() - at);
    std::memcpy(pieces[i].iov_base, from.data() + at, part);
    at += part;
  }
}
PacketBytes gather(const iovec* pieces, std::size_t count) {
  PacketBytes out;
  for (std::size_t i = 0; i < count; ++i) {
    const Bytes b = as_bytes(pieces[i].iov_base, pieces[i].iov_len);
    out.insert(out.end(), b.begin(), b.end());
  }
  return out;
}
int refuse(int error) {
  errno = error;
  return -1;
}

int so_socket(void* u, int domain, int type, int protocol) {
  Request r{.op = Op::socket, .a = domain, .b = type, .c = protocol};
  return static_cast<int>(of(u).call(r));
}
int so_bind(void* u, int fd, const sockaddr* address, socklen_t length) {
  Request r{.op = Op::bind, .fd = fd, .address = bytes_of(address, length)};
  return static_cast<int>(of(u).call(r));
}
int so_listen(void* u, int fd, int backlog) {
  Request r{.op = Op::listen, .fd = fd, .a = backlog};
  return static_cast<int>(of(u).call(r));
}
int so_accept(void* u, int fd, sockaddr* address, socklen_t* length) {
  Request r{.op = Op::accept, .fd = fd};
  const auto result = of(u).call(r);
  if (result >= 0) give_address(r.address, address, length);
  return static_cast<int>(result);
}
int so_connect(void* u, int fd, const sockaddr* address, socklen_t length) {
  Request r{.op = Op::connect, .fd = fd, .address = bytes_of(address, length)};
  return static_cast<int>(of(u).call(r));
}
ssize_t receive(void* u, Request& r, const iovec* pieces, std::size_t count) {
  r.room = sum(pieces, count);
  const auto result = of(u).call(r);
  if (result >= 0) scatter(r.data, pieces, count);
  return result;
}
ssize_t so_read(void* u, int fd, void* buffer, std::size_t count) {
  const iovec piece{buffer, count};
  Request r{.op = Op::read, .fd = fd};
  return receive(u, r, &piece, 1);
}
ssize_t so_readv(void* u, int fd, const iovec* pieces, int count) {
  if (count < 0) return refuse(EINVAL);
  Request r{.op = Op::readv, .fd = fd};
  return receive(u, r, pieces, static_cast<std::size_t>(count));
}
ssize_t so_recv(void* u, int fd, void* buffer, std::size_t count, int flags) {
  const iovec piece{buffer, count};
  Request r{.op = Op::recv, .fd = fd, .flags = flags};
  return receive(u, r, &piece, 1);
}
ssize_t so_recvfrom(void* u, int fd, void* buffer, std::size_t count, int flags, sockaddr* address, socklen_t* length) {
  const iovec piece{buffer, count};
  Request r{.op = Op::recvfrom, .fd = fd, .flags = flags};
  const ssize_t result = receive(u, r, &piece, 1);
  if (result >= 0) give_address(r.address, address, length);
  return result;
}
ssize_t so_recvmsg(void* u, int fd, msghdr* message, int flags) {
  Request r{.op = Op::recvmsg, .fd = fd, .flags = flags, .control_room = message->msg_control != nullptr ? message->msg_controllen : 0};
  const ssize_t result = receive(u, r, message->msg_iov, message->msg_iovlen);
  if (result < 0) return result;
  give_address(r.address, static_cast<sockaddr*>(message->msg_name), &message->msg_namelen);
  message->msg_flags = r.flags;
  if (!r.control.empty()) std::memcpy(message->msg_control, r.control.data(), r.control.size());
  message->msg_controllen = r.control.size();
  return result;
}
ssize_t send_bytes(void* u, Op op, int fd, PacketBytes data, int flags, PacketBytes address = {}) {
  Request r{.op = op, .fd = fd, .flags = flags, .data = std::move(data), .address = std::move(address)};
  return of(u).call(r);
}
ssize_t so_write(void* u, int fd, const void* buffer, std::size_t count) { return send_bytes(u, Op::write, fd, bytes_of(buffer, count), 0); }
ssize_t so_writev(void* u, int fd, const iovec* pieces, int count) {
  if (count < 0) return refuse(EINVAL);
  return send_bytes(u, Op::writev, fd, gather(pieces, static_cast<std::size_t>(count)), 0);
}
ssize_t so_send(void* u, int fd, const void* buffer, std::size_t count, int flags) {
  return send_bytes(u, Op::send, fd, bytes_of(buffer, count), flags);
}
ssize_t so_sendto(void* u, int fd, const void* buffer, std::size_t count, int flags, const sockaddr* address, socklen_t length) {
  return send_bytes(u, Op::sendto, fd, bytes_of(buffer, count), flags, bytes_of(address, length));
}
ssize_t so_sendmsg(void* u, int fd, const msghdr* message, int flags) {
  Request r{.op = Op::sendmsg, .fd = fd, .flags = flags, .data = gather(message->msg_iov, message->msg_iovlen)};
  r.address = bytes_of(message->msg_name, message->msg_namelen);
  r.control = bytes_of(message->msg_control, message->msg_controllen);
  return of(u).call(r);
}
int so_fcntl(void* u, int fd, int command, ...) {
  va_list more;
  va_start(more, command);
  Request r{.op = Op::fcntl, .fd = fd, .a = command, .b = va_arg(more, int)};
  va_end(more);
  return static_cast<int>(of(u).call(r));
}
int so_ioctl(void* u, int fd, unsigned long request, ...) {
  va_list more;
  va_start(more, request);
  int* value = va_arg(more, int*);
  va_end(more);
  Request r{.op = Op::ioctl, .fd = fd, .a = static_cast<std::int64_t>(request), .b = value == nullptr ? 0 : *value};
  const auto result = of(u).call(r);
  if (result >= 0 && value != nullptr && r.data.size() == sizeof *value) std::memcpy(value, r.data.data(), sizeof *value);
  return static_cast<int>(result);
}
int so_close(void* u, int fd) {
  Request r{.op = Op::close, .fd = fd};
  return static_cast<int>(of(u).call(r));
}
int so_shutdown(void* u, int fd, int how) {
  Request r{.op = Op::shutdown, .fd = fd, .a = how};
  return static_cast<int>(of(u).call(r));
}
int so_getsockopt(void* u, int fd, int level, int name, void* value, socklen_t* length) {
  Request r{.op = Op::getsockopt, .fd = fd, .a = level, .b = name, .room = *length};
  const auto result = of(u).call(r);
  if (result < 0) return -1;
  std::memcpy(value, r.data.data(), r.data.size());
  *length = static_cast<socklen_t>(r.data.size());
  return 0;
}
int so_setsockopt(void* u, int fd, int level, int name, const void* value, socklen_t length) {
  Request r{.op = Op::setsockopt, .fd = fd, .a = level, .b = name, .data = bytes_of(value, length)};
  return static_cast<int>(of(u).call(r));
}
int so_poll(void* u, pollfd* fds, nfds_t count, int timeout) {
  Request r{.op = Op::poll, .a = timeout, .polls = {fds, fds + count}};
  const auto result = of(u).call(r);
  if (result >= 0) std::copy(r.polls.begin(), r.polls.end(), fds);
  return static_cast<int>(result);
}
int so_netdev_send(void* u, const void* packet, std::size_t count) {
  of(u).send(as_bytes(packet, count));
  return 0;
}
int so_netdev_receive(void* u, void* packet, std::size_t* count, long long* time_usecs) {
  const auto left = of(u).receive();
  if (left && left->bytes.size() > *count) return refuse(EMSGSIZE);
  *count = left ? left->bytes.size() : 0;
  if (!left) return 0;
  std::memcpy(packet, left->bytes.data(), left->bytes.size());
  *time_usecs = left->at.ns / 1000;
  return 0;
}
int so_usleep(void* u, useconds_t time) {
  of(u).sleep(std::chrono::microseconds(time));
  return 0;
}
int so_gettimeofday(void* u, timeval* time, struct timezone*) {
  const std::int64_t now = of(u).now().ns / 1000;
  *time = {.tv_sec = now / 1'000'000, .tv_usec = now % 1'000'000};
  return 0;
}
int so_epoll_create(void* u, int size) {
  Request r{.op = Op::epoll_create, .a = size};
  return static_cast<int>(of(u).call(r));
}
int so_epoll_ctl(void* u, int epoll, int operation, int fd, epoll_event* event) {
  if (event == nullptr && operation != EPOLL_CTL_DEL) return refuse(EFAULT);
  Request r{.op = Op::epoll_ctl, .fd = epoll, .a = operation, .b = fd};
  if (event != nullptr) r.events = {*event};
  return static_cast<int>(of(u).call(r));
}
int so_epoll_wait(void* u, int epoll, epoll_event* events, int most, int timeout) {
  if (most <= 0) return refuse(EINVAL);
  Request r{.op = Op::epoll_wait, .fd = epoll, .a = timeout, .room = static_cast<std::size_t>(most)};
  const auto result = of(u).call(r);
  if (result > 0) std::ranges::copy(r.events, events);
  return static_cast<int>(result);
}
int so_pipe(void* u, int fds[2]) {
  Request r{.op = Op::pipe};
  const auto result = of(u).call(r);
  if (result >= 0) std::ranges::copy(r.ends, fds);
  return static_cast<int>(result);
}
// Neither sockets nor pipes have a place to read or write at.
constexpr std::size_t kSpliceMax = std::size_t{1} << 30;  // the result is an int
int so_splice(void* u, int from, loff_t* from_at, int to, loff_t* to_at, std::size_t count, unsigned flags) {
  if (from_at != nullptr || to_at != nullptr) return refuse(ESPIPE);
  Request r{.op = Op::splice, .fd = from, .a = to, .flags = static_cast<int>(flags), .room = std::min(count, kSpliceMax)};
  return static_cast<int>(of(u).call(r));
}
void so_free(void* u) { delete &of(u); }

/// Errors: a line.
std::optional<std::string> set_up(std::string_view flags, std::unique_ptr<Adapter>& out) {
  MachineOptions options;
  std::vector<std::pair<std::string, std::string>> variables;
  while (!flags.empty()) {
    const std::string_view one = flags.substr(0, flags.find(','));
    flags.remove_prefix(std::min(flags.size(), one.size() + 1));
    const auto equals = one.find('=');
    if (equals == std::string_view::npos) return "expected NAME=VALUE instead of " + std::string(one);
    const std::string name{one.substr(0, equals)}, value{one.substr(equals + 1)};
    const auto number = static_cast<std::uint32_t>(std::strtoul(value.c_str(), nullptr, 10));
    if (name == "shards" && number >= 1 && number <= 64) options.shards = number;
    else if (name == "mtu" && number >= 68 && number <= 65535) options.mtu = number;
    else variables.emplace_back(name, value);
  }
  auto adapter = std::make_unique<Adapter>(options);
  for (const auto& [name, value] : variables)
    if (auto wrong = adapter->set_variable(name, value)) return wrong;
  out = std::move(adapter);
  return std::nullopt;
}

}  // namespace
}  // namespace iopkt::script

extern "C" __attribute__((visibility("default"))) void packetdrill_interface_init(const char* flags, packetdrill_interface* table) {
  using namespace iopkt::script;
  *table = {};
  std::unique_ptr<Adapter> adapter;
  if (const auto wrong = set_up(flags != nullptr ? flags : "", adapter)) {
    std::fprintf(stderr, "libiopkt-packetdrill: %s\n", wrong->c_str());
    return;
  }
  *table = {
      .userdata = adapter.release(), .free = so_free, .socket = so_socket, .bind = so_bind, .listen = so_listen, .accept = so_accept,
      .connect = so_connect, .read = so_read, .readv = so_readv, .recv = so_recv, .recvfrom = so_recvfrom, .recvmsg = so_recvmsg,
      .write = so_write, .writev = so_writev, .send = so_send, .sendto = so_sendto, .sendmsg = so_sendmsg, .fcntl = so_fcntl,
      .ioctl = so_ioctl, .close = so_close, .shutdown = so_shutdown, .getsockopt = so_getsockopt, .setsockopt = so_setsockopt,
      .poll = so_poll, .netdev_send = so_netdev_send, .netdev_receive = so_netdev_receive, .usleep = so_usleep,
      .gettimeofday = so_gettimeofday, .epoll_create = so_epoll_create, .epoll_ctl = so_epoll_ctl, .epoll_wait = so_epoll_wait,
      .pipe = so_pipe, .splice = so_splice,
  };
}
