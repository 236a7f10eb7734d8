// Drop: the named end of a packet. Rows in drops.def.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/counters.hpp"

namespace iopkt::packet {

enum class Drop : std::uint8_t {
#define X(name, layer, text, source) name,
#include "packet/drops.def"
#undef X
};

struct DropRow {
  Drop reason;
  std::string_view name, layer, text, source;
};

inline constexpr std::array kDrops{
#define X(name, layer, text, source) DropRow{Drop::name, #name, #layer, text, source},
#include "packet/drops.def"
#undef X
};

constexpr const DropRow& row_of(Drop reason) { return kDrops[static_cast<std::size_t>(reason)]; }

/// One cell per reason, written by one shard.
class DropCounters {
 public:
  void count(Drop reason) { ++cells_[static_cast<std::size_t>(reason)]; }
  std::uint64_t value(Drop reason) const { return cells_[static_cast<std::size_t>(reason)].value(); }

 private:
  std::array<Counter, kDrops.size()> cells_;
};

}  // namespace iopkt::packet
