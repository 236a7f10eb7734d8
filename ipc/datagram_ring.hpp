// Datagrams in a ring: records of a fixed header and a payload, claimed whole by the reader's CAS of the head.
//
// A record starts at a multiple of kRecordAlign bytes and may wrap around the end of the ring at any byte; both sides copy
// the header out before they look at it.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ipc/receive_ring.hpp"
#include "ipc/send_ring.hpp"

namespace iopkt::ipc {

inline constexpr std::size_t kRecordAlign = 16;

/// The head of a record. Towards the program: where the datagram came from and what the IP layer said about it.
/// Towards the stack: where it goes and what the program asked for.
struct RecordHeader {
  static constexpr std::uint32_t has_timestamp = 1 << 0;
  static constexpr std::uint32_t has_ttl = 1 << 1;
  static constexpr std::uint32_t has_tos = 1 << 2;
  static constexpr std::uint32_t has_pktinfo = 1 << 3;   ///< ifindex and `local`
  static constexpr std::uint32_t truncated = 1 << 4;     ///< the stack kept only the first payload_len bytes of original_len
  static constexpr std::uint32_t checksum_bad = 1 << 5;  ///< raw and packet sockets
  static constexpr std::uint32_t has_destination = 1 << 6;  ///< to the stack: `remote` is the destination (sendto)
  static constexpr std::uint32_t error_queue = 1 << 7;   ///< no datagram: an error came in
  static constexpr std::uint32_t dont_route = 1 << 8;    ///< to the stack: MSG_DONTROUTE
  static constexpr std::uint32_t multicast = 1 << 9;     ///< was sent to a group
  static constexpr std::uint32_t broadcast = 1 << 10;
  static constexpr std::uint32_t more_follows = 1 << 11;  ///< to the stack: the next record's payload belongs to this datagram (MSG_MORE)
  static constexpr std::uint32_t has_dont_fragment = 1 << 16;  ///< to the stack: IPV6_DONTFRAG as control data
  static constexpr std::uint32_t path_mtu = 1 << 17;  ///< no datagram: the way to `remote` has an MTU of `info` (RFC 3542 section 11.3)
  static constexpr std::uint32_t has_flow_info = 1 << 18;  ///< `info`

