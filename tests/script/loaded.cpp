#include "tests/script/loaded.hpp"

#include <dlfcn.h>
#include <sys/syscall.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "tests/script/so/interface.h"

namespace iopkt::script {

/// Makes one call at a time on a thread of its own, because it may block; whether it does, the kernel says: the thread sleeps.
class Loaded::Worker {
 public:
  explicit Worker(Loaded& owner) : owner_(owner), thread_([this] { run(); }) {}
  ~Worker() {
    {
      const std::lock_guard lock{mutex_};
      ended_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }
  /// The result, or none: it blocks. The same request again asks whether it has ended.
  std::optional<std::int64_t> attempt(Request& request) {
    if (request_ == nullptr) {
      const std::lock_guard lock{mutex_};
      request_ = &request;
      done_ = false;
      begun_ = false;
      wake_.notify_all();
    }
    IOPKT_ASSERT(request_ == &request);
    while (!done_ && !(begun_ && sleeps())) std::this_thread::yield();
    if (!done_) return std::nullopt;
    request_ = nullptr;
    return result_;
  }
  bool busy() const { return request_ != nullptr; }

 private:
  void run() {
    tid_ = static_cast<int>(syscall(SYS_gettid));
    std::unique_lock lock{mutex_};
    for (;;) {
      wake_.wait(lock, [&] { return ended_ || (request_ != nullptr && !done_); });
      if (ended_) return;
      begun_ = true;
      lock.unlock();
      result_ = owner_.perform(*request_);
      lock.lock();
      done_ = true;
    }
  }
  bool sleeps() const {
    std::ifstream in("/proc/self/task/" + std::to_string(tid_) + "/stat");
    std::string text;
    std::getline(in, text);
    const auto end = text.rfind(") ");
    return end != std::string::npos && text[end + 2] == 'S';
  }

  Loaded& owner_;
  std::mutex mutex_;
  std::condition_variable wake_;
  Request* request_ = nullptr;
  std::atomic<bool> begun_ = false, done_ = true;
  std::atomic<int> tid_ = 0;
  bool ended_ = false;
  std::int64_t result_ = 0;
  std::thread thread_;
};

Loaded::Loaded(const std::string& library, const std::string& flags, wire::IpFamily family) : family_(family), table_(std::make_unique<packetdrill_interface>()) {
  handle_ = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle_ == nullptr) throw std::runtime_error(dlerror());
  const auto init = reinterpret_cast<packetdrill_interface_init_t>(dlsym(handle_, "packetdrill_interface_init"));
  if (init == nullptr) throw std::runtime_error(dlerror());
  init(flags.c_str(), table_.get());
  if (table_->userdata == nullptr) throw std::runtime_error(library + " refuses " + flags);
  worker_ = std::make_unique<Worker>(*this);
}

Loaded::~Loaded() {
  if (worker_ && worker_->busy()) {
    // A script that failed left a call that blocks: it keeps its thread and the library until the process ends.
    (void)worker_.release();
    (void)table_.release();
    return;
  }
  if (table_->userdata != nullptr) {
    worker_.reset();
    count("free");
    table_->free(table_->userdata);
  }
  dlclose(handle_);
}

Instant Loaded::now() const {
  count("gettimeofday");
  timeval t{};
  table_->gettimeofday(table_->userdata, &t, nullptr);
  return {(t.tv_sec * 1'000'000 + t.tv_usec) * 1000};
}

std::optional<std::int64_t> Loaded::attempt(Request& request) { return worker_->attempt(request); }

void Loaded::inject(Bytes packet) {
  count("netdev_send");
  IOPKT_ASSERT(table_->netdev_send(table_->userdata, packet.data(), packet.size()) == 0);
}

std::optional<Captured> Loaded::sniff() {
  count("netdev_receive");
  Captured out{{}, PacketBytes(65536)};
  std::size_t size = out.bytes.size();
  long long time = 0;
  if (table_->netdev_receive(table_->userdata, out.bytes.data(), &size, &time) != 0 || size == 0) return std::nullopt;
  out.bytes.resize(size);
  out.at = {time * 1000};
  return out;
}

bool Loaded::step(Instant limit) {
  const Duration left = limit - now();
  if (left < 1us) return false;
  count("usleep");
  // Small steps while a call blocks, so that it is seen to return when it does.
  const Duration part = std::min<Duration>(left, worker_->busy() ? Duration{1ms} : Duration{100s});
  table_->usleep(table_->userdata, static_cast<useconds_t>(part / 1us));
  return left > part;
}

namespace {
/// The buffer of a call, in the pieces that it asks for.
std::vector<iovec> pieces_of(const Request& r, std::byte* buffer) {
  std::vector<iovec> out;
  for (const std::size_t one : r.pieces) {
    out.push_back({buffer, one});
    buffer += one;
  }
  return out;
}
}  // namespace

std::int64_t Loaded::perform(Request& r) {
  using Op = Request::Op;
  const packetdrill_interface& t = *table_;
  void* u = t.userdata;
  const auto* address = r.address.empty() ? nullptr : reinterpret_cast<const sockaddr*>(r.address.data());
  const auto length = static_cast<socklen_t>(r.address.size());
  const bool receives = r.op >= Op::read && r.op <= Op::recvmsg;
  PacketBytes buffer = receives ? PacketBytes(r.room) : r.data;
  std::vector<iovec> pieces = pieces_of(r, buffer.data());
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = pieces.size();
  PacketBytes control = r.op == Op::recvmsg ? PacketBytes(r.control_room) : r.control;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  sockaddr_storage from{};
  socklen_t from_length = sizeof from;
  int value = static_cast<int>(r.b);
  socklen_t option_length = static_cast<socklen_t>(r.room);
  std::int64_t result = -1;
  errno = 0;
  switch (r.op) {
    case Op::socket: count("socket"), result = t.socket(u, static_cast<int>(r.a), static_cast<int>(r.b), static_cast<int>(r.c)); break;
    case Op::bind: count("bind"), result = t.bind(u, r.fd, address, length); break;
    case Op::listen: count("listen"), result = t.listen(u, r.fd, static_cast<int>(r.a)); break;
    case Op::accept: count("accept"), result = t.accept(u, r.fd, reinterpret_cast<sockaddr*>(&from), &from_length); break;
    case Op::connect: count("connect"), result = t.connect(u, r.fd, address, length); break;
    case Op::read: count("read"), result = t.read(u, r.fd, buffer.data(), r.room); break;
    case Op::readv: count("readv"), result = t.readv(u, r.fd, pieces.data(), static_cast<int>(pieces.size())); break;
    case Op::recv: count("recv"), result = t.recv(u, r.fd, buffer.data(), r.room, r.flags); break;
    case Op::recvfrom:
      count("recvfrom");
      result = t.recvfrom(u, r.fd, buffer.data(), r.room, r.flags, reinterpret_cast<sockaddr*>(&from), &from_length);
      break;
    case Op::recvmsg:
      count("recvmsg");
      result = t.recvmsg(u, r.fd, &message, r.flags);
      if (result < 0) break;
      r.flags = message.msg_flags;
      r.control.assign(control.begin(), control.begin() + static_cast<std::ptrdiff_t>(message.msg_controllen));
      break;
    case Op::write: count("write"), result = t.write(u, r.fd, buffer.data(), buffer.size()); break;
    case Op::writev: count("writev"), result = t.writev(u, r.fd, pieces.data(), static_cast<int>(pieces.size())); break;
    case Op::send: count("send"), result = t.send(u, r.fd, buffer.data(), buffer.size(), r.flags); break;
    case Op::sendto: count("sendto"), result = t.sendto(u, r.fd, buffer.data(), buffer.size(), r.flags, address, length); break;
    case Op::sendmsg:
      count("sendmsg");
      message.msg_name = r.address.data();
      message.msg_namelen = length;
      result = t.sendmsg(u, r.fd, &message, r.flags);
      break;
    case Op::fcntl: count("fcntl"), result = t.fcntl(u, r.fd, static_cast<int>(r.a), value); break;
    case Op::ioctl:
      count("ioctl");
      result = t.ioctl(u, r.fd, static_cast<unsigned long>(r.a), &value);
      buffer.resize(sizeof value);
      std::memcpy(buffer.data(), &value, sizeof value);
      break;
    case Op::close: count("close"), result = t.close(u, r.fd); break;
    case Op::shutdown: count("shutdown"), result = t.shutdown(u, r.fd, static_cast<int>(r.a)); break;
    case Op::getsockopt:
      count("getsockopt");
      buffer.resize(r.room);
      result = t.getsockopt(u, r.fd, static_cast<int>(r.a), static_cast<int>(r.b), buffer.data(), &option_length);
      buffer.resize(option_length);
      break;
    case Op::setsockopt:
      count("setsockopt");
      result = t.setsockopt(u, r.fd, static_cast<int>(r.a), static_cast<int>(r.b), buffer.data(), static_cast<socklen_t>(buffer.size()));
      break;
    case Op::poll: count("poll"), result = t.poll(u, r.polls.data(), r.polls.size(), static_cast<int>(r.a)); break;
    case Op::epoll_create: count("epoll_create"), result = t.epoll_create(u, static_cast<int>(r.a)); break;
    case Op::epoll_ctl:
      count("epoll_ctl");
      result = t.epoll_ctl(u, r.fd, static_cast<int>(r.a), static_cast<int>(r.b), r.events.empty() ? nullptr : r.events.data());
      break;
    case Op::epoll_wait:
      count("epoll_wait");
      r.events.resize(r.room);
      result = t.epoll_wait(u, r.fd, r.events.data(), static_cast<int>(r.room), static_cast<int>(r.a));
      r.events.resize(static_cast<std::size_t>(std::max<std::int64_t>(result, 0)));
      break;
    case Op::pipe: count("pipe"), result = t.pipe(u, r.ends.data()); break;
    case Op::splice:
      count("splice");
      result = t.splice(u, r.fd, nullptr, static_cast<int>(r.a), nullptr, r.room, static_cast<unsigned>(r.flags));
      break;
  }
  if (result < 0) return -errno;
  if (receives) buffer.resize(std::min<std::size_t>(buffer.size(), static_cast<std::size_t>(result)));
  if (receives || r.op == Op::getsockopt || r.op == Op::ioctl) r.data = std::move(buffer);
  return result;
}

}  // namespace iopkt::script
