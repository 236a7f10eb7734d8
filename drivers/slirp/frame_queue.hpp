// Frames on their way from slirp to the stack: a bounded queue of bytes.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <new>

namespace devnp_slirp {

/// Each frame is stored with its length in front, in a ring whose size is a power of two. One thread at a
/// time.
class FrameQueue {
 public:
  /// `bytes` is a power of two. False: no memory.
  bool reserve(std::uint32_t bytes) {
    ring_.reset(new (std::nothrow) std::uint8_t[bytes]);
    size_ = bytes;
    return ring_ != nullptr;
  }
  bool empty() const { return head_ == tail_; }
  std::uint32_t used() const { return static_cast<std::uint32_t>(tail_ - head_); }
  std::uint32_t size() const { return size_; }

  /// False: no room, nothing was stored.
  bool push(const void* frame, std::uint32_t len) {
    if (size_ - used() < sizeof len + std::uint64_t{len}) return false;
    put(&len, sizeof len);
    put(frame, len);
    return true;
  }
  /// Length of the first frame. The queue is not empty.
  std::uint32_t front_len() const {
    std::uint32_t len;
    get(head_, &len, sizeof len);
    return len;
  }
  /// Copies `n` bytes of the first frame from `offset` on.
  void copy_front(std::uint32_t offset, void* out, std::uint32_t n) const {
    get(head_ + sizeof(std::uint32_t) + offset, out, n);
  }
  void pop() { head_ += sizeof(std::uint32_t) + front_len(); }

 private:
  void put(const void* from, std::uint32_t n) {
    const auto at = static_cast<std::uint32_t>(tail_ & (size_ - 1));
    const std::uint32_t first = n < size_ - at ? n : size_ - at;
    std::memcpy(ring_.get() + at, from, first);
    std::memcpy(ring_.get(), static_cast<const std::uint8_t*>(from) + first, n - first);
    tail_ += n;
  }
  void get(std::uint64_t position, void* to, std::uint32_t n) const {
    const auto at = static_cast<std::uint32_t>(position & (size_ - 1));
    const std::uint32_t first = n < size_ - at ? n : size_ - at;
    std::memcpy(to, ring_.get() + at, first);
    std::memcpy(static_cast<std::uint8_t*>(to) + first, ring_.get(), n - first);
  }

  std::unique_ptr<std::uint8_t[]> ring_;
  std::uint32_t size_ = 0;
  std::uint64_t head_ = 0, tail_ = 0;
};

}  // namespace devnp_slirp
