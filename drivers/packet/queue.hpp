// One packet socket of the interface: frames in by a memory-mapped ring, frames out in batches. packet(7),
// kernel Documentation/networking/packet_mmap.rst.
#pragma once

#include <iopkt/driver.h>
#include <sys/socket.h>

#include <cstdint>
#include <memory>

#include "../support/frame_io.hpp"
#include "../support/log.hpp"
#include "../support/unique_fd.hpp"
#include "../support/vnet.hpp"

namespace devnp_packet {

/// Which of the interface's frames: see support/openings.hpp.
enum class Takes : std::uint8_t { everything, openings, all_others };

struct QueueConfig {
  int index = 0;                 /* of the interface */
  std::uint32_t slots = 1024;    /* of the receive ring: power of two, 64..65536 */
  std::uint32_t slot_len = 2048; /* power of two, 256..16384 */
  Takes takes = Takes::everything;
  int program = -1; /* that chooses them, where it may change its mind; the caller's, as long as the queue */
  int socket_buffer = 8 << 20;
  bool bypass = false; /* of the host's queueing discipline */
};

/// Frames that fit into a slot cost no system call: TPACKET_V2, because V3 hides a frame until its block is
/// full or a millisecond has passed. A longer one (up to 64 KB) also waits in the socket, in the same order,
/// and is read from there straight into the pool: one copy, where a ring of large slots would need two and
/// most of its memory in vain.
class Queue {
 public:
  Queue() = default;
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;
  ~Queue();

  /// A socket bound to the interface; nothing arrives before accept_frames(true). 0 or -errno with *step the
  /// call.
  int open(const QueueConfig& config, const char** step);
  /// Joins the group of queues that share the interface's frames by flow: below 0 makes a new *group, others
  /// join it. Those that take the same are one group.
  int join(int* group);
  int accept_frames(bool on);

  int receive(const iopkt_host& host, iopkt_frame** frames, std::uint32_t max);
  int transmit(iopkt_frame* const* frames, std::uint32_t count);

  /// Counts a call that found nothing.
  std::uint32_t empty_call() { return ++empty_calls_; }
  int descriptor() const { return socket_.get(); }
  devnp::QueueCounters& counters() { return counters_; }
  const devnp::QueueCounters& counters() const { return counters_; }
  /// Frames that the kernel dropped since the last call because ring or buffer was full.
  std::uint32_t take_kernel_drops();
  /// The error that the socket has pending; reading clears it. 0: none.
  int take_error();

 private:
  struct Slot;
  Slot slot() const;
  iopkt_frame* take_small(const iopkt_host& host, const Slot& slot);
  iopkt_frame* take_large(const iopkt_host& host, const Slot& slot);
  int gather(iopkt_frame* const* frames, std::uint32_t count);

  static constexpr int kBatch = 32;
  static constexpr int kBatchIov = 512;

  devnp::UniqueFd socket_;
  std::uint8_t* ring_ = nullptr;
  std::size_t ring_len_ = 0;
  std::uint32_t slots_ = 0, slot_len_ = 0, head_ = 0, empty_calls_ = 0;
  Takes takes_ = Takes::everything;
  int program_ = -1;
  devnp::QueueCounters counters_;
  std::unique_ptr<std::uint8_t[]> scratch_;
  mmsghdr messages_[kBatch] = {};
  devnp::VnetHeader headers_[kBatch] = {};
  iovec iov_[kBatchIov] = {};
};

}  // namespace devnp_packet
