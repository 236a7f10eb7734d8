// Neighbour discovery messages: what was read is bounded, and what is written of it reads the same.
#include "wire/nd.hpp"

using namespace iopkt;
using namespace iopkt::wire;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto read = parse_nd(as_bytes(data, size));
  if (!read) return 0;
  const NdOptions& o = read->options;
  IOPKT_ASSERT(o.prefixes.size() <= kNdPrefixesMax && o.dns_servers.size() <= kNdServersMax);
  IOPKT_ASSERT(o.routes.size() <= kNdRoutesMax && o.dns_domains.size() <= kNdDomainsMax);
  for (const NdPrefix& p : o.prefixes) IOPKT_ASSERT(p.length <= 128);
  std::vector<std::byte> out;
  if (const auto* m = std::get_if<RouterAdvertisement>(&read->body)) {
    append_router_advertisement(out, *m, o);
    const auto again = parse_nd(out);
    IOPKT_ASSERT(again && std::get<RouterAdvertisement>(again->body) == *m);
    IOPKT_ASSERT(again->options.prefixes == o.prefixes && again->options.mtu == o.mtu);
    IOPKT_ASSERT(again->options.dns_servers == o.dns_servers && again->options.dns_domains == o.dns_domains);
    IOPKT_ASSERT(again->options.routes.size() == o.routes.size());
  } else if (const auto* na = std::get_if<NeighbourAdvertisement>(&read->body)) {
    append_neighbour_advertisement(out, *na, o.target_link);
    const auto again = parse_nd(out);
    IOPKT_ASSERT(again && std::get<NeighbourAdvertisement>(again->body).target == na->target);
    IOPKT_ASSERT(again->options.target_link == o.target_link);
  }
  return 0;
}
