// A program's iovec list that is used up bit by bit.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <span>

namespace iopkt::shim {

class Pieces {
 public:
  static constexpr std::size_t kWindow = 16;
  using Window = std::array<iovec, kWindow>;

  /// The list stays the caller's. Lengths add up to less than 2^63 (total_of() has checked it).
  Pieces(const iovec* pieces, std::size_t count) : at_(pieces), count_(count) {
    for (std::size_t i = 0; i < count; ++i) left_ += pieces[i].iov_len;
  }
  std::size_t left() const { return left_; }

  /// The next up to kWindow pieces that are not used up, for a call that takes a plain list.
  std::span<const iovec> window(Window& room) const {
    if (skip_ == 0 && count_ <= kWindow) return {at_, count_};
    std::size_t n = 0;
    std::size_t skip = skip_;
    for (std::size_t i = 0; i < count_ && n < kWindow; ++i) {
      if (at_[i].iov_len > skip)
        room[n++] = {static_cast<std::byte*>(at_[i].iov_base) + skip, at_[i].iov_len - skip};
      skip = 0;
    }
    return {room.data(), n};
  }
  /// How many bytes the last window had at least, so that a caller can tell a short result from a short
  /// window.
  std::size_t window_limit() const { return window_size_; }

  void advance(std::size_t bytes) {
    window_size_ = measure();
    left_ -= bytes;
    while (bytes > 0) {
      const std::size_t here = at_->iov_len - skip_;
      if (bytes < here) {
        skip_ += bytes;
        return;
      }
      bytes -= here;
      ++at_;
      --count_;
      skip_ = 0;
    }
  }

 private:
  std::size_t measure() const {
    Window room;
    std::size_t sum = 0;
    for (const iovec& piece : window(room)) sum += piece.iov_len;
    return sum;
  }

  const iovec* at_;
  std::size_t count_;
  std::size_t skip_ = 0;
  std::size_t left_ = 0;
  std::size_t window_size_ = 0;
};

}  // namespace iopkt::shim
