// Ethernet frames and 802.1Q tags: a header that was read is written back as it was.
#include <algorithm>
#include <array>

#include "base/assert.hpp"
#include "wire/ethernet.hpp"

using namespace iopkt;
using namespace iopkt::wire;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes bytes = as_bytes(data, size);
  if (const auto view = EthernetView::parse(bytes)) {
    IOPKT_ASSERT(view->payload().size() == size - EthernetView::kHeaderLen);
    IOPKT_ASSERT(view->is_llc() == (static_cast<std::uint16_t>(view->type()) < 0x600));
    std::array<std::byte, EthernetView::kHeaderLen> again;
    encode(view->header(), again);
    IOPKT_ASSERT(std::equal(again.begin(), again.end(), bytes.begin()));
  } else {
    IOPKT_ASSERT(size < EthernetView::kHeaderLen);
  }
  if (const auto view = VlanView::parse(bytes)) {
    IOPKT_ASSERT(view->payload().size() == size - VlanView::kTagLen);
    std::array<std::byte, VlanView::kTagLen> again;
    encode(view->tag(), again);
    IOPKT_ASSERT(std::equal(again.begin(), again.end(), bytes.begin()));
  }
  return 0;
}
