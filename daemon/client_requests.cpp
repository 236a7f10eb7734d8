// What a client asks of its sockets, over the control connection.
#include <linux/capability.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "client_address.hpp"
#include "client_ioctl.hpp"
#include "client_shard.hpp"
#include "socket/numbers.hpp"
#include "socket/options.hpp"

namespace iopkt::daemon {
namespace {

namespace num = socket::num;
using ipc::MessageId;

constexpr std::size_t kLookupMax = 65536;  ///< entries of one lookup

std::span<const std::byte> bytes_of(const std::string& text) { return as_bytes(text.data(), text.size()); }

}  // namespace

void ClientShard::handle(RequestPtr request) {
  if (request->client->dead) return request->refuse(ECONNABORTED);
  if (request->id == MessageId::slot_open) return open_slot(*request);
  if (request->id == MessageId::lookup) return request_lookup(request);
  if (request->id == MessageId::attach_begin || request->id == MessageId::attach_finish) return request_attach(request);
  std::uint64_t slot = 0;
  ClientSocket* socket = request->first_word(slot) ? by_name(*request->client, slot) : nullptr;
  if (socket == nullptr) return request->refuse(EBADF);
  // One that waited may find another socket in the slot.
  if (request->socket != 0 && request->socket != socket->cookie) return request->refuse(EBADF);
  request->socket = socket->cookie;
  if (socket->datagram && !socket->close_called && !socket->released) {
    // What was written before the call goes before it, with the options and the address of then: in turns, and not for ever.
    send_datagrams(*socket);
    socket = by_name(*request->client, slot);
    if (socket == nullptr) return request->refuse(EBADF);
    if (socket->send.queued() != 0 && ++request->turns <= kRingTurns)
      return thread_->post([this, request = std::move(request)]() mutable { handle(std::move(request)); });
  }
  handle_slot(request, *socket);
}

void ClientShard::handle_slot(RequestPtr& request, ClientSocket& socket) {
  switch (request->id) {
    case MessageId::bind: return request_bind(request, socket);
    case MessageId::connect: return request_connect(request, socket);
    case MessageId::listen: return request_listen(request, socket);
    case MessageId::shutdown: return request_shutdown(*request, socket);
    case MessageId::close: return request_close(request, socket);
    case MessageId::getsockname:
    case MessageId::getpeername: return request_name(*request, socket);
    case MessageId::setsockopt: return request_set_option(request, socket);
    case MessageId::getsockopt: return request_get_option(*request, socket);
    case MessageId::ioctl:
      if (!socket.datagram && socket.receive.size() != 0 && !tell_progress(socket)) return request->refuse(ECONNRESET);
      if (request->fixed<ipc::IoctlRequest>().code == SIOCOUTQ) return request_unsent(*request, socket);
      return refuse_ioctl(*request);
    case MessageId::check_destination: return request_check_destination(request, socket);
    case MessageId::send_datagram: return request_send_datagram(*request, socket);
    case MessageId::take_error: return request_take_error(*request, socket);
    case MessageId::accept_adopt: return request_adopt(*request, socket);
    case MessageId::set_mode: return request_mode(*request);
    default: return request->refuse(EOPNOTSUPP);
  }
}

// ---------------------------------------------------------------------------------------------- names

void ClientShard::request_bind(RequestPtr& request, ClientSocket& socket) {
  wire::Port port;
  int error = 0;
  if ((request->fixed<ipc::AddressRequest>().flags & ipc::AddressRequest::only_port) != 0) {
    error = static_cast<int>(stack().choose_port(socket.id));
  } else {
    const auto address = read_address(request->blob, AddressUse::bind, socket.domain, socket.type);
    if (!address) return request->refuse(address.error());
    port = address->endpoint.port;
    error = static_cast<int>(stack().bind(socket.id, address->endpoint, false));
    if (error == EACCES && request->may(CAP_NET_BIND_SERVICE)) error = static_cast<int>(stack().bind(socket.id, address->endpoint, true));
  }
  if (error == EADDRINUSE && retry_after_sweep(request, port)) return;
  if (error != 0) return request->refuse(error);
  // IP_BIND_ADDRESS_NO_PORT: the port, and with it the name, is still to come.
  const bool whole = socket.type == SOCK_RAW || stack().local_endpoint(socket.id).port.value != 0;
  if (whole) socket.set_status(ipc::Status::bound);
  update_names(socket);
  answer_when_published(request, 0);
}

std::size_t ClientShard::ring_size(const ClientSocket& socket, bool send) const {
  const auto value = stack().get_option(socket.id, num::kSolSocket, send ? num::so_sndbuf : num::so_rcvbuf, sizeof(std::int32_t));
  std::int32_t bytes = 0;
  if (value && value->size() == sizeof bytes) std::memcpy(&bytes, value->data(), sizeof bytes);
  if (bytes > 0) return static_cast<std::size_t>(bytes);
  return send ? common_.send_space.load() : common_.receive_space.load();
}

bool ClientShard::is_v6_only(const ClientSocket& socket) const {
  const auto value = stack().get_option(socket.id, num::kSolIpv6, num::ipv6_v6only, sizeof(std::int32_t));
  return value && value->find_first_not_of('\0') != std::string::npos;
}

void ClientShard::request_connect(RequestPtr& request, ClientSocket& socket) {
  if (request->fixed<ipc::AddressRequest>().flags == ipc::AddressRequest::no_data)
    return request->answer_errno(stack().release_syn(socket.id) ? EINPROGRESS : 0);
  const auto address = read_address(request->blob, AddressUse::connect, socket.domain, socket.type);
  if (!address) return request->refuse(address.error());
  int error = 0;
  if (address->unspecified_family) {
    error = static_cast<int>(stack().disconnect(socket.id));
    const bool named = stack().local_endpoint(socket.id).port.value != 0;
    if (error == 0) socket.set_status(0, ipc::Status::connected | (named ? 0 : ipc::Status::bound));
  } else {
    const std::uint32_t before = ipc::Status::connected | ipc::Status::connecting | ipc::Status::listening;
    if (!socket.datagram && (socket.status & before) == 0) {
      if (!give_rings(socket, ring_size(socket, true), ring_size(socket, false))) return request->refuse(ENOBUFS);
      const auto memory = [&](const ClientSocket::Block& block) {
        return socket::RingMemory{socket.arena.base() + block.offset(), static_cast<std::uint32_t>(block.size())};
      };
      stack().set_rings(socket.id, memory(socket.send_block), memory(socket.receive_block));
    }
    const std::uint32_t flags = request->fixed<ipc::AddressRequest>().flags;
    const bool fast_open = (flags & ipc::AddressRequest::fast_open) != 0;
    error = address->endpoint.address.is_v6() ? static_cast<int>(stack().use_flow_info(socket.id, flow_info_of(request->blob))) : 0;
    if (error == 0)
      error = static_cast<int>(stack().connect(socket.id, address->endpoint, fast_open, (flags & ipc::AddressRequest::no_data) == 0));
    // In the words of the other family it is the family that is refused (IPV6_V6ONLY).
    if (error == ENETUNREACH && address->was_inet && is_v6_only(socket)) error = EAFNOSUPPORT;
    if (error == EINPROGRESS) socket.set_status(ipc::Status::connecting | ipc::Status::bound);
    if (error == 0) socket.set_status(ipc::Status::connected | ipc::Status::bound);
    // The SYN waits for what is written first.
    if (error == 0 && !socket.datagram) {
      show_rings(socket);
      if (socket.attached()) socket.send.release(socket.end);
    }
  }
  if (error == 0 || error == EINPROGRESS) update_names(socket);
  answer_when_published(request, error);
}

void ClientShard::request_check_destination(RequestPtr& request, ClientSocket& socket) {
  if (!socket.datagram) return request->refuse(EOPNOTSUPP);
  const auto address = read_address(request->blob, AddressUse::connect, socket.domain, socket.type);
  if (!address) return request->refuse(address.error());
  const auto wanted = request->fixed<ipc::CheckRequest>();
  if ((wanted.flags & ipc::CheckRequest::extensions) != 0) {
    if (!request->may(CAP_NET_RAW)) return request->refuse(EPERM);
    return request->answer_blob();
  }
  if ((wanted.flags & ipc::CheckRequest::flow_label) != 0)
    return request->answer_errno(static_cast<int>(stack().check_flow_label(socket.id, wanted.length)));
  const bool quiet = (wanted.flags & ipc::CheckRequest::quiet) != 0;
  const int error = static_cast<int>(
      stack().check_destination(socket.id, address->endpoint, wanted.length, quiet, wanted.flags >> ipc::CheckRequest::segment_shift));
  if (error != EMSGSIZE || quiet) return request->answer_errno(error);
  // At the end of this turn the error lies in its queue, where the program looks next.
  held_.push_back({stack().publication(), [request = std::move(request), error] { request->answer_errno(error); }});
}

void ClientShard::request_name(Request& request, ClientSocket& socket) {
  const bool peer = request.id == MessageId::getpeername;
  const wire::Endpoint endpoint = peer ? stack().remote_endpoint(socket.id) : stack().local_endpoint(socket.id);
  if (peer && endpoint.port.value == 0 && endpoint.address.is_unspecified()) return request.refuse(ENOTCONN);
  std::array<std::byte, 32> out{};
  request.answer_blob(std::span<const std::byte>{out}.first(write_address(endpoint, socket.domain, out)));
}

// ---------------------------------------------------------------------------------------------- ends

void ClientShard::request_shutdown(Request& request, ClientSocket& socket) {
  const auto how = static_cast<int>(request.fixed<ipc::ShutdownRequest>().how);
  if (how < SHUT_RD || how > SHUT_RDWR) return request.refuse(EINVAL);
  if (socket.stream()) return request.answer_blob();  // the descriptor shows it, behind what was written before
  if (!socket.datagram && socket.receive.size() != 0 && !socket.failed && !tell_progress(socket))
    return request.refuse(ECONNRESET);
  const int error = static_cast<int>(stack().shutdown(socket.id, how));
  if (error != 0) return request.refuse(error);
  const bool listened = socket.listener != nullptr;
  if (listened && how != SHUT_WR) {
    stop_listening(socket);
    socket.listened = true;
    socket.set_status(0, ipc::Status::listening);
  }
  if (how != SHUT_WR) {
    socket.set_status(ipc::Status::shut_rd);
    leave_witness_byte(socket);
  }
  // A listener has no writing side, and its end shows nothing when only that is shut.
  if (how != SHUT_RD && !socket.listener) {
    socket.set_status(ipc::Status::shut_wr);
    socket.program_shut_write = true;
  }
  request.answer_blob();
}

/// The client's own word that it knows of no descriptor of the slot any more: after a reset there is no end
/// to show it, a socket that was never attached has none, and a port has to be free when close() returns.
void ClientShard::request_close(RequestPtr& request, ClientSocket& socket) {
  const auto wanted = request->fixed<ipc::CloseRequest>();
  if (wanted.incarnation != socket.slot().incarnation.load(std::memory_order_relaxed)) return request->answer_blob();
  // Others may hold the descriptor: a child, a program that was executed, a message on its way. The kernel
  // counts them. In stream mode data may still be in it.
  if (socket.attached() && (socket.stream() || is_held(socket, shown_by(socket.fd.get()))))
    return request->answer_blob();
  const bool connection = !socket.datagram && !socket.listener;
  socket.client_done = true;
  close_socket(socket, false);
  maybe_free(socket);
  // At the end of this turn a connection's reset has left, and over loopback has arrived.
  if (connection) return held_.push_back({stack().publication(), [request = std::move(request)] { request->answer_blob(); }});
  // A listener's port is free when no shard knows the listener any more.
  answer_when_published(request, 0);
}

// ---------------------------------------------------------------------------------------------- options

void ClientShard::request_flow_label(Request& request, ClientSocket& socket) {
  const auto process = static_cast<std::uint32_t>(request.caller.pid);
  const auto label = stack().manage_flow_label(socket.id, request.blob, process, request.may(CAP_NET_ADMIN));
  if (!label) return request.refuse(static_cast<int>(label.error()));
  request.answer_blob(as_bytes(&*label, sizeof *label));
}

void ClientShard::request_set_option(RequestPtr& request, ClientSocket& socket) {
  const auto option = request->fixed<ipc::OptionRequest>();
  if (option.level == num::kSolIpv6 && option.name == num::ipv6_flowlabel_mgr) return request_flow_label(*request, socket);
  const auto set = [&](bool privileged) {
    return static_cast<int>(stack().set_option(socket.id, option.level, option.name, request->blob, privileged));
  };
  const bool options = option.level == num::kSolIp && option.name == num::ip_options;
  const stack::Shard::Publication before = stack().publication();
  int error = set(options && request->may(CAP_NET_RAW));
  const bool raw = (option.level == num::kSolSocket && option.name == num::so_bindtodevice) ||
                   socket::needs_raw_privilege(option.level, option.name);
  if (error == EPERM && request->may(raw ? CAP_NET_RAW : CAP_NET_ADMIN)) error = set(true);
  const bool send_size = option.level == num::kSolSocket && (option.name == num::so_sndbuf || option.name == num::so_sndbufforce);
  if (error == 0 && send_size) resize_send_ring(socket);
  if (error == 0 && option.level == num::kSolTcp && option.name == num::tcp_notsent_lowat && socket.send.size() != 0 && !socket.stream()) {
    update_limit(socket);
    if (socket.attached()) socket.send.look_again(socket.end);
  }
  if (error == 0 && option.level == num::kSolSocket && option.name == num::so_oobinline) show_urgent(socket);
  // What was held back goes when the cork is drawn; whatever comes of it is not this call's.
  if (error == 0 && option.level == num::kSolUdp && option.name == num::udp_cork && !request->blob.empty() && request->blob[0] == std::byte{0})
    send_parts(socket);
  // A group that was joined, or a source that was blocked, is so on every shard.
  if (stack().publication() != before) return answer_when_published(request, error);
  request->answer_errno(error);
}

void ClientShard::request_get_option(Request& request, ClientSocket& socket) {
  const auto option = request.fixed<ipc::OptionRequest>();
  const std::size_t room = std::min<std::size_t>(option.capacity, 65536);
  if (option.level == num::kSolSocket && (option.name == num::so_sndbuf || option.name == num::so_rcvbuf)) {
    const auto bytes = static_cast<std::int32_t>(ring_size(socket, option.name == num::so_sndbuf));
    return request.answer_blob(as_bytes(&bytes, std::min(room, sizeof bytes)));
  }
  const auto value = stack().get_option(socket.id, option.level, option.name, room, request.blob);
  if (!value) return request.refuse(static_cast<int>(value.error()));
  request.answer_blob(bytes_of(*value));
}

// ---------------------------------------------------------------------------------------------- other processes of the client

void ClientShard::request_adopt(Request& request, ClientSocket& socket) {
  const auto wanted = request.fixed<ipc::AdoptRequest>();
  if (wanted.nonce != socket.nonce) return request.refuse(EBADF);
  answer_slot(request, socket);
}

/// Which of a process's AF_UNIX descriptors are sockets of its user. Every shard adds what it knows; the last one answers.
void ClientShard::request_lookup(RequestPtr& request) {
  const std::size_t count = request->blob.size() / sizeof(ipc::LookupEntry);
  if (request->blob.size() % sizeof(ipc::LookupEntry) != 0 || count > kLookupMax) return request->refuse(EINVAL);
  std::vector<ipc::LookupEntry> entries(count);
  if (count != 0) std::memcpy(entries.data(), request->blob.data(), request->blob.size());
  // Sorted: the numbers are the client's own words, and no order of them makes the search slow.
  std::vector<std::pair<std::uint64_t, std::uint64_t>> names;
  for (const ClientSocket* socket : sockets_of(*request->client))
    if (!socket->client_done) names.emplace_back(socket->program_cookie, socket->name());
  std::ranges::sort(names);
  for (ipc::LookupEntry& entry : entries) {
    if (number_ == 0) entry.slot = ipc::kNoSlot;
    if (entry.cookie == 0 || entry.slot != ipc::kNoSlot) continue;
    const auto found = std::ranges::lower_bound(names, entry.cookie, {}, &std::pair<std::uint64_t, std::uint64_t>::first);
    if (found != names.end() && found->first == entry.cookie) entry.slot = found->second;
  }
  const auto* bytes = reinterpret_cast<const std::byte*>(entries.data());
  request->blob.assign(bytes, bytes + entries.size() * sizeof(ipc::LookupEntry));
  if (number_ + 1 == common_.shards.size()) return request->answer_blob(request->blob);
  pass_on(request);
}

/// attach_begin and attach_finish: a program that was exec'ed takes up a socket of its own client by the cookie of a descriptor
/// that it inherited. The slot's nonce is the number: whoever is this client knows it anyway, nobody else does.
void ClientShard::request_attach(RequestPtr& request) {
  const bool begin = request->id == MessageId::attach_begin;
  std::uint64_t wanted = 0;
  request->first_word(wanted);
  const auto is_wanted = [&](const ClientSocket* socket) {
    return !socket->client_done && wanted != 0 && (begin ? socket->program_cookie : socket->nonce) == wanted;
  };
  const auto all = sockets_of(*request->client);
  const auto at = std::ranges::find_if(all, is_wanted);
  const ClientSocket* found = at == all.end() ? nullptr : *at;
  if (found != nullptr && !begin) return answer_slot(*request, *found);
  if (found != nullptr) return request->answer<MessageId::attach_begin>({.nonce = found->nonce});
  if (number_ + 1 == common_.shards.size()) return request->refuse(EBADF);
  pass_on(request);
}

void ClientShard::pass_on(RequestPtr& request) {
  ClientShard& next = *common_.shards[number_ + 1];
  next.thread_->post([&next, request = std::move(request)]() mutable { next.handle(std::move(request)); });
}

// ---------------------------------------------------------------------------------------------- answers that wait

void ClientShard::answer_when_published(RequestPtr& request, int error) {
  if (error != 0 && error != EINPROGRESS) return request->answer_errno(error);
  when_published([request = std::move(request), error] { request->answer_errno(error); });
}

void ClientShard::when_published(Task then) {
  stack::Shard::Publication publication = stack().publication();
  if (stack().published(publication)) return then();
  held_.push_back({std::move(publication), std::move(then)});
}

bool ClientShard::run_held() {
  std::vector<Task> due;
  std::erase_if(held_, [&](Held& held) {
    if (!stack().published(held.publication)) return false;
    due.push_back(std::move(held.then));
    return true;
  });
  for (Task& task : due) task();
  return !due.empty();
}

}  // namespace iopkt::daemon
