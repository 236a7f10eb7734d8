// What the process asks of the system for itself.
#include "privileges.hpp"

#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

namespace iopkt::daemon {

std::uint64_t raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  const rlim_t before = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  return ::setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : before;
}

std::uint64_t descriptor_limit() {
  rlimit limit{};
  return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
}

std::uint32_t usable_cpus() {
  // The mask must have room for all CPUs of the machine; EINVAL: it has not.
  for (int cpus = 1024; cpus <= 1 << 20; cpus *= 2) {
    cpu_set_t* set = CPU_ALLOC(cpus);
    if (!set) return 1;
    const int rc = ::sched_getaffinity(0, CPU_ALLOC_SIZE(cpus), set);
    const int count = rc == 0 ? CPU_COUNT_S(CPU_ALLOC_SIZE(cpus), set) : 0;
    CPU_FREE(set);
    if (rc == 0) return static_cast<std::uint32_t>(std::max(count, 1));
    if (errno != EINVAL) return 1;
  }
  return 1;
}

void name_thread(const char* name) {
  char text[16];
  std::strncpy(text, name, sizeof text - 1);
  text[sizeof text - 1] = '\0';
  ::pthread_setname_np(::pthread_self(), text);
}

bool take_priority(LogSink& log, std::uint32_t priority, const char* option) {
  sched_param parameters{};
  parameters.sched_priority = static_cast<int>(std::clamp<std::uint32_t>(priority, 1, 99));
  // Of the calling thread. What drivers or we start with fork shall not be real-time.
  if (::sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &parameters) == 0) return true;
  log.write(LogLevel::warning, std::string{"option "} + option + ": priority " + std::to_string(priority) +
                                   ": " + std::strerror(errno) + "; the default scheduler is used");
  return false;
}

Expected<void, StartFault> give_up_hardware_io() {
  const auto failed = [](const char* what) {
    return unexpected(
        StartFault{StartFault::kFailed, std::string{"option -I: "} + what + ": " + std::strerror(errno)});
  };
  // The system call itself, as libcap may be missing from the build; version 3 has two words of 32
  // capabilities.
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3]{};
  if (::syscall(SYS_capget, &header, data) != 0) return failed("capget");
  auto& word = data[CAP_TO_INDEX(CAP_SYS_RAWIO)];
  // From the bounding set first, which needs CAP_SETPCAP; without it the process could not regain it but by
  // exec.
  if (::prctl(PR_CAPBSET_READ, CAP_SYS_RAWIO) == 1 && ::prctl(PR_CAPBSET_DROP, CAP_SYS_RAWIO) != 0 &&
      errno != EPERM)
    return failed("bounding set");
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_LOWER, CAP_SYS_RAWIO, 0, 0);
  for (auto* set : {&word.effective, &word.permitted, &word.inheritable}) *set &= ~CAP_TO_MASK(CAP_SYS_RAWIO);
  if (::syscall(SYS_capset, &header, data) != 0) return failed("capset");
  return {};
}

Expected<void, StartFault> check_iommu(const char* folder) {
  std::error_code fault;
  const std::filesystem::directory_iterator units{folder, fault};
  if (!fault && units != std::filesystem::directory_iterator{}) return {};
  return unexpected(StartFault{StartFault::kFailed, std::string{"option smmu=on: there is no IOMMU in "} + folder});
}

Expected<void, StartFault> check_random_source() {
  std::uint8_t byte = 0;
  if (::getrandom(&byte, 1, GRND_NONBLOCK) == 1) return {};
  return unexpected(StartFault{StartFault::kFailed, errno == EAGAIN
                                                        ? "the system's random source is not seeded yet"
                                                        : std::string{"getrandom: "} + std::strerror(errno)});
}

}  // namespace iopkt::daemon
