// What a target makes of its bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace iopkt::fuzz {

/// Reads the input front to back; zeroes when it is used up.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}
  bool empty() const { return left_ == 0; }
  std::uint8_t u8() { return left_ == 0 ? std::uint8_t{0} : (--left_, *data_++); }
  std::uint16_t u16() { return static_cast<std::uint16_t>(u8() << 8 | u8()); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(u16()) << 16 | u16(); }
  std::vector<std::byte> bytes(std::size_t count) {
    std::vector<std::byte> out;
    for (std::size_t i = 0; i < count && !empty(); ++i) out.push_back(std::byte{u8()});
    return out;
  }

 private:
  const std::uint8_t* data_;
  std::size_t left_;
};

}  // namespace iopkt::fuzz
