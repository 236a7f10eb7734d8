#include "tests/script/packets.hpp"

#include <algorithm>

#include "wire/checksum.hpp"
#include "wire/icmp.hpp"
#include "wire/icmpv6.hpp"
#include "wire/ipv4.hpp"
#include "wire/ipv6.hpp"
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

PacketBytes ip_around(const Packet& p, IpProtocol protocol, const PacketBytes& payload, wire::IpFamily family, bool from_us = false) {
  const std::uint8_t tos = static_cast<std::uint8_t>((p.tos.value_or(0) & ~3) | p.ecn.value_or(p.tos.value_or(0) & 3));
  const std::uint8_t ttl = p.ttl.value_or(64);
  PacketBytes out(wire::Ipv6View::kHeaderLen);
  if (family == wire::IpFamily::v6) {
    wire::Ipv6Header ip{.tos = tos, .payload_len = static_cast<std::uint16_t>(payload.size()), .next_header = protocol, .hop_limit = ttl,
                        .src = Machine::kRemote6, .dst = Machine::kLocal6};
    if (from_us) std::swap(ip.src, ip.dst);
    wire::encode(ip, out);
  } else {
    Ipv4Header ip{.tos = tos, .id = 1, .ttl = ttl, .protocol = protocol, .src = Machine::kRemote, .dst = Machine::kLocal,
                  .payload_len = static_cast<std::uint16_t>(payload.size())};
    ip.df = p.dont_fragment.value_or(false);
    if (from_us) std::swap(ip.src, ip.dst);
    out.resize(wire::encoded_len(ip));
    wire::encode(ip, out);
  }
  append(out, payload);
  return out;
}

std::uint32_t pseudo_sum(IpProtocol protocol, std::size_t size, wire::IpFamily family) {
  return wire::pseudo_header_sum(Machine::remote(family), Machine::local(family), protocol, static_cast<std::uint32_t>(size));
}

void store_checksum(PacketBytes& transport, IpProtocol protocol, std::size_t at, bool bad, wire::IpFamily family) {
  std::uint16_t sum = wire::finish(wire::sum(transport, pseudo_sum(protocol, transport.size(), family)));
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
  store_checksum(out, IpProtocol::tcp, wire::TcpView::kChecksumOffset, p.bad_checksum, flow.family);
  return ip_around(p, IpProtocol::tcp, out, flow.family);
}

PacketBytes encode_udp(const Packet& p, const Flow& flow) {
  PacketBytes out;
  put16(out, flow.remote), put16(out, flow.local), put16(out, 8 + p.length), put16(out, 0);
  append(out, pattern(0, p.length));
  store_checksum(out, IpProtocol::udp, wire::UdpView::kChecksumOffset, p.bad_checksum, flow.family);
  return ip_around(p, IpProtocol::udp, out, flow.family);
}

/// The beginning of a packet of ours that an error answers: all headers, and 8 bytes (RFC 792) or the whole (RFC 4443).
PacketBytes quoted(const Packet& p, const Flow& flow) {
  PacketBytes transport, out;
  if (p.quoted_tcp) {
    Packet inner;
    inner.flags = wire::ack;
    inner.seq = *p.quoted_tcp;
    transport = tcp_header(inner, flow, true);
    append(transport, pattern(0, p.quoted_tcp->length));
    out = ip_around({}, IpProtocol::tcp, transport, flow.family, true);
  } else {
    put16(transport, flow.local), put16(transport, flow.remote), put16(transport, 8 + *p.quoted_udp), put16(transport, 0);
    append(transport, pattern(0, *p.quoted_udp));
    out = ip_around({}, IpProtocol::udp, transport, flow.family, true);
  }
  out.resize(std::min<std::size_t>(out.size(), flow.family == wire::IpFamily::v4 ? 28 : 1232));
  return out;
}

