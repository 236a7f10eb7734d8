// Datagrams between the stack and a client's rings of records.
#include <linux/capability.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "client_address.hpp"
#include "client_shard.hpp"
#include "ipv4/options.hpp"
#include "socket/numbers.hpp"
#include "wire/ipv6_extensions.hpp"

namespace iopkt::daemon {

namespace num = socket::num;

namespace {

constexpr std::size_t kPiecesMax = 32;
constexpr std::size_t kPayloadMax = 65527;  ///< of a UDP datagram over IPv6; over IPv4 the stack knows less

/// Extension headers, or a source route: for CAP_NET_RAW, as on the host.
bool needs_privilege(std::span<const std::byte> control) {
  int type = 0;
  std::span<const std::byte> value;
  while (ipc::next_control(control, type, value)) {
    if (type >= ipc::ControlItem::extension_headers) return true;
    if (const auto options = ipv4::given_options(value, false); options && ipv4::has_source_route(*options)) return true;
  }
  return false;
}

/// Control data that has a length of its own; `request` borrows it. False: malformed, or options that cannot be. As on the host a routing
/// header is no matter of one datagram.
bool take_control(std::span<const std::byte> control, stack::DatagramRequest& request) {
  int type = 0;
  std::span<const std::byte> value;
  while (ipc::next_control(control, type, value)) {
    if (const int kind = type - ipc::ControlItem::extension_headers; kind >= 0 && kind <= UINT8_MAX) {
      request.extensions = {.first = static_cast<wire::IpProtocol>(kind), .bytes = value};
      if (wire::has_routing(request.extensions.first, value)) return false;
      continue;
    }
    if (type != num::ip_retopts) return false;
    request.options = ipv4::given_options(value, false);
    if (!request.options) return false;
  }
  return control.empty();
}

stack::DatagramRequest request_of(const ipc::RecordHeader& header) {
  using Record = ipc::RecordHeader;
  stack::DatagramRequest request;
  if ((header.flags & Record::has_destination) != 0) request.destination = from_shared(header.remote);
  if ((header.flags & Record::has_pktinfo) != 0) {
    if (const auto source = from_shared(header.local); source && !source->address.is_unspecified())
      request.source = source->address;
    request.interface_index = header.ifindex;
  }
  if ((header.flags & Record::has_ttl) != 0) request.ttl = header.ttl;
  if ((header.flags & Record::has_tos) != 0) request.tos = header.tos;
  if ((header.flags & Record::has_dont_fragment) != 0) request.dont_fragment = header.dont_fragment != 0;
  request.dont_route = (header.flags & Record::dont_route) != 0;
  if ((header.flags & Record::has_flow_info) != 0) request.flow_label = header.info & 0xfffff;
  request.segment_size = static_cast<std::uint16_t>(std::min<std::uint32_t>(header.gso_size, 65535));
  return request;
}

ipc::RecordHeader header_of(const stack::Datagram& datagram) {
  using Record = ipc::RecordHeader;
  Record header;
  header.flags = Record::has_ttl | Record::has_tos | Record::has_pktinfo;
  if (datagram.time_ns != 0) {
    header.flags |= Record::has_timestamp;
    header.timestamp_ns = static_cast<std::int64_t>(datagram.time_ns);
  }
  if (datagram.broadcast) header.flags |= Record::broadcast;
  if (datagram.multicast) header.flags |= Record::multicast;
  header.original_len = datagram.payload->size();
  header.gso_size = datagram.segment_size;
  header.info = datagram.flow_info;
  if (datagram.flow_info != 0) header.flags |= Record::has_flow_info;
  if (datagram.path_mtu != 0) header.flags = Record::path_mtu, header.info = datagram.path_mtu;
  header.remote = to_shared(datagram.source);
  header.local = to_shared({datagram.destination, wire::Port{}});
  header.ifindex = datagram.interface_index;
  header.ttl = datagram.ttl;
  header.tos = datagram.tos;
  return header;
}

/// Options and extension headers: what the program wants of them is a matter of the moment in which it reads. Answers how many bytes there are.
std::size_t control_of(const stack::Datagram& datagram, ipc::ControlBytes& control) {
  std::size_t used = 0;
  if (datagram.extras.empty()) return used;
  if (datagram.source.address.is_v6()) {
    ipc::put_control(control, used, ipc::ControlItem::extension_headers | datagram.extras_kind, datagram.extras);
    return used;
  }
  ipc::put_control(control, used, num::ip_recvopts, datagram.extras);
  ipc::put_control(control, used, num::ip_retopts, ipv4::options_for_reply(datagram.extras, datagram.source.address.v4()).span());
  return used;
}

}  // namespace

void ClientShard::drop_parts(ClientSocket& socket) {
  if (!socket.parts()) return;
  socket.owner.client->part_bytes.give(kPayloadMax);
  socket.seldom->parts.reset();
}

/// One record is one datagram, unless the program said that more of it follows. An errno or 0. `privileged`: who wrote it may send what
/// needs_privilege() (RFC 3542 section 6).
int ClientShard::send_record(ClientSocket& socket, const ipc::DatagramConsumer::Datagram& record, bool privileged) {
  const bool more = (record.header.flags & ipc::RecordHeader::more_follows) != 0;
  const auto control = std::span{record.control}.first(record.header.control_len);
  // Further parts only bring bytes.
  if (!socket.parts() && !privileged && needs_privilege(control)) return EPERM;
  if (!more && !socket.parts()) {
    stack::DatagramRequest request = request_of(record.header);
    if (!take_control(control, request)) return EINVAL;
    return static_cast<int>(stack().send(socket.id, request, record.first, record.second));
  }
  if (!socket.parts()) {
    Client& owner = *socket.owner.client;
    if (!owner.part_bytes.take(kPayloadMax, owner.quota.part_bytes)) return ENOBUFS;
    socket.seldom.make().parts = std::make_unique<ClientSocket::Parts>(ClientSocket::Parts{.header = record.header, .control = {control.begin(), control.end()}, .payload = {}});
    socket.parts()->payload.reserve(kPayloadMax);
  }
  std::vector<std::byte>& payload = socket.parts()->payload;
  if (payload.size() + record.first.size() + record.second.size() > kPayloadMax) {
    drop_parts(socket);
    return EMSGSIZE;
  }
  payload.insert(payload.end(), record.first.begin(), record.first.end());
  payload.insert(payload.end(), record.second.begin(), record.second.end());
  return more ? 0 : send_parts(socket);
}

int ClientShard::send_parts(ClientSocket& socket) {
  if (!socket.parts()) return 0;
  stack::DatagramRequest request = request_of(socket.parts()->header);
  int error = take_control(socket.parts()->control, request) ? 0 : EINVAL;
  if (error == 0) error = static_cast<int>(stack().send(socket.id, request, socket.parts()->payload, {}));
  drop_parts(socket);
  return error;
}

/// Everything that the client has queued, within a budget. The bytes stay the client's: what is decided from them is decided on
/// copies, and the stack copies the payload once.
unsigned ClientShard::send_datagrams(ClientSocket& socket, unsigned budget) {
  std::uint64_t position = socket.send.head();
  unsigned taken = 0;
  for (;; ++taken) {
    if (taken == budget) {
      if (!socket.close_called) busy_.push_back(socket.cookie);
      break;
    }
    ipc::DatagramConsumer::Datagram datagram;
    if (!ipc::DatagramConsumer::next(socket.send, position, datagram)) break;
    position = datagram.end;
    const int error = send_record(socket, datagram, false);  // it does not say whose it is
    // The program's call has returned long ago: as with an ICMP error, the next one is told. But a server that answers whoever asks
    // does not hear with its next question that there was no way to the one before.
    const bool unreachable = error == ENETUNREACH || error == EHOSTUNREACH;
    constexpr auto kAsksFor = ipc::RecordHeader::has_destination | ipc::RecordHeader::has_pktinfo | ipc::RecordHeader::dont_route;
    const bool only_named = (datagram.header.flags & kAsksFor) == ipc::RecordHeader::has_destination;
    if (error != 0 && !(unreachable && only_named)) socket.slot().error.store(static_cast<std::uint32_t>(error), std::memory_order_release);
  }
  if (socket.send.broken()) {
    broken(socket, "a datagram that cannot be");
    return taken;
  }
  if (taken == 0) return 0;
  socket.send.consume_to(position, socket.end);
  now_bound(socket);
  return taken;
}

/// A first datagram gives its socket a port.
void ClientShard::now_bound(ClientSocket& socket) {
  if ((socket.status & ipc::Status::bound) != 0) return;
  // One that was refused may have claimed none.
  if (socket.type != SOCK_RAW && stack().local_endpoint(socket.id).port.value == 0) return;
  socket.set_status(ipc::Status::bound);
  update_names(socket);
}

void ClientShard::request_send_datagram(Request& request, ClientSocket& socket) {
  if (!socket.datagram) return request.refuse(EOPNOTSUPP);
  if (socket.close_called) return request.refuse(EBADF);
  if (!request.may(CAP_NET_RAW)) return request.refuse(EPERM);
  ipc::DatagramConsumer::Datagram record;
  std::span<const std::byte> rest = request.blob;
  if (rest.size() < sizeof record.header) return request.refuse(EINVAL);
  std::memcpy(&record.header, rest.data(), sizeof record.header);
  rest = rest.subspan(sizeof record.header);
  const std::size_t control = record.header.control_len;
  if (control > record.control.size() || control > rest.size()) return request.refuse(EINVAL);
  std::copy_n(rest.begin(), control, record.control.begin());
  record.first = rest.subspan(control);
  const int error = send_record(socket, record, true);
  now_bound(socket);
  request.answer_errno(error);
}

/// What the program wrote last still goes, but a process that dies with a thousand full rings does not hold up the others.
void ClientShard::send_last_datagrams(ClientSocket& socket, unsigned most) {
  const unsigned taken = send_datagrams(socket, std::min(most, std::max(closing_left_, kClosingLeast)));
  closing_left_ -= std::min(closing_left_, taken);
  if (socket.send.queued() != 0) stack().count_drop(packet::Drop::socket_unsent);
}

void ClientShard::on_datagram(const stack::Datagram& datagram) {
  ClientSocket* socket = by_cookie(datagram.cookie);
  if (socket == nullptr || socket->id != datagram.id || socket->close_called) return;
  if (datagram.error) return queue_error(*socket, datagram);
  const packet::Packet& packet = *datagram.payload;
  std::array<iovec, kPiecesMax> pieces;
  std::size_t count = 0;
  std::vector<std::byte> flat;
  if (packet.piece_count <= kPiecesMax) {
    for (; count < packet.piece_count; ++count) {
      const Bytes bytes = packet.piece_bytes(count);
      pieces[count] = {const_cast<std::byte*>(bytes.data()), bytes.size()};
    }
  } else {
    flat.resize(packet.size());
    packet.copy_out(0, flat);
    pieces[count++] = {flat.data(), flat.size()};
  }
  using Put = ipc::DatagramProducer::Put;
  const bool shut = (socket->status & ipc::Status::shut_rd) != 0;
  ipc::RecordHeader header = header_of(datagram);
  header.lost = socket->seldom ? socket->seldom->lost_datagrams : 0;
  ipc::ControlBytes control;
  const auto said = std::span{control}.first(control_of(datagram, control));
  const Put put = shut ? Put::full : ipc::DatagramProducer::put(socket->receive, header, std::span{pieces}.first(count), said);
  if (put == Put::queued_flush) list_for_flush(*socket);
  if (put != Put::queued && put != Put::queued_flush) {
    ++socket->seldom.make().lost_datagrams;
    stack().count_drop(socket->type == SOCK_DGRAM ? packet::Drop::udp_buffer_full : packet::Drop::raw_buffer_full);
  }
  if (socket->receive.broken()) broken(*socket, "positions that cannot be");
}

}  // namespace iopkt::daemon
