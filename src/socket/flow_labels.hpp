// Flow labels that programs lease: RFC 6437 section 3 (who labels is the source), and the host's IPV6_FLOWLABEL_MGR, whose rules these are.
//
// One table for all shards. Requests take its spin lock, and sockets with labels when they end; datagrams look at a count and at what their
// own socket has. However many leases there are, nobody holds the lock for more than kForgetMost of them.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/bytes.hpp"
#include "base/random.hpp"
#include "base/spinlock.hpp"
#include "base/time.hpp"
#include "socket/errno.hpp"
#include "wire/address.hpp"

namespace iopkt::socket {

/// struct in6_flowlabel_req (linux/in6.h).
struct FlowLabelRequest {
  static constexpr std::size_t kLen = 32;
  enum class Action : std::uint8_t { get = 0, put = 1, renew = 2 };
  enum class Share : std::uint8_t { exclusive = 1, process = 2, user = 3, any = 255 };
  static constexpr std::uint16_t kCreate = 1, kMustBeNew = 2, kReflect = 4, kRemote = 8;

  wire::Ipv6Address destination;
  std::uint32_t label{};  ///< host order; 0 with `get`: any
  Action action{};
  Share share{};
  std::uint16_t flags{};
  std::uint16_t expires_s{}, linger_s{};

  /// Errors: inval (too short, or options behind it, which are not taken).
  static Result<FlowLabelRequest> parse(Bytes value);
  void encode(MutableBytes out) const;  ///< kLen bytes
};

class FlowLabels {
 public:
  static constexpr std::size_t kMost = 4096, kOfSocketMost = 32;  ///< as the host
  static constexpr std::size_t kForgetMost = 32;                      ///< at a time
  struct Caller {
    std::uint32_t process{}, user{};
    bool privileged{};
  };
  /// The labels of a socket; its owner gives them back with release().
  using Held = std::vector<std::uint32_t>;

  /// Answers the label, or 0 where nothing was asked for. Errors: inval, perm, exist, noent, nobufs, srch.
  Result<std::uint32_t> change(Held& held, const FlowLabelRequest& request, const Caller& caller, Instant now, Random& random);
  void release(Held& held, Instant now);
  /// Whether a socket may send with that label: where anybody has one for himself alone, only who has leased it (RFC 6437 section 3).
  bool may_send(const Held& held, std::uint32_t label) const;
  /// What a lease is like. Errors: noent.
  Result<FlowLabelRequest> find(const Held& held, std::uint32_t label, Instant now) const;

 private:
  struct Lease {
    wire::Ipv6Address destination;
    FlowLabelRequest::Share share{};
    std::uint32_t owner{};  ///< process or user, by `share`
    std::uint32_t users{};  ///< sockets
    Duration linger{};
    Instant expires, used;
    /// When it is forgotten, while nobody has it.
    Instant end() const { return std::max(expires, used + linger); }
  };
  Result<std::uint32_t> get(Held& held, const FlowLabelRequest& request, const Caller& caller, Instant now, Random& random);
  Errno room_for(const Held& held, bool privileged) const;
  /// Some of those whose end has come. True: there may be more.
  bool forget_old(Instant now);
  void let_go(std::uint32_t label, Instant now);

  mutable SpinLock lock_;
  std::unordered_map<std::uint32_t, Lease> leases_;
  std::set<std::pair<Instant, std::uint32_t>> unused_;  ///< leases of no socket, by their end
  std::atomic<std::uint32_t> exclusive_{0};  ///< leases that are not for any
};

}  // namespace iopkt::socket
