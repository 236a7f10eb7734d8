// Going to the background: the first process waits until the second one is up and tells the caller how that
// went.
#pragma once

namespace iopkt::daemon {

class Background {
 public:
  /// Forks. Returns in the child only; the first process waits and exits with 0 once the child is ready(), or
  /// with the child's status when it ends before that. Until then the child keeps standard error, the
  /// terminal's signals, and ends with its parent. Call while there is one thread. False: fork failed, errno
  /// is set, nothing has changed.
  [[nodiscard]] bool enter();

  /// Everything is up: a session of our own, standard streams on /dev/null, working directory '/'. Nothing
  /// without enter().
  void ready();

 private:
  int pipe_{-1};
};

}  // namespace iopkt::daemon
