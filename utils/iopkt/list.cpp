#include <time.h>

#include "utils/iopkt/iopkt.hpp"

namespace iopkt::utils {

std::string show_instances(std::span<const ipc::InstanceRecord> records) {
  std::string out = format("%-8s %8s %-16s %-17s %s\n", "INSTANCE", "PID", "STARTED", "PROGRAM", "PREFIX");
  for (const ipc::InstanceRecord& one : records) {
    const time_t started = one.started;
    tm local{};
    char when[32] = "";
    if (::localtime_r(&started, &local) != nullptr) ::strftime(when, sizeof when, "%Y-%m-%d %H:%M", &local);
    out += format("%-8u %8d %-16s %-17s %s\n", one.instance, one.pid, when, one.variant.c_str(),
                  one.prefix.empty() ? "/" : one.prefix.c_str());
  }
  return out;
}

Node instances_tree(std::span<const ipc::InstanceRecord> records) {
  Node root;
  Node& list = root.add_list("instances");
  for (const ipc::InstanceRecord& one : records) {
    Node& entry = list.inner.emplace_back();
    entry.add_number("instance", one.instance).add_number("pid", static_cast<std::uint64_t>(one.pid));
    entry.add_number("started", static_cast<std::uint64_t>(one.started));
    entry.add_text("program", one.variant).add_text("prefix", one.prefix);
  }
  return root;
}

}  // namespace iopkt::utils
