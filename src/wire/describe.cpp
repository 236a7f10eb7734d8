#include "wire/describe.hpp"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "wire/arp.hpp"
#include "wire/checksum.hpp"
#include "wire/ethernet.hpp"
#include "wire/icmp.hpp"
#include "wire/ipv6.hpp"
#include "wire/nd.hpp"
#include "wire/ipv4.hpp"
#include "wire/ipv4_options.hpp"
#include "wire/tcp.hpp"
#include "wire/udp.hpp"

namespace iopkt::wire {
namespace {

/// So deep may tags lie in tags, and packets in ICMP errors and in tunnels.
constexpr int kMaxDepth = 4;

std::string hex(std::uint32_t value, int digits) {
  std::string out = "0x";
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) out += "0123456789abcdef"[value >> shift & 0xf];
  return out;
}

std::string protocol_text(IpProtocol protocol) {
  const std::string_view known = name(protocol);
  return known.empty() ? "protocol " + std::to_string(static_cast<int>(protocol)) : std::string{known};
}

class Line {
 public:
  explicit Line(DescribeOptions options) : options_(options) {}
  std::string take() { return std::move(text_); }

  void ethernet(Bytes frame);
  void ip(Bytes packet, int depth, bool whole);

 private:
  /// What the layers above IP need of it.
  struct Carrier {
    IpAddress src, dst;
    IpProtocol protocol;
    bool fragment = false;  ///< The payload is a part: no checksum can be judged.
    bool whole = true;      ///< The payload is not cut short.
  };

  void say(std::string_view word) {
    if (!text_.empty() && text_.back() != '(') text_ += ' ';
    text_ += word;
  }
  void say_value(std::string_view label, std::uint64_t value) {
    say(label);
    text_ += '=';
    text_ += std::to_string(value);
  }
  void say_error(std::string_view what, ParseError error, std::size_t size) {
    say(what);
    say(name(error));
    say_value("len", size);
  }
  void say_ends(const std::string& from, const std::string& to) {
    say(from);
    say(">");
    say(to);
  }

  void payload_of_ethernet(EtherType type, Bytes payload, int depth);
  void arp(Bytes bytes);
  void ipv4(Bytes bytes, int depth, bool whole);
  void ipv4_options(Bytes options);
  void ipv6(Bytes bytes, int depth, bool whole);
  void transport(const Carrier& carrier, Bytes payload, int depth);
  /// Without a word when it is refused.
  std::optional<ParseError> tcp(const Carrier& carrier, Bytes bytes);
  std::optional<ParseError> udp(const Carrier& carrier, Bytes bytes);
  void tcp_options(const TcpOptions& options);
  void icmp(const Carrier& carrier, Bytes bytes, int depth);
  void icmpv6(const Carrier& carrier, Bytes bytes, int depth);
  void icmp_kind(const IcmpView& view);
  void broken_transport(const Carrier& carrier, Bytes bytes, ParseError error);
  void check_transport(const Carrier& carrier, Bytes segment);

