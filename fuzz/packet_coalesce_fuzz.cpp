// A burst of TCP segments, damaged at will: coalescing keeps the bytes of each flow in their order, and what
// it made can be cut into valid segments again; put together exactly, into the same ones. Input: 6 bytes a segment, 2 more when it is
// damaged.
#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "packet/segment.hpp"
#include "wire/checksum.hpp"
#include "wire/ipv4.hpp"
#include "wire/tcp.hpp"

using namespace iopkt;

namespace {

using Data = std::vector<std::byte>;

Data data_of(const packet::Packet& packet) {
  Data out(packet.size());
  packet.copy_out(0, out);
  return out;
}

packet::PacketPtr make(packet::Cache& cache, const std::uint8_t* d) {
  wire::TcpHeader tcp{.src = {static_cast<std::uint16_t>(d[0] % 12)},
                      .dst = {80},
                      .seq = {d[1] * 50u},
                      .ack = {d[2] % 2u},
                      .flags = static_cast<std::uint16_t>(wire::ack | (d[2] & 8) | (d[2] >> 7) | wire::flags_of_ace(d[2] >> 4 & 7)),
                      .window = d[3]};
  if ((d[2] & 2) != 0) tcp.options.timestamps = wire::TcpTimestamps{d[4], 1};
  Data segment(wire::encoded_len(tcp) + d[5] % 4 * 50u);
  for (std::size_t i = 0; i < segment.size(); ++i) segment[i] = static_cast<std::byte>(i + d[1]);
  wire::encode(tcp, segment);
  const wire::Ipv4Address src{10, 0, 0, 1}, dst{10, 0, 0, 2};
  const auto pseudo =
      wire::pseudo_header_sum(src, dst, wire::IpProtocol::tcp, static_cast<std::uint32_t>(segment.size()));
  store_be16(segment, 16, wire::finish(wire::sum(segment, pseudo)));
  packet::PacketPtr packet = packet::allocate_header(cache);
  IOPKT_ASSERT(packet->append(segment));
  const wire::Ipv4Header ip{.ttl = static_cast<std::uint8_t>(64 + (d[4] >> 7)),
                            .protocol = wire::IpProtocol::tcp,
                            .src = src,
                            .dst = dst,
                            .payload_len = static_cast<std::uint16_t>(segment.size())};
  wire::encode(ip, packet->prepend(20));
  return packet;
}

/// Payload of each flow (by source port) in the order of the burst; of packets that are no valid segments
/// nothing.
std::map<unsigned, Data> streams(const packet::Burst& burst) {
  std::map<unsigned, Data> out;
  for (const auto& packet : burst) {
    const Data bytes = data_of(*packet);
    const auto ip = wire::Ipv4View::parse(bytes);
    if (!ip || !ip->checksum_ok() || ip->is_fragment() || ip->protocol() != wire::IpProtocol::tcp) continue;
    const auto tcp = wire::TcpView::parse(ip->payload());
    if (!tcp) continue;
    const auto pseudo = wire::pseudo_header_sum(ip->src(), ip->dst(), wire::IpProtocol::tcp,
                                                static_cast<std::uint32_t>(ip->payload().size()));
    if (wire::finish(wire::sum(ip->payload(), pseudo)) != 0) continue;
    Data& stream = out[tcp->src().value];
    stream.insert(stream.end(), tcp->payload().begin(), tcp->payload().end());
  }
  return out;
}

/// The packets but for their TCP checksum, which may be written in two ways, in no order.
std::multiset<Data> bare(const packet::Burst& burst) {
  std::multiset<Data> out;
  for (const auto& packet : burst) {
    Data bytes = data_of(*packet);
    if (bytes.size() >= 38) store_be16(bytes, 36, 0);
    out.insert(std::move(bytes));
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  packet::HeapPages pages;
  packet::Pools pools{{.pagesize = 65536}, pages};
  packet::Cache cache{pools};
  {
    packet::Burst burst;
    for (; size >= 6 && burst.size() < 64; data += 6, size -= 6) {
      burst.push_back(make(cache, data));
      if ((data[3] & 0xe0) != 0xe0 || size < 8) continue;
      const std::byte wrong{data[7]};
      burst.back()->copy_in(data[6] % burst.back()->size(), {&wrong, 1});
      data += 2;
      size -= 2;
    }
    const bool exact = !burst.empty() && (burst.size() & 1) != 0;
    const auto before = streams(burst);
    const auto each = bare(burst);
    const std::size_t count = burst.size();
    const auto done = packet::coalesce(burst, 0, exact);
    IOPKT_ASSERT(done.lost == 0 && burst.size() + done.taken == count);
    packet::Burst cut;
    std::size_t large = 0;
    for (auto& packet : burst) {
      if ((packet->flags & packet::kGsoFlags) == 0) {
        cut.push_back(std::move(packet));
        continue;
      }
      ++large;
      IOPKT_ASSERT(packet->size() <= 65535 && packet::segment(*packet, 0, cut));
    }
    IOPKT_ASSERT(cut.size() == count || large > 0);
    IOPKT_ASSERT(streams(cut) == before);
    IOPKT_ASSERT(!exact || bare(cut) == each);
  }
  IOPKT_ASSERT(pools.in_use(packet::Kind::mbuf) == 0 && pools.in_use(packet::Kind::cluster) == 0);
  return 0;
}
