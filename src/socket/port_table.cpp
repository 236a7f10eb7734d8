#include "socket/port_table.hpp"

namespace iopkt::socket {

Binding::~Binding() { table_.release(*this); }

Binding* PortTable::first(wire::Port port) const {
  const auto& piece = pieces_[port.value >> 8];
  return piece ? (*piece)[port.value & 0xff] : nullptr;
}

// The host's rules. Two claims of one port get along when no packet would be for both; or both
// allow SO_REUSEPORT and belong to one user; or both allow SO_REUSEADDR and, for TCP, neither listens.
bool PortTable::conflicts(const BindRequest& wanted) const {
  for (const Binding* other = first(wanted.port); other != nullptr; other = other->next_) {
    const BindRequest& held = other->claim_;
    if (!held.overlaps(wanted)) continue;
    if (held.reuse_port && wanted.reuse_port && held.user == wanted.user) continue;
    if (held.reuse_address && wanted.reuse_address && (rules_ == Rules::udp || !other->listening_)) continue;
    return true;
  }
  return false;
}

Result<BindingPtr> PortTable::bind(BindRequest request, Random& random, EphemeralPorts ephemeral,
                                   const std::function<bool(wire::Port)>& suits) {
  SpinGuard guard(lock_);
  if (request.port.value == 0) {
    const auto [lowest, highest] = ephemeral;
    const std::uint32_t range = highest - lowest + 1u;
    const auto start = static_cast<std::uint32_t>(random.below(range));
    // Two walks over the range: first only ports that nobody uses at all, then those that may be shared; to one peer only the second.
    for (std::uint32_t i = request.is_connect() ? range : 0; i < 2 * range && request.port.value == 0; ++i) {
      const wire::Port candidate{static_cast<std::uint16_t>(lowest + (start + i) % range)};
      if (suits && !suits(candidate)) continue;
      BindRequest attempt = request;
      attempt.port = candidate;
      const bool unused = first(candidate) == nullptr;
      if (unused || (i >= range && !conflicts(attempt))) request.port = candidate;
    }
    if (request.port.value == 0) return unexpected(Errno::addrinuse);
  } else if (conflicts(request)) {
    return unexpected(Errno::addrinuse);
  }
  // First what may find no memory: a claim that is in no list cannot be released.
  auto& piece = pieces_[request.port.value >> 8];
  if (!piece) piece = std::make_unique<Piece>();
  auto binding = make_counted<Binding>(*this, request);
  add(*binding);
  return binding;
}

Errno PortTable::start_listening(Binding& binding) {
  SpinGuard guard(lock_);
  for (const Binding* other = first(binding.port()); other != nullptr; other = other->next_) {
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

void PortTable::add(Binding& binding) {
  Binding*& head = (*pieces_[binding.port().value >> 8])[binding.port().value & 0xff];
  binding.next_ = head;
  binding.self_ = &head;
  if (head != nullptr) head->self_ = &binding.next_;
  head = &binding;
  ++size_;
}

void PortTable::release(Binding& binding) {
  SpinGuard guard(lock_);
  *binding.self_ = binding.next_;
  if (binding.next_ != nullptr) binding.next_->self_ = binding.self_;
  --size_;
}

std::size_t PortTable::size() const {
  SpinGuard guard(lock_);
  return size_;
}

}  // namespace iopkt::socket
