// Carries out management verbs: src/control decides on shard 0's thread, devices are asked on the main thread, then the new Network
// is published. Changes go one after the other; whatever waits for the main thread holds a functional connection.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "client_request.hpp"
#include "control/verbs.hpp"
#include "functional_connections.hpp"
#include "interfaces_host.hpp"

namespace iopkt::daemon {

class VerbRunner {
 public:
  struct Parts {
    stack::Stack& stack;
    InterfacesHost& interfaces;
    std::vector<ShardThread*> threads;
    Plugins& plugins;
    const control::Surroundings& surroundings;
    std::function<void(const stack::Network&)> published;  ///< a verb has published it; shard 0's thread
    std::function<void(Task)> on_main;  ///< any thread: runs it on the main thread, soon
    std::size_t stack_bytes;            ///< of what may block there (option stacksize)
  };
  VerbRunner(Parts parts, FunctionalConnections::Limits limits, std::function<void(std::string)> complain);

  /// Answers now or later. Shard 0's thread, like everything here.
  void serve(RequestPtr request);
  /// The same for an ioctl that changes something: what it means is read when its turn has come, from the Network of then.
  void serve_ioctl(RequestPtr request);

  const FunctionalConnections& functional() const { return functional_; }

 private:
  struct Job;
  using JobPtr = std::shared_ptr<Job>;
  void start(const JobPtr& job);
  void queue(const JobPtr& job);
  void begin(const JobPtr& job);
  void gather(const JobPtr& job);
  void decide(const JobPtr& job);
  void finish(const JobPtr& job);
  int carry_out(const control::DeviceStep& step);
  void mount(const JobPtr& job);
  /// `work` on the main thread (which waits), on a stack of its own, then `then` on this thread.
  void on_main(Task work, Task then);

  Parts parts_;
  FunctionalConnections functional_;
  std::deque<JobPtr> changes_;  ///< the first one is being carried out
};

}  // namespace iopkt::daemon
