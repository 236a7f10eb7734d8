// The loader: search path, dlopen, checks of what the object says about itself, open and unload.
#include "plugins.hpp"

#include <dirent.h>
#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/assert.hpp"
#include "crash.hpp"
#include "run_on_stack.hpp"

namespace iopkt::daemon {
namespace {

constexpr std::string_view kPrefix = "devnp-", kSuffix = ".so";

/// Oldest record that can be used: everything of ABI 1.
constexpr std::size_t kRecordSizeMin = offsetof(iopkt_driver, open) + sizeof(iopkt_driver::open);

void add_directories(std::vector<std::string>& path, const char* list) {
  if (!list) return;
  std::string_view rest{list};
  while (!rest.empty()) {
    const auto colon = rest.find(':');
    const std::string_view directory = rest.substr(0, colon);
    rest.remove_prefix(colon == rest.npos ? rest.size() : colon + 1);
    // An empty or relative one would mean the working directory of whoever started us.
    if (directory.starts_with('/')) path.emplace_back(directory);
  }
}

/// lib/io-pkt beside the directory of the executable, in the build and when installed; empty: cannot be told.
std::string own_directory() {
  char path[PATH_MAX];
  const ssize_t size = ::readlink("/proc/self/exe", path, sizeof path);
  if (size <= 0 || size == sizeof path) return {};
  std::string_view text{path, static_cast<std::size_t>(size)};
  for (int level = 0; level < 2; ++level) text = text.substr(0, text.rfind('/'));
  return std::string{text} + "/lib/io-pkt";
}

std::string bare_name(std::string_view name) {
  if (name.starts_with(kPrefix)) name.remove_prefix(kPrefix.size());
  if (name.ends_with(kSuffix)) name.remove_suffix(kSuffix.size());
  return std::string{name};
}

PluginFault fault(PluginFault::Kind kind, int error, std::string_view driver, std::string_view reason) {
  return {kind, error, "driver " + std::string{driver} + ": " + std::string{reason}};
}

/// The file to load, or why there is none.
Expected<std::string, PluginFault> find_file(const std::string& name, const std::vector<std::string>& path) {
  if (name.find('/') != name.npos) {
    if (::access(name.c_str(), R_OK) == 0) return name;
    return unexpected(fault(PluginFault::Kind::not_found, errno, name, std::strerror(errno)));
  }
  if (name.starts_with("lsm-autoip"))
    return unexpected(fault(PluginFault::Kind::not_found, ENOENT, name, "is built in: ifconfig INTERFACE autoip"));
  if (name.starts_with("lsm-"))
    return unexpected(fault(PluginFault::Kind::not_found, ENOENT, name, "modules are not built yet"));
  const std::string file = std::string{kPrefix} + bare_name(name) + std::string{kSuffix};
  for (const std::string& directory : path) {
    std::string candidate = directory;
    candidate.append("/").append(file);
    if (::access(candidate.c_str(), R_OK) == 0) return candidate;
  }
  std::string reason = "no " + file + " in";
  for (const std::string& directory : path) reason.append(" ").append(directory);
  reason += "; known:";
  for (const std::string& known : known_drivers(path)) reason.append(" ").append(known);
  return unexpected(fault(PluginFault::Kind::not_found, ENOENT, name, reason));
}

}  // namespace

std::vector<std::string> driver_path() {
  std::vector<std::string> path;
  add_directories(path, ::secure_getenv("IOPKT_DRIVER_PATH"));
  if (std::string directory = own_directory(); !directory.empty()) path.push_back(std::move(directory));
  add_directories(path, ::secure_getenv("LD_LIBRARY_PATH"));
  return path;
}

std::vector<std::string> known_drivers(const std::vector<std::string>& path) {
  std::vector<std::string> names;
  for (const std::string& directory : path) {
    DIR* open = ::opendir(directory.c_str());
    if (!open) continue;
    while (const dirent* entry = ::readdir(open)) {
      const std::string_view file{entry->d_name};
      if (file.starts_with(kPrefix) && file.ends_with(kSuffix)) names.push_back(bare_name(file));
    }
    ::closedir(open);
  }
  std::ranges::sort(names);
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

namespace {

/// After a fault of ours: best effort to leave the host as it was.
void stop_after_crash(void* argument) {
  const auto& interface = *static_cast<const AttachedInterface*>(argument);
  interface.ops.stop(interface.info.device);
  interface.ops.detach(interface.info.device);
}

}  // namespace

Plugins::Plugins(DriverHost& host, PluginSettings settings) : host_(host), settings_(std::move(settings)) {}

Plugins::~Plugins() {
  for (AttachedInterface* interface : interfaces()) remove_crash_hook(stop_after_crash, interface);
  // Last come, first gone: a later driver may stand on an earlier one's host interface.
  while (!drivers_.empty()) drivers_.pop_back();
}

Expected<std::unique_ptr<Driver>, PluginFault> Plugins::prepare(const DriverRequest& request) {
  auto file = find_file(request.driver, settings_.path);
  if (!file) return unexpected(std::move(file.error()));

  void* object = nullptr;
  std::string message;
  const int rc = run_on_stack(settings_.load_stack, "io-pkt.load", [&] {
    object = ::dlopen(file->c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!object) message = ::dlerror();
  });
  if (rc != 0) return unexpected(fault(PluginFault::Kind::failed, rc, request.driver, std::strerror(rc)));
  if (!object) return unexpected(fault(PluginFault::Kind::unusable, ENOEXEC, request.driver, message));

  std::unique_ptr<Driver> driver{new Driver{*this, object, *file}};
  if (const std::string reason = driver->read_record(); !reason.empty())
    return unexpected(fault(PluginFault::Kind::unusable, ENOEXEC, request.driver, reason));
  auto options = parse_driver_options(driver->record_, request.options);
  if (!options)
    return unexpected(PluginFault{PluginFault::Kind::bad_option, EINVAL, std::move(options.error())});
  if (is_reserved_prefix(options->name))
    return unexpected(fault(PluginFault::Kind::bad_option, EINVAL, driver->record_.name,
                            "option name=" + options->name + ": the prefix of created interfaces"));
  driver->options_ = std::move(*options);
  driver->options_.generic.rx_queues = settings_.rx_queues;
  return driver;
}

Expected<std::vector<AttachedInterface*>, PluginFault> Plugins::open(std::unique_ptr<Driver> driver) {
  int rc = 0;
  const int stack_rc = run_on_stack(settings_.load_stack, "io-pkt.load", [&] { rc = driver->open(); });
  if (stack_rc != 0) rc = -stack_rc;
  if (rc >= 0 && driver->interfaces_.empty()) rc = -ENODEV;
  if (rc < 0) {
    std::string reason = "cannot start: ";
    reason += std::strerror(-rc);
    if (!driver->last_fault_.empty()) reason.append(" (").append(driver->last_fault_).append(")");
    return unexpected(fault(PluginFault::Kind::failed, -rc, driver->record_.name, reason));
  }
  if (!driver->last_fault_.empty()) host_.log(LogLevel::error, std::exchange(driver->last_fault_, {}));
  std::vector<AttachedInterface*> attached;
  for (const auto& interface : driver->interfaces_) {
    attached.push_back(interface.get());
    add_crash_hook(stop_after_crash, interface.get());
  }
  drivers_.push_back(std::move(driver));
  return attached;
}

Expected<std::vector<AttachedInterface*>, PluginFault> Plugins::load(const DriverRequest& request) {
  auto driver = prepare(request);
  if (!driver) return unexpected(std::move(driver.error()));
  auto attached = open(std::move(*driver));
  // Who asked is told, and so is the operator.
  if (!attached) host_.log(LogLevel::error, attached.error().line);
  return attached;
}

void Plugins::destroy(AttachedInterface& interface) {
  Driver& driver = *interface.driver;
  const auto at = std::ranges::find(driver.interfaces_, &interface, &std::unique_ptr<AttachedInterface>::get);
  IOPKT_ASSERT(at != driver.interfaces_.end());
  remove_crash_hook(stop_after_crash, &interface);
  interface.ops.detach(interface.info.device);
  driver.interfaces_.erase(at);
  if (driver.interfaces_.empty())
    std::erase_if(drivers_, [&](const auto& loaded) { return loaded.get() == &driver; });
}

std::vector<AttachedInterface*> Plugins::interfaces() const {
  std::vector<AttachedInterface*> all;
  for (const auto& driver : drivers_)
    for (const auto& interface : driver->interfaces_) all.push_back(interface.get());
  return all;
}

AttachedInterface* Plugins::find(std::string_view name) const {
  for (const auto& driver : drivers_)
    for (const auto& interface : driver->interfaces_)
      if (interface->name == name) return interface.get();
  return nullptr;
}

bool Plugins::name_taken(std::string_view name) const { return find(name) || host_.name_taken(name); }

Driver::~Driver() {
  detach_all();
  ::dlclose(object_);
}

/// Copies the record, as far as the driver's own release knew it. The reason why it cannot be used, or empty.
std::string Driver::read_record() {
  const auto* record = static_cast<const iopkt_driver*>(::dlsym(object_, IOPKT_DRIVER_SYMBOL));
  if (!record) return "not a driver: no " IOPKT_DRIVER_SYMBOL;
  if (record->abi != IOPKT_DRIVER_ABI)
    return "built for driver ABI " + std::to_string(record->abi) + "; this is ABI " +
           std::to_string(IOPKT_DRIVER_ABI);
  if (record->size < kRecordSizeMin)
    return "its record is too small for ABI " + std::to_string(IOPKT_DRIVER_ABI);
  std::memcpy(&record_, record, std::min<std::size_t>(record->size, sizeof record_));
  if (!record_.name || !*record_.name || !record_.open) return "its record has no name or no open";
  return table_fault(record_);
}

}  // namespace iopkt::daemon
