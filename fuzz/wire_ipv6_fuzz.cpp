// IPv6 headers, chains of extension headers and their options: every offset lies inside, what is read is written back.
#include <algorithm>
#include <array>

#include "wire/ipv6.hpp"

using namespace iopkt;
using namespace iopkt::wire;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes bytes = as_bytes(data, size);
  const auto view = Ipv6View::parse_header(bytes);
  if (!view) return 0;
  IOPKT_ASSERT(view->packet().size() <= size);
  std::array<std::byte, Ipv6View::kHeaderLen> again{};
  encode(view->header(), again);
  IOPKT_ASSERT(std::equal(again.begin(), again.end(), bytes.begin()));
  const auto upper = find_upper_layer(bytes);
  if (upper) {
    IOPKT_ASSERT(upper->offset <= view->packet().size() && upper->named_at < upper->offset);
    IOPKT_ASSERT(load_u8(bytes, upper->named_at) == static_cast<std::uint8_t>(upper->protocol));
    IOPKT_ASSERT(upper->offset <= Ipv6View::kHeaderLen + kExtensionBytesMax);
    if (upper->fragment) {
      std::array<std::byte, Ipv6FragmentHeader::kLen> fragment{};
      encode(*upper->fragment, fragment);
      IOPKT_ASSERT(*Ipv6FragmentHeader::parse(fragment) == *upper->fragment);
    }
  }
  const auto len = extension_len(view->next_header(), view->payload());
  if (!len) return 0;
  Ipv6OptionReader reader{view->payload().first(*len)};
  std::size_t last = 0;
  while (const auto option = reader.next()) {
    if (!*option) break;
    IOPKT_ASSERT((*option)->offset > last && (*option)->offset + 2 + (*option)->data.size() <= *len);
    last = (*option)->offset;
  }
  return 0;
}
