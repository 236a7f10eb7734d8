// IPv4 headers and their options: what was read is written back as it was, but for the reserved flag and the
// checksum.
#include <algorithm>
#include <vector>

#include "base/assert.hpp"
#include "wire/checksum.hpp"
#include "wire/ipv4.hpp"
#include "wire/ipv4_options.hpp"

using namespace iopkt;
using namespace iopkt::wire;

namespace {

void walk_options(Bytes options) {
  Ipv4OptionReader reader{options};
  std::size_t walked = 0;
  for (;;) {
    const auto option = reader.next();
    if (!option) {
      IOPKT_ASSERT(reader.error_offset() < options.size());
      return;
    }
    if (!*option) return;
    IOPKT_ASSERT((*option)->offset == walked);
    walked += (*option)->bytes.size();
    IOPKT_ASSERT(walked <= options.size());
    if (const auto route = Ipv4RouteOption::parse(**option)) {
      for (std::size_t i = 0; i < route->size(); ++i) (void)route->address(i);
      if (const auto next = route->next_slot_offset()) (void)load_be32((*option)->bytes, *next);
    }
    if (const auto stamps = Ipv4TimestampOption::parse(**option)) {
      if (const auto next = stamps->next_entry_offset())
        (void)(*option)->bytes.subspan(*next, stamps->entry_len());
    }
    (void)router_alert_value(**option);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes bytes = as_bytes(data, size);
  walk_options(bytes.first(std::min<std::size_t>(size, Ipv4OptionBytes::kMaxLen)));
  if (const auto quoted = Ipv4View::parse_header(bytes)) {
    IOPKT_ASSERT(quoted->header_len() + quoted->payload().size() <= size);
    (void)quoted->header();
  }
  const auto view = Ipv4View::parse(bytes);
  if (!view) return 0;
  walk_options(view->options());
  const Ipv4Header h = view->header();
  IOPKT_ASSERT(h.payload_len == view->payload().size());
  IOPKT_ASSERT(h.is_fragment() == view->is_fragment());
  IOPKT_ASSERT(encoded_len(h) == view->header_len());
  std::vector<std::byte> again(encoded_len(h));
  encode(h, again);
  std::vector<std::byte> expected(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(again.size()));
  expected[6] &= std::byte{0x7f};  // the reserved flag
  store_ipv4_checksum(expected);
  IOPKT_ASSERT(again == expected);
  if (h.ttl == 0) return 0;
  decrement_ttl(again);
  IOPKT_ASSERT(finish(sum(again)) == 0 && load_u8(again, 8) == h.ttl - 1);
  return 0;
}
