// The process from its command line to its exit status; what runs the stack in between is an Engine.
#pragma once

#include <cstdint>
#include <memory>

#include "base/expected.hpp"
#include "instance.hpp"
#include "log.hpp"
#include "options.hpp"
#include "plugins.hpp"
#include "start_fault.hpp"

namespace iopkt::ipv6 {
struct Inet6;
}

namespace iopkt::daemon {

/// What an engine is made with; all of it outlives the engine.
struct EngineContext {
  const Options& options;
  std::uint32_t threads;  ///< -t, or one per CPU; 1..64
  Log& log;
  Instance& instance;
  const ipv6::Inet6* inet6 = nullptr;  ///< null: a stack without IPv6
};

/// The running stack: threads, clients, interfaces. All calls on the main thread, in the order below.
class Engine {
 public:
  virtual ~Engine() = default;
  /// What drivers may call from their open() on.
  virtual DriverHost& driver_host() = 0;
  /// Threads and nodes; takes up plugins.interfaces(). After it, clients are served. `plugins` outlives
  /// stop(); it is the engine's to call between start() and stop() (mount, destroy).
  virtual Expected<void, StartFault> start(Plugins& plugins) = 0;
  /// Serves what the main thread has to serve until `end` (a descriptor) polls readable. Answers the exit
  /// status, 0 when `end` was the reason; it may return early with another.
  virtual int run(int end) = 0;
  /// Ends clients and threads; stops the interfaces (ops.stop) and no longer calls them. Also after a failed
  /// start().
  virtual void stop() = 0;
};

using EngineFactory = std::unique_ptr<Engine> (*)(const EngineContext&);

/// main(). Statuses: 0 ended in order (or runs in the background), 1 the start failed, 2 the command line is
/// wrong. `inet6`: what makes the v6 variant of the stack; null in the other.
int run(Variant variant, int argc, const char* const* argv, EngineFactory make_engine, const ipv6::Inet6* inet6 = nullptr);

}  // namespace iopkt::daemon
