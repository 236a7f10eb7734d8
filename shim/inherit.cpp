// Attaching foreign descriptors.
#include "shim/inherit.hpp"

#include <errno.h>
#include <string.h>

#include "shim/candidates.hpp"
#include "shim/native.hpp"
#include "shim/sockets.hpp"
#include "shim/stdio.hpp"

namespace iopkt::shim {

namespace {

/// Takes the socket in. One of another client is only given to who proves possession, by a unit that arrives
/// at the stack's end. A failure leaves the descriptor as it is: of no use, but unharmed.
void adopt(const Candidate& c) {
  Entry entry;
  Request request;
  if (request.error() != 0 || c.fd >= kTableSize) return;
  if (c.slot != ipc::kNoSlot) {
    if (request.entry_from({.slot = c.slot, .nonce = 0, .incarnation = 0, .reserved = 0}, c.datagram,
                           entry) != 0)
      return;
  } else {
    if (!c.attached) return;
    ipc::AttachBeginAnswer begun{};
    if (request.call<ipc::MessageId::attach_begin>({.cookie = c.cookie}, begun) != 0) return;
    const ipc::Unit unit = ipc::Unit::attach(begun.nonce);
    if (native::send(c.fd, &unit, sizeof unit, MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof unit) return;
    ipc::SlotAnswer answer{};
    if (request.call<ipc::MessageId::attach_finish>({.nonce = begun.nonce}, answer) != 0) return;
    if (request.entry_from(answer, c.datagram, entry) != 0) return;
  }
  client_word(socket_of(entry), ClientWord::shared).store(1, std::memory_order_relaxed);
  add_holder(c.fd, entry);
}

class Batch {
 public:
  void add(int fd) {
    if (entry_of(fd).flags() != 0 || !examine(fd, list_[count_])) return;
    if (++count_ == kCandidates) flush();
  }
  void flush() {
    if (count_ > 0 && look_up({list_, count_})) {
      for (std::size_t i = 0; i < count_; ++i) adopt(list_[i]);
    }
    count_ = 0;
  }

 private:
  Candidate list_[kCandidates];
  std::size_t count_ = 0;
};

}  // namespace

void adopt_inherited() {
  const KeepErrno keep;
  Batch batch;
  const auto add = [&](int fd) { batch.add(fd); };
  for_each_fd(add);
  batch.flush();
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd)
    if (entry_of(fd).ours()) serve_standard_stream(fd);
}

void adopt_received(const msghdr& message) {
  const KeepErrno keep;
  Batch batch;
  msghdr& m = const_cast<msghdr&>(message);  // CMSG_NXTHDR only reads
  for (cmsghdr* c = CMSG_FIRSTHDR(&m); c != nullptr; c = CMSG_NXTHDR(&m, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd;
      memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
      batch.add(fd);
    }
  }
  batch.flush();
}

}  // namespace iopkt::shim