  DescribeOptions options_;
  std::string text_;
};

void Line::ethernet(Bytes frame) {
  const auto view = EthernetView::parse(frame);
  if (!view) return say_error("ethernet", view.error(), frame.size());
  say_ends(view->src().to_string(), view->dst().to_string());
  payload_of_ethernet(view->type(), view->payload(), 0);
}

void Line::payload_of_ethernet(EtherType type, Bytes payload, int depth) {
  if (static_cast<std::uint16_t>(type) < 0x0600) {
    say_value("llc len", static_cast<std::uint16_t>(type));
    return;
  }
  switch (type) {
    case EtherType::arp:
      return arp(payload);
    case EtherType::ipv4:
      return say("ipv4"), ipv4(payload, depth, true);
    case EtherType::ipv6:
      return say("ipv6"), ipv6(payload, depth, true);
    case EtherType::vlan:
    case EtherType::qinq: {
      const auto view = VlanView::parse(payload);
      if (!view || depth == kMaxDepth)
        return say_error("vlan", view ? ParseError::bad_type : view.error(), payload.size());
      say("vlan " + std::to_string(view->tag().vlan_id));
      if (view->tag().priority != 0) say_value("priority", view->tag().priority);
      return payload_of_ethernet(view->tag().type, view->payload(), depth + 1);
    }
    default:
      break;
  }
  say("type " + hex(static_cast<std::uint32_t>(type), 4));
  say_value("len", payload.size());
}

void Line::arp(Bytes bytes) {
  const auto view = ArpView::parse(bytes);
  if (!view) return say_error("arp", view.error(), bytes.size());
  const ArpPacket p = view->packet();
  say("arp");
  switch (p.operation) {
    case ArpOperation::request:
      if (p.is_probe()) return say("probe " + p.target_ip.to_string());
      if (p.is_announcement())
        return say("announce " + p.sender_ip.to_string() + " is-at " + p.sender_mac.to_string());
      return say("who-has " + p.target_ip.to_string() + " tell " + p.sender_ip.to_string());
    case ArpOperation::reply:
      return say("reply " + p.sender_ip.to_string() + " is-at " + p.sender_mac.to_string());
    default:
      return say_value("operation", static_cast<std::uint16_t>(p.operation));
  }
}

void Line::ip(Bytes packet, int depth, bool whole) {
  if (!packet.empty() && load_u8(packet, 0) >> 4 == 6) return ipv6(packet, depth, whole);
  ipv4(packet, depth, whole);
}

void Line::ipv4(Bytes bytes, int depth, bool whole) {
  const auto view = whole ? Ipv4View::parse(bytes) : Ipv4View::parse_header(bytes);
  if (!view) return say_error("ip-header", view.error(), bytes.size());
  const Carrier carrier{.src = view->src(),
                        .dst = view->dst(),
                        .protocol = view->protocol(),
                        .fragment = view->is_fragment(),
                        .whole = view->packet().size() == view->total_len()};
  if (view->fragment_offset() != 0) {
    say_ends(carrier.src.to_string(), carrier.dst.to_string());
    say(protocol_text(carrier.protocol));
    say_value("len", view->payload().size());
  } else {
    transport(carrier, view->payload(), depth);
  }
  if (view->is_fragment()) {
    say_value("fragment id", view->id());
    say_value("offset", view->fragment_offset());
    if (view->mf()) text_ += '+';
  }
  say_value("ttl", view->ttl());
  if (view->df()) say("df");
  if (view->tos() != 0) say("tos=" + hex(view->tos(), 2));
  if (!view->options().empty()) ipv4_options(view->options());
  if (!view->checksum_ok()) say("bad-ip-checksum");
}

void Line::ipv4_options(Bytes options) {
  std::string list;
  Ipv4OptionReader reader{options};
  for (;;) {
    const auto option = reader.next();
    if (option && !*option) break;
    if (!list.empty()) list += ',';
    if (!option) {
      list += name(option.error());
      break;
    }
    switch ((*option)->type) {
      case Ipv4OptionType::no_operation:
        list += "nop";
        break;
      case Ipv4OptionType::record_route:
        list += "record-route";
        break;
      case Ipv4OptionType::timestamp:
        list += "timestamp";
        break;
      case Ipv4OptionType::loose_source_route:
        list += "loose-source-route";
        break;
      case Ipv4OptionType::strict_source_route:
        list += "strict-source-route";
        break;
      case Ipv4OptionType::router_alert:
        list += "router-alert";
        break;
      default:
        list += std::to_string(static_cast<int>((*option)->type));
        break;
    }
  }
  say("options <" + list + ">");
}

void Line::ipv6(Bytes bytes, int depth, bool whole) {
  const auto view = whole ? Ipv6View::parse(bytes) : Ipv6View::parse_header(bytes);
  if (!view) return say_error("ip-header", view.error(), bytes.size());
  const auto upper = find_upper_layer(view->packet());
  const auto fragment = upper ? upper->fragment : std::nullopt;
  const Carrier carrier{.src = view->src(),
                        .dst = view->dst(),
                        .protocol = upper ? upper->protocol : view->next_header(),
                        .fragment = fragment && !fragment->is_atomic(),
                        .whole = view->packet().size() == Ipv6View::kHeaderLen + view->payload_len()};
  const Bytes payload = view->packet().subspan(upper ? upper->offset : Ipv6View::kHeaderLen);
  if (!upper || (fragment && fragment->offset != 0)) {
    say_ends(carrier.src.to_string(), carrier.dst.to_string());
    say(protocol_text(carrier.protocol));
    if (!upper) say(name(upper.error()));
    say_value("len", payload.size());
  } else {
    transport(carrier, payload, depth);
  }
  if (fragment) {
    say_value("fragment id", fragment->id);
    say_value("offset", fragment->offset);
    if (fragment->more) text_ += '+';
  }
  say_value("hops", view->hop_limit());
  if (view->tos() != 0) say("class=" + hex(view->tos(), 2));
}

void Line::transport(const Carrier& carrier, Bytes payload, int depth) {
  if (carrier.protocol == IpProtocol::tcp || carrier.protocol == IpProtocol::udp) {
    const auto error = carrier.protocol == IpProtocol::tcp ? tcp(carrier, payload) : udp(carrier, payload);
    if (error) broken_transport(carrier, payload, *error);
    return;
  }
  say_ends(carrier.src.to_string(), carrier.dst.to_string());
  if (carrier.protocol == IpProtocol::icmp) return icmp(carrier, payload, depth);
  if (carrier.protocol == IpProtocol::icmpv6) return icmpv6(carrier, payload, depth);
  say(protocol_text(carrier.protocol));
  if ((carrier.protocol == IpProtocol::ipv4 || carrier.protocol == IpProtocol::ipv6) && depth < kMaxDepth) {
    say("(");
    ip(payload, depth + 1, carrier.whole && !carrier.fragment);
    text_ += ')';
    return;
  }
  say_value("len", payload.size());
}

/// A transport header that is broken, a fragment's part, or cut off by an ICMP error (RFC 792: 8 bytes).
void Line::broken_transport(const Carrier& carrier, Bytes bytes, ParseError error) {
  const std::string protocol{name(carrier.protocol)};
  if (bytes.size() < 4) {
    say_ends(carrier.src.to_string(), carrier.dst.to_string());
    return say_error(protocol, ParseError::truncated, bytes.size());
  }
  say_ends(Endpoint{carrier.src, Port{load_be16(bytes, 0)}}.to_string(),
           Endpoint{carrier.dst, Port{load_be16(bytes, 2)}}.to_string());
  say(protocol);
  if (carrier.protocol == IpProtocol::tcp && bytes.size() >= 8) say_value("seq", load_be32(bytes, 4));
  if (carrier.protocol == IpProtocol::udp && bytes.size() >= 8) say_value("udp-len", load_be16(bytes, 4));
  if (carrier.whole && !carrier.fragment) say(name(error));
  say_value("len", bytes.size());
}

void Line::check_transport(const Carrier& carrier, Bytes segment) {
  if (!options_.transport_checksums || carrier.fragment || !carrier.whole) return;
  const std::uint32_t pseudo = pseudo_header_sum(carrier.src, carrier.dst, carrier.protocol,
                                                 static_cast<std::uint32_t>(segment.size()));
  if (finish(sum(segment, pseudo)) != 0) say("bad-checksum");
}

std::optional<ParseError> Line::tcp(const Carrier& carrier, Bytes bytes) {
  const auto view = TcpView::parse(bytes);
  if (!view) return view.error();
  const TcpHeader h = view->header();
  say_ends(Endpoint{carrier.src, h.src}.to_string(), Endpoint{carrier.dst, h.dst}.to_string());
  std::string flags = "tcp [";
  constexpr struct {
    TcpFlag flag;
    char letter;
  } kLetters[] = {{syn, 'S'},       {fin, 'F'}, {rst, 'R'}, {psh, 'P'},
                  {wire::ack, '.'}, {urg, 'U'}, {ece, 'E'}, {cwr, 'W'}, {ae, 'A'}};
  for (const auto& [flag, letter] : kLetters)
    if ((h.flags & flag) != 0) flags += letter;
  say(flags + "]");
  say_value("seq", h.seq.value);
  if ((h.flags & wire::ack) != 0) say_value("ack", h.ack.value);
  say_value("win", h.window);
  if ((h.flags & urg) != 0) say_value("urg", h.urgent);
  say_value("len", view->payload().size());
  if (!view->option_bytes().empty()) tcp_options(h.options);
  check_transport(carrier, bytes);
  return std::nullopt;
}

void Line::tcp_options(const TcpOptions& o) {
  std::string list;
  const auto add = [&list](const std::string& option) {
    if (!list.empty()) list += ',';
    list += option;
  };
  if (o.mss) add("mss " + std::to_string(*o.mss));
  if (o.sack_permitted) add("sackok");
  if (o.timestamps)
    add("ts " + std::to_string(o.timestamps->value) + " " + std::to_string(o.timestamps->echo));
  if (o.window_scale) add("ws " + std::to_string(*o.window_scale));
  if (o.accecn) {
    // In the order of the option, as packetdrill has it.
    std::string fields = "ecn";
    const auto field = [&](bool there, const char* name, std::uint32_t value) {
      if (there) fields += std::string(" ") + name + " " + std::to_string(value);
    };
    if (o.accecn->order1) field(o.accecn->has_e1b(), "e1b", o.accecn->e1b);
    else field(o.accecn->has_e0b(), "e0b", o.accecn->e0b);
    field(o.accecn->has_ceb(), "ceb", o.accecn->ceb);
    if (o.accecn->order1) field(o.accecn->has_e0b(), "e0b", o.accecn->e0b);
    else field(o.accecn->has_e1b(), "e1b", o.accecn->e1b);
    add(fields);
  }
  for (std::size_t i = 0; i < o.sack_count; ++i)
    add("sack " + std::to_string(o.sack[i].left.value) + "-" + std::to_string(o.sack[i].right.value));
  if (!list.empty()) say("<" + list + ">");
}

std::optional<ParseError> Line::udp(const Carrier& carrier, Bytes bytes) {
  const auto view = UdpView::parse(bytes);
  if (!view) return view.error();
  say_ends(Endpoint{carrier.src, view->src()}.to_string(), Endpoint{carrier.dst, view->dst()}.to_string());
  say("udp");
  say_value("len", view->payload().size());
  if (view->checksum() != 0) check_transport(carrier, view->datagram());
  return std::nullopt;
}

void Line::icmp(const Carrier& carrier, Bytes bytes, int depth) {
  const auto view = IcmpView::parse(bytes);
  if (!view) return say_error("icmp", view.error(), bytes.size());
  say("icmp");
  icmp_kind(*view);
  if (view->header().is_error() && depth < kMaxDepth) {
    say("(");
    ip(view->payload(), depth + 1, false);
    text_ += ')';
  } else {
    say_value("len", view->payload().size());
  }
  if (!carrier.fragment && carrier.whole && !view->checksum_ok()) say("bad-checksum");
}

std::string icmpv6_text(const Icmpv6Header& h) {
  constexpr std::string_view kUnreachable[] = {"no-route", "administratively-prohibited", "beyond-scope", "address",
                                               "port", "failed-policy", "reject-route"};
  switch (h.type) {
    case Icmpv6Type::destination_unreachable:
      return "unreachable " + (h.code < std::size(kUnreachable) ? std::string{kUnreachable[h.code]} : "code " + std::to_string(h.code));
    case Icmpv6Type::packet_too_big:
      return "too-big mtu=" + std::to_string(h.mtu());
    case Icmpv6Type::time_exceeded:
      return h.code == 0 ? "time-exceeded" : "time-exceeded reassembly";
    case Icmpv6Type::parameter_problem:
      return "parameter-problem code=" + std::to_string(h.code) + " at " + std::to_string(h.pointer());
    case Icmpv6Type::echo_request:
    case Icmpv6Type::echo_reply:
      return std::string{h.type == Icmpv6Type::echo_request ? "echo-request" : "echo-reply"} + " id=" + std::to_string(h.identifier()) +
             " seq=" + std::to_string(h.sequence());
    case Icmpv6Type::listener_query:
      return "listener-query";
    case Icmpv6Type::listener_report:
    case Icmpv6Type::listener_report_v2:
      return "listener-report";
    case Icmpv6Type::listener_done:
      return "listener-done";
    default:
      return "type=" + std::to_string(static_cast<int>(h.type)) + " code=" + std::to_string(h.code);
  }
}

void Line::icmpv6(const Carrier& carrier, Bytes bytes, int depth) {
  const auto view = Icmpv6View::parse(bytes);
  if (!view) return say_error("icmpv6", view.error(), bytes.size());
  say("icmpv6");
  const Icmpv6Header h = view->header();
  if (const auto nd = parse_nd(bytes)) {
    say(describe(*nd));
  } else if (h.is_error() && depth < kMaxDepth) {
    say(icmpv6_text(h));
    say("(");
    ip(view->payload(), depth + 1, false);
    text_ += ')';
  } else {
    say(icmpv6_text(h));
    say_value("len", view->payload().size());
  }
  if (carrier.fragment || !carrier.whole) return;
  const std::uint32_t pseudo = pseudo_header_sum(carrier.src, carrier.dst, carrier.protocol, static_cast<std::uint32_t>(bytes.size()));
  if (finish(sum(bytes, pseudo)) != 0) say("bad-checksum");
}

std::string unreachable_text(const IcmpHeader& h) {
  constexpr std::string_view kCodes[] = {"network",
                                         "host",
                                         "protocol",
                                         "port",
                                         "fragmentation-needed",
                                         "source-route-failed",
                                         "network-unknown",
                                         "host-unknown",
                                         "host-isolated",
                                         "network-prohibited",
                                         "host-prohibited",
                                         "network-for-tos",
                                         "host-for-tos",
                                         "administratively-prohibited",
                                         "host-precedence-violation",
                                         "precedence-cutoff"};
  std::string text = "unreachable ";
  text += h.code < std::size(kCodes) ? std::string{kCodes[h.code]} : "code " + std::to_string(h.code);
  if (h.code == static_cast<std::uint8_t>(IcmpUnreachable::fragmentation_needed))
    text += " mtu=" + std::to_string(h.next_hop_mtu());
  return text;
}

void Line::icmp_kind(const IcmpView& view) {
  const IcmpHeader h = view.header();
  switch (h.type) {
    case IcmpType::destination_unreachable:
      return say(unreachable_text(h));
    case IcmpType::source_quench:
      return say("source-quench");
    case IcmpType::redirect:
      return say("redirect to " + h.gateway().to_string());
    case IcmpType::time_exceeded:
      return say(h.code == 0 ? "time-exceeded" : "time-exceeded reassembly");
    case IcmpType::parameter_problem:
      return say("parameter-problem at " + std::to_string(h.pointer()));
    case IcmpType::router_advertisement:
      return say("router-advertisement");
    case IcmpType::router_solicitation:
      return say("router-solicitation");
    case IcmpType::echo_request:
      say("echo-request");
      break;
    case IcmpType::echo_reply:
      say("echo-reply");
      break;
    case IcmpType::timestamp:
      say("timestamp");
      break;
    case IcmpType::timestamp_reply:
      say("timestamp-reply");
      break;
    case IcmpType::address_mask_request:
      say("address-mask-request");
      break;
    case IcmpType::address_mask_reply:
      say("address-mask-reply");
      break;
    default:
      say_value("type", static_cast<std::uint8_t>(h.type));
      return say_value("code", h.code);
  }
  say_value("id", h.identifier());
  say_value("seq", h.sequence());
}

}  // namespace

