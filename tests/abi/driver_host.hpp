// A stand-in for the stack: loads a devnp-*.so, offers it pools and a log, and lets a test send and receive
// frames.
#pragma once

#include <iopkt/driver.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace iopkt::abi_test {

using Bytes = std::vector<std::uint8_t>;

/// A frame of the fake pool: clusters of `cluster` bytes, allocated one by one so that a sanitizer sees every
/// overrun.
struct PoolFrame {
  iopkt_frame frame{};
  std::vector<iopkt_piece> pieces;
  std::vector<std::unique_ptr<std::uint8_t[]>> clusters;

  static PoolFrame* of(iopkt_frame* f) { return reinterpret_cast<PoolFrame*>(f); }
  static const PoolFrame* of(const iopkt_frame* f) { return reinterpret_cast<const PoolFrame*>(f); }
};

/// What a driver delivered or a test sends: bytes and the offload fields (`meta` has no pieces).
struct Frame {
  Bytes bytes;
  iopkt_frame meta{};
};

/// One loaded driver with at most one attached interface. All calls on one thread.
class DriverHost {
 public:
  /// Loads $IOPKT_BUILD_DIR/lib/io-pkt/devnp-<name>.so.
  explicit DriverHost(const std::string& name);
  ~DriverHost();
  DriverHost(const DriverHost&) = delete;
  DriverHost& operator=(const DriverHost&) = delete;

  /// The driver, or null: it is not in the build (a library is missing).
  const iopkt_driver* driver() const { return driver_; }

  /// Opens with "name=value,name=value"; a name alone is a flag. `mac`, `mtu`, `verbose` are the generic
  /// ones. Answers what the driver answered, or -E2BIG when a name is no row of its table, -ERANGE when a
  /// value is outside.
  int open(const std::string& options, std::uint32_t rx_queues = 1);
  void detach();

  bool attached() const { return info_.device != nullptr; }
  const iopkt_device_info& info() const { return info_; }
  const std::string& log() const { return log_; }
  std::string prefix() const { return prefix_; }
  /// Link state as last reported: -1 never.
  int link() const { return link_; }

  /// What `receive` has now.
  std::vector<Frame> receive(std::uint32_t queue = 0, std::uint32_t max = 32);
  /// Waits up to `wait_ms` for the next frame that `wanted` accepts; others are dropped. Empty bytes: none
  /// came.
  template <class Wanted>
  Frame receive_until(Wanted wanted, int wait_ms = 10000);
  /// Gives frames to `transmit`, in pieces of `piece` bytes. Answers its answer.
  int transmit(const std::vector<Frame>& frames, std::uint32_t queue = 0, std::uint32_t piece = 2048);
  /// Waits until the receive descriptor is readable.
  bool wait_readable(int wait_ms, std::uint32_t queue = 0);
  iopkt_statistics statistics() const;
  const iopkt_device_ops& ops() const { return *info_.ops; }
  void* device() const { return info_.device; }

  /// Frames that the driver holds or leaked.
  long outstanding() const { return outstanding_; }
  std::uint32_t cluster = 2048;
  bool pool_empty = false;
  /// Allocations above this fail.
  std::uint32_t alloc_max = 65600;
  int attach_answer = 0;

 private:
  static int on_attach(void* ctx, const iopkt_device_info* info, iopkt_interface** out);
  static iopkt_frame* on_alloc(void* ctx, std::uint32_t capacity);
  static void on_release(void* ctx, iopkt_frame* frame);
  static void on_link(void* ctx, iopkt_interface*, int up, std::uint32_t);
  static void on_log(void* ctx, int level, const char* line);

  void* library_ = nullptr;
  const iopkt_driver* driver_ = nullptr;
  iopkt_host host_{};
  iopkt_device_info info_{};
  std::string log_, prefix_;
  int link_ = -1;
  long outstanding_ = 0;
};

template <class Wanted>
Frame DriverHost::receive_until(Wanted wanted, int wait_ms) {
  while (wait_readable(wait_ms)) {
    for (Frame& frame : receive(0, 1)) {
      if (wanted(frame)) return std::move(frame);
    }
  }
  return {};
}

/// Bytes, and a frame to send without offloads.
inline Frame plain(Bytes bytes) {
  Frame f;
  f.bytes = std::move(bytes);
  return f;
}

/// Ethernet + IPv4 + UDP (protocol 17) or TCP (6), with `payload` counted bytes; the transport checksum holds
/// the pseudo-header's part only. Addresses 10.9.0.2 -> 10.9.0.1.
Bytes ip_frame(const std::uint8_t dst[6], const std::uint8_t src[6], int protocol, std::size_t payload);
/// The ones' complement sum of a whole TCP/UDP segment in `frame` with its pseudo-header: 0xffff when right.
std::uint16_t transport_sum(const Bytes& frame);

/// Moves the calling thread into a new network namespace with lo up; false when this is not permitted.
bool private_netns();

}  // namespace iopkt::abi_test
