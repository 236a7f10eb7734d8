// A plain sockets program for measuring: the same binary runs on the kernel's stack and, preloaded, on ours.
//
//   net server PORT                                  serves every mode until it is ended
//   net bulk HOST PORT SECONDS [STREAMS]             writes as fast as it can; prints Gbit/s as the server counted
//   net sink HOST PORT SECONDS [STREAMS]             reads as fast as the server writes
//   net rr HOST PORT SECONDS [BYTES]                 one request, one answer; prints round trips per second and percentiles
//   net connect HOST PORT SECONDS [AT_ONCE]          connect, one byte each way, close; prints connections per second
//
// One thread, epoll; results are "key=value" words on one line.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kChunk = 128 * 1024;

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

sockaddr_in address(const char* host, const char* port) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(static_cast<std::uint16_t>(std::atoi(port)));
  if (inet_pton(AF_INET, host, &a.sin_addr) != 1) fail(host);
  return a;
}

/// The host's default may be anything; where there is a choice, it is the one that everybody has.
void use_cubic(int fd) { static_cast<void>(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5)); }

int dial(const sockaddr_in& to, bool wait) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (wait ? 0 : SOCK_NONBLOCK), 0);
  if (fd < 0) fail("socket");
  const int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  use_cubic(fd);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) < 0 && (wait || errno != EINPROGRESS)) fail("connect");
  return fd;
}

// The first byte of a connection names its mode: 'b' we read and count, 's' we write, 'r' we echo, 'c' one byte back.
struct Peer {
  char mode = 0;
  std::uint64_t bytes = 0;
};

