// Calls that other threads want a thread to make.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

namespace iopkt::daemon {

using Task = std::move_only_function<void()>;

class Mailbox {
 public:
  /// Any thread. Tasks of one thread are run in their order.
  void post(Task task) {
    const std::lock_guard guard{lock_};
    tasks_.push_back(std::move(task));
    waiting_.store(true, std::memory_order_seq_cst);
  }
  bool empty() const { return !waiting_.load(std::memory_order_seq_cst); }
  /// The owner: everything that was posted, in order.
  std::vector<Task> take() {
    if (empty()) return {};
    const std::lock_guard guard{lock_};
    waiting_.store(false, std::memory_order_seq_cst);
    return std::exchange(tasks_, {});
  }

 private:
  std::mutex lock_;
  std::vector<Task> tasks_;
  std::atomic<bool> waiting_{false};
};

}  // namespace iopkt::daemon