std::string_view name(IpProtocol protocol) {
  switch (protocol) {
    case IpProtocol::hop_by_hop:
      return "hop-by-hop";
    case IpProtocol::icmp:
      return "icmp";
    case IpProtocol::igmp:
      return "igmp";
    case IpProtocol::ipv4:
      return "ipv4";
    case IpProtocol::tcp:
      return "tcp";
    case IpProtocol::udp:
      return "udp";
    case IpProtocol::ipv6:
      return "ipv6";
    case IpProtocol::routing:
      return "routing";
    case IpProtocol::fragment:
      return "fragment";
    case IpProtocol::rsvp:
      return "rsvp";
    case IpProtocol::gre:
      return "gre";
    case IpProtocol::esp:
      return "esp";
    case IpProtocol::ah:
      return "ah";
    case IpProtocol::icmpv6:
      return "icmpv6";
    case IpProtocol::no_next_header:
      return "no-next-header";
    case IpProtocol::destination_options:
      return "destination-options";
    case IpProtocol::ospf:
      return "ospf";
    case IpProtocol::etherip:
      return "etherip";
    case IpProtocol::pim:
      return "pim";
    case IpProtocol::carp:
      return "carp";
    case IpProtocol::sctp:
      return "sctp";
    case IpProtocol::udplite:
      return "udplite";
    case IpProtocol::pfsync:
      return "pfsync";
  }
  return {};
}

std::string describe(Bytes ethernet_frame, DescribeOptions options) {
  Line line{options};
  line.ethernet(ethernet_frame);
  return line.take();
}

std::string describe_ip(Bytes packet, DescribeOptions options) {
  Line line{options};
  line.ip(packet, 0, true);
  return line.take();
}

}  // namespace iopkt::wire