void serve(const char* port) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int one = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  use_cubic(listener);
  const sockaddr_in any = address("0.0.0.0", port);
  if (bind(listener, reinterpret_cast<const sockaddr*>(&any), sizeof any) < 0) fail("bind");
  if (listen(listener, 1024) < 0) fail("listen");
  const int poll = epoll_create1(EPOLL_CLOEXEC);
  epoll_event event{.events = EPOLLIN, .data = {.fd = listener}};
  epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
  std::unordered_map<int, Peer> peers;
  std::vector<char> chunk(kChunk);
  const auto drop = [&](int fd) {
    peers.erase(fd);
    close(fd);
  };
  for (;;) {
    epoll_event ready[64];
    const int count = epoll_wait(poll, ready, 64, -1);
    for (int i = 0; i < count; ++i) {
      const int fd = ready[i].data.fd;
      if (fd == listener) {
        for (int at; (at = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
          setsockopt(at, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
          epoll_event add{.events = EPOLLIN, .data = {.fd = at}};
          epoll_ctl(poll, EPOLL_CTL_ADD, at, &add);
          peers[at] = {};
        }
        continue;
      }
      Peer& peer = peers[fd];
      if (peer.mode == 's') {
        if (write(fd, chunk.data(), chunk.size()) < 0 && errno != EAGAIN) drop(fd);
        continue;
      }
      ssize_t n = read(fd, chunk.data(), chunk.size());
      if (n < 0 && errno == EAGAIN) continue;
      if (n <= 0) {
        // The bulk client shuts its side and waits for the count.
        if (n == 0 && peer.mode == 'b' && write(fd, &peer.bytes, sizeof peer.bytes) < 0) std::perror("write");
        drop(fd);
        continue;
      }
      if (peer.mode == 0) {
        peer.mode = chunk[0];
        if (peer.mode == 's') {
          epoll_event out{.events = EPOLLOUT, .data = {.fd = fd}};
          epoll_ctl(poll, EPOLL_CTL_MOD, fd, &out);
          continue;
        }
        // The first request may have come with it.
        if (peer.mode == 'r') std::memmove(chunk.data(), chunk.data() + 1, static_cast<std::size_t>(--n));
        if (n == 0) continue;
      }
      peer.bytes += static_cast<std::uint64_t>(n);
      if (peer.mode == 'r' || peer.mode == 'c') {
        if (write(fd, chunk.data(), static_cast<std::size_t>(n)) < 0) drop(fd);
      }
    }
  }
}

void bulk(const sockaddr_in& to, double seconds, int streams, bool send) {
  std::vector<int> fds;
  const int poll = epoll_create1(EPOLL_CLOEXEC);
  for (int i = 0; i < streams; ++i) {
    const int fd = dial(to, true);
    if (write(fd, send ? "b" : "s", 1) != 1) fail("write");
    if (streams > 1) {
      epoll_event event{.events = send ? std::uint32_t{EPOLLOUT} : std::uint32_t{EPOLLIN}, .data = {.fd = fd}};
      epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
    }
    fds.push_back(fd);
  }
  std::vector<char> chunk(kChunk, 'x');
  std::uint64_t bytes = 0;
  const auto start = Clock::now();
  while (seconds_since(start) < seconds) {
    int ready[64];
    int count = 1;
    ready[0] = fds[0];
    if (streams > 1) {
      epoll_event events[64];
      count = epoll_wait(poll, events, 64, 100);
      for (int i = 0; i < count; ++i) ready[i] = events[i].data.fd;
    }
    for (int i = 0; i < count; ++i) {
      const ssize_t n = send ? ::send(ready[i], chunk.data(), chunk.size(), streams > 1 ? MSG_DONTWAIT : 0)
                             : recv(ready[i], chunk.data(), chunk.size(), streams > 1 ? MSG_DONTWAIT : 0);
      if (n < 0 && errno != EAGAIN) fail(send ? "send" : "recv");
      if (n > 0) bytes += static_cast<std::uint64_t>(n);
    }
  }
  if (send) {
    bytes = 0;
    for (const int fd : fds) {
      shutdown(fd, SHUT_WR);
      std::uint64_t got = 0;
      if (recv(fd, &got, sizeof got, MSG_WAITALL) != sizeof got) fail("the server's count");
      bytes += got;
    }
  }
  std::printf("gbit=%.6f\n", static_cast<double>(bytes) * 8 / seconds_since(start) / 1e9);
}

void round_trips(const sockaddr_in& to, double seconds, std::size_t size) {
  const int fd = dial(to, true);
  std::vector<char> message(size, 'r');
  if (write(fd, "r", 1) != 1) fail("write");
  std::vector<double> times;
  const auto start = Clock::now();
  while (seconds_since(start) < seconds) {
    const auto begin = Clock::now();
    if (send(fd, message.data(), size, 0) != static_cast<ssize_t>(size)) fail("send");
    if (recv(fd, message.data(), size, MSG_WAITALL) != static_cast<ssize_t>(size)) fail("recv");
    times.push_back(std::chrono::duration<double, std::micro>(Clock::now() - begin).count());
  }
  std::sort(times.begin(), times.end());
  const auto at = [&](double q) { return times[static_cast<std::size_t>(q * static_cast<double>(times.size() - 1))]; };
  std::printf("rate=%.0f p50us=%.2f p99us=%.2f\n", static_cast<double>(times.size()) / seconds, at(0.5), at(0.99));
}

void connections(const sockaddr_in& to, double seconds, int at_once) {
  const int poll = epoll_create1(EPOLL_CLOEXEC);
  const auto open = [&] {
    const int fd = dial(to, false);
    epoll_event event{.events = EPOLLOUT, .data = {.fd = fd}};
    epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
  };
  for (int i = 0; i < at_once; ++i) open();
  std::uint64_t done = 0;
  const auto start = Clock::now();
  while (seconds_since(start) < seconds) {
    epoll_event ready[64];
    const int count = epoll_wait(poll, ready, 64, 1000);
    for (int i = 0; i < count; ++i) {
      const int fd = ready[i].data.fd;
      char byte = 'c';
      if ((ready[i].events & EPOLLOUT) != 0) {
        if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1) fail("a connection");
        epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
        epoll_ctl(poll, EPOLL_CTL_MOD, fd, &event);
        continue;
      }
      if (recv(fd, &byte, 1, 0) != 1) fail("an answer");
      ++done;
      // A reset, so that no port is held: the rate is that of the stack, not of TIME-WAIT.
      const linger none{.l_onoff = 1, .l_linger = 0};
      setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
      close(fd);
      open();
    }
  }
  std::printf("rate=%.0f\n", static_cast<double>(done) / seconds_since(start));
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "server" && argc == 3) serve(argv[2]);
  if (argc < 5) {
    std::fputs("usage: net server PORT | net bulk|sink|rr|connect HOST PORT SECONDS [N]\n", stderr);
    return 2;
  }
  const sockaddr_in to = address(argv[2], argv[3]);
  const double seconds = std::atof(argv[4]);
  const int n = argc > 5 ? std::atoi(argv[5]) : 0;
  if (mode == "bulk" || mode == "sink") bulk(to, seconds, n > 0 ? n : 1, mode == "bulk");
  else if (mode == "rr") round_trips(to, seconds, n > 0 ? static_cast<std::size_t>(n) : 64);
  else if (mode == "connect") connections(to, seconds, n > 0 ? n : 64);
  else return 2;
}
