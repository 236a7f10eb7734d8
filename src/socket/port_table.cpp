#include "socket/port_table.hpp"

#include <algorithm>

namespace iopkt::socket {

Binding::~Binding() { table_.release(*this); }

// The host's rules. Two claims of one port get along when no packet would be for both; or both
// allow SO_REUSEPORT and belong to one user; or both allow SO_REUSEADDR and, for TCP, neither listens.
bool PortTable::conflicts(const BindRequest& wanted, const Binding* self) const {
  const auto found = claims_.find(wanted.port.value);
  if (found == claims_.end()) return false;
  return std::any_of(found->second.begin(), found->second.end(), [&](const Binding* other) {
    if (other == self) return false;
    const BindRequest& held = other->claim_;
    if (!held.overlaps(wanted)) return false;
    if (held.reuse_port && wanted.reuse_port && held.user == wanted.user) return false;
    if (held.reuse_address && wanted.reuse_address)
      return rules_ == Rules::tcp && other->listening_;
    return true;
  });
}

Result<BindingPtr> PortTable::bind(BindRequest request, Random& random, const std::function<bool(wire::Port)>& suits) {
  SpinGuard guard(lock_);
  if (request.port.value == 0) {
    const auto [first, last] = request.ephemeral;
    const std::uint32_t range = last - first + 1u;
    const auto start = static_cast<std::uint32_t>(random.below(range));
    // Two walks over the range: first only ports that nobody uses at all, then those that may be shared; to one peer only the second.
    for (std::uint32_t i = request.remote ? range : 0; i < 2 * range && request.port.value == 0; ++i) {
      const wire::Port candidate{static_cast<std::uint16_t>(first + (start + i) % range)};
      if (suits && !suits(candidate)) continue;
      BindRequest attempt = request;
      attempt.port = candidate;
      const bool unused = !claims_.contains(candidate.value);
      if (unused || (i >= range && !conflicts(attempt, nullptr))) request.port = candidate;
    }
    if (request.port.value == 0) return unexpected(Errno::addrinuse);
  } else if (conflicts(request, nullptr)) {
    return unexpected(Errno::addrinuse);
  }
  auto binding = std::make_shared<Binding>(*this, request);
  claims_[request.port.value].push_back(binding.get());
  return binding;
}

Errno PortTable::start_listening(Binding& binding) {
  SpinGuard guard(lock_);
  const auto found = claims_.find(binding.claim_.port.value);
  IOPKT_ASSERT(found != claims_.end());
  for (const Binding* other : found->second) {
    if (other == &binding || !other->listening_) continue;
    const BindRequest &a = other->claim_, &b = binding.claim_;
    if (a.overlaps(b) && !(a.reuse_port && b.reuse_port && a.user == b.user)) return Errno::addrinuse;
  }
  binding.listening_ = true;
  return Errno::ok;
}

void PortTable::stop_listening(Binding& binding) {
  SpinGuard guard(lock_);
  binding.listening_ = false;
}

void PortTable::update(Binding& binding, bool reuse_address, bool reuse_port) {
  SpinGuard guard(lock_);
  binding.claim_.reuse_address = reuse_address;
  binding.claim_.reuse_port = reuse_port;
}

void PortTable::release(Binding& binding) {
  SpinGuard guard(lock_);
  const auto found = claims_.find(binding.claim_.port.value);
  IOPKT_ASSERT(found != claims_.end());
  std::erase(found->second, &binding);
  if (found->second.empty()) claims_.erase(found);
}

std::size_t PortTable::size() const {
  SpinGuard guard(lock_);
  std::size_t sum = 0;
  for (const auto& [port, claims] : claims_) sum += claims.size();
  return sum;
}

}  // namespace iopkt::socket
