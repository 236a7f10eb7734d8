// What a program may set on a socket, as rows that set, get, bound and document each option.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.hpp"
#include "base/counted.hpp"
#include "base/time.hpp"
#include "socket/errno.hpp"
#include "wire/address.hpp"
#include "wire/ipv4.hpp"
#include "wire/ipv6_extensions.hpp"

namespace iopkt::tcp {
class KeyChain;
}

namespace iopkt::socket {

inline constexpr std::uint32_t kRingMin = 4096;           ///< one page: the least a ring can be
inline constexpr std::uint32_t kRingMax = 16u << 20;      ///< SO_SNDBUF/SO_RCVBUF are clamped to it
inline constexpr std::uint32_t kSomaxconn = 4096;         ///< SOMAXCONN of the host's <sys/socket.h>

/// What IPV6_ADDR_PREFERENCES shows of a socket that did not set it: temporary addresses or public ones as the stack likes, and the
/// home address (RFC 5014; linux/in6.h).
inline constexpr std::int32_t kPreferTemporary = 1, kPreferPublic = 2, kPreferCareOf = 4, kPreferEither = 0x100, kPreferHome = 0x400;
inline constexpr std::int32_t kPreferDefault = kPreferEither | kPreferHome;

/// IPV6_HOPOPTS, IPV6_RTHDRDSTOPTS, IPV6_RTHDR, IPV6_DSTOPTS, and what is sent of them.
struct StickyExtensions {
  wire::ExtensionSet set;
  wire::ExtensionChain chain;
};

/// Plain values of one socket; the initial value here is the default that a program sees.
struct SocketOptions {
  // SOL_SOCKET
  bool reuse_address = false, reuse_port = false, keepalive = false, broadcast = false, oob_inline = false, dont_route = false;
  bool debug = false, no_check = false, timestamp = false, timestamp_ns = false, rxq_overflow = false, pass_credentials = false;
  bool linger_on = false;
  std::int32_t priority = 0, linger_seconds = 0;
  std::int32_t receive_low_water = 1, send_low_water = 1;
  std::int32_t send_buffer = 0, receive_buffer = 0;  ///< bytes that the program chose; 0: the ring's, which grows by itself
  std::int32_t fib = 0, txq_priority = 0;
  std::int32_t busy_poll = 0, peek_offset = -1;
  std::string bind_device;
  // IPPROTO_IP
  bool header_included = false, receive_ttl = false, receive_tos = false, packet_info = false, receive_error = false, free_bind = false;
  bool bind_no_port = false, receive_original_destination = false, multicast_loop = true, multicast_all = true;
  bool receive_options = false, receive_return_options = false;  ///< IP_RECVOPTS, IP_RETOPTS
  bool receive_error_extension = false;                          ///< IP_RECVERR_RFC4884
  std::int32_t tos = 0, ttl = 0 /* 0: net.inet.ip.ttl */, mtu_discover = 1, min_ttl = 0, multicast_ttl = 1;
  wire::Ipv4OptionBytes ip_options;  ///< IP_OPTIONS: of every packet, as ipv4::given_options() made them
  std::uint32_t multicast_interface = 0;
  wire::IpAddress multicast_source;  ///< by which IP_MULTICAST_IF named the interface; unspecified: by its index
  // IPPROTO_IPV6: of sockets of AF_INET6, for packets of that family
  bool v6_only = false, multicast_loop6 = true, multicast_all6 = true, auto_flow_label = true, dont_fragment6 = false, receive_error6 = false;
  bool receive_packet_info6 = false, receive_hop_limit = false, receive_tclass = false, receive_original_destination6 = false;
  std::int32_t unicast_hops = -1 /* net.inet6.ip6.hlim */, tclass = 0, multicast_hops6 = 1;
  std::int32_t packet_interface6 = 0;                         ///< IPV6_PKTINFO: by which datagrams leave; 0: not said
  std::int32_t fragment_size6 = 0;                            ///< IPV6_MTU: no larger packets than this; 0: as the path has it
  std::int32_t address_preferences = kPreferDefault;          ///< RFC 5014
  bool receive_error_extension6 = false;                      ///< IPV6_RECVERR_RFC4884
  std::int32_t multicast_interface6 = 0, mtu_discover6 = 1, min_hop_count = 0;
  std::shared_ptr<const StickyExtensions> extensions6;        ///< null: none
  bool flow_info_send = false;                                ///< IPV6_FLOWINFO_SEND: sin6_flowinfo of a destination counts
  std::uint32_t flow_label6 = 0;                              ///< that connect() was given so; 0: none
  // What recvmsg() gives, in this form or as RFC 2292 had it: a matter of the library that reads.
  bool receive_hop_options = false, receive_routing = false, receive_destination_options = false, receive_path_mtu = false, receive_flow_info = false;
  bool old_packet_info = false, old_hop_limit = false, old_hop_options = false, old_routing = false, old_destination_options = false;
  std::int32_t checksum_offset6 = -1;  ///< IPV6_CHECKSUM of raw sockets: where in the payload; -1: none
  std::array<std::uint32_t, 8> icmp6_filter{};  ///< ICMP6_FILTER: bit t set: no messages of type t
  // IPPROTO_RAW (of the socket, not of the packet)
  std::int32_t icmp_filter = 0;  ///< bit t set: no messages of type t
  // IPPROTO_TCP
  bool no_delay = false, cork = false, quick_ack = false, fastopen_connect = false;
  std::int32_t max_segment = 0;
  std::int32_t keep_idle = 0, keep_interval = 0, keep_count = 0, syn_count = 0, linger2 = 0;  // 0: as in net.inet.tcp
  std::int32_t user_timeout_ms = 0;
  std::int32_t fastopen = 0;   ///< pending requests of a listener; 0: none
  std::string fastopen_key;  ///< one or two of 16 bytes, the newest first; empty: the stack's
  std::int32_t defer_accept = 0;  ///< s
  std::int32_t window_clamp = 0;  ///< bytes; 0: none
  std::uint32_t notsent_low_water = 0;  ///< TCP_NOTSENT_LOWAT, bytes; 0: net.inet.tcp.notsent_lowat
  std::shared_ptr<const tcp::KeyChain> keys;        ///< TCP_MD5SIG, TCP_AO_ADD_KEY; null: none
  std::int16_t ao_current = -1, ao_next = -1;       ///< TCP-AO: SendID of the current key, RecvID of the one asked for; -1: the first
  bool ao_required = false;                         ///< TCP_AO_INFO: peers without a key are refused
  bool ao_accept_icmp = false;                      ///< TCP_AO_INFO: RFC 5925 section 7.8, what ICMP says of a connection counts
  std::string_view congestion;  ///< an algorithm's own name; empty: as the route or net.inet.tcp.congctl.selected say
  // IPPROTO_UDP
  std::int32_t segment = 0;  ///< UDP_SEGMENT: bytes of each datagram that a call is cut into; 0: one
  bool coalesce = false;     ///< UDP_GRO
  bool udp_cork = false;
  // IPPROTO_UDPLITE: bytes of coverage, 0: all
  std::int32_t send_coverage = 0;
  std::int32_t receive_coverage = -1;  ///< the least that is accepted; -1: never set, any
  friend bool operator==(const SocketOptions&, const SocketOptions&) = default;
};

/// The options of one socket. Copies share them, on other threads too, for what is shared never changes: a connection has what its
/// listener had.
class SharedOptions {
 public:
  const SocketOptions& operator*() const { return kept_ ? kept_->options : kDefault; }
  const SocketOptions* operator->() const { return &**this; }
  /// `change(SocketOptions&)`. What it leaves as it was costs nothing. References to the options before hold no longer.
  template <class Change>
  void change(Change change) {
    SocketOptions changed = **this;
    change(changed);
    adopt(std::move(changed));
  }
  void adopt(SocketOptions&& changed);

