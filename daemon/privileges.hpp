// What the process asks of the system for itself: descriptors, priorities, thread names, a seeded random
// source.
#pragma once

#include <cstdint>
#include <string>

#include "base/expected.hpp"
#include "base/log.hpp"
#include "start_fault.hpp"

namespace iopkt::daemon {

/// Raises the soft limit of open descriptors to the hard one. Answers the limit that holds.
std::uint64_t raise_descriptor_limit();
/// The limit that holds now.
std::uint64_t descriptor_limit();

/// CPUs that this process may run on, at least 1.
std::uint32_t usable_cpus();

/// Names the calling thread, at most 15 bytes, as thread listings show it.
void name_thread(const char* name);

/// Gives the calling thread SCHED_RR with `priority` (1..99). Where that is not permitted it keeps the
/// default scheduler, and one line is logged that names `option`. True: it has the priority. A child of fork
/// starts with the default.
bool take_priority(LogSink& log, std::uint32_t priority, const char* option);

/// -I: gives up raw hardware I/O (CAP_SYS_RAWIO: ports, physical memory, MSRs) for this process and all that
/// it starts. Before other threads are made. Status 1 when the system does not let it go.
Expected<void, StartFault> give_up_hardware_io();

/// smmu=on: fails, with status 1, where the kernel shows no IOMMU in `folder`.
Expected<void, StartFault> check_iommu(const char* folder = "/sys/class/iommu");

/// Fails, with status 1, while the kernel's random source is not seeded.
Expected<void, StartFault> check_random_source();

}  // namespace iopkt::daemon
