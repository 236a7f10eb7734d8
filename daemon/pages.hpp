// The memory of the packet pools: private anonymous pages, huge ones where the system gives them.
#pragma once

#include "packet/pool.hpp"

namespace iopkt::daemon {

class MappedPages final : public packet::PageSource {
 public:
  std::byte* take(std::size_t bytes) override;
  void give_back(std::byte* memory, std::size_t bytes) override;
};

}  // namespace iopkt::daemon