  std::uint32_t total_len{};    ///< of the record, a multiple of kRecordAlign
  std::uint32_t payload_len{};  ///< bytes after the header
  std::uint32_t flags{};
  std::uint32_t original_len{};  ///< of the datagram on the wire
  SharedEndpoint remote{};       ///< its source; to the stack: its destination
  SharedEndpoint local{};        ///< its destination address; to the stack: source address wanted (pktinfo)
  std::int64_t timestamp_ns{};   ///< since 1970
  std::uint32_t ifindex{};
  std::uint32_t gso_size{};      ///< UDP_SEGMENT / UDP_GRO: size of each piece; 0: one datagram
  std::uint8_t ttl{}, tos{};     ///< or hop limit and traffic class
  std::uint8_t dont_fragment{};  ///< 0 or 1
  std::uint8_t packet_type{};    ///< packet sockets: sll_pkttype
  std::uint16_t protocol{};      ///< packet sockets: ethertype, host order
  std::uint16_t vlan{};
  std::uint16_t hatype{};        ///< packet sockets: sll_hatype
  std::uint16_t control_len{};   ///< bytes of ControlItems behind the payload
  std::uint32_t lost{};          ///< datagrams that found no room in the ring before this one (SO_RXQ_OVFL)
  std::uint32_t info{};          ///< IPv6: traffic class and flow label, host order; or an MTU
  std::uint32_t reserved{};
};
static_assert(sizeof(RecordHeader) == 104);

/// Control data of variable length: this, `length` bytes, and the next.
struct ControlItem {
  static constexpr std::uint16_t extension_headers = 0x100;  ///< to the stack: in MessageId::send_datagram alone
  std::uint16_t type{};  ///< IP_RECVOPTS, IP_RETOPTS; of IPv6 extension_headers and the number of the first of them: all, as they lie in a packet
  std::uint16_t length{};
};

/// Of all extension headers of one datagram (wire::kExtensionBytesMax).
inline constexpr std::size_t kExtensionsMax = 512;
/// Of one datagram: those, or both kinds of IPv4 options.
inline constexpr std::size_t kControlMax = sizeof(ControlItem) + kExtensionsMax;
static_assert(kControlMax >= 2 * (sizeof(ControlItem) + 40));
using ControlBytes = std::array<std::byte, kControlMax>;

/// Takes the next item off the front of `rest`; false: there is none, or it is cut short.
bool next_control(std::span<const std::byte>& rest, int& type, std::span<const std::byte>& value);
/// Puts one behind the first `used` bytes; false: there is no room.
bool put_control(ControlBytes& to, std::size_t& used, int type, std::span<const std::byte> value);

constexpr std::size_t record_size(std::size_t payload) {
  return (sizeof(RecordHeader) + payload + kRecordAlign - 1) / kRecordAlign * kRecordAlign;
}
static_assert(record_size(65535 + kControlMax) <= kDatagramRecordMax);

// ---------------------------------------------------------------------------------------------- stack side

/// Puts datagrams into a receive ring. The ring's own rules are ReceiveRingProducer's.
class DatagramProducer {
 public:
  enum class Put { queued, queued_flush, full, no_ring, too_long };
  /// Copies `header`, `payload` (pieces one after another) and `control` (ControlItems) into the ring and publishes; the lengths in the
  /// header are set from them.
  /// full: not enough room (count the drop). too_long: would take more than half of the ring. queued_flush: call ring.flush()
  /// at the end of the burst. The producer's position must have been moved by this class alone.
  static Put put(ReceiveRingProducer& ring, RecordHeader header, std::span<const iovec> payload, std::span<const std::byte> control = {});
};

/// Takes datagrams out of a client's send ring.
class DatagramConsumer {
 public:
  struct Datagram {
    RecordHeader header;             ///< checked copy: its lengths fit the ring
    std::span<const std::byte> first, second;  ///< the payload in the ring's memory, in one or two pieces; the client can still change it
    ControlBytes control;            ///< a copy of the control data, header.control_len bytes
    std::uint64_t end{};             ///< consume_to(end) when it has been sent
  };
  /// The record at `position` (head() for the first; `end` of the one before for the next). False: none there, or the record is
  /// impossible, and then the ring is broken().
  static bool next(SendRingConsumer& ring, std::uint64_t position, Datagram& out);
};

// ---------------------------------------------------------------------------------------------- client side

/// Reads datagrams; any thread, process or signal handler.
class DatagramReader {
 public:
  DatagramReader(Slot& slot, std::byte* arena, std::size_t arena_size, ProgramIo& io)
      : core_(slot, arena, arena_size, io), io_(&io) {}
  /// Takes one datagram (`take`) or looks at it (MSG_PEEK); copies what fits into `to`. On data, header.payload_len is the whole
  /// length, bytes what was copied. `control`: gets header.control_len bytes; null: they are not wanted.
  ReadOutcome read(std::span<const iovec> to, RecordHeader& header, bool take = true, ControlBytes* control = nullptr);
  /// FIONREAD: the payload of the next datagram; 0: none (or an empty one).
  std::size_t next_size();
  bool nothing_unread() const;
  /// Whether one of the next records, as far as it looks, has none of `flags`.
  bool has_without(std::uint32_t flags);
  void set_edge() { core_.set_edge(); }

 private:
  static bool copy_header(const ReaderCore::View& view, RecordHeader& header);
  ReaderCore core_;
  ProgramIo* io_;
};

/// Writes datagrams; any thread, process or signal handler.
class DatagramWriter {
 public:
  DatagramWriter(Slot& slot, std::byte* arena, std::size_t arena_size, ProgramIo& io)
      : writer_(slot, arena, arena_size, io) {}
  /// Queues one datagram whole, or nothing. header: flags, remote, local, ifindex, ttl, tos, gso_size as wanted; lengths are set here.
  WriteOutcome write(RecordHeader header, std::span<const iovec> payload, std::span<const std::byte> control = {});
  int sleep_for_room(const std::atomic<std::uint32_t>& alive, std::int64_t timeout_ns) {
    return writer_.sleep_for_room(alive, timeout_ns);
  }
  std::size_t queued() const { return writer_.queued(); }

 private:
  std::optional<WriteOutcome> try_write(const RecordHeader& header, std::span<const iovec> payload, std::span<const std::byte> control);
  SendRingWriter writer_;
};

}  // namespace iopkt::ipc
