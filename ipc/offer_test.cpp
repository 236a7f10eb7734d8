// Offers through a listener's descriptor, against the kernel: who gets one, what is seen when either side
// ends, and the bounds.
#include "ipc/offer.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace iopkt::ipc {
namespace {

class Pair {
 public:
  Pair() { EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds_.data()), 0); }
  ~Pair() { close_stack(), close_program(); }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;
  int stack() const { return fds_[0]; }
  int program() const { return fds_[1]; }
  void close_stack() { close_one(0); }
  void close_program() { close_one(1); }

 private:
  void close_one(std::size_t which) {
    if (fds_[which] >= 0) ::close(fds_[which]);
    fds_[which] = -1;
  }
  std::array<int, 2> fds_{-1, -1};
};

/// A listener as shim and stack leave it: attached and stalled.
class Listener : public Pair {
 public:
  Listener() {
    EXPECT_EQ(set_minimum_buffer(program()), 0);
    EXPECT_EQ(limit_offers(stack()), 0);
    const Unit units[] = {Unit::hello(1, 2, 3, 4), Unit::stall()};
    for (const Unit& unit : units)
      EXPECT_EQ(::send(program(), &unit, sizeof unit, 0), static_cast<ssize_t>(sizeof unit));
  }
};

int mask(int fd, short events = POLLIN | POLLOUT | POLLRDHUP) {
  pollfd p{.fd = fd, .events = events, .revents = 0};
  return ::poll(&p, 1, 0) < 0 ? -1 : p.revents;
}
bool hung_up(int fd) { return (mask(fd, 0) & POLLHUP) != 0; }

AcceptHello hello(std::uint64_t slot) {
  return {.magic = AcceptHello::kMagic, .client = 1, .slot = slot, .nonce = slot + 7};
}

/// The stack's end of a connection that was offered.
void offer(const Listener& listener, Pair& connection, std::uint64_t slot) {
  ASSERT_EQ(send_offer(listener.stack(), hello(slot), connection.program()), StackIo::Sent::done);
  connection.close_program();
}

/// The descriptor, or minus an errno.
int take(const Listener& listener, AcceptHello* what = nullptr, int flags = MSG_DONTWAIT | MSG_CMSG_CLOEXEC) {
  Offer one;
  const ssize_t n = ::recvmsg(listener.program(), one.message(), flags);
  if (n == 0) return -ENODATA;
  const int fd = n < 0 ? -1 : one.descriptor(static_cast<std::size_t>(n));
  if (what != nullptr) *what = one.hello();
  return fd < 0 ? -errno : fd;
}

TEST(OfferTest, AListenerPollsAsOneAndGivesEachConnectionOnce) {
  Listener listener;
  EXPECT_EQ(mask(listener.program()), 0);
  Pair first, second;
  offer(listener, first, 10);
  offer(listener, second, 11);
  EXPECT_EQ(mask(listener.program()), POLLIN);
  for (const std::uint64_t slot : {10u, 11u}) {
    AcceptHello got;
    const int fd = take(listener, &got);
    ASSERT_GE(fd, 0);
    EXPECT_EQ(got.slot, slot);
    EXPECT_EQ(got.nonce, slot + 7);
    EXPECT_EQ(::fcntl(fd, F_GETFD), FD_CLOEXEC);
    EXPECT_EQ(::send(fd, "x", 1, 0), 1);
    EXPECT_EQ(mask((slot == 10 ? first : second).stack()) & POLLIN, POLLIN)
        << "it is the other end of that pair";
    ::close(fd);
  }
  EXPECT_EQ(mask(listener.program()), 0);
  EXPECT_EQ(take(listener), -EAGAIN);
}

TEST(OfferTest, TheLastCloseShowsAtOnceAndTakesWhatWaits) {
  Listener listener;
  Pair waiting;
  offer(listener, waiting, 1);
  const int copy = ::dup(listener.program());
  listener.close_program();
  EXPECT_FALSE(hung_up(listener.stack()));
  EXPECT_FALSE(hung_up(waiting.stack()));
  ::close(copy);
  EXPECT_TRUE(hung_up(listener.stack()));
  EXPECT_TRUE(hung_up(waiting.stack()));
  Pair late;
  EXPECT_EQ(send_offer(listener.stack(), hello(2), late.program()), StackIo::Sent::gone);
  EXPECT_TRUE(errno == EPIPE || errno == ECONNRESET) << errno;
}

