// Requests of one connection.
#include "control_connection.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cstring>

#include "control_server.hpp"

namespace iopkt::daemon {
namespace {

constexpr unsigned kReadBudget = 32;
constexpr std::size_t kFdsMax = 4;

std::span<std::byte> scratch() {
  // On the heap: thread-local storage is taken out of every thread's stack.
  thread_local const std::unique_ptr<std::byte[]> buffer{new std::byte[ipc::kMessageMax]};
  return {buffer.get(), ipc::kMessageMax};
}

}  // namespace

ControlConnection::ControlConnection(ControlServer& server, Fd fd, const Credential& credential,
                                     std::shared_ptr<DescriptorShare> share, DescriptorCharge charge)
    : server_(server),
      fd_(std::move(fd)),
      credential_(credential),
      share_(std::move(share)),
      charge_(std::move(charge)) {}

void ControlConnection::shut() {
  if (std::exchange(shut_, true)) return;
  ::shutdown(fd_.get(), SHUT_RDWR);
}

void ControlConnection::ready(std::uint32_t) { read(); }

void ControlConnection::read() {
  const auto self = shared_from_this();
  for (unsigned n = 0; !shut_; ++n) {
    int expected = serving;
    if (state_.load() != idle && (state_.compare_exchange_strong(expected, more_waits) || expected == more_waits)) return;
    if (n == kReadBudget) return server_.home().post([self] { self->read(); });
    int fds[kFdsMax];
    ipc::Received received;
    const std::span<std::byte> buffer = scratch().first(server_.settings_.receive_bytes);
    const int error = ipc::receive_message(fd_.get(), buffer, fds, received, MSG_DONTWAIT);
    if (error == EAGAIN) return;
    std::vector<Fd> owned;
    for (std::size_t i = 0; i < received.fds; ++i) owned.emplace_back(fds[i]);
    if (error != 0) {
      if (error == EMSGSIZE) ++server_.statistics_.bad_messages;
      break;
    }
    // Whoever has given up rights since the connection was made has given them up here, too; nor does a program with more rights lend
    // them by writing to a descriptor that others gave to it.
    const Credential sender{.pid = received.process,
                            .user = received.user,
                            .group = received.group,
                            .privileged = credential_.privileged && is_privileged(received.user)};
    if (!take(buffer.first(received.bytes), std::move(owned), sender)) {
      ++server_.statistics_.bad_messages;
      server_.common_.complain("a control connection of process " + std::to_string(credential_.pid) + " (user " +
                               std::to_string(credential_.user) + ") is closed: a message that makes no sense");
      break;
    }
  }
  server_.remove(*this);
}

bool ControlConnection::take(std::span<const std::byte> message, std::vector<Fd> fds, const Credential& sender) {
  const auto frame = ipc::decode_frame(message, fds.size());
  if (!frame || frame->answer()) return false;
  const bool continuation = (frame->header.flags & ipc::kContinuation) != 0;
  if (continuation != collecting_) return false;
  // Nobody adds to what another one has begun.
  if (continuation && (sender.pid != sender_.pid || sender.user != sender_.user)) return false;
  sender_ = sender;
  if (!continuation && !frame->more())
    return serve(*frame, {frame->blob.begin(), frame->blob.end()}, std::move(fds));
  if (continuation && (frame->header.number != number_ || frame->header.id != id_ || !fds.empty())) return false;
  if (blob_.size() + frame->blob.size() > ipc::kRequestBlobMax) return false;
  if (!continuation) {
    ++server_.statistics_.split_requests;
    first_.assign(message.begin(), message.end() - static_cast<std::ptrdiff_t>(frame->blob.size() + frame->line.size()));
    fds_ = std::move(fds);
    number_ = frame->header.number;
    id_ = frame->header.id;
  }
  blob_.insert(blob_.end(), frame->blob.begin(), frame->blob.end());
  collecting_ = frame->more();
  if (collecting_) return true;
  // The first message again, as if it had had no blob; its checked parts are what serve() looks at.
  ipc::FrameHeader header;
  std::memcpy(&header, first_.data(), sizeof header);
  ipc::Frame whole;
  whole.header = header;
  whole.header.flags = 0;
  whole.row = ipc::message_row(header.id);
  whole.fixed = std::span<const std::byte>{first_}.subspan(sizeof header, header.fixed_len);
  return serve(whole, std::exchange(blob_, {}), std::exchange(fds_, {}));
}

bool ControlConnection::serve(const ipc::Frame& frame, std::vector<std::byte> blob, std::vector<Fd> fds) {
  ++server_.statistics_.requests;
  if (frame.row->id == ipc::MessageId::hello) {
    if (greeted_) return false;
    greet(frame);
    return true;
  }
  if (!greeted_) return false;
  state_.store(serving);
  server_.dispatch(
      std::make_unique<Request>(shared_from_this(), client_, sender_, frame, std::move(blob), std::move(fds)));
  return true;
}

void ControlConnection::greet(const ipc::Frame& frame) {
  ipc::HelloRequest wanted{};
  if (!ipc::fixed_of(frame, wanted)) return;
  int error = 0;
  utility_ = (wanted.flags & ipc::HelloFlag::utility) != 0;
  if (wanted.version != ipc::kProtocolVersion) error = EPROTONOSUPPORT;
  if (error == 0 && !utility_) client_ = server_.hello(wanted, *this, credential_, error);
  const auto shards = static_cast<std::uint32_t>(server_.threads_.size());
  if (error != 0) return answer(ipc::MessageId::hello, frame.header.number, error, {}, {}, {}, {});
  greeted_ = true;
  ipc::HelloAnswer out{.version = ipc::kProtocolVersion,
                       .client_id = client_ ? client_->id : 0,
                       .secret = client_ ? client_->secret : 0,
                       .shard_count = shards,
                       .message_max = static_cast<std::uint32_t>(server_.settings_.receive_bytes),
                       .pid_namespace = server_.common_.pid_namespace};
  std::vector<int> fds;
  if (client_) {
    client_->holders.fetch_add(1);
    client_->connections.fetch_add(1);
    fds = {client_->control_fd(), server_.status_};
    for (std::uint32_t i = 0; i < shards; ++i) fds.push_back(client_->event_fd(i));
  }
  const std::string& prefix = server_.settings_.prefix;
  answer(ipc::MessageId::hello, frame.header.number, 0, ipc::fixed_bytes(out), as_bytes(prefix.data(), prefix.size()), {}, fds);
}

void ControlConnection::answer(ipc::MessageId id, std::uint32_t number, int error, std::span<const std::byte> fixed,
                               std::span<const std::byte> blob, std::string_view line, std::span<const int> fds) {
  ipc::FrameHeader header{.id = static_cast<std::uint16_t>(id), .flags = ipc::kAnswer, .number = number,
                          .error = static_cast<std::uint32_t>(error)};
  const std::size_t most = std::min(ipc::kMessageMax, server_.settings_.reply_bytes);
  std::size_t operations = 0;
  const int error_sending =
      ipc::send_split(fd_.get(), scratch(), most, header, fixed, blob, line.substr(0, ipc::kLineMax), fds, &operations);
  ++server_.statistics_.replies;
  server_.statistics_.reply_operations += operations;
  if (error_sending != 0) {
    // Gone, or it does not read its answers: it is of no use any more. The end of file makes shard 0 forget it.
    ::shutdown(fd_.get(), SHUT_RDWR);
  }
}

void ControlConnection::done() {
  if (state_.exchange(idle) == more_waits) server_.home().post([self = shared_from_this()] { self->read(); });
}

}  // namespace iopkt::daemon
