// DHCP messages: whatever is read can be written, and is read again as the same.
#include "base/assert.hpp"
#include "wire/dhcp.hpp"

using namespace iopkt;
using namespace iopkt::wire;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto message = parse_dhcp(as_bytes(data, size));
  if (!message) return 0;
  (void)message->type(), (void)message->classless_routes(), (void)message->addresses(DhcpOption::routers);
  for (const char c : message->name(DhcpOption::host_name)) IOPKT_ASSERT(c > ' ' && c <= '~');
  // The fields for names are not written; what they held is among the options now.
  std::erase_if(message->options, [](const DhcpMessage::Option& one) { return one.code == DhcpOption::overload; });
  const auto again = parse_dhcp(encode_dhcp(*message));
  IOPKT_ASSERT(again && again->options == message->options && again->xid == message->xid && again->hardware == message->hardware);
  return 0;
}
