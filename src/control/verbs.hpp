// Management verbs: what ifconfig, route, arp, sysctl and netstat ask of a stack. One row each; arguments and
// answers are records. A verb changes nothing itself: it answers the next Network and what devices have to do
// first. (Neighbour entries are the exception: they are changed at once.)
//
// Whoever runs the stack: collect() on every shard's thread if the row gathers; run() on shard 0's thread;
// then the device steps in order, on the thread that may call drivers; then decide_again() and publish `next`,
// on shard 0's thread. When a step fails nothing is published. Changes are carried out one after the other.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "control/value.hpp"
#include "control/variable.hpp"
#include "socket/errno.hpp"
#include "stack/network.hpp"
#include "stack/requests.hpp"

namespace iopkt::stack {
class Shard;
class Stack;
}  // namespace iopkt::stack

namespace iopkt::control {

using socket::Errno;
using stack::Network;

/// What only the shard's own thread can tell.
struct ShardPart {
  std::vector<stack::SocketSummary> sockets;
};
ShardPart collect(const stack::Shard& shard);

/// What a driver is asked to do before the change is published.
struct DeviceStep {
  enum class Kind : std::uint8_t { start, stop, set_mac, set_mtu, destroy };
  Kind kind{};
  std::uint32_t interface_index{};
  std::uint32_t mtu{};
  wire::MacAddress mac;
  friend bool operator==(const DeviceStep&, const DeviceStep&) = default;
};

/// What the process around the stack knows about an interface, its own variables and so on.
class Surroundings {
 public:
  virtual ~Surroundings() = default;
  /// Fields such as driver, description and the device's own counters (group "device") for an interface's
  /// record. May add nothing. Shard 0's thread.
  virtual void describe_device(const iface::Interface& interface, Record& out) const = 0;
  /// The tick counter, 1000 a second.
  virtual std::uint64_t hardclock_ticks() const = 0;
  /// Read-only variables of the process, qnx.kern.*, in the order of their names.
  virtual std::vector<Variable> variables() const { return {}; }
  /// Fields for `snapshot` and `info`: instance, prefix, variant, modules ...
  virtual void describe_process(Record& out) const = 0;
};

struct Context {
  stack::Stack& stack;
  const Surroundings& surroundings;
  bool privileged = false;                ///< the caller may change things
  std::span<const ShardPart> parts = {};  ///< one per shard, for rows that gather
};

struct Outcome {
  Errno error = Errno::ok;
  std::string line;  ///< for a person; without an error it is also the answer's text "remark"
  Record answer;
  std::optional<Network> next;
  std::vector<DeviceStep> steps;
};

struct VerbRow {
  std::string_view name;
  bool changes;                ///< needs a privileged caller
  bool gathers;                ///< needs ShardParts
  bool devices;                ///< may have device steps
  std::string_view arguments;  ///< names, parted by blanks; any other is refused
  Outcome (*handler)(const Context&, const Record& arguments);
};

std::span<const VerbRow> verb_rows();
const VerbRow* find_verb(std::string_view name);

/// Errors: perm (not privileged), inval (unknown argument), opnotsupp (unknown verb), and the verb's own.
Outcome run(const Context& context, std::string_view verb, const Record& arguments);

/// While devices were asked, links may have come or gone and discovery may have learned something: when the stack's Network is no
/// longer the one that `outcome.next` was made from, decides the same verb again on it. What the devices did is done: the steps
/// of the second decision are none. Errors: as run().
void decide_again(const Context& context, std::string_view verb, const Record& arguments, Outcome& outcome);

/// For those without devices: runs the verb on every shard from one thread and publishes at once; steps are
/// left undone.
Outcome run_here(stack::Stack& stack, const Surroundings& surroundings, bool privileged,
                 std::string_view verb, const Record& arguments);

}  // namespace iopkt::control