TEST(OfferTest, AListenerOnItsWayInAMessageIsHeld) {
  Listener listener;
  Pair way;
  ASSERT_EQ(send_offer(way.stack(), hello(0), listener.program()), StackIo::Sent::done);
  listener.close_program();
  EXPECT_FALSE(hung_up(listener.stack()));
  way.close_program();
  EXPECT_TRUE(hung_up(listener.stack()));
}

TEST(OfferTest, TheEndOfTheStackWakesWhoSleepsAndShowsToWhoPolls) {
  Listener listener;
  std::array<int, 2> woken{};
  std::array<std::thread, 2> sleepers;
  for (std::size_t i = 0; i < woken.size(); ++i)
    sleepers[i] = std::thread{[&, i] { woken[i] = take(listener, nullptr, 0); }};
  listener.close_stack();
  for (std::thread& sleeper : sleepers) sleeper.join();
  // The error is told once; everybody else sees the end.
  for (const int result : woken) EXPECT_TRUE(result == -ECONNRESET || result == -ENODATA) << result;
  EXPECT_EQ(mask(listener.program()) & (POLLIN | POLLHUP | POLLRDHUP), POLLIN | POLLHUP | POLLRDHUP);
}

TEST(OfferTest, OnlySoManyWaitAndAReaderMakesRoom) {
  Listener listener;
  std::vector<std::unique_ptr<Pair>> offered;
  const auto one_more = [&] {
    offered.push_back(std::make_unique<Pair>());
    const auto sent = send_offer(listener.stack(), hello(offered.size()), offered.back()->program());
    offered.back()->close_program();
    return sent;
  };
  while (one_more() == StackIo::Sent::done) ASSERT_LT(offered.size(), 1000u) << "no bound";
  EXPECT_GE(offered.size(), 8u);
  EXPECT_EQ(mask(listener.stack(), POLLOUT), 0);
  std::size_t taken = 0;
  for (int fd; (fd = take(listener)) >= 0; ++taken) ::close(fd);
  EXPECT_EQ(taken, offered.size() - 1);
  EXPECT_EQ(mask(listener.stack(), POLLOUT), POLLOUT);
  EXPECT_EQ(one_more(), StackIo::Sent::done);
}

TEST(OfferTest, WithoutAFreeNumberTheConnectionIsGivenBack) {
  Listener listener;
  Pair connection;
  offer(listener, connection, 1);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{.rlim_cur = 0, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const int got = take(listener);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(got, -EMFILE);
  EXPECT_TRUE(hung_up(connection.stack()));
}

TEST(OfferTest, WhatIsNoOfferIsNoDescriptor) {
  Listener listener;
  ASSERT_EQ(::send(listener.stack(), "x", 1, 0), 1);
  EXPECT_EQ(take(listener), -EPROTO);
  Pair connection;
  ASSERT_EQ(send_offer(listener.stack(), AcceptHello{}, connection.program()), StackIo::Sent::done);
  connection.close_program();
  EXPECT_EQ(take(listener), -EPROTO);
  EXPECT_TRUE(hung_up(connection.stack())) << "the descriptor is not kept";
}

TEST(OfferTest, AnAcceptedEndKnowsWhoseItIs) {
  const std::string folder = "/tmp/iopkt-offer-" + std::to_string(::getpid()) + "/dev/socket";
  Pair first, second;
  EXPECT_EQ(name_accepted_end(first.stack(), folder, 7), 0);
  EXPECT_EQ(name_accepted_end(second.stack(), folder, 7), EADDRINUSE);
  EXPECT_EQ(name_accepted_end(second.stack(), folder, ~std::uint64_t{0}), 0);
  sockaddr_un peer{};
  socklen_t size = sizeof peer;
  ASSERT_EQ(::getpeername(first.program(), reinterpret_cast<sockaddr*>(&peer), &size), 0);
  EXPECT_EQ(peer_path(peer, size), folder + "/0000000000000007");
  EXPECT_EQ(name_accepted_end(Pair{}.stack(), std::string(91, 'x'), 1), ENAMETOOLONG);
  EXPECT_EQ(name_accepted_end(Pair{}.stack(), std::string(90, 'x'), 1), 0);
  // A node in the file system, and no name at all.
  peer.sun_path[0] = '/';
  std::strcpy(peer.sun_path, "/dev/socket/2");
  EXPECT_EQ(peer_path(peer, sizeof peer), "/dev/socket/2");
  EXPECT_EQ(peer_path(peer, sizeof(sa_family_t)), "");
}

}  // namespace
}  // namespace iopkt::ipc
