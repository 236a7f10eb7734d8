#include "socket/options.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <span>

#include "ipv4/options.hpp"
#include "socket/numbers.hpp"
#include "tcp/congestion.hpp"
#include "tcp/fast_open.hpp"
#include "wire/ipv6.hpp"

namespace iopkt::socket {
namespace {

constexpr std::size_t kInterfaceNameMax = 15;  // IFNAMSIZ less the final zero

/// Of whatever width: programs know an int.
class Field {
 public:
  constexpr Field(std::int32_t SocketOptions::*number) : number_(number) {}
  constexpr Field(bool SocketOptions::*flag) : flag_(flag) {}
  std::int32_t of(const SocketOptions& options) const { return number_ != nullptr ? options.*number_ : options.*flag_; }
  void set(SocketOptions& options, std::int32_t value) const {
    if (number_ != nullptr) options.*number_ = value;
    else options.*flag_ = value != 0;
  }

 private:
  std::int32_t SocketOptions::*number_ = nullptr;
  bool SocketOptions::*flag_ = nullptr;
};
enum Rule : std::uint8_t {
  plain = 0,
  boolean = 1,      // anything but 0 is 1
  read_only = 2,    // set: ENOPROTOOPT
  byte_allowed = 4,  // one byte is as good as an int (IPPROTO_IP)
  no_stream = 8      // set on a stream: ENOPROTOOPT; it shows the default
};

struct Row {
  int level, name;
  Field field;
  std::int32_t min, max;
  std::uint8_t rule;
  std::uint8_t kinds;  // bit per SocketKind
};

constexpr std::uint8_t bit(SocketKind kind) { return static_cast<std::uint8_t>(1u << static_cast<unsigned>(kind)); }
constexpr std::uint8_t kUdpLite = bit(SocketKind::udplite);
constexpr std::uint8_t kAll = bit(SocketKind::tcp) | bit(SocketKind::udp) | kUdpLite | bit(SocketKind::raw);
constexpr std::uint8_t kPorts = kAll & ~bit(SocketKind::raw);
constexpr std::uint8_t kUdp = bit(SocketKind::udp);
constexpr std::uint8_t kTcp = bit(SocketKind::tcp);
constexpr std::uint8_t kRaw = bit(SocketKind::raw);
constexpr std::int32_t kAny = INT32_MAX;

using S = SocketOptions;
using namespace num;
/// A row here does what it says; what has no effect yet (SO_MARK …) has none, so that a program hears ENOPROTOOPT and takes its other way.
/// Kept and shown alone, because a stack of its own threads needs nothing from them: SO_PRIORITY (for a queueing discipline of the host) and
/// SO_BUSY_POLL. And what does nothing on such sockets of the host either: SO_DEBUG, SO_PASSCRED; IP_MINTTL and IPV6_MINHOPCOUNT of what is
/// no stream.
constexpr auto kRows = std::to_array<Row>({
    {kSolSocket, so_debug, &S::debug, INT32_MIN, kAny, boolean, kAll},
    {kSolSocket, so_reuseaddr, &S::reuse_address, INT32_MIN, kAny, boolean, kAll},
    {kSolSocket, so_reuseport, &S::reuse_port, INT32_MIN, kAny, boolean, kAll},
    {kSolSocket, so_keepalive, &S::keepalive, INT32_MIN, kAny, boolean, kAll},
    {kSolSocket, so_broadcast, &S::broadcast, INT32_MIN, kAny, boolean, kAll},
    {kSolSocket, so_oobinline, &S::oob_inline, INT32_MIN, kAny, boolean, kAll},
    {kSolSocket, so_dontroute, &S::dont_route, INT32_MIN, kAny, boolean, kAll},
    {kSolSocket, so_no_check, &S::no_check, INT32_MIN, kAny, boolean, kAll},
    {kSolSocket, so_priority, &S::priority, 0, kAny, plain, kAll},
    {kSolSocket, so_timestamp_old, &S::timestamp, INT32_MIN, kAny, boolean, kAll},
    {kSolSocket, so_timestampns_old, &S::timestamp_ns, INT32_MIN, kAny, boolean, kAll},
    {kSolSocket, so_rxq_ovfl, &S::rxq_overflow, INT32_MIN, kAny, boolean, kAll},
    {kSolSocket, so_passcred, &S::pass_credentials, INT32_MIN, kAny, boolean, kAll},
    {kSolSocket, so_busy_poll, &S::busy_poll, 0, kAny, plain, kAll},
    {kSolSocket, so_peek_off, &S::peek_offset, -1, kAny, read_only, kAll},
    {kSolSocket, so_sndlowat, &S::send_low_water, 1, 1, read_only, kAll},
    {kSolSocket, so_setfib, &S::fib, 0, 15, plain, kAll},
    {kSolSocket, so_txprio, &S::txq_priority, 0, 65535, plain, kAll},
    {kSolIp, ip_tos, &S::tos, 0, 255, byte_allowed, kAll},
    {kSolIp, ip_ttl, &S::ttl, 1, 255, byte_allowed, kAll},
    {kSolIp, ip_hdrincl, &S::header_included, INT32_MIN, kAny, boolean, kRaw},
    {kSolIp, ip_recvttl, &S::receive_ttl, INT32_MIN, kAny, boolean | byte_allowed, kAll},
    {kSolIp, ip_recvtos, &S::receive_tos, INT32_MIN, kAny, boolean | byte_allowed, kAll},
    {kSolIp, ip_pktinfo, &S::packet_info, INT32_MIN, kAny, boolean | byte_allowed, kAll},
    {kSolIp, ip_mtu_discover, &S::mtu_discover, 0, 5, byte_allowed, kAll},
    {kSolIp, ip_recverr, &S::receive_error, INT32_MIN, kAny, boolean | byte_allowed, kAll},
    {kSolIp, ip_recverr_rfc4884, &S::receive_error_extension, 0, 1, byte_allowed, kAll},
    {kSolIp, ip_recvorigdstaddr, &S::receive_original_destination, INT32_MIN, kAny, boolean | byte_allowed, kPorts},
    {kSolIp, ip_recvopts, &S::receive_options, INT32_MIN, kAny, boolean | byte_allowed, kAll},
    {kSolIp, ip_retopts, &S::receive_return_options, INT32_MIN, kAny, boolean | byte_allowed, kAll},
    {kSolIp, ip_freebind, &S::free_bind, INT32_MIN, kAny, boolean | byte_allowed, kAll},
    {kSolIp, ip_minttl, &S::min_ttl, 0, 255, byte_allowed, kAll},
    {kSolIp, ip_bind_address_no_port, &S::bind_no_port, INT32_MIN, kAny, boolean | byte_allowed, kAll},
    {kSolIp, ip_multicast_ttl, &S::multicast_ttl, -1, 255, byte_allowed, kAll},
    {kSolIp, ip_multicast_loop, &S::multicast_loop, INT32_MIN, kAny, boolean | byte_allowed, kAll},
    {kSolIpv6, ipv6_v6only, &S::v6_only, INT32_MIN, kAny, boolean, kAll},
    {kSolIpv6, ipv6_unicast_hops, &S::unicast_hops, -1, 255, plain, kAll},
    {kSolIpv6, ipv6_tclass, &S::tclass, -1, 255, plain, kAll},
    {kSolIpv6, ipv6_multicast_hops, &S::multicast_hops6, -1, 255, no_stream, kAll},
    {kSolIpv6, ipv6_multicast_loop, &S::multicast_loop6, 0, 1, plain, kAll},
    {kSolIpv6, ipv6_multicast_all, &S::multicast_all6, INT32_MIN, kAny, boolean, kAll},
    {kSolIpv6, ipv6_multicast_if, &S::multicast_interface6, 0, kAny, no_stream, kAll},
    {kSolIpv6, ipv6_autoflowlabel, &S::auto_flow_label, INT32_MIN, kAny, boolean | byte_allowed, kAll},
    {kSolIpv6, ipv6_addr_preferences, &S::address_preferences, INT32_MIN, kAny, plain, kAll},
    {kSolIpv6, ipv6_mtu_discover, &S::mtu_discover6, 0, 5, plain, kAll},
    {kSolIpv6, ipv6_dontfrag, &S::dont_fragment6, INT32_MIN, kAny, boolean | byte_allowed, kAll},
    {kSolIpv6, ipv6_recverr, &S::receive_error6, INT32_MIN, kAny, boolean, kAll},
    {kSolIpv6, ipv6_recvpktinfo, &S::receive_packet_info6, INT32_MIN, kAny, boolean, kAll},
    {kSolIpv6, ipv6_recvhoplimit, &S::receive_hop_limit, INT32_MIN, kAny, boolean, kAll},
    {kSolIpv6, ipv6_recvtclass, &S::receive_tclass, INT32_MIN, kAny, boolean, kAll},
    {kSolIpv6, ipv6_recverr_rfc4884, &S::receive_error_extension6, 0, 1, plain, kAll},
    {kSolIpv6, ipv6_hdrincl, &S::header_included, INT32_MIN, kAny, boolean, kRaw},
    {kSolIpv6, ipv6_recvhopopts, &S::receive_hop_options, INT32_MIN, kAny, boolean, kAll},
    {kSolIpv6, ipv6_recvrthdr, &S::receive_routing, INT32_MIN, kAny, boolean, kAll},
    {kSolIpv6, ipv6_recvdstopts, &S::receive_destination_options, INT32_MIN, kAny, boolean, kAll},
    {kSolIpv6, ipv6_recvpathmtu, &S::receive_path_mtu, INT32_MIN, kAny, boolean, kAll},
    {kSolIpv6, ipv6_flowinfo, &S::receive_flow_info, INT32_MIN, kAny, boolean, kAll},
    {kSolIpv6, ipv6_flowinfo_send, &S::flow_info_send, INT32_MIN, kAny, boolean, kAll},
    {kSolIpv6, ipv6_2292pktinfo, &S::old_packet_info, INT32_MIN, kAny, boolean, kAll},
    {kSolIpv6, ipv6_2292hoplimit, &S::old_hop_limit, INT32_MIN, kAny, boolean, kAll},
    {kSolIpv6, ipv6_2292hopopts, &S::old_hop_options, INT32_MIN, kAny, boolean, kAll},
    {kSolIpv6, ipv6_2292rthdr, &S::old_routing, INT32_MIN, kAny, boolean, kAll},
    {kSolIpv6, ipv6_2292dstopts, &S::old_destination_options, INT32_MIN, kAny, boolean, kAll},
    {kSolIpv6, ipv6_recvorigdstaddr, &S::receive_original_destination6, INT32_MIN, kAny, boolean, kPorts},
    {kSolIpv6, ipv6_freebind, &S::free_bind, INT32_MIN, kAny, boolean, kAll},
    {kSolIpv6, ipv6_minhopcount, &S::min_hop_count, 0, 255, plain, kAll},
    {kSolIpv6, ipv6_checksum, &S::checksum_offset6, INT32_MIN, kAny, plain, kRaw},
    {kSolRaw, ipv6_checksum, &S::checksum_offset6, INT32_MIN, kAny, plain, kRaw},
    {kSolIp, ip_multicast_all, &S::multicast_all, INT32_MIN, kAny, boolean | byte_allowed, kAll},
    {kSolUdp, udp_cork, &S::udp_cork, INT32_MIN, kAny, boolean, kUdp | kUdpLite},
    {kSolUdp, udp_segment, &S::segment, 0, 65535, plain, kUdp},
    {kSolUdp, udp_gro, &S::coalesce, INT32_MIN, kAny, boolean, kUdp},
    {kSolRaw, icmp_filter, &S::icmp_filter, INT32_MIN, kAny, plain, kRaw},
    {kSolTcp, tcp_nodelay, &S::no_delay, INT32_MIN, kAny, boolean, kTcp},
    {kSolTcp, tcp_cork, &S::cork, INT32_MIN, kAny, boolean, kTcp},
    {kSolTcp, tcp_quickack, &S::quick_ack, INT32_MIN, kAny, boolean, kTcp},
    {kSolTcp, tcp_maxseg, &S::max_segment, 88, 32767, plain, kTcp},
    {kSolTcp, tcp_keepidle, &S::keep_idle, 1, 32767, plain, kTcp},
    {kSolTcp, tcp_keepintvl, &S::keep_interval, 1, 32767, plain, kTcp},
    {kSolTcp, tcp_keepcnt, &S::keep_count, 1, 127, plain, kTcp},
    {kSolTcp, tcp_syncnt, &S::syn_count, 1, 127, plain, kTcp},
    {kSolTcp, tcp_linger2, &S::linger2, INT32_MIN, kAny, plain, kTcp},
    {kSolTcp, tcp_user_timeout, &S::user_timeout_ms, 0, kAny, plain, kTcp},
    {kSolTcp, tcp_defer_accept, &S::defer_accept, INT32_MIN, kAny, plain, kTcp},
    {kSolTcp, tcp_window_clamp, &S::window_clamp, 0, kAny, plain, kTcp},
    {kSolTcp, tcp_fastopen, &S::fastopen, 0, kAny, plain, kTcp},
    {kSolTcp, tcp_fastopen_connect, &S::fastopen_connect, 0, 1, plain, kTcp},
    {kSolUdpLite, udplite_send_cscov, &S::send_coverage, INT32_MIN, kAny, plain, kUdpLite},
    {kSolUdpLite, udplite_recv_cscov, &S::receive_coverage, INT32_MIN, kAny, plain, kUdpLite},
});

bool has_ip_level(SocketKind kind, wire::IpFamily family) { return family == wire::IpFamily::v4 || kind != SocketKind::raw; }

/// Sockets of AF_INET6 have the options of both families, for packets of both; raw ones and those of AF_INET their own only.
bool has_row(const Row& row, SocketKind kind, wire::IpFamily family) {
  if ((row.kinds & bit(kind)) == 0) return false;
  if (row.level == kSolRaw) return (row.name == ipv6_checksum) == (family == wire::IpFamily::v6);
  if (row.level == kSolIp) return has_ip_level(kind, family);
  return row.level != kSolIpv6 || family == wire::IpFamily::v6;
}

const Row* find(SocketKind kind, wire::IpFamily family, int level, int name) {
  for (const Row& row : kRows)
    if (row.level == level && row.name == name && has_row(row, kind, family)) return &row;
  return nullptr;
}

/// What a number means that its option does not take as it is. Errors: inval.
Result<std::int32_t> ipv6_number(int name, std::int32_t number) {
  // -1: the default.
  if (name == ipv6_tclass && number == -1) return 0;
  if (name == ipv6_multicast_hops && number == -1) return 1;
  // RFC 3542 section 3.1: an even offset, or none at all.
  if (name == ipv6_checksum && number > 0 && number % 2 != 0) return unexpected(Errno::inval);
  if (name == ipv6_checksum && number < 0) return -1;
  return number;
}

/// RFC 5014 section 5: what is asked for, beside what is as it was. Errors: inval: of two that exclude each other both.
Result<std::int32_t> preferences(std::int32_t before, std::int32_t asked) {
  constexpr std::int32_t kCryptographic = 8, kNotCryptographic = 0x800;
  for (const std::int32_t group : {kPreferTemporary | kPreferPublic | kPreferEither, kPreferCareOf | kPreferHome, kCryptographic | kNotCryptographic}) {
    const std::int32_t wanted = asked & group;
    if (std::popcount(static_cast<std::uint32_t>(wanted)) > 1) return unexpected(Errno::inval);
    // No address here is cryptographically generated: there is nothing to prefer.
    if (wanted != 0 && (group & kCryptographic) == 0) before = (before & ~group) | wanted;
    // As on the host: without a word about it the home address.
    if (wanted == 0 && (group & kPreferHome) != 0) before = (before & ~group) | kPreferHome;
  }
  return before;
}

/// IP_OPTIONS, ip(7). As on the host, what nobody here knows is for the privileged, to others it is malformed; and so is a way of one's
/// own, which they are told.
Errno set_ip_options(SocketOptions& options, Bytes value, bool privileged) {
  const auto given = ipv4::given_options(value, privileged);
  if (!given) return Errno::inval;
  if (!privileged && ipv4::has_source_route(*given)) return Errno::perm;
  options.ip_options = *given;
  return Errno::ok;
}

/// IPV6_PKTINFO: struct in6_pktinfo, of which the host uses the interface alone.
Errno set_packet_info(SocketOptions& options, Bytes value) {
  constexpr std::size_t kLength = 20, kIndexAt = 16;
  if (value.size() < kLength) return Errno::inval;
  std::memcpy(&options.packet_interface6, value.data() + kIndexAt, sizeof options.packet_interface6);
  return Errno::ok;
}

/// The header of a set that an option is about; null: another option.
std::string* extension_named(wire::ExtensionSet& set, int name) {
  switch (name) {
    case ipv6_hopopts: return &set.hop_by_hop;
    case ipv6_rthdrdstopts: return &set.before_routing;
    case ipv6_rthdr: return &set.routing;
    case ipv6_dstopts: return &set.destination;
    default: return nullptr;
  }
}

/// RFC 3542 section 7.1: nothing takes the header away again. The host refuses all routing headers but type 4, too.
Errno set_extension(SocketOptions& options, int name, Bytes value) {
  auto next = std::make_shared<StickyExtensions>(options.extensions6 ? *options.extensions6 : StickyExtensions{});
  std::string& header = *extension_named(next->set, name);
  header.clear();
  if (!value.empty()) {
    const auto whole = wire::sole_extension(value);
    if (!whole || (name == ipv6_rthdr && !wire::is_segment_routing(*whole))) return Errno::inval;
    header.assign(reinterpret_cast<const char*>(whole->data()), whole->size());
  }
  auto chain = wire::chain_of(next->set);
  if (!chain) return Errno::inval;
  next->chain = std::move(*chain);
  options.extensions6 = std::move(next);
  return Errno::ok;
}

Result<std::int32_t> integer(Bytes value, bool byte_allowed_here) {
  if (value.size() >= sizeof(std::int32_t)) {
    std::int32_t number;
    std::memcpy(&number, value.data(), sizeof number);
    return number;
  }
  // ip(7) says int, ip_setsockopt() takes what there is: a byte of anything shorter, 0 of nothing.
  if (byte_allowed_here) return value.empty() ? 0 : std::to_integer<std::int32_t>(value[0]);
  return unexpected(Errno::inval);
}

// Linux doubles what is asked for, to pay for its bookkeeping, and shows the doubled value; programs rely on it.
std::int32_t buffer_size(std::int32_t asked) {
  const std::int64_t doubled = 2 * static_cast<std::int64_t>(std::max(asked, 0));
  return static_cast<std::int32_t>(std::clamp<std::int64_t>(doubled, kRingMin, kRingMax));
}

/// Half of SOCK_MIN_RCVBUF.
constexpr std::int32_t kWindowClampMin = 1152;

/// Linux counts TCP_DEFER_ACCEPT in retransmissions of the SYN,ACK, and shows the time after which that many have been sent.
std::int32_t defer_time(std::int32_t seconds) {
  if (seconds <= 0) return 0;
  std::int32_t sum = 1;
  for (std::int32_t timeout = 1, n = 1; sum < seconds && n < 255; ++n) {
    timeout = std::min(2 * timeout, 120);
    sum += timeout;
  }
  return sum;
}

std::string bytes_of(std::span<const std::int32_t> numbers) {
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size_bytes()};
}

}  // namespace

