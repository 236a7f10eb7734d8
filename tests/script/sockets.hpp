// The socket calls of programs over one simulated stack, with the host's results and error numbers: what shim, client and daemon do
// over a real one, without processes.
#pragma once

#include <sys/socket.h>

#include <deque>
#include <list>
#include <map>

#include "tests/script/control.hpp"
#include "tests/script/system.hpp"

namespace iopkt::script {

class Sockets final : public System, private Machine {
 public:
  explicit Sockets(const MachineOptions& options) : Machine(options) {}
  ~Sockets() override;

  Instant now() const override { return Machine::now(); }
  wire::IpFamily family() const override { return Machine::family(); }
  std::optional<std::int64_t> attempt(Request& request) override;
  void inject(Bytes packet) override { receive(packet); }
  std::optional<Captured> take() override { return Machine::take(); }
  bool step(Instant limit) override;
  std::optional<std::string> set_variable(std::string_view name, std::string_view value) override {
    return Machine::set_variable(name, value);
  }
  std::optional<std::uint64_t> drops(std::string_view reason) const override;

 private:
  struct Socket {
    int type = 0, protocol = 0;
    wire::IpFamily family = wire::IpFamily::v4;
    std::uint32_t shard = 0;
    stack::SocketId id;
    stack::Cookie cookie = 0;
    bool nonblocking = false;
    bool connecting = false, connected = false, listening = false;
    bool announced = false;  ///< connect() has said that it is connected
    bool peer_fin = false, failed = false, urgent = false, send_done = false;
    bool shut_read = false, shut_write = false, closed = false, released = false;
    socket::Errno error = socket::Errno::ok;  ///< SO_ERROR
    std::vector<std::byte> send_memory, receive_memory;
    std::uint64_t send_tail = 0, send_head = 0, receive_head = 0, receive_tail = 0;
    std::deque<std::pair<std::uint32_t, stack::AcceptEvent>> queue;  ///< with the child's shard
    std::deque<stack::Datagram> datagrams;
    std::deque<stack::Datagram> errors;  ///< MSG_ERRQUEUE
    wire::Endpoint peer;  ///< of a datagram socket: connected to; port 0: not

    bool is_stream() const { return type == SOCK_STREAM; }
    socket::RingMemory send_ring() { return {send_memory.data(), static_cast<std::uint32_t>(send_memory.size())}; }
    socket::RingMemory receive_ring() { return {receive_memory.data(), static_cast<std::uint32_t>(receive_memory.size())}; }
    std::size_t room() const { return send_memory.size() - (send_tail - send_head); }
    std::size_t unread() const { return receive_tail - receive_head; }
  };
  using Result = std::optional<std::int64_t>;

  /// An epoll's descriptor, as epoll(7) has it: the list is in the order in which events are told, who was told goes to its end.
  struct Interest {
    int fd = -1;
    epoll_event event{};
    bool edge = true;  ///< EPOLLET: something has happened since it was told
  };
  struct Epoll {
    std::list<Interest> interests;
  };
  struct Pipe {
    std::deque<std::byte> bytes;
    bool reader = true, writer = true;
  };
  struct PipeEnd {
    std::shared_ptr<Pipe> pipe;
    bool writes = false, nonblocking = false;
  };

  // Machine's
  void on_event(std::uint32_t shard, const stack::SocketEvent& event) override;
  void on_accept(std::uint32_t shard, const stack::AcceptEvent& event) override;
  void on_datagram(std::uint32_t shard, stack::Datagram&& datagram) override;
  bool provide_rings(std::uint32_t shard, std::uint32_t send, std::uint32_t receive, stack::Rings& out) override;
  void take_back_rings(stack::Cookie cookie) override;

  Result on_descriptor(Request& r);
  Result open(const Request& r);
  Result bind(Socket& k, const Request& r);
  Result connect(Socket& k, const Request& r, bool fast_open = false);
  Result listen(Socket& k, const Request& r);
  Result accept(Socket& k, Request& r);
  Result receive_bytes(Socket& k, Request& r);
  Result receive_datagram(Socket& k, Request& r);
  Result send_bytes(Socket& k, Request& r);
  Result receive_error(Socket& k, Request& r);
  Result send_datagram(Socket& k, const Request& r);
  Result shutdown(Socket& k, const Request& r);
  Result close(int fd);
  Result get_option(Socket& k, Request& r);
  Result set_option(Socket& k, const Request& r);
  Result fcntl(Socket& k, const Request& r);
  Result ioctl(Socket& k, Request& r);
  Result poll(Request& r);
  Result wait_until(Request& r);
  // descriptors.cpp
  Result epoll_create(const Request& r);
  Result epoll_ctl(const Request& r);
  Result epoll_wait(Request& r);
  Result make_pipe(Request& r);
  Result on_pipe(PipeEnd& end, Request& r);
  PacketBytes take(Pipe& pipe, std::size_t most);
  void put(Pipe& pipe, Bytes bytes);
  Result splice(const Request& r);
  Result splice_in(Socket& from, PipeEnd& to, const Request& r);
  Result splice_out(PipeEnd& from, Socket& to, const Request& r);
  /// What poll() would say; nullopt: no such descriptor.
  std::optional<short> events_at(int fd) const;
  /// What epoll_wait() would tell of it, EPOLL*.
  std::uint32_t told(const Interest& interest) const;
  /// Something of `what` (POLL*) has happened to a socket, or to either end of a pipe.
  void wake(const Socket& k, int what);
  void wake(const Pipe& pipe, int what);
  void wake_fd(int fd, int what);
  void forget_fd(int fd);

  Result blocked(const Socket& k, int flags) const;
  void progress(Socket& k);
  std::size_t allowed(const Socket& k) const;
  bool above_low_water(const Socket& k) const;
  short events_of(const Socket& k) const;
  OptionReader options_of(const Socket& k);
  void give_rings(Socket& k, std::uint32_t send, std::uint32_t receive);
  int lowest_free() const;
  void forget(stack::Cookie cookie);
  stack::Shard& of(const Socket& k) { return shard(k.shard); }

  std::map<int, Socket*> fds_;
  std::map<int, Epoll> epolls_;
  std::map<int, PipeEnd> pipes_;
  std::map<stack::Cookie, std::unique_ptr<Socket>> sockets_;
  std::optional<Instant> wake_at_;  ///< the first end of those that poll; asked again, they say it again
  std::map<int, Instant> closing_;  ///< close() under SO_LINGER: until when
  stack::Cookie next_cookie_ = 1;
  std::uint32_t next_shard_ = 0;
};

/// A sockaddr_in or sockaddr_in6 of `endpoint`, and back; nullopt: too short, or another family.
PacketBytes to_sockaddr(const wire::Endpoint& endpoint);
std::optional<wire::Endpoint> from_sockaddr(Bytes address);

}  // namespace iopkt::script
