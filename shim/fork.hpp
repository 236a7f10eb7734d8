// fork and vfork: what happens to the tables and locks of this library.
#pragma once

namespace iopkt::shim {

/// Called before anything that uses the lock or changes the table: reads the environment, learns the process
/// id, registers the fork handlers. In the child of a fork that ran no handlers (a bare clone), puts the
/// child's own state right. Idempotent.
void prepare_process();

// process.cpp; signals are blocked around them.
void lock_for_fork();
void unlock_after_fork_in_parent();
void restart_after_fork_in_child();

}  // namespace iopkt::shim
