// MACs over any header: whatever its options say, what is read lies in it, and the MAC's own bytes do not matter.
#include <vector>

#include "base/assert.hpp"
#include "fuzz/input.hpp"
#include "tcp/auth.hpp"

using namespace iopkt;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input in(data, size);
  const std::uint8_t how = in.u8();
  tcp::Key key{.algorithm = static_cast<tcp::MacAlgorithm>(how % 3), .prefix_len = in.u8(), .without_options = (how & 64) != 0};
  const std::vector<std::byte> secret = in.bytes(how >> 2 & 15);
  key.secret.assign(secret.begin(), secret.end());
  const wire::IpAddress from{wire::Ipv4Address{in.u32()}}, to{wire::Ipv4Address{in.u32()}};
  key.peer = from;
  IOPKT_ASSERT(key.fits(from));
  (void)key.fits(to);
  std::vector<std::byte> segment = in.bytes(4096);
  const auto view = wire::TcpView::parse(segment);
  if (!view) return 0;
  const Bytes header = Bytes{segment}.first(view->header_len());
  const tcp::SignedSegment one{from, to, header, view->payload()};
  if (key.is_md5()) {
    IOPKT_ASSERT(tcp::md5_digest(key, one).has_value());
    return 0;
  }
  const auto traffic = tcp::traffic_key(key, {from, to, view->src(), view->dst(), view->seq(), view->ack()});
  IOPKT_ASSERT(traffic.has_value());
  IOPKT_ASSERT(tcp::ao_mac(key, *traffic, 0, one).has_value());
  return 0;
}
