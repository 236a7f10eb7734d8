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

constexpr std::size_t kIpv4Checksum = 10;  // where the IPv4 header has it

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

/// The two ends of a packet: what the script says, or the peer and we.
struct Ends {
  wire::IpAddress src, dst;
};
Ends ends_of(const Packet& p, wire::IpFamily family, bool from_us = false) {
  const wire::IpAddress us = Machine::local(family), peer = Machine::remote(family);
  return {p.from.value_or(from_us ? us : peer), p.to.value_or(from_us ? peer : us)};
}

/// The extension headers from number `from` to `to` in front of `inner`, whose type `next` is and then that of the first header.
void put_before(PacketBytes& inner, std::uint8_t& next, const Packet& p, std::size_t from, std::size_t to) {
  for (std::size_t i = to; i-- > from;) {
    const ExtensionHeader& e = p.extensions[i];
    PacketBytes out{static_cast<std::byte>(next)};
    for (const std::uint8_t byte : e.bytes) out.push_back(std::byte{byte});
    append(out, inner);
    inner = std::move(out);
    next = e.type;
  }
}

PacketBytes cut_piece(const PacketBytes& whole, const Piece& piece) {
  const std::size_t begin = std::min<std::size_t>(piece.begin, whole.size()), end = std::clamp<std::size_t>(piece.end, begin, whole.size());
  return {whole.begin() + static_cast<std::ptrdiff_t>(begin), whole.begin() + static_cast<std::ptrdiff_t>(end)};
}

PacketBytes ipv6_around(const Packet& p, std::uint8_t tos, std::uint8_t next, PacketBytes payload, const Ends& ends) {
  const std::size_t all = p.extensions.size(), cut_at = p.piece ? p.piece->behind : all;
  put_before(payload, next, p, cut_at, all);
  if (p.piece) {
    PacketBytes header{static_cast<std::byte>(next), std::byte{0}};
    put16(header, p.piece->begin | (p.piece->more ? 1u : 0u));
    put32(header, p.piece->id);
    append(header, cut_piece(payload, *p.piece));
    payload = std::move(header);
    next = 44;
  }
  put_before(payload, next, p, 0, cut_at);
  PacketBytes out(wire::Ipv6View::kHeaderLen);
  const wire::Ipv6Header ip{.tos = tos, .payload_len = static_cast<std::uint16_t>(payload.size()), .next_header = static_cast<IpProtocol>(next),
                            .hop_limit = p.ttl.value_or(64), .src = ends.src.v6(), .dst = ends.dst.v6()};
  wire::encode(ip, out);
  append(out, payload);
  return out;
}

PacketBytes ipv4_around(const Packet& p, std::uint8_t tos, IpProtocol protocol, PacketBytes payload, const Ends& ends) {
  if (p.piece) payload = cut_piece(payload, *p.piece);
  Ipv4Header ip{.tos = tos, .id = 1, .ttl = p.ttl.value_or(64), .protocol = protocol, .src = ends.src.v4(), .dst = ends.dst.v4(),
                .payload_len = static_cast<std::uint16_t>(payload.size())};
  ip.df = p.dont_fragment.value_or(false);
  if (p.piece) {
    ip.id = static_cast<std::uint16_t>(p.piece->id);
    ip.fragment_offset = static_cast<std::uint16_t>(p.piece->begin);
    ip.mf = p.piece->more;
  }
  PacketBytes out(wire::encoded_len(ip));
  wire::encode(ip, out);
  if (!p.ip_options.empty()) {
    for (const std::uint8_t byte : p.ip_options) out.push_back(std::byte{byte});
    while (out.size() % 4 != 0) out.push_back(std::byte{0});
    store_u8(out, 0, static_cast<std::uint8_t>(0x40 | (out.size() / 4 & 15)));
    store_be16(out, wire::Ipv4View::At::total_len, static_cast<std::uint16_t>(out.size() + payload.size()));
    store_be16(out, kIpv4Checksum, 0);
    store_be16(out, kIpv4Checksum, wire::finish(wire::sum(out, 0)));
  }
  append(out, payload);
  return out;
}

