// The multicast filters that devices are to have: of each interface the newest one only, however slow the device is.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

#include "wire/address.hpp"

namespace iopkt::daemon {

class NewestFilters {
 public:
  using List = std::vector<wire::MacAddress>;
  /// Any thread. True: none of this interface was waiting, so that somebody has to be told to take() it.
  [[nodiscard]] bool put(std::uint32_t interface_index, List list) {
    const std::lock_guard guard{lock_};
    return waiting_.insert_or_assign(interface_index, std::move(list)).second;
  }
  /// Any thread: the newest list, once after each put() that was true.
  List take(std::uint32_t interface_index) {
    const std::lock_guard guard{lock_};
    auto node = waiting_.extract(interface_index);
    return node ? std::move(node.mapped()) : List{};
  }

 private:
  std::mutex lock_;
  std::map<std::uint32_t, List> waiting_;
};

}  // namespace iopkt::daemon