 private:
  static const SocketOptions kDefault;
  struct Kept : Counted<Kept> {
    explicit Kept(SocketOptions&& its) : options(std::move(its)) {}
    SocketOptions options;
  };
  CountedPtr<const Kept> kept_;  ///< null: kDefault
};

/// What goes into the header of a packet to `destination`: TTL or hop limit (0: the stack's own), TOS or traffic class.
std::uint8_t hops_of(const SocketOptions& options, const wire::IpAddress& destination);
std::uint8_t traffic_class_of(const SocketOptions& options, const wire::IpAddress& destination);
/// A packet to `destination` must not be cut: IP_PMTUDISC_DO and _PROBE of its family, or IPV6_DONTFRAG, for which `asked` stands if the
/// packet has its own.
bool dont_fragment(const SocketOptions& options, const wire::IpAddress& destination, std::optional<bool> asked = {});
/// What routers say of the MTU of the path counts for what the socket sends there: not with IP_PMTUDISC_PROBE, _INTERFACE and _OMIT.
bool heeds_path_mtu(const SocketOptions& options, const wire::IpAddress& destination);
/// What they say of its packets is believed, for others as well: not with IP_PMTUDISC_INTERFACE and _OMIT.
bool accepts_path_mtu(const SocketOptions& options, const wire::IpAddress& destination);
/// What stands before the transport header of each packet to `destination` because the program set it; `bytes` is empty: nothing. Valid
/// until an option changes.
wire::Ipv6Extensions extensions_of(const SocketOptions& options, const wire::IpAddress& destination);
/// Whether only CAP_NET_RAW lets a program set that (RFC 3542 section 6: it may be wrong for the network).
bool needs_raw_privilege(int level, int name);
/// IPV6_ADDR_PREFERENCES: temporary addresses before the others, or behind them; nullopt: as the stack likes.
std::optional<bool> prefers_temporary(const SocketOptions& options);

enum class SocketKind : std::uint8_t { tcp, udp, udplite, raw };
/// A socket whose datagrams have ports.
constexpr bool is_udp(SocketKind kind) { return kind == SocketKind::udp || kind == SocketKind::udplite; }

/// Sets one option. `privileged`: the client may do what CAP_NET_ADMIN or CAP_NET_RAW allows.
/// `family`: of the socket; IPPROTO_IPV6 is for AF_INET6 alone, IPPROTO_IP for both (but raw sockets).
/// Errors: noprotoopt (no such option here), inval (too short, out of range), perm, dom, opnotsupp.
Errno set_option(SocketOptions& options, SocketKind kind, int level, int name, Bytes value, bool privileged,
                 bool txprio_enabled, wire::IpFamily family = wire::IpFamily::v4);

/// What only the socket knows; options.cpp asks for it by name.
struct SocketFacts {
  SocketKind kind;
  std::int32_t type = 0, protocol = 0, accepting = 0, mtu = 0;
  std::int32_t send_ring = 0, receive_ring = 0;  ///< bytes; 0: none yet
  wire::IpFamily family = wire::IpFamily::v4;
  std::uint64_t cookie = 0;
};

/// The option's value as getsockopt(2) shows it: at most `room` bytes, a longer value is cut off as Linux does.
Result<std::string> get_option(const SocketOptions& options, const SocketFacts& facts, int level, int name,
                               std::size_t room);

}  // namespace iopkt::socket
