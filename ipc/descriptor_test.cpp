// The readiness socket against the kernel: what the protocol assumes of units, and that each end state polls as kernel TCP does.
#include <netinet/in.h>

#include "ipc/test_rig.hpp"

namespace iopkt::ipc::test {
namespace {

std::string mask_name(int mask) {
  std::string out;
  const std::pair<int, const char*> names[] = {{POLLIN, "IN "},   {POLLOUT, "OUT "}, {POLLRDHUP, "RDHUP "},
                                               {POLLHUP, "HUP "}, {POLLERR, "ERR "}, {POLLPRI, "PRI "}};
  for (const auto& [bit, name] : names) {
    if ((mask & bit) != 0) out += name;
  }
  return out;
}

TEST(UnitCheckTest, ThisKernelBehaves) {
  const UnitCheck check = check_units();
  EXPECT_TRUE(check.stream_ok);
  EXPECT_TRUE(check.seqpacket_ok);
  EXPECT_TRUE(check.peek_offset_ok);
  EXPECT_TRUE(check.outq_ok);
}

TEST(StackEndTest, BrokenUnitsAreFaults) {
  struct Row {
    const char* says;
    std::vector<std::size_t> sizes;
    std::uint32_t type;
    StackEnd::Fault fault;
  };
  const Row rows[] = {
      {"short", {10}, static_cast<std::uint32_t>(UnitType::stall), StackEnd::Fault::short_unit},
      {"long", {100}, static_cast<std::uint32_t>(UnitType::stall), StackEnd::Fault::short_unit},
      {"unknown", {64}, 0x12345678, StackEnd::Fault::unknown_unit},
      {"good", {64, 64}, static_cast<std::uint32_t>(UnitType::stall), StackEnd::Fault::none},
  };
  for (const int type : {SOCK_STREAM, SOCK_SEQPACKET}) {
    for (const Row& row : rows) {
      SCOPED_TRACE(testing::Message() << row.says << " type " << type);
      Rig rig{type};
      char bytes[128]{};
      std::memcpy(bytes, &row.type, sizeof row.type);
      for (const std::size_t n : row.sizes) send(rig.program(), bytes, n, 0);
      auto arrivals = rig.end.inspect();
      EXPECT_EQ(arrivals.fault, row.fault);
    }
  }
}

TEST(StackEndTest, AttachIsTakenAtOnceAndShowsTheNonce) {
  for (const int type : {SOCK_STREAM, SOCK_SEQPACKET}) {
    Rig rig{type};
    const Unit stall = Unit::stall(), attach = Unit::attach(77);
    send(rig.program(), &stall, sizeof stall, 0);
    send(rig.program(), &attach, sizeof attach, 0);
    const auto arrivals = rig.end.inspect();
    EXPECT_TRUE(arrivals.attach && arrivals.more);
    EXPECT_EQ(arrivals.unit.nonce, 77u);
    EXPECT_EQ(arrivals.stalls, 1u);
    EXPECT_EQ(rig.end.queued(), 2u) << "ballast and stall";
    EXPECT_EQ(poll_mask(rig.program()), 0);
    EXPECT_TRUE(rig.end.take_unit());
    EXPECT_FALSE(rig.end.take_unit()) << "the ballast stays";
    EXPECT_EQ(poll_mask(rig.program()), POLLOUT);
  }
}

TEST(StackEndTest, TheLastCloseIsSeen) {
  for (const int type : {SOCK_STREAM, SOCK_SEQPACKET}) {
    Rig rig{type};
    EXPECT_FALSE(rig.end.inspect().closed);
    rig.close_program();
    EXPECT_TRUE(rig.end.inspect().closed);
    EXPECT_NE(poll_mask(rig.stack()) & POLLHUP, 0);
    EXPECT_EQ(rig.end.send_token(), StackIo::Sent::gone);
  }
}

TEST(ProgramEndTest, TheSleepIsTheKernelsOwn) {
  Rig rig;
  EXPECT_EQ(sleep_for_token(rig.program()), EAGAIN) << "O_NONBLOCK";
  rig.put(1);
  rig.producer.flush(rig.end);
  EXPECT_EQ(sleep_for_token(rig.program()), 0);
  EXPECT_EQ(sleep_for_token(rig.program()), 0) << "the byte is not taken";
  rig.close_stack();
  TestEnd io{rig, 1, {}};
  EXPECT_TRUE(io.take_token());
  EXPECT_TRUE(sleep_for_token(rig.program()) == ECONNRESET || sleep_for_token(rig.program()) == kSleepEof);
  EXPECT_EQ(io.await_token(), ProgramIo::Await::gone);
  EXPECT_EQ(io.send_stall(), ProgramIo::Stalled::gone);
}

TEST(SendSleep, EndsWithTheStack) {
  Rig rig;
  TestEnd io{rig, 1, {}};
  SendRingWriter writer{*rig.slot, rig.arena(), rig.arena_size(), io};
  EXPECT_EQ(writer.sleep_for_room(rig.shared->alive, -1), 0) << "not stalled";
  std::vector<std::byte> bytes(Rig::kRing);
  const iovec piece{bytes.data(), bytes.size()};
  ASSERT_EQ(writer.write({&piece, 1}).bytes, Rig::kRing);
  EXPECT_EQ(writer.sleep_for_room(rig.shared->alive, 1'000'000), ETIMEDOUT);
  rig.shared->alive = 0;
  EXPECT_EQ(writer.sleep_for_room(rig.shared->alive, -1), EPIPE);
}

TEST(SendSleep, TheDeathOfTheShardsThreadWakesAllSleepers) {
  Rig rig;
  std::vector<std::byte> bytes(Rig::kRing);
  {
    TestEnd io{rig, 1, {}};
    SendRingWriter writer{*rig.slot, rig.arena(), rig.arena_size(), io};
    const iovec piece{bytes.data(), bytes.size()};
    ASSERT_EQ(writer.write({&piece, 1}).bytes, Rig::kRing);
  }
  rig.shared->alive = 0;
  const pid_t shard = fork();
  if (shard == 0) {
    static AliveNode node{};
    if (!bind_alive(rig.shared->alive, node)) _exit(1);
    for (;;) pause();
  }
  ASSERT_TRUE(eventually([&] { return shard_alive(rig.shared->alive); }));
  Crew sleepers{3, true, [&](int id) {
                  TestEnd io{rig, static_cast<std::uint64_t>(id), {}};
                  SendRingWriter writer{*rig.slot, rig.arena(), rig.arena_size(), io};
                  rig.shared->ready.fetch_add(1);
                  while (writer.sleep_for_room(rig.shared->alive, -1) != EPIPE) {
                  }
                }};
  ASSERT_TRUE(eventually([&] { return rig.shared->ready == 3 && SendWord{rig.slot->tx_word.load()}.waiters(); }));
  kill(shard, SIGKILL);
  EXPECT_TRUE(sleepers.join());
  waitpid(shard, nullptr, 0);
}

// ---------------------------------------------------------------------------------------------- end states

struct TcpPair {
  int program = -1, peer = -1;
  TcpPair() {
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t n = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (bind(listener, generic, n) == 0 && listen(listener, 1) == 0 && getsockname(listener, generic, &n) == 0) {
      program = socket(AF_INET, SOCK_STREAM, 0);
      if (connect(program, generic, n) == 0) peer = accept(listener, nullptr, nullptr);
    }
    close(listener);
  }
  ~TcpPair() {
    close_peer();
    if (program >= 0) close(program);
  }
  TcpPair(const TcpPair&) = delete;
  TcpPair& operator=(const TcpPair&) = delete;
  void close_peer() {
    if (peer >= 0) close(peer);
    peer = -1;
  }
  void reset() {
    const linger now{1, 0};
    setsockopt(peer, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close_peer();
  }
  void fill() const {
    const std::vector<char> bytes(1 << 20);
    while (send(program, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
    }
  }
};

void publish_data(Rig& rig) {
  rig.put(1);
  rig.producer.flush(rig.end);
}
void stall(Rig& rig) {
  TestEnd io{rig, 1, {}};
  SendRingWriter writer{*rig.slot, rig.arena(), rig.arena_size(), io};
  const std::vector<std::byte> bytes(Rig::kRing);
  const iovec piece{const_cast<std::byte*>(bytes.data()), bytes.size()};
  writer.write({&piece, 1});
  rig.end.inspect();
}

struct EndState {
  const char* says;
  void (*ours)(Rig&);
  void (*tcp)(TcpPair&);
  int mask;  ///< what kernel TCP shows
};

const EndState kEndStates[] = {
    {"nothing", [](Rig&) {}, [](TcpPair&) {}, POLLOUT},
    {"data", [](Rig& r) { publish_data(r); }, [](TcpPair& t) { send(t.peer, "x", 1, 0); }, POLLIN | POLLOUT},
    {"FIN", [](Rig& r) { r.end.show_fin(); }, [](TcpPair& t) { shutdown(t.peer, SHUT_WR); },
     POLLIN | POLLOUT | POLLRDHUP},
    {"data, then FIN", [](Rig& r) { publish_data(r), r.end.show_fin(); },
     [](TcpPair& t) { send(t.peer, "x", 1, 0), shutdown(t.peer, SHUT_WR); }, POLLIN | POLLOUT | POLLRDHUP},
    {"reset", [](Rig& r) { r.close_stack(); }, [](TcpPair& t) { t.reset(); },
     POLLIN | POLLOUT | POLLRDHUP | POLLHUP | POLLERR},
    {"data, then reset", [](Rig& r) { publish_data(r), r.close_stack(); },
     [](TcpPair& t) { send(t.peer, "x", 1, 0), t.reset(); }, POLLIN | POLLOUT | POLLRDHUP | POLLHUP | POLLERR},
    {"stalled", [](Rig& r) { stall(r); }, [](TcpPair& t) { t.fill(); }, 0},
    {"stalled, then reset", [](Rig& r) { stall(r), r.close_stack(); }, [](TcpPair& t) { t.fill(), t.reset(); },
     POLLIN | POLLOUT | POLLRDHUP | POLLHUP | POLLERR},
    {"SHUT_RD", [](Rig& r) { shutdown(r.program(), SHUT_RD); }, [](TcpPair& t) { shutdown(t.program, SHUT_RD); },
     POLLIN | POLLOUT | POLLRDHUP},
    {"SHUT_WR", [](Rig& r) { shutdown(r.program(), SHUT_WR), r.end.drain_to_ballast(); },
     [](TcpPair& t) { shutdown(t.program, SHUT_WR); }, POLLOUT},
    {"stalled, then SHUT_WR", [](Rig& r) { stall(r), shutdown(r.program(), SHUT_WR), r.end.drain_to_ballast(); },
     [](TcpPair& t) { t.fill(), shutdown(t.program, SHUT_WR); }, POLLOUT},
    {"SHUT_RDWR", [](Rig& r) { shutdown(r.program(), SHUT_RDWR); },
     [](TcpPair& t) { shutdown(t.program, SHUT_RDWR); }, POLLIN | POLLOUT | POLLRDHUP | POLLHUP},
    {"both FINs", [](Rig& r) { shutdown(r.program(), SHUT_WR), r.end.show_fin(); },
     [](TcpPair& t) { shutdown(t.program, SHUT_WR), shutdown(t.peer, SHUT_WR); },
     POLLIN | POLLOUT | POLLRDHUP | POLLHUP},
};

class EpollEdge {
 public:
  explicit EpollEdge(int fd) {
    epoll_event interest{.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET, .data = {}};
    epoll_ctl(ep_, EPOLL_CTL_ADD, fd, &interest);
    next();
  }
  ~EpollEdge() { close(ep_); }
  EpollEdge(const EpollEdge&) = delete;
  EpollEdge& operator=(const EpollEdge&) = delete;
  int next() const {
    epoll_event event{};
    return epoll_wait(ep_, &event, 1, 0) > 0 ? static_cast<int>(event.events) : 0;
  }

 private:
  int ep_ = epoll_create1(EPOLL_CLOEXEC);
};

TEST(EndStates, PollAsKernelTcpDoes) {
  for (const EndState& row : kEndStates) {
    SCOPED_TRACE(row.says);
    TcpPair tcp;
    if (tcp.peer < 0) GTEST_SKIP() << "the host's loopback is down";
    const EpollEdge tcp_edge{tcp.program};
    row.tcp(tcp);
    EXPECT_TRUE(eventually([&] { return poll_mask(tcp.program) == row.mask; }))
        << "kernel TCP shows " << mask_name(poll_mask(tcp.program));
    Rig rig;
    const EpollEdge edge{rig.program()};
    row.ours(rig);
    EXPECT_EQ(poll_mask(rig.program()), row.mask) << mask_name(poll_mask(rig.program()));
    const int ours = edge.next();
    EXPECT_EQ(ours, tcp_edge.next()) << "edge: " << mask_name(ours);
  }
}

TEST(EndStates, SequencedPacketsShowTheSame) {
  for (const EndState& row : kEndStates) {
    SCOPED_TRACE(row.says);
    Rig rig{SOCK_SEQPACKET};
    if (row.says == std::string_view{"stalled"} || row.says == std::string_view{"stalled, then SHUT_WR"}) continue;
    row.ours(rig);
    EXPECT_EQ(poll_mask(rig.program()), row.mask) << mask_name(poll_mask(rig.program()));
  }
}

TEST(EndStates, UrgentDataShowsPri) {
  Rig rig;
  EXPECT_EQ(rig.end.send_urgent(), StackIo::Sent::done);
  EXPECT_NE(poll_mask(rig.program()) & POLLPRI, 0);
}

TEST(EndStates, AnEdgeReturnsWhenTheStallIsLifted) {
  Rig rig;
  const EpollEdge edge{rig.program()};
  stall(rig);
  EXPECT_EQ(edge.next(), 0);
  rig.consumer.checked_tail();
  rig.consumer.consume_to(Rig::kRing, rig.end);
  EXPECT_EQ(edge.next(), POLLOUT);
  EXPECT_EQ(poll_mask(rig.program()), POLLOUT);
}

}  // namespace
}  // namespace iopkt::ipc::test
