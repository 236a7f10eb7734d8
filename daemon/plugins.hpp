// Loads devnp-*.so, opens them and keeps what they attached: the whole boundary between a driver and the
// stack.
#pragma once

#include <iopkt/driver.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/expected.hpp"
#include "base/log.hpp"
#include "driver_options.hpp"
#include "options.hpp"

namespace iopkt::daemon {

class Driver;

/// An interface that a driver attached. It stays at its address until Plugins::destroy.
struct AttachedInterface {
  std::string name;  ///< "en0"
  std::uint32_t unit{};
  iopkt_device_info info{};  ///< a copy: ops, prefix and description point into this record; never null
  iopkt_device_ops ops{};    ///< calls that the driver does not have are null
  std::string prefix, description;
  Driver* driver{};
  /// The carrier as the driver last told it; any thread.
  std::atomic<bool> link_up{};
  std::atomic<std::uint32_t> speed_mbps{};
  void* engine{};  ///< for whoever runs the interface; not touched here

  iopkt_interface* handle() { return reinterpret_cast<iopkt_interface*>(this); }
  static AttachedInterface& of(iopkt_interface* handle) {
    return *reinterpret_cast<AttachedInterface*>(handle);
  }
};

/// What the stack's threads give to drivers. Must outlive Plugins.
class DriverHost {
 public:
  virtual ~DriverHost() = default;
  /// iopkt_host::alloc and release, on the shard thread that is inside receive or transmit.
  virtual iopkt_frame* alloc(std::uint32_t capacity) = 0;
  virtual void release(iopkt_frame* frame) = 0;
  /// Any thread, from the moment of the attachment on; link_up and speed_mbps are set already.
  virtual void link_state(AttachedInterface& interface) = 0;
  /// Any thread.
  virtual void log(LogLevel level, std::string_view line) = 0;
  /// Whether an interface that no driver attached has this name (lo0, created ones). The control thread.
  virtual bool name_taken(std::string_view name) = 0;
};

struct PluginFault {
  enum class Kind : std::uint8_t {
    not_found,  ///< no such driver
    unusable,   ///< not a driver, another ABI, a table that makes no sense
    bad_option,
    failed,  ///< the driver found no device or could not open it
  };
  Kind kind{};
  int error{};       ///< positive errno for a client that asked
  std::string line;  ///< for a person, without a newline
};

struct PluginSettings {
  std::vector<std::string> path;  ///< directories, in order: driver_path()
  std::size_t load_stack{};       ///< drivers are loaded and opened on a stack of this size, bytes
  std::uint32_t rx_queues{1};     ///< the number of shards
};

/// IOPKT_DRIVER_PATH, then lib/io-pkt beside the executable's directory, then LD_LIBRARY_PATH. The variables
/// count only when the process was not started with more rights than its user.
std::vector<std::string> driver_path();

/// Names of the drivers on `path`, sorted, without "devnp-" and ".so".
std::vector<std::string> known_drivers(const std::vector<std::string>& path);

/// Whether interfaces of this prefix are made by `ifconfig create` or by the stack itself (tap, lo ...):
/// never a driver's.
bool is_reserved_prefix(std::string_view prefix);

/// All calls from one thread at a time (the control thread).
class Plugins {
 public:
  Plugins(DriverHost& host, PluginSettings settings);
  ~Plugins();  ///< detaches and unloads everything
  Plugins(const Plugins&) = delete;
  Plugins& operator=(const Plugins&) = delete;

  /// Finds and loads the shared object and reads the options; touches no device. Name with or without
  /// "devnp-" and ".so", or a path (with a '/').
  Expected<std::unique_ptr<Driver>, PluginFault> prepare(const DriverRequest& request);

  /// Lets the driver find and attach its devices. At least one interface on success; on an error all that
  /// were attached are detached again and the object is unloaded.
  Expected<std::vector<AttachedInterface*>, PluginFault> open(std::unique_ptr<Driver> driver);

  /// Both in one: `mount`.
  Expected<std::vector<AttachedInterface*>, PluginFault> load(const DriverRequest& request);

  /// Detaches a stopped interface that no thread polls any more; the last one of a driver unloads it.
  void destroy(AttachedInterface& interface);

  std::vector<AttachedInterface*> interfaces() const;  ///< in the order of attachment
  AttachedInterface* find(std::string_view name) const;

 private:
  friend class Driver;
  bool name_taken(std::string_view name) const;

  DriverHost& host_;
  PluginSettings settings_;
  std::vector<std::unique_ptr<Driver>> drivers_;
};

/// One loaded shared object and the interfaces of one `open`.
class Driver {
 public:
  ~Driver();
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  const iopkt_driver& record() const { return record_; }
  const std::string& file() const { return file_; }
  const DriverOptions& options() const { return options_; }
  const std::vector<std::unique_ptr<AttachedInterface>>& interfaces() const { return interfaces_; }

 private:
  void hold_back(std::string line);
  friend class Plugins;
  Driver(Plugins& owner, void* object, std::string file)
      : owner_(owner), object_(object), file_(std::move(file)) {}

  std::string read_record();
  int open();
  int attach(const iopkt_device_info* info, iopkt_interface** out);
  std::string info_fault(const iopkt_device_info& info) const;
  std::string choose_name(AttachedInterface& interface) const;
  void detach_all();

  static int call_attach(void* ctx, const iopkt_device_info* info, iopkt_interface** out);
  static iopkt_frame* call_alloc(void* ctx, std::uint32_t capacity);
  static void call_release(void* ctx, iopkt_frame* frame);
  static void call_link_state(void* ctx, iopkt_interface* handle, int up, std::uint32_t mbps);
  static void call_log(void* ctx, int level, const char* line);

  Plugins& owner_;
  void* object_;
  std::string file_;
  iopkt_driver record_{};
  iopkt_host host_{};
  DriverOptions options_;
  std::vector<std::unique_ptr<AttachedInterface>> interfaces_;
  std::atomic<int> opening_{};  ///< thread id of the one inside open(); 0: none
  std::string last_fault_;      ///< while opening: why attach refused, or the driver's own last error line
};

}  // namespace iopkt::daemon