const SocketOptions SharedOptions::kDefault;

void SharedOptions::adopt(SocketOptions&& changed) {
  if (changed == **this) return;
  if (changed == kDefault) kept_.reset();
  else kept_ = make_counted<const Kept>(std::move(changed));
}

Errno set_option(SocketOptions& options, SocketKind kind, int level, int name, Bytes value, bool privileged,
                 bool txprio_enabled, wire::IpFamily family) {
  if (level == kSolSocket && (name == so_sndbuf || name == so_rcvbuf || name == so_sndbufforce || name == so_rcvbufforce)) {
    if ((name == so_sndbufforce || name == so_rcvbufforce) && !privileged) return Errno::perm;
    const auto number = integer(value, false);
    if (!number) return number.error();
    const bool send = name == so_sndbuf || name == so_sndbufforce;
    (send ? options.send_buffer : options.receive_buffer) = buffer_size(*number);
    return Errno::ok;
  }
  if (level == kSolSocket && name == so_linger) {
    std::int32_t pair[2];
    if (value.size() < sizeof pair) return Errno::inval;
    std::memcpy(pair, value.data(), sizeof pair);
    options.linger_on = pair[0] != 0;
    options.linger_seconds = pair[1];
    return Errno::ok;
  }
  if (level == kSolSocket && name == so_rcvlowat) {
    const auto number = integer(value, false);
    if (!number) return number.error();
    // Linux: negative is "as much as there can be", 0 is 1.
    options.receive_low_water = *number < 0 ? INT32_MAX : std::max(*number, 1);
    return Errno::ok;
  }
  if (level == kSolSocket && name == so_bindtodevice) {
    if (!privileged && !options.bind_device.empty()) return Errno::perm;
    options.bind_device.clear();
    for (const std::byte b : value.first(std::min<std::size_t>(value.size(), kInterfaceNameMax))) {
      if (b == std::byte{0}) break;
      options.bind_device.push_back(std::to_integer<char>(b));
    }
    return Errno::ok;
  }
  if (kind == SocketKind::tcp && level == kSolTcp && name == tcp_congestion) {
    // A name, of which the final zero is optional.
    std::string wanted;
    for (const std::byte b : value.first(std::min<std::size_t>(value.size(), 15)))
      if (b != std::byte{0}) wanted.push_back(std::to_integer<char>(b));
      else break;
    if (wanted.empty()) return Errno::inval;
    const tcp::CongestionControl* found = tcp::find_congestion(wanted);
    if (found == nullptr) return Errno::noent;
    options.congestion = found->name();
    return Errno::ok;
  }
  if (kind == SocketKind::tcp && level == kSolTcp && name == tcp_notsent_lowat) {
    const auto number = integer(value, false);
    if (!number) return number.error();
    options.notsent_low_water = static_cast<std::uint32_t>(*number);
    return Errno::ok;
  }
  if (kind == SocketKind::tcp && level == kSolTcp && name == tcp_fastopen_key) {
    if (value.size() != tcp::kFastOpenKeyLen && value.size() != 2 * tcp::kFastOpenKeyLen) return Errno::inval;
    options.fastopen_key.assign(reinterpret_cast<const char*>(value.data()), value.size());
    return Errno::ok;
  }
  if (kind == SocketKind::raw && family == wire::IpFamily::v6 && level == kSolIcmpv6 && name == icmp6_filter) {
    // RFC 3542 section 3.2; the host keeps what it knew of the words that a shorter value leaves out.
    std::memcpy(options.icmp6_filter.data(), value.data(), std::min(value.size(), sizeof options.icmp6_filter));
    return Errno::ok;
  }
  if (level == kSolIp && name == ip_options && has_ip_level(kind, family)) return set_ip_options(options, value, privileged);
  if (level == kSolIpv6 && family == wire::IpFamily::v6 && name == ipv6_pktinfo) return set_packet_info(options, value);
  if (wire::ExtensionSet none; level == kSolIpv6 && family == wire::IpFamily::v6 && extension_named(none, name) != nullptr) {
    if (needs_raw_privilege(level, name) && !privileged) return Errno::perm;
    return set_extension(options, name, value);
  }
  if (level == kSolIpv6 && family == wire::IpFamily::v6 && name == ipv6_mtu) {
    const auto number = integer(value, false);
    if (!number) return number.error();
    if (*number != 0 && *number < static_cast<std::int32_t>(wire::Ipv6View::kMinMtu)) return Errno::inval;
    options.fragment_size6 = *number;
    return Errno::ok;
  }
  const Row* row = find(kind, family, level, name);
  if (row == nullptr || (row->rule & read_only) != 0) return Errno::noprotoopt;
  if (kind == SocketKind::tcp && (row->rule & no_stream) != 0) return Errno::noprotoopt;
  if (level == kSolSocket && name == so_txprio && !txprio_enabled) return Errno::opnotsupp;
  auto number = integer(value, (row->rule & byte_allowed) != 0);
  if (!number) return number.error();
  if ((row->rule & boolean) != 0) {
    row->field.set(options, *number != 0);
    return Errno::ok;
  }
  if (level == kSolIp && name == ip_ttl && *number == -1) *number = 0;  // back to the default
  else if (level == kSolTcp && name == tcp_maxseg && *number == 0) *number = 0;
  else if (level == kSolIp && name == ip_tos) *number &= 255;
  else if (*number < row->min || *number > row->max) return Errno::inval;
  if (row->level == kSolIpv6 || (row->level == kSolRaw && name == ipv6_checksum)) {
    number = name == ipv6_addr_preferences ? preferences(options.address_preferences, *number) : ipv6_number(name, *number);
    if (!number) return number.error();
  }
  // Linux: two minutes at most, and any negative one is "not at all".
  if (level == kSolTcp && name == tcp_fastopen) *number = std::min(*number, static_cast<std::int32_t>(kSomaxconn));
  if (level == kSolTcp && name == tcp_linger2) number = std::clamp(*number, -1, 120);
  if (level == kSolTcp && name == tcp_defer_accept) *number = defer_time(*number);
  // Linux: half of the least receive buffer at least, and none before the connection is.
  if (level == kSolTcp && name == tcp_window_clamp && *number != 0) *number = std::max(*number, kWindowClampMin);
  if (level == kSolIp && name == ip_multicast_ttl && *number == -1) *number = 1;
  // RFC 3828 section 3.1: the header is always covered; the host raises less than it, and lowers what no field holds.
  if (level == kSolUdpLite && *number != 0) *number = std::clamp(*number, 8, 65535);
  if (level == kSolSocket && name == so_priority && !privileged && *number > 6) return Errno::perm;
  row->field.set(options, *number);
  return Errno::ok;
}