PacketBytes ip_around(const Packet& p, IpProtocol protocol, PacketBytes payload, wire::IpFamily family, bool from_us = false) {
  const std::uint8_t tos = static_cast<std::uint8_t>((p.tos.value_or(0) & ~3) | p.ecn.value_or(p.tos.value_or(0) & 3));
  const Ends ends = ends_of(p, family, from_us);
  payload.resize(payload.size() - std::min<std::size_t>(p.cut, payload.size()));
  PacketBytes out = family == wire::IpFamily::v6 ? ipv6_around(p, tos, static_cast<std::uint8_t>(protocol), std::move(payload), ends)
                                                 : ipv4_around(p, tos, protocol, std::move(payload), ends);
  out.resize(out.size() - std::min<std::size_t>(p.lost, out.size()));
  return out;
}

void store_checksum(PacketBytes& transport, IpProtocol protocol, std::size_t at, const Packet& p, wire::IpFamily family) {
  if (p.no_checksum) return;
  const Ends ends = ends_of(p, family);
  const std::uint32_t pseudo = wire::pseudo_header_sum(ends.src, ends.dst, protocol, static_cast<std::uint32_t>(transport.size()));
  std::uint16_t sum = wire::finish(wire::sum(transport, pseudo));
  if (protocol != IpProtocol::tcp) sum = wire::udp_checksum_field(sum);
  store_be16(transport, at, static_cast<std::uint16_t>(p.bad_checksum ? sum ^ 0x1111 : sum));
}

/// Without the payload; of a packet of ours for `ours`, as an ICMP error quotes it.
PacketBytes tcp_header(const Packet& p, const Flow& flow, bool ours) {
  const PacketBytes options = ours ? PacketBytes{} : option_bytes(p, flow);
  PacketBytes out;
  put16(out, ours ? flow.local : flow.remote);
  put16(out, ours ? flow.remote : flow.local);
  put32(out, p.seq.begin + (ours ? flow.iss.value_or(0) : flow.irs));
  put32(out, p.ack ? *p.ack + (ours ? flow.irs : flow.iss.value_or(0)) : 0);
  put16(out, static_cast<std::uint32_t>(p.data_offset.value_or(5 + options.size() / 4) << 12 | p.flags));
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
  store_checksum(out, IpProtocol::tcp, wire::TcpView::kChecksumOffset, p, flow.family);
  return ip_around(p, IpProtocol::tcp, std::move(out), flow.family);
}

