// A running stack as commands see it: management verbs, sysctl and interface ioctls over one control
// connection.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/expected.hpp"
#include "client/channel.hpp"
#include "ipc/records.hpp"

namespace iopkt::client {

/// Why something was not done: a Linux errno, and the stack's line for a person (may be empty).
struct Failure {
  int error{};
  std::string line;
  /// The line, or else strerror(error).
  std::string text() const;
};

/// An answer made of records; walk it with ipc::RecordReader.
using Records = std::vector<std::byte>;

/// One connection to one stack. Calls block until the stack answers; when it dies meanwhile they fail with
/// ENOTCONN (or ECONNRESET). One thread at a time.
class Instance {
 public:
  /// The stack whose nodes lie under `prefix` ("" is /dev/socket). Errors: ENOENT and ECONNREFUSED mean that
  /// none runs there.
  static Expected<Instance, Failure> open(std::string_view prefix);
  /// The one that SOCK names.
  static Expected<Instance, Failure> open();
  /// By the path of its control node, for instances that are found by number.
  static Expected<Instance, Failure> open_node(std::string_view path);

  /// Carries out a verb: `arguments` are records without the leading text "verb", which is added.
  Expected<Records, Failure> manage(std::string_view verb, std::span<const std::byte> arguments = {});

  /// Variables by name, or by the beginning of names: a list "variables" of groups {name, value, type, ...}.
  Expected<Records, Failure> sysctl_get(std::string_view name);
  Expected<Records, Failure> sysctl_list(std::string_view prefix = {});
  /// Answers the same list with {name, old, value, type}.
  Expected<Records, Failure> sysctl_set(std::string_view name, std::string_view value);

  /// An interface ioctl on no socket in particular: `data` is the struct, in and out. What ioctl(2) returns.
  Expected<int, Failure> ioctl(std::uint64_t code, std::span<std::byte> data);

 private:
  Instance() = default;
  template <ipc::MessageId Id>
  Expected<Records, Failure> records_call(std::span<const std::byte> blob);
  static Expected<Instance, Failure> finish(Instance instance, int error, std::string_view where);

  struct State;
  struct Free {
    void operator()(State* state) const;
  };
  std::unique_ptr<State, Free> state_;
};

}  // namespace iopkt::client
