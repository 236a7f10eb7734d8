// What a script says: one time line of socket calls, packets, settings and assertions, in packetdrill's notation.
// docs/writing-scripts.md is the reference for people. Plain values; parse.cpp makes them, run.cpp plays them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include "base/time.hpp"
#include "wire/address.hpp"

namespace iopkt::script {

/// What is wrong with a script, or what went otherwise than it says: "file:line: ...", ready to be shown.
class Fault : public std::runtime_error {
 public:
  Fault(int at_line, const std::string& what) : std::runtime_error(what), line(at_line) {}
  int line;
};

struct Value;
struct Field {
  std::string name;  ///< empty: by place, as in {..., 10}
  std::vector<Value> value;  ///< exactly one
};
/// An argument of a call.
struct Value {
  enum class Kind : std::uint8_t { any, integer, text, list, structure } kind = Kind::any;
  std::int64_t integer = 0;  ///< symbols and their sums are numbers already
  std::string text;
  std::vector<Value> items;   ///< of a list
  std::vector<Field> fields;  ///< of a structure
};

/// When an event happens: `+N` after the one before, `N` after the start, `A~B` between, `*` at any time, `A...B` a call that blocks.
struct Time {
  bool any = false, relative = false;
  Duration begin{};
  std::optional<Duration> until;    ///< A~B
  std::optional<Duration> returns;  ///< A...B
};

struct Range {
  std::uint32_t begin = 0, end = 0, length = 0;
  friend bool operator==(const Range&, const Range&) = default;
};

struct TcpOption {
  enum class Kind : std::uint8_t { end, nop, mss, sack_permitted, window_scale, timestamps, sack, raw } kind{};
  std::uint32_t value = 0, echo = 0;                             ///< MSS, shift, TSval; TSecr
  std::vector<std::pair<std::uint32_t, std::uint32_t>> blocks;   ///< SACK
  std::vector<std::uint8_t> raw;                                 ///< `hex`: the option's bytes, kind and length included
  friend bool operator==(const TcpOption&, const TcpOption&) = default;
};

struct Ports {
  std::uint16_t from = 0, to = 0;
  friend bool operator==(const Ports&, const Ports&) = default;
};

/// An extension header of IPv6: its type, and all of it behind the first byte, which names what follows.
struct ExtensionHeader {
  std::uint8_t type = 0;
  std::vector<std::uint8_t> bytes;
};
/// A fragment: which bytes of what was cut, in front of how many of the extension headers it was cut, and whether more follows.
struct Piece {
  std::uint32_t begin = 0, end = 0, id = 1;
  bool more = false;
  std::size_t behind = 0;
  friend bool operator==(const Piece& a, const Piece& b) { return a.begin == b.begin && a.end == b.end && a.more == b.more; }
};

/// A packet, as said or as seen; what is not set was not said.
struct Packet {
  enum class Kind : std::uint8_t { tcp, udp, icmp, other } kind = Kind::tcp;
  // [...] before the packet
  std::optional<std::uint8_t> tos, ttl;
  std::optional<std::uint8_t> ecn;  ///< 0..3 as in the header
  std::optional<bool> dont_fragment;
  std::optional<wire::IpAddress> from, to;  ///< where they are not the peer's and ours
  std::optional<Piece> piece;
  bool bad_checksum = false;        ///< of TCP, UDP or ICMP; inbound, as all of these:
  bool no_checksum = false;         ///< of UDP
  std::vector<ExtensionHeader> extensions;
  std::vector<std::uint8_t> ip_options;      ///< of IPv4
  std::uint32_t cut = 0;            ///< bytes of the transport that are missing, as its own header says
  std::uint32_t lost = 0;           ///< bytes of the packet that are missing, as the IP header says
  std::optional<std::uint8_t> data_offset;   ///< of TCP, in words, where it lies
  std::optional<Ports> ports;                ///< of an ICMP error: of the flow of what it quotes, as if that had arrived
  // TCP
  std::uint16_t flags = 0;
  Range seq;
  std::optional<std::uint32_t> ack, window, urgent;
  bool any_options = false;         ///< <...>
  std::vector<TcpOption> options;
  // UDP, ICMP, other protocols
  std::uint32_t length = 0;
  std::uint32_t payload_at = 0;      ///< of UDP: which place of the pattern it begins with
  std::uint8_t protocol = 0;         ///< of Kind::other
  bool icmpv6 = false;               ///< said as such: the numbers are ICMPv6's
  std::uint8_t icmp_type = 0, icmp_code = 0;
  std::optional<std::uint32_t> mtu;
  std::optional<Range> quoted_tcp;           ///< [1:1001(1000)] before an ICMP error
  std::optional<std::uint32_t> quoted_udp;   ///< [udp (100)]
};

struct PacketEvent {
  bool inbound = false;
  Packet packet;
};

struct CallEvent {
  std::string name;
  std::vector<Value> arguments;
  bool any_result = false;
  std::int64_t result = 0;
  int error = 0;           ///< with -1: the errno that was named; 0: none was
  std::string error_name;
};

/// `sysctl NAME=VALUE` and the like.
struct CommandEvent {
  std::string text;
};

/// %{ ... }%
struct CodeEvent {
  std::string text;
};

struct Event {
  int line = 0;
  Time time;
  std::variant<PacketEvent, CallEvent, CommandEvent, CodeEvent> what;
};

struct Script {
  std::map<std::string, std::string> options;  ///< --name=value
  std::vector<Event> events;
};

/// Errors: throws Fault.
Script parse(const std::string& text);

/// A packet in the notation of scripts, without direction.
std::string to_string(const Packet& packet);
/// Seconds with six digits.
std::string to_string(Duration time);

/// The value of a name such as SOCK_STREAM; the name of an error number.
std::optional<std::int64_t> symbol(std::string_view name);
std::optional<int> errno_of(std::string_view name);
std::string errno_name(int number);
/// ICMP's words: "unreachable" with "port".
struct IcmpName {
  std::string_view type, code;
  std::uint8_t type_number, code_number;
  bool v6 = false;
};
const std::vector<IcmpName>& icmp_names();

}  // namespace iopkt::script
