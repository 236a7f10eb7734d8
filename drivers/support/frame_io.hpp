// Frames as iovecs: scatter a read into pool pieces, gather a write from them, count what was lost.
#pragma once

#include <iopkt/driver.h>
#include <sys/uio.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace devnp {

/// The longest frame that the kernel hands out or takes: 65,535 bytes of IP and an Ethernet header with two
/// VLAN tags.
inline constexpr std::uint32_t kFrameMax = 65535 + 14 + 8;
/// Entries of an iovec list: a 64 KB frame in 2 KB clusters takes 33. A transmit frame with more pieces is
/// copied.
inline constexpr int kIovMax = 128;

/// A counter with one writer and readers on other threads.
class Counter {
 public:
  void add(std::uint64_t n = 1) { value_.store(get() + n, std::memory_order_relaxed); }
  std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// What one queue loses; its one polling thread writes.
struct QueueCounters {
  Counter rx_errors, rx_dropped, tx_errors, tx_dropped, rx_no_buffer;

  void add_to(iopkt_statistics* out) const {
    out->rx_errors += rx_errors.get();
    out->rx_dropped += rx_dropped.get();
    out->tx_errors += tx_errors.get();
    out->tx_dropped += tx_dropped.get();
    out->rx_no_buffer += rx_no_buffer.get();
  }
};

/// Appends the room of an allocated frame; answers the new count. Stops at kIovMax - 1 to leave one for an
/// overflow. `room` grows by the bytes offered.
inline int append_room(const iopkt_frame* frame, iovec* iov, int count, std::size_t* room) {
  for (int i = 0; i < frame->piece_count && count < kIovMax - 1; ++i) {
    iov[count++] = {frame->piece[i].data, frame->piece[i].capacity};
    *room += frame->piece[i].capacity;
  }
  return count;
}

/// Says that the first `len` bytes of the frame's room are filled. `len` is at most that room.
inline void set_length(iopkt_frame* frame, std::uint32_t len) {
  frame->len = len;
  for (int i = 0; i < frame->piece_count; ++i) {
    frame->piece[i].len = std::min(len, frame->piece[i].capacity);
    len -= frame->piece[i].len;
  }
}

/// Copies `bytes` into the frame's room from `offset` on; bytes that do not fit are left out.
inline void copy_in(iopkt_frame* frame, std::uint32_t offset, const std::uint8_t* bytes, std::uint32_t len) {
  for (int i = 0; i < frame->piece_count && len > 0; ++i) {
    const iopkt_piece& piece = frame->piece[i];
    if (offset >= piece.capacity) {
      offset -= piece.capacity;
      continue;
    }
    const std::uint32_t n = std::min(len, piece.capacity - offset);
    std::memcpy(piece.data + offset, bytes, n);
    bytes += n;
    len -= n;
    offset = 0;
  }
}

/// Copies the frame's bytes from `offset` on; answers how many there were, at most `len`.
inline std::uint32_t copy_out(const iopkt_frame* frame, std::uint32_t offset, std::uint8_t* out,
                              std::uint32_t len) {
  std::uint32_t done = 0;
  for (int i = 0; i < frame->piece_count && done < len; ++i) {
    const iopkt_piece& piece = frame->piece[i];
    if (offset >= piece.len) {
      offset -= piece.len;
      continue;
    }
    const std::uint32_t n = std::min(len - done, piece.len - offset);
    std::memcpy(out + done, piece.data + offset, n);
    done += n;
    offset = 0;
  }
  return done;
}

/// Appends a transmit frame's bytes; answers the new count. A frame in too many pieces is first copied into
/// `scratch`, which has room for kFrameMax bytes. -1: the frame is longer than that.
inline int append_frame(const iopkt_frame* frame, iovec* iov, int count, std::uint8_t* scratch) {
  if (frame->len > kFrameMax) return -1;
  if (frame->piece_count > kIovMax - count) {
    copy_out(frame, 0, scratch, frame->len);
    iov[count] = {scratch, frame->len};
    return count + 1;
  }
  for (int i = 0; i < frame->piece_count; ++i) {
    if (frame->piece[i].len != 0) iov[count++] = {frame->piece[i].data, frame->piece[i].len};
  }
  return count;
}

}  // namespace devnp
