// Sockets that a program without this library inherits.
#include "shim/handover.hpp"

#include <unistd.h>

#include <atomic>

#include "shim/candidates.hpp"
#include "shim/program.hpp"
#include "shim/sockets.hpp"
#include "shim/stream.hpp"

namespace iopkt::shim {

namespace {

void hand_over_one(const Candidate& c) {
  static constinit std::atomic<bool> said{false};
  bool done = false;
  if (c.slot != ipc::kNoSlot && !c.datagram && c.attached) {
    Entry entry;
    int error;
    {
      Request request;
      error = request.error();
      if (error == 0)
        error =
            request.entry_from({.slot = c.slot, .nonce = 0, .incarnation = 0, .reserved = 0}, false, entry);
    }
    done = error == 0 && make_streaming(c.fd, socket_of(entry));
  }
  // A leaked descriptor is nobody's loss; as a standard stream it is meant to be used.
  if (!done && (c.attached || c.slot != ipc::kNoSlot) && c.fd <= STDERR_FILENO)
    say(said, "a program without this library gets a socket that it cannot use: not a connected TCP socket");
}

class Batch {
 public:
  void add(int fd) {
    if (!examine(fd, list_[count_])) return;
    if (++count_ == kCandidates) flush();
  }
  void flush() {
    // Without an answer no slot is known, which is said.
    if (count_ > 0) look_up({list_, count_});
    for (std::size_t i = 0; i < count_; ++i) hand_over_one(list_[i]);
    count_ = 0;
  }

 private:
  Candidate list_[kCandidates];
  std::size_t count_ = 0;
};

/// By the descriptors themselves: the table says nothing about those of a vfork child.
void hand_over_survivors() {
  const KeepErrno keep;
  Batch batch;
  for_each_fd([&](int fd) {
    if ((native::fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0) batch.add(fd);
  });
  batch.flush();
}

/// Descriptors named in file actions of spawns; the last ones.
struct Copied {
  std::atomic<int> fd{-1};
  std::atomic<std::uint64_t> entry;
};
constexpr std::size_t kCopied = 64;
constinit Copied g_copied[kCopied];
constinit std::atomic<std::size_t> g_copied_next{0};

void change_holders(bool more) {
  const int end = g_table_end.load(std::memory_order_acquire);
  for (int fd = 0; fd < end; ++fd) {
    const Entry entry = entry_of(fd);
    if (!entry.ours()) continue;
    std::atomic<std::uint64_t>& holders = client_word(socket_of(entry), ClientWord::holders);
    std::uint64_t before = holders.load();
    while ((more || before > 0) && !holders.compare_exchange_weak(before, more ? before + 1 : before - 1)) {
    }
  }
}

}  // namespace

ExecHandover::ExecHandover(const char* program, bool search, char* const* environment) {
  begin(!has_stack() || will_have_library(program, search, environment));
}
ExecHandover::ExecHandover(int program, char* const* environment) {
  begin(!has_stack() || will_have_library(program, environment));
}

void ExecHandover::begin(bool keeps_library) {
  if (keeps_library) return;
  hand_over_survivors();
  // A vfork child's table is its parent's.
  if (in_vfork_child()) return;
  change_holders(false);
  withdrawn_ = true;
}

ExecHandover::~ExecHandover() {
  if (withdrawn_) change_holders(true);
}

void hand_over_to_spawned(const char* program, bool search, char* const* environment) {
  if (!has_stack() || will_have_library(program, search, environment)) return;
  hand_over_survivors();
  for (const Copied& c : g_copied) {
    const int fd = c.fd.load(std::memory_order_acquire);
    const Entry entry{c.entry.load(std::memory_order_relaxed)};
    if (fd >= 0 && entry.ours() && unchanged(fd, entry)) make_streaming(fd, socket_of(entry));
  }
}

void note_spawn_copy(int fd) {
  const Entry entry = entry_of(fd);
  if (!entry.ours()) return;
  Copied& c = g_copied[g_copied_next.fetch_add(1, std::memory_order_relaxed) % kCopied];
  c.entry.store(entry.bits, std::memory_order_relaxed);
  c.fd.store(fd, std::memory_order_release);
}

}  // namespace iopkt::shim
