// mmap(2) with an alignment.
#include "pages.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "base/assert.hpp"

namespace iopkt::daemon {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::size_t mapped_size(std::size_t bytes) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return (bytes + page - 1) / page * page;
}

}  // namespace

std::byte* MappedPages::take(std::size_t bytes) {
  IOPKT_ASSERT(bytes != 0 && (bytes & (bytes - 1)) == 0);
  const std::size_t size = mapped_size(bytes);
  // Twice as much holds an aligned piece; what lies around it goes back.
  void* raw = ::mmap(nullptr, size * 2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (raw == MAP_FAILED) return nullptr;
  const auto begin = reinterpret_cast<std::uintptr_t>(raw);
  const std::uintptr_t aligned = (begin + size - 1) / size * size;
  if (aligned != begin) ::munmap(raw, aligned - begin);
  const std::uintptr_t end = begin + size * 2;
  if (aligned + size != end) ::munmap(reinterpret_cast<void*>(aligned + size), end - aligned - size);
  auto* memory = reinterpret_cast<std::byte*>(aligned);
  if (size >= kHugePage) ::madvise(memory, size, MADV_HUGEPAGE);
  ::madvise(memory, size, MADV_DONTDUMP);  // packets are other people's data
  return memory;
}

void MappedPages::give_back(std::byte* memory, std::size_t bytes) { ::munmap(memory, mapped_size(bytes)); }

}  // namespace iopkt::daemon