PacketBytes encode_icmp(const Packet& p, const Flow& flow) {
  const bool v6 = flow.family == wire::IpFamily::v6;
  std::uint32_t rest = p.mtu.value_or(0);
  if (p.icmp_type == (v6 ? 128 : 8) || (!v6 && p.icmp_type == 13)) rest = 0x1234'0001;
  PacketBytes out(8);
  wire::encode(wire::IcmpHeader{.type = static_cast<wire::IcmpType>(p.icmp_type), .code = p.icmp_code, .rest = rest}, out);
  append(out, p.quoted_tcp || p.quoted_udp ? quoted(p, flow) : pattern(0, p.length));
  if (v6) wire::store_icmpv6_checksum(out, Machine::kRemote6, Machine::kLocal6);
  else wire::store_icmp_checksum(out);
  if (p.bad_checksum) out[2] ^= std::byte{0x11};
  return ip_around(p, v6 ? IpProtocol::icmpv6 : IpProtocol::icmp, out, flow.family);
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

void decode_tcp(Bytes transport, const Packet& said, Flow& flow, bool check_payload, Decoded& out) {
  const auto view = wire::TcpView::parse(transport);
  if (!view) {
    out.broken = "the TCP header is cut off";
    return;
  }
  const std::uint32_t pseudo = pseudo_sum(IpProtocol::tcp, transport.size(), flow.family);
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

void decode_udp(Bytes transport, const Packet& said, Flow& flow, bool check_payload, Decoded& out) {
  const auto view = wire::UdpView::parse(transport);
  if (!view || view->datagram().size() != transport.size()) {
    out.broken = "the UDP header is cut off, or says another length";
    return;
  }
  const std::uint32_t pseudo = pseudo_sum(IpProtocol::udp, transport.size(), flow.family);
  if (view->checksum() == 0 && flow.family == wire::IpFamily::v6) out.broken = "UDP over IPv6 without a checksum";
  else if (view->checksum() != 0 && wire::finish(wire::sum(transport, pseudo)) != 0) out.broken = "the UDP checksum is wrong";
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

void decode_icmpv6(Bytes message, const Packet& said, Bytes last_injected, Decoded& out) {
  const auto view = wire::IcmpView::parse(message);
  if (!view || wire::finish(wire::sum(message, pseudo_sum(IpProtocol::icmpv6, message.size(), wire::IpFamily::v6))) != 0) {
    out.broken = "the ICMPv6 message is cut off, or its checksum is wrong";
    return;
  }
  out.packet.icmpv6 = true;
  out.packet.icmp_type = static_cast<std::uint8_t>(view->type());
  out.packet.icmp_code = view->code();
  if (said.mtu) out.packet.mtu = view->rest();
  const Bytes rest = view->payload();
  if (out.packet.icmp_type < 128) {
    // As much of what it answers as fits into the least MTU (RFC 4443 section 2.4).
    if (!std::ranges::equal(rest, last_injected.first(std::min<std::size_t>(last_injected.size(), 1232))))
      out.broken = "the ICMPv6 error does not quote the packet that arrived last";
  } else {
    out.packet.length = static_cast<std::uint32_t>(rest.size());
    if (out.packet.icmp_type == 129 && !std::ranges::equal(rest, pattern(0, rest.size()))) out.broken = "the echo has other data than was asked";
  }
}

/// What is said of the IP header, and what of it is wrong. nullopt: it is none.
struct Around {
  IpProtocol protocol{};
  Bytes payload;
  bool fragment = false;
};
std::optional<Around> decode_ip(Bytes bytes, const Packet& said, wire::IpFamily family, Decoded& out) {
  Packet& p = out.packet;
  std::uint8_t ttl, tos;
  Around around;
  wire::IpAddress src, dst;
  if (family == wire::IpFamily::v4) {
    const auto view = wire::Ipv4View::parse(bytes);
    if (!view || view->total_len() != bytes.size()) return std::nullopt;
    const Ipv4Header ip = view->header();
    if (!view->checksum_ok()) out.broken = "the IP header's checksum is wrong";
    src = ip.src, dst = ip.dst, ttl = ip.ttl, tos = ip.tos;
    around = {ip.protocol, view->payload(), ip.is_fragment()};
    if (said.dont_fragment) p.dont_fragment = ip.df;
  } else {
    const auto view = wire::Ipv6View::parse(bytes);
    if (!view || view->packet().size() != bytes.size()) return std::nullopt;
    src = view->src(), dst = view->dst(), ttl = view->hop_limit(), tos = view->tos();
    around = {view->next_header(), view->payload(), static_cast<int>(view->next_header()) == 44};
  }
  if (!out.broken.empty()) return around;
  if (src != Machine::local(family) || dst != Machine::remote(family))
    out.broken = "the packet goes from " + src.to_string() + " to " + dst.to_string();
  else if (!said.ttl && ttl != 64) out.broken = "the TTL is " + std::to_string(ttl);
  if (said.ttl) p.ttl = ttl;
  if (said.tos) p.tos = tos;
  if (said.ecn) p.ecn = tos & 3;
  return around;
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
  const auto ip = decode_ip(bytes, said, flow.family, out);
  if (!ip) return {.packet = {}, .broken = "the IP header is broken, of another family, or says another length"};
  if (ip->fragment) {
    out.broken = "a fragment of an IP packet";
    return out;
  }
  Packet& p = out.packet;
  switch (ip->protocol) {
    case IpProtocol::tcp: p.kind = Packet::Kind::tcp, decode_tcp(ip->payload, said, flow, check_payload, out); break;
    case IpProtocol::udp: p.kind = Packet::Kind::udp, decode_udp(ip->payload, said, flow, check_payload, out); break;
    case IpProtocol::icmp: p.kind = Packet::Kind::icmp, decode_icmp(ip->payload, said, last_injected, out); break;
    case IpProtocol::icmpv6: p.kind = Packet::Kind::icmp, decode_icmpv6(ip->payload, said, last_injected, out); break;
    default: out.broken = "a packet of protocol " + std::to_string(static_cast<unsigned>(ip->protocol));
  }
  return out;
}

bool matches(const Packet& said, const Packet& seen, std::uint32_t tick) {
  if (said.kind != seen.kind || said.ports != seen.ports || said.tos != seen.tos || said.ttl != seen.ttl || said.ecn != seen.ecn ||
      said.dont_fragment != seen.dont_fragment)
    return false;
  if (said.kind == Packet::Kind::icmp)
    return said.icmpv6 == seen.icmpv6 && said.icmp_type == seen.icmp_type && said.icmp_code == seen.icmp_code && said.mtu == seen.mtu && said.length == seen.length;
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
