// A driver's open: the calls that it makes back into the stack, and the name that each of its interfaces
// gets.
#include <net/if.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

#include "base/assert.hpp"
#include "option_tables.hpp"
#include "plugins.hpp"

namespace iopkt::daemon {
namespace {

constexpr std::size_t kNameLenMax = IFNAMSIZ - 1;
constexpr std::uint32_t kUnitMax = 32767;
constexpr std::uint32_t kQueuesMax = 64;
constexpr std::uint32_t kMtuMin = 68, kMtuMax = 65535;  // RFC 791: every module takes 68 bytes
constexpr std::size_t kInterfacesMax = 64;              // of one open: a driver that loops must end
constexpr std::size_t kInfoSizeMin = offsetof(iopkt_device_info, description) + sizeof(iopkt_device_info::description);
constexpr std::size_t kOpsSizeMin = offsetof(iopkt_device_ops, detach) + sizeof(iopkt_device_ops::detach);

/// What `ifconfig -C` can create, and what the stack has of itself.
constexpr std::array<std::string_view, 18> kReservedPrefixes{
    "agr", "bridge", "enc", "faith", "gif", "gre",   "lo",  "pflog", "pfsync",
    "ppp", "pppoe",  "sl",  "srt",   "stf", "strip", "tap", "tun",   "vlan"};

LogLevel level_of(int level) {
  switch (level) {
    case IOPKT_LOG_ERROR:
      return LogLevel::error;
    case IOPKT_LOG_WARNING:
      return LogLevel::warning;
    case IOPKT_LOG_NOTICE:
      return LogLevel::notice;
    case IOPKT_LOG_INFO:
      return LogLevel::info;
    default:
      return LogLevel::debug;
  }
}

}  // namespace

bool is_reserved_prefix(std::string_view prefix) {
  return std::ranges::find(kReservedPrefixes, prefix) != kReservedPrefixes.end();
}

int Driver::open() {
  host_ = {.abi = IOPKT_DRIVER_ABI,
           .size = sizeof host_,
           .ctx = this,
           .attach = call_attach,
           .alloc = call_alloc,
           .release = call_release,
           .link_state = call_link_state,
           .log = call_log};
  opening_ = ::gettid();
  const int rc = record_.open(&host_, &options_.generic, options_.values.data());
  opening_ = 0;
  return rc;
}

void Driver::detach_all() {
  while (!interfaces_.empty()) {
    AttachedInterface& last = *interfaces_.back();
    last.ops.detach(last.info.device);
    interfaces_.pop_back();
  }
}

std::string Driver::info_fault(const iopkt_device_info& info) const {
  if (info.size < kInfoSizeMin || !info.ops || info.ops->size < kOpsSizeMin) return "too small for its ABI";
  const iopkt_device_ops& ops = *info.ops;
  if (!ops.start || !ops.stop || !ops.receive || !ops.transmit || !ops.descriptor || !ops.detach)
    return "start, stop, receive, transmit, descriptor and detach are needed";
  if (info.link_type != IOPKT_LINK_ETHERNET && info.link_type != IOPKT_LINK_RAW_IP)
    return "unknown link type";
  const std::uint32_t mtu = options_.generic.mtu;
  if (mtu && (mtu < info.mtu_min || mtu > info.mtu_max))
    return "option mtu=" + std::to_string(mtu) + ": this device allows " + std::to_string(info.mtu_min) +
           ".." + std::to_string(info.mtu_max) + " bytes";
  if (info.mtu_min < kMtuMin || info.mtu_min > info.mtu || info.mtu > info.mtu_max || info.mtu_max > kMtuMax)
    return "MTU " + std::to_string(info.mtu) + " of " + std::to_string(info.mtu_min) + ".." +
           std::to_string(info.mtu_max) + " makes no sense";
  if (!info.rx_queues || info.rx_queues > kQueuesMax || !info.tx_queues || info.tx_queues > kQueuesMax)
    return "1..64 queues each way are allowed";
  if (info.size >= offsetof(iopkt_device_info, openings_queues) + sizeof info.openings_queues && info.openings_queues >= info.rx_queues)
    return "no receive queue for what does not open connections";
  if (info.link_type == IOPKT_LINK_ETHERNET && (info.mac[0] & 1))
    return "its station address is a group address";
  if (interfaces_.size() == kInterfacesMax) return "more than 64 interfaces";
  return {};
}

/// Sets name and unit, or says why there is none.
std::string Driver::choose_name(AttachedInterface& interface) const {
  const std::string& prefix = options_.name.empty() ? interface.prefix : options_.name;
  if (!is_interface_prefix(prefix)) return "'" + prefix + "' cannot be the prefix of an interface";
  if (is_reserved_prefix(prefix)) return "'" + prefix + "' is the prefix of created interfaces";
  const auto taken = [&](const std::string& name) {
    // This driver is not in the owner's list before its open has succeeded.
    return owner_.name_taken(name) ||
           std::ranges::any_of(interfaces_, [&](const auto& other) { return other->name == name; });
  };
  const auto first = options_.unit ? *options_.unit + static_cast<std::uint32_t>(interfaces_.size()) : 0u;
  for (std::uint32_t unit = first; unit <= kUnitMax; ++unit) {
    std::string name = prefix + std::to_string(unit);
    if (name.size() > kNameLenMax) return "the name " + name + " is longer than 15 characters";
    if (!taken(name)) {
      interface.name = std::move(name);
      interface.unit = unit;
      return {};
    }
    if (options_.unit) return "an interface " + name + " is there already";
  }
  return "no number is free for " + prefix;
}

int Driver::attach(const iopkt_device_info* info, iopkt_interface** out) {
  if (opening_ != ::gettid()) return -EPERM;
  if (!info || !out) return -EINVAL;
  if (std::string reason = info_fault(*info); !reason.empty()) {
    hold_back(std::move(reason));
    return -EINVAL;
  }
  auto interface = std::make_unique<AttachedInterface>();
  interface->driver = this;
  std::memcpy(&interface->ops, info->ops, std::min<std::size_t>(info->ops->size, sizeof interface->ops));
  std::memcpy(&interface->info, info, std::min<std::size_t>(info->size, sizeof interface->info));
  interface->prefix = info->prefix ? info->prefix : record_.name;
  interface->description = info->description ? info->description : "";
  interface->info.size = sizeof interface->info;
  interface->info.ops = &interface->ops;
  interface->info.prefix = interface->prefix.c_str();
  interface->info.description = interface->description.c_str();
  interface->link_up = info->link_up != 0;
  interface->speed_mbps = info->speed_mbps;
  if (std::string reason = choose_name(*interface); !reason.empty()) {
    hold_back(std::move(reason));
    return -EEXIST;
  }
  *out = interface->handle();
  interfaces_.push_back(std::move(interface));
  return 0;
}

int Driver::call_attach(void* ctx, const iopkt_device_info* info, iopkt_interface** out) {
  return static_cast<Driver*>(ctx)->attach(info, out);
}

iopkt_frame* Driver::call_alloc(void* ctx, std::uint32_t capacity) {
  return static_cast<Driver*>(ctx)->owner_.host_.alloc(capacity);
}

void Driver::call_release(void* ctx, iopkt_frame* frame) {
  static_cast<Driver*>(ctx)->owner_.host_.release(frame);
}

void Driver::call_link_state(void* ctx, iopkt_interface* handle, int up, std::uint32_t mbps) {
  if (!handle) return;
  AttachedInterface& interface = AttachedInterface::of(handle);
  interface.link_up = up != 0;
  interface.speed_mbps = mbps;
  static_cast<Driver*>(ctx)->owner_.host_.link_state(interface);
}

void Driver::call_log(void* ctx, int level, const char* line) {
  if (!line) return;
  Driver& driver = *static_cast<Driver*>(ctx);
  // Another thread of the driver may log while open runs; what it says is not why open fails.
  if (level != IOPKT_LOG_ERROR || driver.opening_ != ::gettid()) return driver.owner_.host_.log(level_of(level), line);
  driver.hold_back(line);
}

/// When open fails its last error is part of the one line that says so.
void Driver::hold_back(std::string line) {
  const std::string earlier = std::exchange(last_fault_, std::move(line));
  if (!earlier.empty()) owner_.host_.log(LogLevel::error, earlier);
}

}  // namespace iopkt::daemon
