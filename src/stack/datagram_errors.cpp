// Errors about datagrams that were sent: which sockets hear of them, and what an error queue gets. RFC 1122 section 4.1.3.3;
// ip(7), IP_RECVERR; raw(7).
#include <array>
#include <vector>

#include "raw/match.hpp"
#include "socket/numbers.hpp"
#include "stack/ways.hpp"
#include "wire/checksum.hpp"
#include "wire/udp.hpp"

namespace iopkt::stack {

using packet::Drop;
using packet::PacketPtr;

namespace {

struct Meaning {
  Errno error;
  bool hard;
};
/// Codes of destination unreachable, as the host translates them (icmp(7), ip(7)).
constexpr std::array<Meaning, 16> kUnreachable{{
    {Errno::netunreach, false},  // network
    {Errno::hostunreach, false}, // host
    {Errno::noprotoopt, true},   // protocol
    {Errno::connrefused, true},  // port
    {Errno::msgsize, false},     // fragmentation needed: by IP_MTU_DISCOVER
    {Errno::opnotsupp, false},   // source route failed
    {Errno::netunreach, true},   // network unknown
    {Errno::hostdown, true},     // host unknown
    {Errno::nonet, true},        // source host isolated
    {Errno::netunreach, true},   // network prohibited
    {Errno::hostunreach, true},  // host prohibited
    {Errno::netunreach, false},  // network, for this type of service
    {Errno::hostunreach, false}, // host, for this type of service
    {Errno::hostunreach, true},  // prohibited
    {Errno::hostunreach, true},  // precedence violation
    {Errno::hostunreach, true},  // precedence cutoff
}};

/// The same of ICMPv6 (RFC 4443), by what it says.
ErrorInfo meaning6_of(const icmp::ErrorAbout& about) {
  ErrorInfo info{.error = Errno::hostunreach, .origin = ErrorInfo::kIcmp6, .type = about.message.type, .code = about.message.code,
                 .info = about.message.rest, .offender = about.reporter};
  switch (icmp::trouble_of(wire::IpFamily::v6, about.message)) {
    case icmp::Trouble::port: info.error = Errno::connrefused, info.hard = true; break;
    case icmp::Trouble::network: info.error = Errno::netunreach; break;
    case icmp::Trouble::prohibited: info.error = Errno::acces, info.hard = true; break;
    case icmp::Trouble::too_big: info.error = Errno::msgsize, info.too_big = true, info.info = about.mtu; break;
    case icmp::Trouble::protocol:
    case icmp::Trouble::malformed: info.error = Errno::proto, info.hard = true; break;
    default: break;
  }
  return info;
}

/// nullopt: nobody is told.
std::optional<ErrorInfo> meaning_of(const icmp::ErrorAbout& about) {
  if (about.remote.address.is_v6()) return meaning6_of(about);
  const wire::IcmpHeader m = about.message.v4();
  ErrorInfo info{.error = Errno::hostunreach, .origin = ErrorInfo::kIcmp, .type = static_cast<std::uint8_t>(m.type), .code = m.code,
                 .offender = about.reporter};
  switch (m.type) {
    case wire::IcmpType::destination_unreachable:
      if (m.code < kUnreachable.size()) info.error = kUnreachable[m.code].error, info.hard = kUnreachable[m.code].hard;
      info.too_big = m.code == static_cast<std::uint8_t>(wire::IcmpUnreachable::fragmentation_needed);
      if (info.too_big) info.info = m.next_hop_mtu();
      return info;
    case wire::IcmpType::time_exceeded:
      // That fragments were not put together says nothing of a datagram that a program sent.
      if (m.code == static_cast<std::uint8_t>(wire::IcmpTimeExceeded::reassembly)) return std::nullopt;
      return info;
    case wire::IcmpType::parameter_problem:
      info.error = Errno::proto, info.hard = true, info.info = m.pointer();
      return info;
    default: return std::nullopt;
  }
}

/// RFC 4884 section 4: the length byte, in words of 4 bytes, in ICMPv6 of 8; of messages that may have extensions.
std::uint16_t original_length(const icmp::ErrorAbout& about) {
  const std::uint32_t rest = about.message.rest;
  if (about.remote.address.is_v6()) {
    const auto type = about.message.v6().type;
    const bool may = type == wire::Icmpv6Type::destination_unreachable || type == wire::Icmpv6Type::time_exceeded;
    return static_cast<std::uint16_t>(may ? (rest >> 24) * 8 : 0);
  }
  return static_cast<std::uint16_t>((rest >> 16 & 255) * 4);
}

/// ip(7), IP_RECVERR_RFC4884: what is behind the datagram, of which `stripped` bytes are gone from the front.
void find_extensions(ErrorInfo& e, const packet::Packet& payload, std::uint32_t stripped) {
  constexpr std::uint32_t kOriginalMin = 128;  // RFC 4884 section 4
  if (e.original_len < kOriginalMin || e.original_len < stripped) return;
  const std::uint32_t at = e.original_len - stripped;
  if (at + wire::kIcmpExtensionHeaderLen > payload.size()) return;
  std::vector<std::byte> bytes(payload.size() - at);
  payload.copy_out(at, bytes);
  e.extension_at = static_cast<std::uint16_t>(at);
  e.extension_bad = wire::is_bad_icmp_extension(bytes);
}

/// Bytes before the transport header.
std::uint32_t header_length(const packet::Packet& quoted) {
  if (const auto transport = find_transport(quoted.head(), 0)) return static_cast<std::uint32_t>(transport->offset);
  std::array<std::byte, 1> first{};
  quoted.copy_out(0, first);
  return (load_u8(first, 0) & 15u) * 4;
}

bool discovers(const Socket& k, const ErrorInfo& e) {
  return (e.origin == ErrorInfo::kIcmp6 ? k.options->mtu_discover6 : k.options->mtu_discover) != 0;
}

/// Answers the shards of the sockets that heard of it.
std::uint64_t report_to_raw(ShardState& s, const icmp::ErrorAbout& about, std::uint32_t interface_index, const Datagram& report) {
  std::uint64_t shards = 0;
  for (const RawMember& m : s.raw_members) {
    if (m.family != about.remote.address.family()) continue;
    const raw::Bound bound{.protocol = m.protocol,
                           .local = m.local.is_unspecified() ? std::nullopt : std::optional{m.local},
                           .remote = m.remote.is_unspecified() ? std::nullopt : std::optional{m.remote},
                           .interface_index = m.interface_index};
    if (!raw::matches(bound, about.protocol, about.remote.address, about.local.address, interface_index, std::nullopt)) continue;
    shards |= std::uint64_t{1} << m.shard;
    Datagram copy{.id = m.id, .source = {about.remote.address, {}}, .destination = report.destination,
                  .interface_index = report.interface_index, .ttl = report.ttl, .tos = report.tos, .time_ns = report.time_ns,
                  .payload = report.payload->clone(s.cache), .error = report.error};
    if (copy.payload) deliver(s, m.shard, std::move(copy));
    else s.drop(Drop::no_buffer);
  }
  return shards;
}

/// The quoted packet is an answer to an echo request: RFC 4443 section 4.2.
bool is_echo_reply(const icmp::ErrorAbout& about, const packet::Packet& quoted) {
  if (about.protocol != wire::IpProtocol::icmpv6 || about.remote.address.is_v4()) return false;
  std::byte type{};
  quoted.copy_out(header_length(quoted), {&type, 1});
  return static_cast<wire::Icmpv6Type>(type) == wire::Icmpv6Type::echo_reply;
}

/// A packet of no port, which sockets of these shards may have sent. IPv4's answers are cut on the way: of those nobody says it.
void learn_of_raw(ShardState& s, const icmp::ErrorAbout& about, const Arrival* at, bool echo_reply, std::uint64_t shards) {
  if (shards != 0) return claim_path_mtu(s, {about.remote.address, {}, about.protocol, about.mtu, shards});
  if (!echo_reply || at == nullptr) return s.drop(Drop::icmp_no_flow);
  s.answer_mtus.learn({about.remote.address, at->fib()}, about.mtu, s.now);
}


/// RFC 3542 section 11.3: one that has no payload.
void tell_path_mtu(ShardState& s, const Socket& k, const wire::Endpoint& destination, std::uint32_t mtu) {
  Datagram notice{.id = k.id, .cookie = k.cookie, .source = {destination.address, {}}, .destination = k.local.address, .path_mtu = mtu};
  notice.payload = packet::allocate_header(s.cache);
  if (notice.payload) s.datagrams.push_back(std::move(notice));
  else s.drop(Drop::no_buffer);
}

}  // namespace

void report_datagram_error(ShardState& s, const icmp::ErrorAbout& about, const Arrival* at, PacketPtr quoted) {
  if (!quoted) return s.drop(Drop::no_buffer);
  Datagram report{.source = about.remote, .destination = at != nullptr ? at->ip.dst : about.reporter, .error = meaning_of(about)};
  if (!report.error) return;
  report.error->original_len = original_length(about);
  // The header, and eight bytes that icmp::input() has seen to.
  if (quoted->size() < wire::Ipv4View::kMinHeaderLen || quoted->size() < header_length(*quoted) + 8) return s.drop(Drop::icmp_no_flow);
  if (at != nullptr) {
    report.interface_index = at->in->index;
    report.ttl = at->ip.ttl, report.tos = at->ip.tos;
    report.time_ns = (quoted->flags & IOPKT_TIME_VALID) != 0 ? quoted->time_ns : 0;
  }
  const bool echo_reply = is_echo_reply(about, *quoted);
  report.payload = std::move(quoted);
  const std::uint64_t raw_shards = report_to_raw(s, about, report.interface_index, report);
  if (about.protocol != wire::IpProtocol::udp && about.protocol != wire::IpProtocol::udplite) {
    if (report.error->too_big && about.protocol != wire::IpProtocol::tcp) learn_of_raw(s, about, at, echo_reply, raw_shards);
    return;
  }
  const auto kind = about.protocol == wire::IpProtocol::udp ? socket::SocketKind::udp : socket::SocketKind::udplite;
  message::PortError error{kind, about.local, about.remote, std::move(report), about.mtu};
  const std::uint32_t owner = s.stack.shard_of_port(about.local.port);
  if (owner == s.number) return on_port_error(s, std::move(error));
  send_to(s, owner, Message{std::move(error)});
}

void on_port_error(ShardState& s, message::PortError&& error) {
  const PortMember* m = find_member(s, error.kind, error.local, error.remote, error.report.interface_index);
  if (m == nullptr) return s.drop(Drop::icmp_no_flow);
  if (error.report.error->too_big) {
    const auto protocol = error.kind == socket::SocketKind::udp ? wire::IpProtocol::udp : wire::IpProtocol::udplite;
    const std::uint64_t shards = shards_of_members(s, error.kind, error.local, error.remote, error.report.interface_index);
    claim_path_mtu(s, {error.remote.address, error.local.port, protocol, error.mtu, shards});
  }
  error.report.id = m->id;
  deliver(s, m->shard, std::move(error.report));
}

void deliver_error(ShardState& s, Datagram&& report) {
  Socket* k = s.find(report.id);
  if (k == nullptr || k->client_gone) return s.drop(Drop::icmp_no_flow);
  const ErrorInfo e = *report.error;
  if (e.origin == ErrorInfo::kIcmp6 && e.too_big && k->options->receive_path_mtu != 0) tell_path_mtu(s, *k, report.source, e.info);
  // Of an IPv4 packet IP_RECVERR says it, whichever family the socket is of.
  if ((e.origin == ErrorInfo::kIcmp6 ? k->options->receive_error6 : k->options->receive_error) == 0) {
    const bool connected = k->remote.port.value != 0 || !k->remote.address.is_unspecified();
    if (connected && (e.hard || (e.too_big && discovers(*k, e)))) raise(s, *k, event::soft_error, e.error);
    return;
  }
  // The program's own bytes: behind the headers that it did not write.
  const std::uint32_t headers = header_length(*report.payload);
  const std::uint32_t stripped = is_udp(k->kind) ? static_cast<std::uint32_t>(headers + wire::UdpView::kHeaderLen)
                                 : k->options->header_included == 0 ? headers : 0;
  report.payload->trim_front(stripped);
  if ((e.origin == ErrorInfo::kIcmp6 ? k->options->receive_error_extension6 : k->options->receive_error_extension) != 0)
    find_extensions(*report.error, *report.payload, stripped);
  report.cookie = k->cookie;
  s.datagrams.push_back(std::move(report));
}

Errno too_big_for(ShardState& s, const Socket& k, const DatagramRequest& request, const wire::Endpoint& destination, std::uint32_t mtu,
                  std::uint32_t extra) {
  const bool v4 = destination.address.is_v4();
  mtu -= std::min(mtu, extra);
  // As the host: of IPV6_DONTFRAG, not of IPV6_MTU_DISCOVER.
  const bool asked = request.dont_fragment.value_or(k.options->dont_fragment6 != 0);
  if (!v4 && k.options->receive_path_mtu != 0 && asked) tell_path_mtu(s, k, destination, mtu);
  if ((v4 ? k.options->receive_error : k.options->receive_error6) == 0) return Errno::msgsize;
  Datagram report{.id = k.id, .cookie = k.cookie, .source = {destination.address, v4 ? k.remote.port : destination.port},
                  .error = ErrorInfo{.error = Errno::msgsize, .info = mtu}};
  report.payload = packet::allocate_header(s.cache);
  if (report.payload) s.datagrams.push_back(std::move(report));
  else s.drop(Drop::no_buffer);
  return Errno::msgsize;
}

}  // namespace iopkt::stack
