#include "tests/script/packets.hpp"

#include <algorithm>

#include "wire/checksum.hpp"
#include "wire/icmp.hpp"
#include "wire/ipv4.hpp"
#include "wire/tcp.hpp"
#include "wire/udp.hpp"

namespace iopkt::script {
namespace {

using wire::IpProtocol;
using wire::Ipv4Header;

void put16(PacketBytes& out, std::uint32_t v) { out.push_back(static_cast<std::byte>(v >> 8)), out.push_back(static_cast<std::byte>(v)); }
void put32(PacketBytes& out, std::uint32_t v) { put16(out, v >> 16), put16(out, v & 0xffff); }
void append(PacketBytes& out, const PacketBytes& more) { out.insert(out.end(), more.begin(), more.end()); }

PacketBytes option_bytes(const Packet& p, const Flow& flow) {
  using Kind = TcpOption::Kind;
  PacketBytes out;
  const auto head = [&](int kind, int length) { put16(out, static_cast<std::uint32_t>(kind << 8 | length)); };
  for (const TcpOption& o : p.options) {
    switch (o.kind) {
      case Kind::end: out.push_back(std::byte{0}); break;
      case Kind::nop: out.push_back(std::byte{1}); break;
      case Kind::mss: head(2, 4), put16(out, o.value); break;
      case Kind::window_scale: head(3, 3), out.push_back(static_cast<std::byte>(o.value)); break;
      case Kind::sack_permitted: head(4, 2); break;
      case Kind::sack:
        head(5, 2 + 8 * static_cast<int>(o.blocks.size()));
        for (const auto& [left, right] : o.blocks) put32(out, left + flow.iss.value_or(0)), put32(out, right + flow.iss.value_or(0));
        break;
      case Kind::timestamps: head(8, 10), put32(out, o.value), put32(out, o.echo == 0 ? 0 : o.echo + flow.timestamp.value_or(0)); break;
      case Kind::raw:
        for (const std::uint8_t byte : o.raw) out.push_back(std::byte{byte});
        break;
    }
  }
  while (out.size() % 4 != 0) out.push_back(std::byte{0});
  return out;
}

PacketBytes ip_around(const Packet& p, IpProtocol protocol, const PacketBytes& payload, bool from_us = false) {
  Ipv4Header ip{.id = 1, .ttl = p.ttl.value_or(64), .protocol = protocol, .src = Machine::kRemote, .dst = Machine::kLocal,
                .payload_len = static_cast<std::uint16_t>(payload.size())};
  ip.tos = static_cast<std::uint8_t>((p.tos.value_or(0) & ~3) | p.ecn.value_or(p.tos.value_or(0) & 3));
  ip.df = p.dont_fragment.value_or(false);
  if (from_us) std::swap(ip.src, ip.dst);
  PacketBytes out(wire::encoded_len(ip));
  wire::encode(ip, out);
  append(out, payload);
  return out;
}

void store_checksum(PacketBytes& transport, IpProtocol protocol, std::size_t at, bool bad) {
  const std::uint32_t pseudo = wire::pseudo_header_sum(wire::IpAddress{Machine::kRemote}, wire::IpAddress{Machine::kLocal}, protocol,
                                                       static_cast<std::uint32_t>(transport.size()));
  std::uint16_t sum = wire::finish(wire::sum(transport, pseudo));
  if (protocol != IpProtocol::tcp) sum = wire::udp_checksum_field(sum);
  store_be16(transport, at, static_cast<std::uint16_t>(bad ? sum ^ 0x1111 : sum));
}

/// Without the payload; of a packet of ours for `ours`, as an ICMP error quotes it.
PacketBytes tcp_header(const Packet& p, const Flow& flow, bool ours) {
  const PacketBytes options = ours ? PacketBytes{} : option_bytes(p, flow);
  PacketBytes out;
  put16(out, ours ? flow.local : flow.remote);
  put16(out, ours ? flow.remote : flow.local);
  put32(out, p.seq.begin + (ours ? flow.iss.value_or(0) : flow.irs));
  put32(out, p.ack ? *p.ack + (ours ? flow.irs : flow.iss.value_or(0)) : 0);
  put16(out, static_cast<std::uint32_t>((5 + options.size() / 4) << 12 | p.flags));
  put16(out, p.window.value_or(0));
  put16(out, 0);
  put16(out, p.urgent.value_or(0));
  append(out, options);
  return out;
}

PacketBytes encode_tcp(const Packet& p, Flow& flow) {
  PacketBytes out = tcp_header(p, flow, false);
  if ((p.flags & wire::syn) != 0) {
    flow.new_incarnation = flow.new_incarnation || (flow.peer_syn && *flow.peer_syn != p.seq.begin);
    flow.peer_syn = flow.script_irs = p.seq.begin;
  }
  append(out, pattern(p.seq.begin - flow.script_irs - ((p.flags & wire::syn) != 0 ? 0 : 1), p.seq.length));
  store_checksum(out, IpProtocol::tcp, wire::TcpView::kChecksumOffset, p.bad_checksum);
  return ip_around(p, IpProtocol::tcp, out);
}

PacketBytes encode_udp(const Packet& p, const Flow& flow) {
  PacketBytes out;
  put16(out, flow.remote), put16(out, flow.local), put16(out, 8 + p.length), put16(out, 0);
  append(out, pattern(0, p.length));
  store_checksum(out, IpProtocol::udp, wire::UdpView::kChecksumOffset, p.bad_checksum);
  return ip_around(p, IpProtocol::udp, out);
}

PacketBytes encode_icmp(const Packet& p, const Flow& flow) {
  std::uint32_t rest = p.mtu.value_or(0);
  if (p.icmp_type == 8 || p.icmp_type == 13) rest = 0x1234'0001;
  PacketBytes out(8);
  wire::encode(wire::IcmpHeader{.type = static_cast<wire::IcmpType>(p.icmp_type), .code = p.icmp_code, .rest = rest}, out);
  if (p.quoted_tcp) {
    Packet inner;
    inner.flags = wire::ack;
    inner.seq = *p.quoted_tcp;
    PacketBytes transport = tcp_header(inner, flow, true);
    append(transport, pattern(0, p.quoted_tcp->length));
    append(out, ip_around({}, IpProtocol::tcp, transport, true));
    out.resize(std::min<std::size_t>(out.size(), 8 + 28));  // RFC 792: the header and 8 bytes more
  } else if (p.quoted_udp) {
    PacketBytes transport;
    put16(transport, flow.local), put16(transport, flow.remote), put16(transport, 8 + *p.quoted_udp), put16(transport, 0);
    append(transport, pattern(0, *p.quoted_udp));
    append(out, ip_around({}, IpProtocol::udp, transport, true));
    out.resize(std::min<std::size_t>(out.size(), 8 + 28));
  } else {
    append(out, pattern(0, p.length));
  }
  wire::store_icmp_checksum(out);
  if (p.bad_checksum) out[2] ^= std::byte{0x11};
  return ip_around(p, IpProtocol::icmp, out);
}

// ---- what left

std::vector<TcpOption> read_options(Bytes b, const Flow& flow) {
  using Kind = TcpOption::Kind;
  std::vector<TcpOption> out;
  std::size_t at = 0;
  while (at < b.size()) {
    TcpOption o;
    const std::uint8_t kind = load_u8(b, at);
    if (kind <= 1) {
      o.kind = kind == 0 ? Kind::end : Kind::nop;
      out.push_back(o);
      ++at;
      continue;
    }
    const std::size_t length = at + 1 < b.size() ? std::min<std::size_t>(load_u8(b, at + 1), b.size() - at) : 0;
    if (kind == 2 && length == 4) {
      o.kind = Kind::mss, o.value = load_be16(b, at + 2);
    } else if (kind == 3 && length == 3) {
      o.kind = Kind::window_scale, o.value = load_u8(b, at + 2);
    } else if (kind == 4 && length == 2) {
      o.kind = Kind::sack_permitted;
    } else if (kind == 5 && length >= 10 && length % 8 == 2) {
      o.kind = Kind::sack;
      for (std::size_t i = 2; i < length; i += 8)
        o.blocks.emplace_back(load_be32(b, at + i) - flow.irs, load_be32(b, at + i + 4) - flow.irs);
    } else if (kind == 8 && length == 10) {
      o.kind = Kind::timestamps, o.value = load_be32(b, at + 2) - flow.timestamp.value_or(0), o.echo = load_be32(b, at + 6);
    } else {
      o.kind = Kind::raw;
      const std::size_t all = std::max<std::size_t>(length, 1);
      for (std::size_t i = 0; i < all; ++i) o.raw.push_back(load_u8(b, at + i));
      at += all;
      out.push_back(o);
      if (length < 2) break;
      continue;
    }
    at += length;
    out.push_back(o);
  }
  return out;
}

const TcpOption* timestamps_of(const Packet& p) {
  const auto found = std::ranges::find(p.options, TcpOption::Kind::timestamps, &TcpOption::kind);
  return found == p.options.end() ? nullptr : &*found;
}

/// The first SYN, or one after another incarnation's, says where the stack's numbers begin.
void learn(const wire::TcpView& view, const Packet& said, Flow& flow) {
  const bool syn = (view.flags() & wire::syn) != 0;
  const bool other_ports = !flow.local_known || (!said.ports && (view.flags() & wire::ack) == 0 && syn);
  if (other_ports) {
    // Another socket connects: another connection.
    if (flow.local != view.src().value || flow.remote != view.dst().value) flow.iss.reset(), flow.timestamp.reset();
    flow.local = view.src().value, flow.remote = view.dst().value, flow.local_known = true;
  }
  if (!syn || said.kind != Packet::Kind::tcp) return;
  const std::uint32_t offset = view.seq().value - said.seq.begin;
  if (!flow.iss || flow.new_incarnation) {
    if (flow.iss && *flow.iss != offset) flow.timestamp.reset();
    flow.iss = offset;
    flow.script_iss = said.seq.begin;
    flow.new_incarnation = false;
  }
}

void decode_tcp(Bytes transport, const Ipv4Header& ip, const Packet& said, Flow& flow, bool check_payload, Decoded& out) {
  const auto view = wire::TcpView::parse(transport);
  if (!view) {
    out.broken = "the TCP header is cut off";
    return;
  }
  const std::uint32_t pseudo =
      wire::pseudo_header_sum(wire::IpAddress{ip.src}, wire::IpAddress{ip.dst}, IpProtocol::tcp, static_cast<std::uint32_t>(transport.size()));
  if (wire::finish(wire::sum(transport, pseudo)) != 0) out.broken = "the TCP checksum is wrong";
  learn(*view, said, flow);
  Packet& p = out.packet;
  if (said.ports || view->src().value != flow.local || view->dst().value != flow.remote) p.ports = Ports{view->src().value, view->dst().value};
  p.flags = view->flags();
  p.seq.begin = view->seq().value - flow.iss.value_or(0);
  p.seq.length = static_cast<std::uint32_t>(view->payload().size());
  p.seq.end = p.seq.begin + p.seq.length;
  if ((p.flags & wire::ack) != 0) p.ack = view->ack().value - flow.irs;
  p.window = view->window();
  if ((p.flags & wire::urg) != 0) p.urgent = view->urgent();
  if (const TcpOption* want = timestamps_of(said); want != nullptr && !flow.timestamp) {
    p.options = read_options(view->option_bytes(), flow);
    if (const TcpOption* has = timestamps_of(p)) flow.timestamp = has->value - want->value;
  }
  p.options = read_options(view->option_bytes(), flow);
  const std::uint64_t from = p.seq.begin - flow.script_iss - ((p.flags & wire::syn) != 0 ? 0 : 1);
  if (check_payload && out.broken.empty() && !std::ranges::equal(view->payload(), pattern(from, p.seq.length)))
    out.broken = "the payload is not what was written at this place of the stream";
}

void decode_udp(Bytes transport, const Ipv4Header& ip, const Packet& said, Flow& flow, bool check_payload, Decoded& out) {
  const auto view = wire::UdpView::parse(transport);
  if (!view || view->datagram().size() != transport.size()) {
    out.broken = "the UDP header is cut off, or says another length";
    return;
  }
  const std::uint32_t pseudo =
      wire::pseudo_header_sum(wire::IpAddress{ip.src}, wire::IpAddress{ip.dst}, IpProtocol::udp, static_cast<std::uint32_t>(transport.size()));
  if (view->checksum() != 0 && wire::finish(wire::sum(transport, pseudo)) != 0) out.broken = "the UDP checksum is wrong";
  if (!flow.local_known || !said.ports) flow.local = view->src().value, flow.remote = view->dst().value, flow.local_known = true;
  if (said.ports) out.packet.ports = Ports{view->src().value, view->dst().value};
  out.packet.length = static_cast<std::uint32_t>(view->payload().size());
  if (check_payload && out.broken.empty() && !std::ranges::equal(view->payload(), pattern(0, out.packet.length)))
    out.broken = "the payload is not what was written";
}

void decode_icmp(Bytes message, const Packet& said, Bytes last_injected, Decoded& out) {
  const auto view = wire::IcmpView::parse(message);
  if (!view || !view->checksum_ok()) {
    out.broken = "the ICMP message is cut off, or its checksum is wrong";
    return;
  }
  out.packet.icmp_type = static_cast<std::uint8_t>(view->type());
  out.packet.icmp_code = view->code();
  if (said.mtu) out.packet.mtu = view->header().next_hop_mtu();
  const Bytes rest = view->payload();
  if (view->header().is_error()) {
    // What it answers comes back as it came (RFC 1122 section 3.2.2).
    if (rest.size() > last_injected.size() || rest.size() < 28 || !std::ranges::equal(rest, last_injected.first(rest.size())))
      out.broken = "the ICMP error does not quote the packet that arrived last";
  } else {
    out.packet.length = static_cast<std::uint32_t>(rest.size());
    if (view->type() == wire::IcmpType::echo_reply && !std::ranges::equal(rest, pattern(0, rest.size())))
      out.broken = "the echo has other data than was asked";
  }
}

}  // namespace

PacketBytes pattern(std::uint64_t offset, std::size_t count) {
  PacketBytes out(count);
  for (std::size_t i = 0; i < count; ++i) out[i] = pattern(offset + i);
  return out;
}

PacketBytes encode(const Packet& p, Flow& flow) {
  if (p.ports) flow.remote = p.ports->from, flow.local = p.ports->to, flow.local_known = true;
  switch (p.kind) {
    case Packet::Kind::tcp: flow.local_known = true; return encode_tcp(p, flow);
    case Packet::Kind::udp: flow.local_known = true; return encode_udp(p, flow);
    case Packet::Kind::icmp: return encode_icmp(p, flow);
  }
  return {};
}

Decoded decode(Bytes bytes, const Packet& said, Flow& flow, Bytes last_injected, bool check_payload) {
  Decoded out;
  const auto view = wire::Ipv4View::parse(bytes);
  if (!view || view->total_len() != bytes.size()) return {.packet = {}, .broken = "the IP header is broken, or says another length"};
  const Ipv4Header ip = view->header();
  if (!view->checksum_ok()) out.broken = "the IP header's checksum is wrong";
  else if (ip.src != Machine::kLocal || ip.dst != Machine::kRemote)
    out.broken = "the packet goes from " + ip.src.to_string() + " to " + ip.dst.to_string();
  else if (!said.ttl && ip.ttl != 64) out.broken = "the TTL is " + std::to_string(ip.ttl);
  Packet& p = out.packet;
  if (said.ttl) p.ttl = ip.ttl;
  if (said.tos) p.tos = ip.tos;
  if (said.ecn) p.ecn = ip.ecn();
  if (said.dont_fragment) p.dont_fragment = ip.df;
  const auto parts = [&] {
    switch (ip.protocol) {
      case IpProtocol::tcp: p.kind = Packet::Kind::tcp; return decode_tcp(view->payload(), ip, said, flow, check_payload, out);
      case IpProtocol::udp: p.kind = Packet::Kind::udp; return decode_udp(view->payload(), ip, said, flow, check_payload, out);
      case IpProtocol::icmp: p.kind = Packet::Kind::icmp; return decode_icmp(view->payload(), said, last_injected, out);
      default: out.broken = "a packet of protocol " + std::to_string(static_cast<unsigned>(ip.protocol));
    }
  };
  if (ip.is_fragment()) out.broken = "a fragment of an IP packet";
  else parts();
  return out;
}

bool matches(const Packet& said, const Packet& seen, std::uint32_t tick) {
  if (said.kind != seen.kind || said.ports != seen.ports || said.tos != seen.tos || said.ttl != seen.ttl || said.ecn != seen.ecn ||
      said.dont_fragment != seen.dont_fragment)
    return false;
  if (said.kind == Packet::Kind::icmp)
    return said.icmp_type == seen.icmp_type && said.icmp_code == seen.icmp_code && said.mtu == seen.mtu && said.length == seen.length;
  if (said.kind == Packet::Kind::udp) return said.length == seen.length;
  if (said.flags != seen.flags || said.seq != seen.seq || said.ack != seen.ack || said.urgent != seen.urgent) return false;
  if (said.window && said.window != seen.window) return false;
  if (said.any_options) return true;
  return std::ranges::equal(said.options, seen.options, [&](const TcpOption& a, const TcpOption& b) {
    if (a.kind != TcpOption::Kind::timestamps || b.kind != a.kind) return a == b;
    const auto apart = static_cast<std::int32_t>(a.value - b.value);
    return a.echo == b.echo && std::abs(apart) <= static_cast<std::int32_t>(tick);
  });
}

}  // namespace iopkt::script
