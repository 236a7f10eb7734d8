// ARP: a packet that was read is written back as it was.
#include <algorithm>
#include <array>

#include "base/assert.hpp"
#include "wire/arp.hpp"

using namespace iopkt;
using namespace iopkt::wire;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes bytes = as_bytes(data, size);
  const auto view = ArpView::parse(bytes);
  if (!view) return 0;
  const ArpPacket packet = view->packet();
  IOPKT_ASSERT(!(packet.is_probe() && packet.is_announcement()));
  std::array<std::byte, ArpView::kLen> again;
  encode(packet, again);
  IOPKT_ASSERT(std::equal(again.begin(), again.end(), bytes.begin()));
  return 0;
}
