// The claim of one process on its instance number and on its prefix, and the directory where its nodes are.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/expected.hpp"
#include "node_access.hpp"
#include "options.hpp"
#include "start_fault.hpp"

namespace iopkt::daemon {

/// Holds both locks while it lives. The kernel drops them with the process, so that what a dead one left is
/// taken over at once. The locks belong to the process, not to descriptors: a child of fork has none of them,
/// and a claim must be made after the process went to the background.
class Instance {
 public:
  /// Makes the run directory and PREFIX/dev/socket, takes the locks and removes nodes that a dead process
  /// left. Errors: status 2, a user or group of -u is unknown (nothing was touched); status 1, the instance
  /// or the prefix is taken, a directory cannot be made or is not ours.
  static Expected<std::unique_ptr<Instance>, StartFault> claim(const Options& options);

  /// Removes what was published, every node of add_node, every socket in the node directory and in the folder
  /// of listeners, then unlocks.
  ~Instance();
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  /// PREFIX/dev/socket.
  const std::string& node_directory() const { return node_directory_; }

  /// The path of a node that the caller is about to make: whatever had this name is removed, and the node
  /// will be removed at the end. `name` has no '/'.
  std::string add_node(std::string_view name);

  /// Gives a node that was just made the owner and mode of -u's type "socket" (without -u: everybody). 0 or
  /// an errno.
  int give_access(const std::string& path) const { return apply_access(path, access_); }

  /// Everything is up: the record for `iopkt ps` and the control link for `mount` appear. Status 1 when they
  /// cannot.
  Expected<void, StartFault> publish();

 private:
  explicit Instance(const Options& options);
  Expected<void, StartFault> claim_number();
  Expected<void, StartFault> claim_prefix();
  Expected<void, StartFault> make_node_directory();
  void remove_sockets() const;

  Variant variant_;
  NodeAccess access_;
  std::uint32_t number_;
  std::string prefix_, run_directory_, node_directory_;
  std::vector<std::string> made_;   ///< directories, outermost first
  std::vector<std::string> files_;  ///< removed at the end
  int number_lock_{-1}, prefix_lock_{-1};
};

/// Bytes that a prefix may have so that each node fits a socket address.
std::size_t prefix_size_max();

}  // namespace iopkt::daemon
