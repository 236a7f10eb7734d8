#include "socket/flow_labels.hpp"

#include <algorithm>
#include <cstring>
#include <optional>

namespace iopkt::socket {
namespace {

using Share = FlowLabelRequest::Share;

constexpr std::uint32_t kLabelMask = 0xfffff;
constexpr std::uint16_t kLeastSeconds = 6, kMostSeconds = 150;

/// The host's bounds of a lease's times. nullopt: only CAP_NET_ADMIN may have it so long.
std::optional<Duration> lasting(std::uint16_t seconds, bool privileged) {
  if (seconds > kMostSeconds && !privileged) return std::nullopt;
  return std::chrono::seconds{std::max(seconds, kLeastSeconds)};
}

std::uint32_t owner_of(Share share, const FlowLabels::Caller& caller) {
  return share == Share::process ? caller.process : share == Share::user ? caller.user : 0;
}

enum At : std::size_t { destination = 0, label = 16, action = 20, share = 21, flags = 22, expires = 24, linger = 26 };

std::uint16_t number_at(Bytes value, std::size_t at) {
  std::uint16_t number = 0;
  std::memcpy(&number, value.data() + at, sizeof number);
  return number;
}

}  // namespace

Result<FlowLabelRequest> FlowLabelRequest::parse(Bytes value) {
  if (value.size() != kLen) return unexpected(Errno::inval);
  return FlowLabelRequest{.destination = wire::load_ipv6(value, At::destination),
                          .label = load_be32(value, At::label),
                          .action = static_cast<Action>(load_u8(value, At::action)),
                          .share = static_cast<Share>(load_u8(value, At::share)),
                          .flags = number_at(value, At::flags),
                          .expires_s = number_at(value, At::expires),
                          .linger_s = number_at(value, At::linger)};
}

void FlowLabelRequest::encode(MutableBytes out) const {
  wire::store_ipv6(out, At::destination, destination);
  store_be32(out, At::label, label);
  store_u8(out, At::action, static_cast<std::uint8_t>(action));
  store_u8(out, At::share, static_cast<std::uint8_t>(share));
  std::memcpy(out.data() + At::flags, &flags, sizeof flags);
  std::memcpy(out.data() + At::expires, &expires_s, sizeof expires_s);
  std::memcpy(out.data() + At::linger, &linger_s, sizeof linger_s);
}

Result<std::uint32_t> FlowLabels::change(Held& held, const FlowLabelRequest& request, const Caller& caller, Instant now, Random& random) {
  while (forget_old(now)) {
  }
  const SpinGuard guard{lock_};
  const auto own = std::ranges::find(held, request.label);
  switch (request.action) {
    case FlowLabelRequest::Action::get: return get(held, request, caller, now, random);
    case FlowLabelRequest::Action::put:
      if (own == held.end()) return unexpected(Errno::esrch);
      let_go(*own, now);
      held.erase(own);
      return 0;
    case FlowLabelRequest::Action::renew: {
      const auto lease = leases_.find(request.label);
      const bool anybodys = request.share == Share{} && caller.privileged && lease != leases_.end();
      if (own == held.end() && !anybodys) return unexpected(Errno::esrch);
      const auto linger = lasting(request.linger_s, caller.privileged), expires = lasting(request.expires_s, caller.privileged);
      if (!linger || !expires) return unexpected(Errno::perm);
      const bool unused = unused_.erase({lease->second.end(), request.label}) != 0;
      lease->second.linger = std::max(lease->second.linger, *linger);
      lease->second.expires = std::max(lease->second.expires, now + std::max(*expires, lease->second.linger));
      if (unused) unused_.emplace(lease->second.end(), request.label);
      return 0;
    }
  }
  return unexpected(Errno::inval);
}

Result<std::uint32_t> FlowLabels::get(Held& held, const FlowLabelRequest& request, const Caller& caller, Instant now, Random& random) {
  // What a connection of TCP answers with is its own affair here: the host takes kReflect only where labels need not be consistent.
  if ((request.flags & FlowLabelRequest::kReflect) != 0) return unexpected(Errno::perm);
  if (request.label > kLabelMask) return unexpected(Errno::inval);
  const auto linger = lasting(request.linger_s, caller.privileged), expires = lasting(request.expires_s, caller.privileged);
  if (!linger || !expires) return unexpected(Errno::perm);
  if (request.destination.is_unspecified() || request.destination.is_v4_mapped()) return unexpected(Errno::inval);
  if (request.share != Share::exclusive && request.share != Share::process && request.share != Share::user && request.share != Share::any)
    return unexpected(Errno::inval);
  const std::uint32_t owner = owner_of(request.share, caller);
  const bool must_be_new = (request.flags & FlowLabelRequest::kMustBeNew) != 0;
  std::uint32_t label = request.label;
  if (const auto known = leases_.find(label); label != 0 && known != leases_.end()) {
    Lease& lease = known->second;
    if (must_be_new) return unexpected(Errno::exist);
    if (lease.share == Share::exclusive || lease.share != request.share || lease.owner != owner) return unexpected(Errno::perm);
    if (held.size() >= kOfSocketMost) return unexpected(Errno::nobufs);
    if (lease.users == 0) unused_.erase({lease.end(), label});
    lease.linger = std::max(lease.linger, *linger);
    lease.expires = std::max(lease.expires, now + std::max(*expires, *linger));
    ++lease.users;
    held.push_back(label);
    return label;
  }
  if ((request.flags & FlowLabelRequest::kCreate) == 0) return unexpected(Errno::noent);
  if (const Errno none = room_for(held, caller.privileged); none != Errno::ok) return unexpected(none);
  while (label == 0 || leases_.contains(label)) label = static_cast<std::uint32_t>(random.below(kLabelMask)) + 1;
  if (leases_.empty()) leases_.reserve(kMost);  // no rehash while others wait
  leases_[label] = {.destination = request.destination, .share = request.share, .owner = owner, .users = 1, .linger = *linger,
                    .expires = now + std::max(*expires, *linger), .used = now};
  if (request.share != Share::any) ++exclusive_;
  held.push_back(label);
  return label;
}

/// Three quarters are for whoever comes; of a busy table a socket gets no second label.
Errno FlowLabels::room_for(const Held& held, bool privileged) const {
  const std::size_t room = kMost - std::min(kMost, leases_.size());
  if (room == 0) return Errno::nobufs;
  const bool much = held.size() >= kOfSocketMost || (!held.empty() && room < kMost / 2) || room < kMost / 4;
  // A bound of our own: nobody has more, whatever he may.
  return held.size() >= kOfSocketMost || (much && !privileged) ? Errno::nobufs : Errno::ok;
}

bool FlowLabels::forget_old(Instant now) {
  const SpinGuard guard{lock_};
  for (std::size_t n = 0; n < kForgetMost; ++n) {
    if (unused_.empty() || unused_.begin()->first > now) return false;
    const auto lease = leases_.find(unused_.begin()->second);
    unused_.erase(unused_.begin());
    if (lease->second.share != Share::any) --exclusive_;
    leases_.erase(lease);
  }
  return true;
}

void FlowLabels::let_go(std::uint32_t label, Instant now) {
  const auto lease = leases_.find(label);
  if (lease == leases_.end()) return;
  lease->second.used = now;
  if (--lease->second.users == 0) unused_.emplace(lease->second.end(), label);
}

void FlowLabels::release(Held& held, Instant now) {
  if (held.empty()) return;
  const SpinGuard guard{lock_};
  for (const std::uint32_t label : held) let_go(label, now);
  held.clear();
}

bool FlowLabels::may_send(const Held& held, std::uint32_t label) const {
  return label == 0 || exclusive_ == 0 || std::ranges::find(held, label) != held.end();
}

Result<FlowLabelRequest> FlowLabels::find(const Held& held, std::uint32_t label, Instant now) const {
  const SpinGuard guard{lock_};
  const auto lease = leases_.find(label);
  if (lease == leases_.end() || std::ranges::find(held, label) == held.end()) return unexpected(Errno::noent);
  const auto seconds = [](Duration d) { return static_cast<std::uint16_t>(std::clamp<std::int64_t>(d / 1s, 0, 65535)); };
  return FlowLabelRequest{.destination = lease->second.destination,
                          .label = label,
                          .share = lease->second.share,
                          .expires_s = seconds(lease->second.expires - now),
                          .linger_s = seconds(lease->second.linger)};
}

}  // namespace iopkt::socket