Result<std::string> get_option(const SocketOptions& options, const SocketFacts& facts, int level, int name,
                               std::size_t room) {
  std::string answer;
  const auto one = [&](std::int32_t number) { answer = bytes_of({&number, 1}); };
  if (level == kSolSocket && name == so_sndbuf) one(options.send_buffer != 0 ? options.send_buffer : facts.send_ring);
  else if (level == kSolSocket && name == so_rcvbuf) one(options.receive_buffer != 0 ? options.receive_buffer : facts.receive_ring);
  else if (level == kSolSocket && name == so_rcvlowat) one(options.receive_low_water);
  else if (level == kSolSocket && name == so_type) one(facts.type);
  else if (level == kSolSocket && name == so_protocol) one(facts.protocol);
  else if (level == kSolSocket && name == so_domain) one(facts.family == wire::IpFamily::v6 ? kAfInet6 : kAfInet);
  else if (level == kSolSocket && name == so_acceptconn) one(facts.accepting);
  else if (level == kSolSocket && name == so_incoming_cpu) one(-1);
  else if (level == kSolSocket && name == so_cookie)
    answer.assign(reinterpret_cast<const char*>(&facts.cookie), sizeof facts.cookie);
  else if (level == kSolSocket && name == so_linger) {
    const std::int32_t pair[2] = {options.linger_on, options.linger_seconds};
    answer = bytes_of(pair);
  } else if (level == kSolSocket && name == so_bindtodevice) {
    answer = options.bind_device;
    if (!answer.empty()) answer.push_back('\0');
  } else if (facts.kind == SocketKind::raw && facts.family == wire::IpFamily::v6 && level == kSolIcmpv6 && name == icmp6_filter) {
    answer.assign(reinterpret_cast<const char*>(options.icmp6_filter.data()), sizeof options.icmp6_filter);
  } else if (facts.kind == SocketKind::tcp && level == kSolTcp && name == tcp_fastopen_key) {
    answer = options.fastopen_key;
  } else if (level == kSolIp && name == ip_options && has_ip_level(facts.kind, facts.family)) {
    const Bytes given = options.ip_options.span();
    answer.assign(reinterpret_cast<const char*>(given.data()), given.size());
  } else if (level == kSolIp && name == ip_multicast_if && facts.kind != SocketKind::tcp) {
    answer.resize(4);
    if (options.multicast_source.is_v4())
      wire::store_ipv4({reinterpret_cast<std::byte*>(answer.data()), 4}, 0, options.multicast_source.v4());
  } else if ((level == kSolIp && name == ip_mtu) ||
             (level == kSolIpv6 && name == ipv6_mtu && facts.family == wire::IpFamily::v6)) {
    if (facts.mtu == 0) return unexpected(Errno::notconn);
    one(facts.mtu);
  } else if (level == kSolIpv6 && name == ipv6_pathmtu && facts.family == wire::IpFamily::v6) {
    // struct ip6_mtuinfo; the host leaves the address of this one out.
    constexpr std::size_t kLength = 32, kMtuAt = 28;
    if (room < kLength) return unexpected(Errno::inval);
    if (facts.mtu == 0) return unexpected(Errno::notconn);
    answer.assign(kLength, '\0');
    std::memcpy(answer.data() + kMtuAt, &facts.mtu, sizeof facts.mtu);
  } else if (wire::ExtensionSet set; level == kSolIpv6 && facts.family == wire::IpFamily::v6 && extension_named(set, name) != nullptr) {
    if (options.extensions6) set = options.extensions6->set;
    answer = *extension_named(set, name);
  } else if (const Row* row = find(facts.kind, facts.family, level, name)) {
    one(row->level == kSolUdpLite ? std::max(row->field.of(options), 0) : row->field.of(options));
    if ((row->rule & byte_allowed) != 0 && room == 1) answer.resize(1);
  } else {
    return unexpected(Errno::noprotoopt);
  }
  if (answer.size() > room) answer.resize(room);
  return answer;
}

