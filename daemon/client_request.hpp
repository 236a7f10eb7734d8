// One request of a client on its way to the thread that answers it, and the connection the answer goes to.
#pragma once

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "client.hpp"
#include "ipc/messages.hpp"

namespace iopkt::daemon {

/// Where answers go. Any thread; one request of a connection is in service at a time.
class AnswerSink {
 public:
  virtual ~AnswerSink() = default;
  /// Sends an answer, split if need be. `fds` are sent along and stay the caller's.
  virtual void answer(ipc::MessageId id, std::uint32_t number, int error, std::span<const std::byte> fixed,
                      std::span<const std::byte> blob, std::string_view line, std::span<const int> fds) = 0;
  /// True once this connection has been given the arena's descriptor.
  virtual bool knows_arena(std::uint32_t arena) const = 0;
  virtual void learned_arena(std::uint32_t arena) = 0;
  /// The request has been answered: the next one may be read.
  virtual void done() = 0;
};

/// Answered exactly once; one that is dropped unanswered answers ECONNABORTED.
class Request {
 public:
  Request(std::shared_ptr<AnswerSink> to, std::shared_ptr<Client> who, const Credential& credential, const ipc::Frame& frame,
          std::vector<std::byte> all_of_blob, std::vector<Fd> descriptors)
      : client(std::move(who)),
        caller(credential),
        id(frame.row->id),
        number(frame.header.number),
        blob(std::move(all_of_blob)),
        fds(std::move(descriptors)),
        to_(std::move(to)),
        fixed_len_(frame.fixed.size()) {
    if (fixed_len_ != 0) std::memcpy(fixed_.data(), frame.fixed.data(), fixed_len_);
  }
  ~Request() {
    if (to_) refuse(ECONNABORTED);
  }
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  std::shared_ptr<Client> client;  ///< null: a utility
  Credential caller;
  const ipc::MessageId id;
  const std::uint32_t number;
  std::vector<std::byte> blob;
  std::vector<Fd> fds;
  std::uint64_t socket = 0;  ///< cookie of the socket that it is about, once that was found; 0: not yet
  unsigned turns = 0;    ///< that it waited for what was written before
  bool retried = false;  ///< was put off once already, or passed on by another shard

  /// The fixed part. The frame was checked against its row, so it is there.
  template <class Fixed>
  Fixed fixed() const {
    static_assert(sizeof(Fixed) <= kFixedMax);
    Fixed out{};
    if (fixed_len_ == sizeof out) std::memcpy(&out, fixed_.data(), sizeof out);
    return out;
  }

  /// Every request for a slot begins with its name. False: this one has no fixed part of that length.
  bool first_word(std::uint64_t& out) const {
    if (fixed_len_ < sizeof out) return false;
    std::memcpy(&out, fixed_.data(), sizeof out);
    return true;
  }

  AnswerSink& sink() { return *to_; }
  /// Whether the caller may do what this capability allows.
  bool may(int capability) const { return daemon::may(caller, capability); }
  template <ipc::MessageId Id>
  void answer(const typename ipc::MessageTypes<Id>::Answer& value, std::span<const std::byte> bytes = {},
              std::span<const int> descriptors = {}) {
    finish(0, ipc::fixed_bytes(value), bytes, {}, descriptors);
  }
  /// An answer whose row has no fixed part.
  void answer_blob(std::span<const std::byte> bytes = {}, std::string_view line = {}) { finish(0, {}, bytes, line, {}); }
  void refuse(int error, std::string_view line = {}) { finish(error, {}, {}, line, {}); }
  /// `error` 0: done.
  void answer_errno(int error) { error == 0 ? answer_blob() : refuse(error); }

 private:
  static constexpr std::size_t kFixedMax = 48;
  void finish(int error, std::span<const std::byte> value, std::span<const std::byte> bytes, std::string_view line,
              std::span<const int> descriptors) {
    if (!to_) return;
    const auto to = std::move(to_);
    to_.reset();
    to->answer(id, number, error, value, bytes, line, descriptors);
    to->done();
  }

  std::shared_ptr<AnswerSink> to_;
  std::array<std::byte, kFixedMax> fixed_{};
  std::size_t fixed_len_;
};
using RequestPtr = std::unique_ptr<Request>;

}  // namespace iopkt::daemon
