#include "route/fib.hpp"

#include <algorithm>
#include <atomic>
#include <utility>

namespace iopkt::route {

// Path-compressed binary trie: a node's children differ in the bit behind its length; a node without routes
// has two.

struct Fib::RouteList {
  std::uint32_t references = 1;
  std::vector<Route> routes;
};

namespace {

template <class T>
T* add_reference(T* object) {
  if (object != nullptr) std::atomic_ref{object->references}.fetch_add(1, std::memory_order_relaxed);
  return object;
}
/// True: that was the last one.
template <class T>
bool drop_reference(T* object) {
  return object != nullptr &&
         std::atomic_ref{object->references}.fetch_sub(1, std::memory_order_acq_rel) == 1;
}

}  // namespace

Fib::Node* Fib::share(Node* node) { return add_reference(node); }
Fib::RouteList* Fib::share(RouteList* list) { return add_reference(list); }
void Fib::release(RouteList* list) {
  if (drop_reference(list)) delete list;
}
void Fib::release(Node* node) {
  if (!drop_reference(node)) return;
  release(node->child[0]);
  release(node->child[1]);
  release(node->routes);
  delete node;
}

/// Takes one reference of each argument.
Fib::Node* Fib::make(const IpPrefix& prefix, Node* zero, Node* one, RouteList* routes) {
  return new Node{1, prefix.length, prefix.address, {zero, one}, routes};
}

Fib::Fib(std::uint32_t number) : number_(number) { IOPKT_ASSERT(number < kFibCount); }
Fib::Fib(const Fib& o) : roots_{share(o.roots_[0]), share(o.roots_[1])}, size_(o.size_), number_(o.number_) {}
Fib::Fib(Fib&& o) noexcept
    : roots_{std::exchange(o.roots_[0], nullptr), std::exchange(o.roots_[1], nullptr)},
      size_(std::exchange(o.size_, 0)),
      number_(o.number_) {}
Fib& Fib::operator=(const Fib& o) { return *this = Fib(o); }
Fib& Fib::operator=(Fib&& o) noexcept {
  std::swap(roots_, o.roots_);
  std::swap(size_, o.size_);
  std::swap(number_, o.number_);
  return *this;
}
Fib::~Fib() {
  for (Node* root : roots_) release(root);
}

std::span<const Route> Fib::routes_of(const Node& node) {
  return node.routes == nullptr ? std::span<const Route>{} : std::span<const Route>{node.routes->routes};
}

/// Nodes on the way to `destination` that have routes and contain it, shortest prefix first.
std::size_t Fib::match(const IpAddress& destination, const Node** out) const {
  std::size_t n = 0;
  for (const Node* node = root_of(destination); node != nullptr;) {
    if (wire::common_prefix_length(destination, node->address) < node->length) break;
    if (node->routes != nullptr) out[n++] = node;
    if (node->length == destination.bit_length()) break;
    node = node->child[wire::address_bit(destination, node->length)];
  }
  return n;
}

const Fib::Node* Fib::find_node(const Node* node, const IpPrefix& prefix) {
  while (node != nullptr && node->length < prefix.length) {
    if (wire::common_prefix_length(prefix.address, node->address) < node->length) return nullptr;
    node = node->child[wire::address_bit(prefix.address, node->length)];
  }
  return node != nullptr && node->length == prefix.length && node->address == prefix.address ? node : nullptr;
}

std::span<const Route> Fib::find(const IpPrefix& prefix) const {
  const Node* node = find_node(root_of(prefix.address), prefix);
  return node == nullptr ? std::span<const Route>{} : routes_of(*node);
}

/// A node of these parts, or less where a whole node is not needed. Takes one reference of each.
Fib::Node* Fib::join(const IpPrefix& prefix, Node* zero, Node* one, RouteList* routes) {
  if (routes != nullptr || (zero != nullptr && one != nullptr)) return make(prefix, zero, one, routes);
  return zero != nullptr ? zero : one;
}

/// The tree with `routes` (its reference is taken; null: none) at `prefix`. `node` stays as it is; the answer
/// is owned.
Fib::Node* Fib::put(Node* node, const IpPrefix& prefix, RouteList* routes) {
  if (node == nullptr) return routes == nullptr ? nullptr : make(prefix, nullptr, nullptr, routes);
  const std::uint8_t common =
      std::min({wire::common_prefix_length(prefix.address, node->address), prefix.length, node->length});
  const IpPrefix here{node->address, node->length};
  if (common == node->length && common == prefix.length)
    return join(here, share(node->child[0]), share(node->child[1]), routes);
  if (common == node->length) {
    const bool side = wire::address_bit(prefix.address, common);
    Node* changed = put(node->child[side], prefix, routes);
    Node* kept = share(node->child[!side]);
    return join(here, side ? kept : changed, side ? changed : kept, share(node->routes));
  }
  if (routes == nullptr) return share(node);  // nothing there to take away
  const bool node_side = wire::address_bit(node->address, common);
  if (common == prefix.length)
    return make(prefix, node_side ? nullptr : share(node), node_side ? share(node) : nullptr, routes);
  Node* leaf = make(prefix, nullptr, nullptr, routes);
  return make(IpPrefix::of(prefix.address, common), node_side ? leaf : share(node),
              node_side ? share(node) : leaf, nullptr);
}

Fib Fib::replaced(const IpPrefix& prefix, std::vector<Route> routes, std::size_t old_count) const {
  Fib next(number_);
  const std::size_t changed = prefix.address.is_v4() ? 0 : 1;
  next.size_ = size_ + routes.size() - old_count;
  RouteList* list = routes.empty() ? nullptr : new RouteList{1, std::move(routes)};
  next.roots_[changed] = put(roots_[changed], prefix, list);
  next.roots_[1 - changed] = share(roots_[1 - changed]);
  return next;
}

Expected<Fib, FibError> Fib::with(const Route& route) const {
  IOPKT_ASSERT(route.prefix == IpPrefix::of(route.prefix.address, route.prefix.length));
  const std::span<const Route> old = find(route.prefix);
  if (std::any_of(old.begin(), old.end(), [&](const Route& r) { return r.same_entry(route); }))
    return unexpected(FibError::exists);
  std::vector<Route> routes;
  routes.reserve(old.size() + 1);
  routes.assign(old.begin(), old.end());
  routes.push_back(route);
  return replaced(route.prefix, std::move(routes), old.size());
}

namespace {

Expected<std::size_t, FibError> select(std::span<const Route> routes, const RouteSelector& which) {
  const auto matches = [&](const Route& r) { return which.matches(r); };
  const auto count = std::count_if(routes.begin(), routes.end(), matches);
  if (count == 0) return unexpected(FibError::not_found);
  if (count > 1) return unexpected(FibError::ambiguous);
  return static_cast<std::size_t>(std::find_if(routes.begin(), routes.end(), matches) - routes.begin());
}

}  // namespace

Expected<Fib, FibError> Fib::without(const RouteSelector& which) const {
  const std::span<const Route> old = find(which.prefix);
  const auto at = select(old, which);
  if (!at) return unexpected(at.error());
  std::vector<Route> routes(old.begin(), old.end());
  routes.erase(routes.begin() + static_cast<std::ptrdiff_t>(*at));
  return replaced(which.prefix, std::move(routes), old.size());
}

Expected<Fib, FibError> Fib::changed(const RouteSelector& which, const Route& route) const {
  const std::span<const Route> old = find(which.prefix);
  const auto at = select(old, which);
  if (!at) return unexpected(at.error());
  std::vector<Route> routes(old.begin(), old.end());
  routes[*at] = route;
  routes[*at].prefix = which.prefix;
  for (std::size_t i = 0; i < routes.size(); ++i)
    if (i != *at && routes[i].same_entry(routes[*at])) return unexpected(FibError::exists);
  return replaced(which.prefix, std::move(routes), old.size());
}

/// The tree without routes over the interface; the answer is owned.
Fib::Node* Fib::prune(Node* node, std::uint32_t interface_index, std::size_t& removed) {
  if (node == nullptr) return nullptr;
  Node* zero = prune(node->child[0], interface_index, removed);
  Node* one = prune(node->child[1], interface_index, removed);
  RouteList* list = share(node->routes);
  const auto gone = [&](const Route& r) { return r.interface_index == interface_index; };
  const std::span<const Route> routes = routes_of(*node);
  if (const auto count = std::count_if(routes.begin(), routes.end(), gone); count > 0) {
    removed += static_cast<std::size_t>(count);
    release(list);
    std::vector<Route> kept(routes.begin(), routes.end());
    std::erase_if(kept, gone);
    list = kept.empty() ? nullptr : new RouteList{1, std::move(kept)};
  }
  return join({node->address, node->length}, zero, one, list);
}

Fib Fib::without_interface(std::uint32_t index) const {
  Fib next(number_);
  std::size_t removed = 0;
  for (std::size_t i = 0; i < 2; ++i) next.roots_[i] = prune(roots_[i], index, removed);
  next.size_ = size_ - removed;
  return next;
}

}  // namespace iopkt::route
