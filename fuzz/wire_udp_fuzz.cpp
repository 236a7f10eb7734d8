// UDP headers, and the checksum in pieces against the checksum in one.
#include <algorithm>
#include <vector>

#include "base/assert.hpp"
#include "wire/checksum.hpp"
#include "wire/udp.hpp"

using namespace iopkt;
using namespace iopkt::wire;

namespace {

void check_checksum(Bytes bytes) {
  const std::uint32_t whole = sum(bytes);
  IOPKT_ASSERT(whole <= 0xffff);
  const std::size_t cut = bytes.empty() ? 0 : std::to_integer<std::size_t>(bytes[0]) % (bytes.size() + 1);
  InternetChecksum pieces;
  pieces.add(bytes.first(cut));
  pieces.add(bytes.subspan(cut));
  IOPKT_ASSERT(pieces.partial() == whole);
  std::vector<std::byte> copy(bytes.size());
  IOPKT_ASSERT(copy_and_sum(copy, bytes) == whole);
  IOPKT_ASSERT(std::equal(copy.begin(), copy.end(), bytes.begin()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes bytes = as_bytes(data, size);
  check_checksum(bytes);
  const auto view = UdpView::parse(bytes);
  if (!view) return 0;
  const UdpHeader h = view->header();
  IOPKT_ASSERT(h.payload_len == view->payload().size());
  IOPKT_ASSERT(view->datagram().size() == h.payload_len + UdpView::kHeaderLen &&
               view->datagram().size() <= size);
  std::vector<std::byte> again(UdpView::kHeaderLen);
  encode(h, again);
  store_be16(again, UdpView::kChecksumOffset, view->checksum());
  IOPKT_ASSERT(std::equal(again.begin(), again.end(), bytes.begin()));
  return 0;
}
