// Fragments in any order, overlapping, late, too many: what comes out is whole and right, memory stays in
// bounds. Input: 5 bytes a fragment: identification, offset, length, flags and ECN, time.
#include <vector>

#include "ipv4/reassembly.hpp"

using namespace iopkt;

namespace {

std::byte byte_at(unsigned id, std::size_t position) {
  return static_cast<std::byte>(id * 31 + position * 7 + position / 251);
}

packet::PacketPtr fragment(packet::Cache& cache, wire::Ipv4Header& header, std::size_t len) {
  packet::PacketPtr packet = packet::allocate_header(cache);
  std::vector<std::byte> payload(len);
  for (std::size_t i = 0; i < len; ++i) payload[i] = byte_at(header.id, header.fragment_offset + i);
  header.payload_len = static_cast<std::uint16_t>(len);
  IOPKT_ASSERT(packet->append(payload));
  wire::encode(header, packet->prepend(static_cast<std::uint32_t>(wire::encoded_len(header))));
  return packet;
}

void check(const ipv4::Reassembly::Done& done) {
  const auto header = wire::Ipv4View::parse_header(done.header.bytes.span());
  IOPKT_ASSERT(header && !header->is_fragment() && header->checksum_ok());
  IOPKT_ASSERT(header->header_len() + done.packet->size() == header->total_len());
  std::vector<std::byte> payload(done.packet->size());
  done.packet->copy_out(0, payload);
  for (std::size_t i = 0; i < payload.size(); ++i) IOPKT_ASSERT(payload[i] == byte_at(header->id(), i));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  packet::HeapPages pages;
  packet::Pools pools{{.pagesize = 65536}, pages};
  packet::Cache cache{pools};
  ipv4::Ipv4Tunables tunables = initial_values<ipv4::Ipv4Tunables>();
  tunables.max_frag_packets = 4;
  tunables.max_frag_bytes = 64 * 1024;
  tunables.max_frags_per_packet = 8;
  {
    ipv4::Ipv4Counters<Counter> counters;
    ipv4::Reassembly reassembly{tunables, counters, {1, 2}};
    Instant now;
    std::size_t in = 0, out = 0;
    for (; size >= 5; data += 5, size -= 5, ++in) {
      wire::Ipv4Header header{
          .tos = static_cast<std::uint8_t>(data[3] >> 6),
          .id = static_cast<std::uint16_t>(data[0] % 8),
          .mf = (data[3] & 1) != 0,
          .fragment_offset = static_cast<std::uint16_t>(data[1] % 64 * ((data[3] & 2) != 0 ? 1024 : 8)),
          .ttl = 1,
          .protocol = wire::IpProtocol::udp};
      if ((data[3] & 4) != 0) header.options = {.bytes = {std::byte{1}}, .len = 4};
      now += std::chrono::milliseconds{data[4] * 50};
      std::vector<ipv4::Dead> dead;
      std::vector<ipv4::Reassembly::Expired> expired;
      reassembly.run(now, expired);
      for (const auto& e : expired) {
        IOPKT_ASSERT(!e.packets.empty() && (!e.first || wire::Ipv4View::parse_header(e.first->bytes.span())->fragment_offset() == 0));
        out += e.packets.size();
      }
      IOPKT_ASSERT(reassembly.next_deadline() > now);
      const std::size_t len = data[2] % 32 * ((data[3] & 8) != 0 ? 64 : 8) + ((data[3] & 16) != 0 ? 3 : 0);
      packet::PacketPtr packet = fragment(cache, header, len);
      const wire::IpFragment where{.id = header.id, .offset = header.fragment_offset, .more = header.mf,
                                   .header_len = static_cast<std::uint16_t>(wire::encoded_len(header))};
      if (const auto done = reassembly.insert(header, where, std::move(packet), now, dead)) check(*done);
      for (const auto& d : dead) IOPKT_ASSERT(d.packet && d.why != packet::Drop::no_buffer);
      out += dead.size();
      IOPKT_ASSERT(reassembly.datagrams() <= 4 && reassembly.bytes() <= 64 * 1024);
    }
    IOPKT_ASSERT(out <= in);
  }
  IOPKT_ASSERT(pools.in_use(packet::Kind::mbuf) == 0 && pools.in_use(packet::Kind::cluster) == 0);
  return 0;
}
