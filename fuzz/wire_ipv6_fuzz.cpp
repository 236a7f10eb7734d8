// IPv6 headers, chains of extension headers and their options: every offset lies inside, what is read is written back.
#include <algorithm>
#include <array>

#include "wire/ipv6.hpp"
#include "wire/ipv6_extensions.hpp"

using namespace iopkt;
using namespace iopkt::wire;

/// What a client may want to be sent: the first byte is the kind, the rest headers.
static void judge_sent(Bytes bytes) {
  if (bytes.empty()) return;
  const auto kind = static_cast<IpProtocol>(load_u8(bytes, 0));
  const Bytes headers = bytes.subspan(1);
  if (const auto one = sole_extension(headers)) {
    IOPKT_ASSERT(one->size() % 8 == 0 && one->size() <= headers.size());
    static_cast<void>(is_segment_routing(*one));
  }
  if (!is_sendable(kind, headers)) return;
  static_cast<void>(first_segment(kind, headers));
  std::vector<std::byte> packet(Ipv6View::kHeaderLen);
  encode(Ipv6Header{.payload_len = static_cast<std::uint16_t>(headers.size()), .next_header = kind}, packet);
  packet.insert(packet.end(), headers.begin(), headers.end());
  IOPKT_ASSERT(unfragmentable_len(packet) <= packet.size());
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes bytes = as_bytes(data, size);
  judge_sent(bytes);
  IOPKT_ASSERT(unfragmentable_len(bytes) <= std::max<std::size_t>(size, Ipv6View::kHeaderLen));
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