std::uint8_t hops_of(const SocketOptions& options, const wire::IpAddress& destination) {
  const bool group = destination.is_multicast();
  if (destination.is_v4()) return static_cast<std::uint8_t>(group ? options.multicast_ttl : options.ttl);
  return static_cast<std::uint8_t>(group ? options.multicast_hops6 : std::max(options.unicast_hops, 0));
}

std::uint8_t traffic_class_of(const SocketOptions& options, const wire::IpAddress& destination) {
  return static_cast<std::uint8_t>(destination.is_v4() ? options.tos : options.tclass);
}

namespace {
// IP_PMTUDISC_*, the same numbers for both families.
enum Discover : std::int32_t { discover_dont = 0, discover_want = 1, discover_do = 2, discover_probe = 3, discover_interface = 4 };

std::int32_t discover_of(const SocketOptions& options, const wire::IpAddress& destination) {
  return destination.is_v4() ? options.mtu_discover : options.mtu_discover6;
}
}  // namespace

bool heeds_path_mtu(const SocketOptions& options, const wire::IpAddress& destination) {
  return discover_of(options, destination) < discover_probe;
}

bool accepts_path_mtu(const SocketOptions& options, const wire::IpAddress& destination) {
  return discover_of(options, destination) < discover_interface;
}

bool dont_fragment(const SocketOptions& options, const wire::IpAddress& destination, std::optional<bool> asked) {
  const std::int32_t discover = discover_of(options, destination);
  return discover == discover_do || discover == discover_probe || (destination.is_v6() && asked.value_or(options.dont_fragment6 != 0));
}

wire::Ipv6Extensions extensions_of(const SocketOptions& options, const wire::IpAddress& destination) {
  if (destination.is_v4() || !options.extensions6) return {};
  const wire::ExtensionChain& chain = options.extensions6->chain;
  return {.first = chain.first, .bytes = chain.bytes};
}

bool needs_raw_privilege(int level, int name) {
  return (level == kSolIp && name == ip_options) ||
         (level == kSolIpv6 && (name == ipv6_hopopts || name == ipv6_rthdrdstopts || name == ipv6_dstopts));
}

std::optional<bool> prefers_temporary(const SocketOptions& options) {
  if ((options.address_preferences & (kPreferTemporary | kPreferPublic)) == 0) return std::nullopt;
  return (options.address_preferences & kPreferTemporary) != 0;
}

}  // namespace iopkt::socket
