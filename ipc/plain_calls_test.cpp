// The program's end in a process that a seccomp filter lets do little: with Calls::plain nothing is called
// but read, write, futex and (for a descriptor that blocks) poll; and a call that a filter refuses is made as
// a plain one.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

#include <array>

#include "ipc/test_rig.hpp"

namespace iopkt::ipc::test {
namespace {

/// What this folder calls otherwise, on its way to the same ends: on the descriptor, and at all.
constexpr std::array<long, 7> kOnTheDescriptor = {SYS_recvfrom,   SYS_sendto, SYS_recvmsg, SYS_sendmsg,
                                                  SYS_getsockopt, SYS_fcntl,  SYS_ioctl};
constexpr std::array<long, 10> kAtAll = {
    SYS_openat,          SYS_kill,  SYS_tgkill,     SYS_gettid, SYS_sched_yield, SYS_nanosleep,
    SYS_clock_nanosleep, SYS_ppoll, SYS_readlinkat, 449 /* futex_waitv */};

/// Lets everything through but these calls, which end in `action`. The stack's end of a rig, in the same
/// process, has its own descriptor.
void install(int fd, std::span<const long> on_descriptor, std::span<const long> at_all,
             std::uint32_t action) {
  std::vector<sock_filter> filter;
  const auto load = [&](std::size_t offset) {
    filter.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset)));
  };
  load(offsetof(seccomp_data, nr));
  for (const long call : at_all) {
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(call), 0, 1));
    filter.push_back(BPF_STMT(BPF_RET | BPF_K, action));
  }
  for (const long call : on_descriptor) {
    load(offsetof(seccomp_data, nr));
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(call), 0, 3));
    load(offsetof(seccomp_data, args));
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(fd), 0, 1));
    filter.push_back(BPF_STMT(BPF_RET | BPF_K, action));
  }
  filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog program{.len = static_cast<unsigned short>(filter.size()), .filter = filter.data()};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    _exit(99);
}

/// In a child: what `body` answers (0, or where it failed); negative: the signal that ended it.
template <class Body>
int in_child(Body body) {
  const pid_t pid = fork();
  if (pid == 0) {
    know_thread_id();
    _exit(body());
  }
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}
#define CHECK_HERE(condition) \
  if (!(condition)) return __LINE__ & 0x7f

/// Every use of the descriptor: taking and waiting for a token, a write that fills the ring and the stall,
/// reading, all with nobody else there to help.
int use_everything(Rig& rig, Calls calls) {
  ControlHeader no_shards{};
  const auto end = [&] { return ProgramEnd{rig.program(), *rig.slot, &no_shards, nullptr, 0, calls}; };
  ProgramEnd one = end();
  CHECK_HERE(!one.take_token());
  CHECK_HERE(rig.end.send_token() == StackIo::Sent::done);
  CHECK_HERE(one.take_token());
  CHECK_HERE(!one.take_token());
  for (int i = 0; i < 40; ++i) one.yield();
  CHECK_HERE(one.now_us() > 0);

  char bytes[Rig::kRing];
  const iovec piece{bytes, sizeof bytes};
  ProgramEnd io = end();
  ReceiveRingReader reader(*rig.slot, rig.arena(), rig.arena_size(), io);
  CHECK_HERE(rig.put(100) && !rig.producer.flush(rig.end));
  CHECK_HERE(poll_mask(rig.program()) == (POLLIN | POLLOUT));
  CHECK_HERE(reader.read({&piece, 1}).bytes == 100);
  CHECK_HERE(poll_mask(rig.program()) == POLLOUT);
  CHECK_HERE(reader.read({&piece, 1}).kind == ReadOutcome::Kind::empty);

  SendRingWriter writer(*rig.slot, rig.arena(), rig.arena_size(), io);
  CHECK_HERE(writer.write({&piece, 1}).bytes == sizeof bytes);
  CHECK_HERE(poll_mask(rig.program()) == 0);
  CHECK_HERE(writer.write({&piece, 1}).kind == WriteOutcome::Kind::full);
  return 0;
}

void make_blocking(int fd, bool blocking) {
  const int flags = fcntl(fd, F_GETFL);
  ASSERT_EQ(fcntl(fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK), 0);
}

TEST(PlainCallsTest, NothingElseIsCalled) {
  for (const bool blocking : {true, false}) {
    SCOPED_TRACE(blocking);
    Rig rig;
    make_blocking(rig.program(), blocking);
    const int failed_at = in_child([&] {
      install(rig.program(), kOnTheDescriptor, kAtAll, SECCOMP_RET_KILL_PROCESS);
      return use_everything(rig, blocking ? Calls::plain : Calls::plain_nonblocking);
    });
    EXPECT_EQ(failed_at, 0);
  }
}

TEST(PlainCallsTest, WhatIsRefusedIsMadeAsAPlainCall) {
  for (const int error : {EPERM, EACCES, ENOSYS}) {
    SCOPED_TRACE(error);
    Rig rig;
    make_blocking(rig.program(), true);
    const int failed_at = in_child([&] {
      install(rig.program(), kOnTheDescriptor, kAtAll, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(error));
      return use_everything(rig, Calls::all);
    });
    EXPECT_EQ(failed_at, 0);
  }
}

}  // namespace
}  // namespace iopkt::ipc::test
