// Errors of datagram sockets: SO_ERROR, and the error queue of IP_RECVERR.
#include <algorithm>
#include <cerrno>

#include "client_address.hpp"
#include "client_shard.hpp"

namespace iopkt::daemon {
namespace {

constexpr std::size_t kErrorBytesMax = std::size_t{64} << 10;  ///< of one queue; as SO_RCVBUF bounds it on the host, and no more

std::size_t cost_of(const ClientSocket::QueuedError& one) { return sizeof one + one.payload.size(); }

bool is_icmp(const ClientSocket::QueuedError& one) { return one.what.origin != stack::ErrorInfo::kLocal; }

ipc::ErrorAnswer answer_of(const stack::Datagram& report) {
  const stack::ErrorInfo& error = *report.error;
  ipc::ErrorAnswer out{};
  out.error = static_cast<std::uint32_t>(error.error);
  out.info = error.info;
  out.extension_at = error.extension_at, out.extension_bad = error.extension_bad ? 1 : 0;
  out.origin = error.origin, out.type = error.type, out.code = error.code;
  out.ttl = report.ttl, out.tos = report.tos;
  out.ifindex = report.interface_index;
  out.timestamp_ns = static_cast<std::int64_t>(report.time_ns);
  out.to = to_shared(report.source);
  if (error.origin == stack::ErrorInfo::kLocal) return out;
  out.offender = to_shared({error.offender, wire::Port{}});
  out.local = to_shared({report.destination, wire::Port{}});
  return out;
}

}  // namespace

void ClientShard::raise_error(ClientSocket& socket, std::uint32_t error) {
  // Who sleeps or polls for a datagram has to see it, too: a record of its own, which the reader takes with the error. It comes
  // first, so that whoever finds the error finds its record, and none is left over.
  using Put = ipc::DatagramProducer::Put;
  if (socket.datagram &&
      ipc::DatagramProducer::put(socket.receive, {.flags = ipc::RecordHeader::error_queue}, {}) == Put::queued_flush)
    list_for_flush(socket);
  if (error != 0) socket.slot().error.store(error, std::memory_order_release);
}

void ClientShard::queue_error(ClientSocket& socket, const stack::Datagram& report) {
  const std::size_t length = std::min<std::size_t>(report.payload->size(), ipc::kErrorPayloadMax);
  ClientSocket::QueuedError one{.what = answer_of(report), .payload = std::vector<std::byte>(length)};
  report.payload->copy_out(0, one.payload);
  Client& owner = *socket.owner.client;
  const std::size_t cost = cost_of(one);
  const bool icmp = is_icmp(one);
  const bool room = (socket.errors() ? socket.errors()->bytes : 0) + cost <= kErrorBytesMax;
  if (room && owner.part_bytes.take(cost, owner.quota.part_bytes)) {
    if (!socket.errors()) socket.seldom.make().errors = std::make_unique<ClientSocket::Errors>();
    socket.errors()->bytes += cost;
    socket.errors()->queue.push_back(std::move(one));
    socket.slot().errors.store(static_cast<std::uint32_t>(socket.errors()->queue.size()), std::memory_order_release);
  } else {
    stack().count_drop(packet::Drop::error_queue_full);
  }
  // A local error is the answer of the call itself: the queue shows it, SO_ERROR does not.
  raise_error(socket, icmp ? static_cast<std::uint32_t>(report.error->error) : 0);
}

void ClientShard::request_take_error(Request& request, ClientSocket& socket) {
  if (!socket.errors()) return request.refuse(EAGAIN);
  std::deque<ClientSocket::QueuedError>& queue = socket.errors()->queue;
  const ClientSocket::QueuedError one = std::move(queue.front());
  queue.pop_front();
  socket.errors()->bytes -= cost_of(one);
  socket.owner.client->part_bytes.give(cost_of(one));
  // SO_ERROR follows the queue, as the host has it.
  if (!queue.empty() && is_icmp(queue.front())) socket.slot().error.store(queue.front().what.error, std::memory_order_release);
  else if (is_icmp(one)) socket.slot().error.store(0, std::memory_order_release);
  socket.slot().errors.store(static_cast<std::uint32_t>(queue.size()), std::memory_order_release);
  if (queue.empty()) socket.seldom->errors.reset();
  request.answer<ipc::MessageId::take_error>(one.what, one.payload);
}

void ClientShard::drop_errors(ClientSocket& socket) {
  if (!socket.errors()) return;
  socket.owner.client->part_bytes.give(socket.errors()->bytes);
  socket.seldom->errors.reset();
}

}  // namespace iopkt::daemon
