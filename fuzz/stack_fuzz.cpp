// A whole stack between hostile frames and a hostile client: any bytes on the wire, segments that almost fit, requests in
// any order, impossible ring positions, time that jumps. It must not crash, leak packets or run without end.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "control/interfaces.hpp"
#include "fuzz/input.hpp"
#include "tests/support/sim_net.hpp"
#include "wire/arp.hpp"
#include "wire/checksum.hpp"
#include "wire/ethernet.hpp"
#include "wire/icmpv6.hpp"
#include "wire/ipv4.hpp"
#include "wire/ipv6.hpp"
#include "wire/tcp.hpp"

namespace {

using namespace iopkt;
using fuzz::Input;

constexpr wire::Ipv4Address kPeer{10, 0, 0, 2};
constexpr wire::MacAddress kPeerMac{{2, 0, 0, 0, 0, 2}};

sim::Frame ethernet(const sim::Host& host, wire::EtherType type, std::span<const std::byte> payload) {
  sim::Frame frame(14);
  const wire::MacAddress own{{0x02, 0, 0, 0, 0, static_cast<std::uint8_t>(host.address().value)}};
  wire::store_mac(frame, 0, own);
  wire::store_mac(frame, 6, kPeerMac);
  store_be16(frame, 12, static_cast<std::uint16_t>(type));
  frame.insert(frame.end(), payload.begin(), payload.end());
  return frame;
}

sim::Frame ip_packet(const sim::Host& host, wire::IpProtocol protocol, std::span<const std::byte> payload, Input& in) {
  wire::Ipv4Header header{.ttl = 64, .protocol = protocol, .src = kPeer, .dst = host.address(),
                          .payload_len = static_cast<std::uint16_t>(payload.size())};
  const std::uint8_t twist = in.u8();
  if ((twist & 1) != 0) header.mf = true;
  if ((twist & 2) != 0) header.fragment_offset = static_cast<std::uint16_t>(in.u8() * 8);
  if ((twist & 4) != 0) header.dst = wire::Ipv4Address{in.u32()};
  if ((twist & 8) != 0) header.src = wire::Ipv4Address{in.u32()};
  if ((twist & 16) != 0) header.ttl = in.u8();
  if ((twist & 32) != 0) header.df = true;
  if ((twist & 64) != 0) header.dst = {10, 9, 0, in.u8()};
  std::vector<std::byte> packet(wire::encoded_len(header));
  wire::encode(header, packet);
  packet.insert(packet.end(), payload.begin(), payload.end());
  return ethernet(host, wire::EtherType::ipv4, packet);
}

/// The same of IPv6, with extension headers that may be anything and a good checksum for ICMPv6.
sim::Frame ip6_packet(const sim::Host& host, std::uint8_t protocol, std::vector<std::byte> payload, Input& in) {
  wire::Ipv6Header header{.next_header = static_cast<wire::IpProtocol>(protocol), .hop_limit = 255,
                          .src = *wire::Ipv6Address::parse("fe80::2"), .dst = *wire::Ipv6Address::parse("2001:db8::1")};
  const std::uint8_t twist = in.u8();
  if ((twist & 1) != 0) header.dst = wire::Ipv6Address::all_nodes();
  if ((twist & 2) != 0) header.dst = header.dst.solicited_node();
  if ((twist & 4) != 0) header.src.bytes[15] = in.u8();
  if ((twist & 8) != 0) header.src = *wire::Ipv6Address::parse("2001:db8::2");
  if ((twist & 16) != 0) header.src = wire::Ipv6Address::any();
  if ((twist & 32) != 0) header.hop_limit = in.u8();
  if ((twist & 64) != 0) header.dst = *wire::Ipv6Address::parse("2001:db8:9::2");
  if (header.next_header == wire::IpProtocol::icmpv6 && payload.size() >= 8) wire::store_icmpv6_checksum(payload, header.src, header.dst);
  header.payload_len = static_cast<std::uint16_t>(payload.size());
  std::vector<std::byte> packet(wire::Ipv6View::kHeaderLen);
  wire::encode(header, packet);
  packet.insert(packet.end(), payload.begin(), payload.end());
  sim::Frame frame = ethernet(host, wire::EtherType::ipv6, packet);
  if (header.dst.is_multicast()) wire::store_mac(frame, 0, {{0x33, 0x33, 0, 0, 0, 1}});
  return frame;
}

/// A TCP segment with a good checksum, near what the connection expects: last numbers heard, a little off.
sim::Frame tcp_segment(const sim::Host& host, Input& in, const wire::TcpHeader& heard) {
  wire::TcpHeader h{.src = heard.dst, .dst = heard.src};
  h.seq = heard.ack + (static_cast<std::uint32_t>(in.u16()) - 1000u);
  h.ack = heard.seq + (static_cast<std::uint32_t>(in.u16()) - 1000u);
  if ((in.u8() & 1) != 0) h.seq = heard.ack, h.ack = heard.seq + 1;
  h.flags = in.u8();
  h.window = in.u16();
  h.urgent = in.u16();
  if ((in.u8() & 1) != 0) h.options.timestamps = wire::TcpTimestamps{in.u32(), in.u32()};
  std::vector<std::byte> segment(wire::encoded_len(h));
  wire::encode(h, segment);
  const auto payload = in.bytes(in.u8());
  segment.insert(segment.end(), payload.begin(), payload.end());
  const std::uint32_t pseudo = wire::pseudo_header_sum(kPeer, host.address(), wire::IpProtocol::tcp,
                                                       static_cast<std::uint32_t>(segment.size()));
  store_be16(segment, 16, wire::finish(wire::sum(segment, pseudo)));
  return ip_packet(host, wire::IpProtocol::tcp, segment, in);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input in{data, size};
  sim::SimNet net{1};
  sim::Host::Options options;
  const std::uint8_t kind = in.u8();
  options.shards = 1 + kind % 2;
  options.ipv6 = kind / 2 % 2 != 0;
  if (options.ipv6) options.prefix6 = "2001:db8::1/64";
  options.ring = 8192;
  options.adjust = [](stack::StackConfig& config) { config.half_open_max = 16; };
  sim::Host& host = net.host("10.0.0.1/24", options);
  if (kind / 4 % 2 != 0) {
    // A router, with routes back to where packets come from, too.
    static_cast<void>(host.add_interface("10.9.0.1/24", options.ipv6 ? "2001:db8:9::1/64" : ""));
    stack::Network network = *host.stack().network();
    network.settings.ipv4.forwarding = network.settings.ipv6.forwarding = 1;
    IOPKT_ASSERT(control::add_route(network, {.prefix = wire::IpPrefix::of(wire::Ipv4Address{192, 0, 0, 0}, 3), .gateway = kPeer}) == socket::Errno::ok);
    host.stack().publish(std::move(network));
  }
  wire::TcpHeader heard{.src = wire::Port{80}, .dst = wire::Port{1234}};
  net.tap = [&](const sim::Host&, sim::Frame& frame) {
    const auto ip = wire::Ipv4View::parse(Bytes{frame}.subspan(14));
    if (ip && ip->header().protocol == wire::IpProtocol::tcp)
      if (const auto tcp = wire::TcpView::parse(ip->payload())) heard = tcp->header();
    return false;
  };
  std::vector<sim::Host::Stream*> streams;
  host.listen(wire::Port{80}, [&](sim::Host::Stream& s) { streams.push_back(&s); }, 4);
  sim::Host::UdpSocket& udp = host.udp({wire::Ipv4Address::any(), wire::Port{53}});
  // The peer is known, so that answers are seen at once.
  wire::ArpPacket arp{};
  arp.operation = wire::ArpOperation::reply;
  arp.sender_mac = kPeerMac, arp.sender_ip = kPeer, arp.target_ip = host.address();
  std::vector<std::byte> reply(wire::ArpView::kLen);
  wire::encode(arp, reply);

  for (int step = 0; step < 200 && !in.empty(); ++step) {
    const std::uint8_t op = in.u8();
    sim::Host::Stream* s = streams.empty() ? nullptr : streams[op / 16 % streams.size()];
    switch (op % 16) {
      case 0: host.receive(in.bytes(in.u16() % 2048)); break;
      case 1: host.receive(ethernet(host, static_cast<wire::EtherType>(in.u16()), in.bytes(in.u8()))); break;
      case 2:
      case 3:
      case 4: host.receive(tcp_segment(host, in, heard)); break;
      case 5: {
        // A stranger opens.
        heard = {.src = wire::Port{80}, .dst = wire::Port{in.u16()}, .seq = {in.u32()}, .ack = {in.u32()}};
        host.receive(tcp_segment(host, in, heard));
        break;
      }
      case 6:
        if (options.ipv6 && op / 16 % 2 != 0) {
          const std::uint8_t protocol = in.u8();
          host.receive(ip6_packet(host, op / 32 % 2 != 0 ? 58 : protocol, in.bytes(in.u8()), in));
          break;
        }
        host.receive(ip_packet(host, static_cast<wire::IpProtocol>(in.u8()), in.bytes(in.u8()), in)); break;
      case 7: host.receive(ethernet(host, wire::EtherType::arp, reply)); break;
      case 8: net.run_for(Duration{static_cast<std::int64_t>(in.u32()) * 1000}); break;
      case 9: {
        const wire::IpAddress to = options.ipv6 && op / 32 % 2 != 0 ? *wire::IpAddress::parse("2001:db8::2") : kPeer;
        streams.push_back(&host.connect({to, wire::Port{in.u16()}}, op / 16 % options.shards));
        break;
      }
      case 10:
        if (s != nullptr) s->to_send = net.random_bytes(in.u16());
        break;
      case 11:
        if (s != nullptr) s->close();
        break;
      case 12:
        if (s != nullptr && s->id && !s->released) static_cast<void>(host.shard(s->shard).progress(s->id, in.u32(), in.u32()));
        break;
      case 13:
        if (s != nullptr && s->id) s->shutdown(in.u8() % 4);
        break;
      case 14: static_cast<void>(host.send(udp, {wire::Ipv4Address{in.u32()}, wire::Port{in.u16()}}, in.bytes(in.u8()), in.u8())); break;
      case 15:
        if (s != nullptr && s->id) {
          const auto value = in.bytes(in.u8() % 16);
          static_cast<void>(host.shard(s->shard).set_option(s->id, in.u8(), in.u8(), value, true));
          static_cast<void>(host.shard(s->shard).get_option(s->id, in.u8(), in.u8(), in.u8()));
        }
        break;
    }
    net.run_for(Duration{1});
  }
  for (sim::Host::Stream* s : streams)
    if (s->id && !s->released) s->close();
  net.run_for(std::chrono::hours(2));
  IOPKT_ASSERT(host.packets_held() == 0);
  IOPKT_ASSERT(host.sockets() == 2);
  return 0;
}
