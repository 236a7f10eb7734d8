// The one-line description of any bytes is one printable line of bounded length; addresses in text survive a
// round trip.
#include <string>
#include <string_view>

#include "base/assert.hpp"
#include "wire/describe.hpp"

using namespace iopkt;
using namespace iopkt::wire;

namespace {

void check_line(const std::string& line) {
  IOPKT_ASSERT(!line.empty() && line.size() < 2000);
  for (const char c : line) IOPKT_ASSERT(c >= ' ' && c <= '~');
}

void check_text(std::string_view text) {
  if (const auto a = IpAddress::parse(text)) IOPKT_ASSERT(IpAddress::parse(a->to_string()) == a);
  if (const auto a = MacAddress::parse(text)) IOPKT_ASSERT(MacAddress::parse(a->to_string()) == a);
  if (const auto a = Ipv4Prefix::parse(text)) IOPKT_ASSERT(Ipv4Prefix::parse(a->to_string()) == a);
  if (const auto a = Ipv4Address::parse_strict(text)) IOPKT_ASSERT(Ipv4Address::parse_bsd(text) == a);
  if (const auto a = Ipv4Address::parse_bsd(text))
    IOPKT_ASSERT(Ipv4Address::parse_strict(a->to_string()) == a);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes bytes = as_bytes(data, size);
  check_line(describe(bytes));
  check_line(describe_ip(bytes, {.transport_checksums = true}));
  check_text({reinterpret_cast<const char*>(data), size});
  return 0;
}
