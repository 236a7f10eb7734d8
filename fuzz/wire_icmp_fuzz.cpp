// ICMP messages: a header that was read is written back as it was; a stored checksum is right.
#include <algorithm>
#include <vector>

#include "base/assert.hpp"
#include "wire/icmp.hpp"

using namespace iopkt;
using namespace iopkt::wire;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes bytes = as_bytes(data, size);
  const auto view = IcmpView::parse(bytes);
  if (!view) return 0;
  const IcmpHeader h = view->header();
  (void)h.identifier(), (void)h.sequence(), (void)h.next_hop_mtu(), (void)h.gateway(), (void)h.pointer();
  const auto stamps = view->timestamps();
  const auto mask = view->address_mask();
  IOPKT_ASSERT(!stamps || !mask);
  IOPKT_ASSERT(!h.is_error() || (!stamps && !mask));
  if (stamps) {
    std::vector<std::byte> body(IcmpView::kTimestampsLen);
    encode(*stamps, body);
    IOPKT_ASSERT(std::equal(body.begin(), body.end(), view->payload().begin()));
  }
  std::vector<std::byte> again(bytes.begin(), bytes.end());
  encode(h, again);
  store_be16(again, IcmpView::kChecksumOffset, view->checksum());
  IOPKT_ASSERT(std::equal(again.begin(), again.end(), bytes.begin()));
  store_icmp_checksum(again);
  IOPKT_ASSERT(IcmpView::parse(again)->checksum_ok());
  return 0;
}