PacketBytes encode_udp(const Packet& p, const Flow& flow) {
  PacketBytes out;
  put16(out, flow.remote), put16(out, flow.local), put16(out, 8 + p.length), put16(out, 0);
  append(out, pattern(p.payload_at, p.length));
  store_checksum(out, IpProtocol::udp, wire::UdpView::kChecksumOffset, p, flow.family);
  return ip_around(p, IpProtocol::udp, std::move(out), flow.family);
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
  if (!v6 && p.icmp_type == 12) rest <<= 24;  // the pointer
  if (p.icmp_type == (v6 ? 128 : 8) || (!v6 && p.icmp_type == 13)) rest = 0x1234'0001;
  PacketBytes out(8);
  wire::encode(wire::IcmpHeader{.type = static_cast<wire::IcmpType>(p.icmp_type), .code = p.icmp_code, .rest = rest}, out);
  append(out, p.quoted_tcp || p.quoted_udp ? quoted(p, flow) : pattern(0, p.length));
  const Ends ends = ends_of(p, flow.family);
  if (v6) wire::store_icmpv6_checksum(out, ends.src.v6(), ends.dst.v6());
  else wire::store_icmp_checksum(out);
  if (p.bad_checksum) out[2] ^= std::byte{0x11};
  return ip_around(p, v6 ? IpProtocol::icmpv6 : IpProtocol::icmp, std::move(out), flow.family);
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

/// Offset 0 of `payload` is the transport's header.
struct Around {
  IpProtocol protocol{};
  Bytes payload;
  std::optional<Piece> piece;
  wire::IpAddress src, dst;

  /// 0: the checksum is right.
  std::uint16_t remainder() const {
    const std::uint32_t pseudo = wire::pseudo_header_sum(src, dst, protocol, static_cast<std::uint32_t>(payload.size()));
    return wire::finish(wire::sum(payload, pseudo));
  }
};

void decode_tcp(const Around& ip, const Packet& said, Flow& flow, bool check_payload, Decoded& out) {
  const Bytes transport = ip.payload;
  const auto view = wire::TcpView::parse(transport);
  if (!view) {
    out.broken = "the TCP header is cut off";
    return;
  }
  if (ip.remainder() != 0) out.broken = "the TCP checksum is wrong";
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

void decode_udp(const Around& ip, const Packet& said, Flow& flow, bool check_payload, Decoded& out) {
  const Bytes transport = ip.payload;
  const auto view = wire::UdpView::parse(transport);
  if (!view || view->datagram().size() != transport.size()) {
    out.broken = "the UDP header is cut off, or says another length";
    return;
  }
  if (view->checksum() == 0 && flow.family == wire::IpFamily::v6) out.broken = "UDP over IPv6 without a checksum";
  else if (view->checksum() != 0 && ip.remainder() != 0) out.broken = "the UDP checksum is wrong";
  if (!flow.local_known || !said.ports) flow.local = view->src().value, flow.remote = view->dst().value, flow.local_known = true;
  if (said.ports) out.packet.ports = Ports{view->src().value, view->dst().value};
  out.packet.length = static_cast<std::uint32_t>(view->payload().size());
  out.packet.no_checksum = view->checksum() == 0;
  out.packet.payload_at = said.payload_at;
  if (check_payload && out.broken.empty() && !std::ranges::equal(view->payload(), pattern(said.payload_at, out.packet.length)))
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
  if (said.mtu) out.packet.mtu = out.packet.icmp_type == 12 ? view->rest() >> 24 : view->header().next_hop_mtu();
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

void decode_icmpv6(const Around& ip, const Packet& said, Bytes last_injected, Decoded& out) {
  const auto view = wire::IcmpView::parse(ip.payload);
  if (!view || ip.remainder() != 0) {
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
std::optional<Around> decode_ip(Bytes bytes, const Packet& said, wire::IpFamily family, Decoded& out) {
  Packet& p = out.packet;
  std::uint8_t ttl, tos;
  Around around;
  if (family == wire::IpFamily::v4) {
    const auto view = wire::Ipv4View::parse(bytes);
    if (!view || view->total_len() != bytes.size()) return std::nullopt;
    const Ipv4Header ip = view->header();
    if (!view->checksum_ok()) out.broken = "the IP header's checksum is wrong";
    ttl = ip.ttl, tos = ip.tos;
    around = {.protocol = ip.protocol, .payload = view->payload(), .piece = {}, .src = ip.src, .dst = ip.dst};
    if (ip.is_fragment()) around.piece = Piece{.begin = ip.fragment_offset, .end = 0, .id = ip.id, .more = ip.mf};
    if (said.dont_fragment) p.dont_fragment = ip.df;
  } else {
    const auto view = wire::Ipv6View::parse(bytes);
    if (!view || view->packet().size() != bytes.size()) return std::nullopt;
    ttl = view->hop_limit(), tos = view->tos();
    around = {.protocol = view->next_header(), .payload = view->payload(), .piece = {}, .src = view->src(), .dst = view->dst()};
    if (around.protocol == IpProtocol::fragment && around.payload.size() >= 8) {
      const std::uint16_t field = load_be16(around.payload, 2);
      around.piece = Piece{.begin = field & 0xfff8u, .end = 0, .id = load_be32(around.payload, 4), .more = (field & 1) != 0};
      around.protocol = static_cast<IpProtocol>(load_u8(around.payload, 0));
      around.payload = around.payload.subspan(8);
    }
  }
  if (around.piece) around.piece->end = around.piece->begin + static_cast<std::uint32_t>(around.payload.size());
  if (said.from) p.from = around.src;
  if (said.to) p.to = around.dst;
  if (!out.broken.empty()) return around;
  const Ends ends = ends_of(said, family, true);
  if (around.src != ends.src || around.dst != ends.dst)
    out.broken = "the packet goes from " + around.src.to_string() + " to " + around.dst.to_string();
  else if (!said.ttl && ttl != 64) out.broken = "the TTL is " + std::to_string(ttl);
  if (said.ttl) p.ttl = ttl;
  if (said.tos) p.tos = tos;
  if (said.ecn) p.ecn = tos & 3;
  return around;
}

/// One fragment of what leaves. True: it was the last one, and `ip` is the whole. Before that nothing is known but which piece it is.
bool join_pieces(Around& ip, const Packet& said, Flow& flow, Decoded& out) {
  if (!said.piece) {
    out.packet.piece = ip.piece;
    out.broken = "a fragment of an IP packet";
    return false;
  }
  if (ip.piece->begin == 0) flow.pieces.clear(), flow.pieces_id = ip.piece->id;
  if (ip.piece->begin != flow.pieces.size() || ip.piece->id != flow.pieces_id)
    out.broken = "a fragment that does not continue the one before";
  flow.pieces.insert(flow.pieces.end(), ip.payload.begin(), ip.payload.end());
  ip.payload = flow.pieces;
  if (!ip.piece->more) {
    out.packet.piece = ip.piece;
    return true;
  }
  Packet seen = said;
  seen.piece = ip.piece;
  seen.ttl = out.packet.ttl, seen.tos = out.packet.tos, seen.ecn = out.packet.ecn, seen.dont_fragment = out.packet.dont_fragment;
  seen.from = out.packet.from, seen.to = out.packet.to;
  out.packet = std::move(seen);
  return false;
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
    case Packet::Kind::other: return ip_around(p, static_cast<IpProtocol>(p.protocol), pattern(0, p.length), flow.family);
  }
  return {};
}

Decoded decode(Bytes bytes, const Packet& said, Flow& flow, Bytes last_injected, bool check_payload) {
  Decoded out;
  auto ip = decode_ip(bytes, said, flow.family, out);
  if (!ip) return {.packet = {}, .broken = "the IP header is broken, of another family, or says another length"};
  if (ip->piece && !join_pieces(*ip, said, flow, out)) return out;
  Packet& p = out.packet;
  switch (ip->protocol) {
    case IpProtocol::tcp: p.kind = Packet::Kind::tcp, decode_tcp(*ip, said, flow, check_payload, out); break;
    case IpProtocol::udp: p.kind = Packet::Kind::udp, decode_udp(*ip, said, flow, check_payload, out); break;
    case IpProtocol::icmp: p.kind = Packet::Kind::icmp, decode_icmp(ip->payload, said, last_injected, out); break;
    case IpProtocol::icmpv6: p.kind = Packet::Kind::icmp, decode_icmpv6(*ip, said, last_injected, out); break;
    default:
      p.kind = Packet::Kind::other;
      p.protocol = static_cast<std::uint8_t>(ip->protocol);
      p.length = static_cast<std::uint32_t>(ip->payload.size());
  }
  return out;
}

bool matches(const Packet& said, const Packet& seen, std::uint32_t tick) {
  if (said.kind != seen.kind || said.ports != seen.ports || said.tos != seen.tos || said.ttl != seen.ttl || said.ecn != seen.ecn ||
      said.dont_fragment != seen.dont_fragment || said.from != seen.from || said.to != seen.to || said.piece != seen.piece)
    return false;
  if (said.kind == Packet::Kind::icmp)
    return said.icmpv6 == seen.icmpv6 && said.icmp_type == seen.icmp_type && said.icmp_code == seen.icmp_code && said.mtu == seen.mtu && said.length == seen.length;
  if (said.kind == Packet::Kind::udp) return said.length == seen.length && (!said.no_checksum || seen.no_checksum);
  if (said.kind == Packet::Kind::other) return said.protocol == seen.protocol && said.length == seen.length;
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
