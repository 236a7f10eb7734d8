// Words of the TCP machine: states, events for the owner of a connection, and how a connection can fail. RFC 9293 section 3.3.2.
#pragma once

#include <cstdint>
#include <string_view>

namespace iopkt::tcp {

/// RFC 9293 section 3.3.2. LISTEN is no state of a Connection: see listen.hpp.
enum class State : std::uint8_t {
  closed,
  syn_sent,
  syn_received,
  established,
  fin_wait_1,
  fin_wait_2,
  close_wait,
  closing,
  last_ack,
  time_wait,
};

/// As BSD's netstat prints it: "SYN_SENT", "ESTABLISHED" ...
std::string_view name_of(State state);

/// Both SYNs are acknowledged (RFC 9293: "synchronized").
constexpr bool is_synchronized(State s) { return s >= State::established; }
/// The peer may still send data.
constexpr bool may_receive(State s) {
  return s == State::established || s == State::fin_wait_1 || s == State::fin_wait_2;
}
/// Our user may still send data, or data is still on its way out.
constexpr bool may_send(State s) { return s == State::established || s == State::close_wait; }

/// Bits of Connection::take_events(). Each is raised once per occurrence.
enum Event : std::uint16_t {
  event_connected = 1,    ///< Reached ESTABLISHED (or beyond it in one segment).
  event_readable = 2,     ///< receive_tail() advanced.
  event_writable = 4,     ///< send_acked() advanced.
  event_peer_fin = 8,     ///< The peer's FIN was reached in order: end of the stream at receive_tail().
  event_failed = 16,      ///< failure() says why; the state is CLOSED. Output may still hold a RST.
  event_closed = 32,      ///< CLOSED, in order or not. Once poll_output() answers nothing, the connection may be destroyed.
  event_urgent = 64,      ///< urgent_mark() moved forward (RFC 9293 section 3.8.5), or its byte has come.
  event_send_shut = 128,  ///< Our FIN is acknowledged: all that was written has arrived. Lingering close may return.
  event_dubious = 256,    ///< R1 retransmissions: the next hop should be looked up again (RFC 1122 section 4.2.3.5).
};
using Events = std::uint16_t;

/// Why a connection ended before its time. The socket layer owns the map to errno.
enum class Failure : std::uint8_t {
  none,
  reset,                 ///< ECONNRESET: RST in a synchronized state.
  refused,               ///< ECONNREFUSED: RST, or a port or protocol unreachable, while opening.
  timed_out,             ///< ETIMEDOUT: R2, the user timeout, or keepalive.
  host_unreachable,      ///< EHOSTUNREACH: ICMP while opening, or the last one heard before a timeout.
  network_unreachable,   ///< ENETUNREACH: likewise.
  protocol_unreachable,  ///< ENOPROTOOPT
  admin_prohibited,      ///< EACCES / EHOSTUNREACH
  aborted,               ///< ECONNABORTED: abort() by our own side.
  reset_after_fin,       ///< EPIPE: RST from a peer that had closed already.
};

std::string_view name_of(Failure failure);

}  // namespace iopkt::tcp
