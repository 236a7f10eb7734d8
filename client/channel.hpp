// One control connection to a stack. No allocation, no exception, no lock: the shim uses it inside socket
// calls (it brings the lock), the utilities through client::Instance.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "ipc/messages.hpp"

namespace iopkt::client {

/// Whom a new connection speaks for.
struct Identity {
  bool utility{};                 ///< management only: no control page, no slots
  std::uint32_t parent_client{};  ///< a forked child: the client it belongs to
  std::uint64_t parent_secret{};
};

class Channel {
 public:
  /// What the stack said when it was greeted.
  struct Greeting {
    ipc::HelloAnswer answer{};
    std::array<int, ipc::kMessageFdsMax>
        fds{};  ///< control file, status file, one event descriptor per shard; the caller's
    std::size_t fd_count{};
  };

  Channel() = default;
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  bool is_open() const { return fd_ >= 0; }
  int fd() const { return fd_; }

  /// Connects to the control node at `path` and says hello. 0 or an errno: ENOENT or ECONNREFUSED (no stack
  /// there), EACCES, ENAMETOOLONG, EPROTONOSUPPORT (other release), or what the stack refused with. The
  /// descriptor is close-on-exec.
  int open(std::string_view prefix, const Identity& identity, Greeting& out);
  int open_node(std::string_view path, const Identity& identity, Greeting& out);
  /// Closes the descriptor, if it is open. For the child of a fork, where the number may be anything:
  /// forget().
  void close();
  void forget() { fd_ = -1; }
  /// From now on with no system calls but read and write, where no descriptors come with an answer
  /// (ipc::call).
  void use_plain_calls() { plain_ = true; }
  /// The descriptor now has this number (the caller has moved it out of the program's way).
  void moved_to(int fd) { fd_ = fd; }

  /// A request and its answer. Blocks. The caller makes sure that only one call is in progress.
  /// `scratch` of ipc::kMessageMin to ipc::kMessageMax bytes.
  template <ipc::MessageId Id>
  ipc::CallResult call(std::span<std::byte> scratch, const typename ipc::MessageTypes<Id>::Request& request,
                       typename ipc::MessageTypes<Id>::Answer& answer, std::span<const std::byte> blob = {},
                       std::span<std::byte> blob_out = {}, std::span<int> fds_out = {},
                       std::span<char> line_out = {}) {
    return ipc::call<Id>(fd_, scratch, message_max_, ++number_, request, blob, answer, blob_out, fds_out,
                         line_out, plain_);
  }
  std::size_t message_max() const { return message_max_; }

 private:
  int greet(const Identity& identity, Greeting& out);

  int fd_ = -1;
  std::size_t message_max_ = ipc::kMessageMin;
  std::uint32_t number_ = 0;
  bool plain_ = false;
};

}  // namespace iopkt::client
