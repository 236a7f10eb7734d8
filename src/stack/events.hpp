// What a shard tells whoever holds the clients' side of its sockets.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "packet/packet.hpp"
#include "socket/errno.hpp"
#include "socket/ring.hpp"
#include "wire/address.hpp"

namespace iopkt::stack {

using socket::Errno;

/// A socket of one shard. Never used again for another socket within 2^24 uses of its place.
struct SocketId {
  std::uint32_t value = 0;  ///< 0: none
  explicit operator bool() const { return value != 0; }
  friend bool operator==(SocketId, SocketId) = default;
};

/// The holder's own name for a socket; the shard only gives it back.
using Cookie = std::uint64_t;

/// Bits of SocketEvent::what; several that happened since the last take_events() come as one event.
namespace event {
inline constexpr std::uint32_t readable = 1;        ///< receive_tail() moved
inline constexpr std::uint32_t writable = 2;        ///< send_head() moved: the client may reuse that part of its ring; or send_limit()
inline constexpr std::uint32_t connected = 4;       ///< connect() succeeded
inline constexpr std::uint32_t peer_fin = 8;        ///< end of the stream at receive_tail()
inline constexpr std::uint32_t failed = 16;         ///< `error` says why; nothing more will come or go
inline constexpr std::uint32_t released = 32;       ///< the id is gone and its rings are no longer touched. Last event of an id
inline constexpr std::uint32_t urgent = 64;         ///< urgent_mark(): TCP urgent data was announced, or its byte has come
inline constexpr std::uint32_t soft_error = 128;    ///< an ICMP error for a datagram socket: `error` becomes SO_ERROR
inline constexpr std::uint32_t send_done = 256;     ///< our FIN is acknowledged: a lingering close may return
inline constexpr std::uint32_t space_wanted = 512;  ///< larger rings would help: Shard::wanted_rings()
}  // namespace event

struct SocketEvent {
  SocketId id;
  Cookie cookie = 0;
  std::uint32_t what = 0;
  Errno error = Errno::ok;
};

/// RFC 6093: one byte of a TCP stream is urgent.
struct UrgentMark {
  std::uint64_t end = 0;  ///< the position behind it
  bool here = false;      ///< it lies in the receive ring, perhaps beyond receive_tail()
  bool in_line = false;   ///< SO_OOBINLINE
};

/// A connection that is ready for accept(2): made on this shard, for a listener that may live on another.
struct AcceptEvent {
  Cookie listener = 0;        ///< cookie of the listening socket
  SocketId child;
  Cookie child_cookie = 0;    ///< as RingSource gave it
  wire::Endpoint local, remote;
};

/// What an entry of a socket's error queue says: ip(7), struct sock_extended_err.
struct ErrorInfo {
  static constexpr std::uint8_t kLocal = 1, kIcmp = 2, kIcmp6 = 3;  ///< SO_EE_ORIGIN_*
  Errno error = Errno::ok;
  std::uint8_t origin = kLocal, type = 0, code = 0;
  std::uint32_t info = 0;        ///< EMSGSIZE: the MTU, EPROTO: the offset of the offending byte
  wire::IpAddress offender;      ///< who sent the ICMP message
  bool hard = false;             ///< a connected socket hears of it without having asked
  bool too_big = false;          ///< as hard, unless it has IP_PMTUDISC_DONT
  std::uint16_t original_len = 0;     ///< of what came back, the bytes that are the datagram's (RFC 4884 section 4); 0: not said
  std::uint16_t extension_at = 0;     ///< in the payload: where the ICMP extensions begin; 0: none are known
  bool extension_bad = false;         ///< they are not what RFC 4884 section 7 says
};

/// A datagram for a socket of this shard. The payload begins at the packet's first byte (raw sockets: at the IP header).
/// With `error` it is an entry of the error queue: `source` is where the datagram that it is about went, the payload what came
/// back of it; the rest is of the ICMP message.
struct Datagram {
  SocketId id;
  Cookie cookie = 0;
  wire::Endpoint source;
  wire::IpAddress destination;
  std::uint32_t interface_index = 0;
  std::uint8_t ttl = 0, tos = 0;
  bool broadcast = false, multicast = false;
  std::uint32_t flow_info = 0;     ///< of IPv6: traffic class and flow label
  std::vector<std::byte> extras;   ///< options of the IPv4 header, with our own entry; or IPv6 extension headers, as they came
  std::uint8_t extras_kind = 0;    ///< of the first of these
  std::uint32_t path_mtu = 0;      ///< not 0: no datagram; the way to `source` has that MTU (RFC 3542 section 11.3)
  std::uint16_t segment_size = 0;  ///< UDP_GRO: several datagrams, each of that size but the last; 0: one
  std::uint64_t time_ns = 0;  ///< CLOCK_REALTIME when the driver stamped it, else 0
  packet::PacketPtr payload;
  std::optional<ErrorInfo> error;
};

/// A peer has shown that it is there (RFC 4987 section 3): so many of its next SYNs are answered before those of strangers.
struct CreditNews {
  wire::IpAddress peer;
  std::uint16_t credit = 0;
};

/// Bytes; 0: no wish.
struct RingSizes {
  std::uint32_t send = 0, receive = 0;
};

/// The memory of a new connection's rings: from the client that listens.
struct Rings {
  socket::RingMemory send, receive;
  Cookie cookie = 0;
};

/// Gives the shard memory for rings; implemented by the holder of the clients' side. Called on the shard's thread.
class RingSource {
 public:
  virtual ~RingSource() = default;
  /// Rings for a connection of this listener. False: none to be had (the client's quota, memory): the connection is refused.
  virtual bool provide(Cookie listener, std::uint32_t send_bytes, std::uint32_t receive_bytes, Rings& out) = 0;
  /// Rings that no socket came of: the cookie never appears in an event.
  virtual void take_back(Cookie cookie) = 0;
};

}  // namespace iopkt::stack
