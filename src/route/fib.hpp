// The forwarding table: an immutable trie for longest-prefix match, both families in one path of code.
//
// A change answers a new Fib that shares all nodes off the changed path with the old one: O(depth) per
// change, whatever the size. Nodes are counted atomically, so that a version may be dropped by any thread.
// RFC 1122 3.3.1 (routing of a host), RFC 1812 5.2.4 (longest match), BSD <net/route.h> (flags).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/expected.hpp"
#include "wire/address.hpp"
#include "wire/ip_prefix.hpp"

namespace iopkt::route {

using wire::IpAddress;
using wire::IpPrefix;

/// Route.flags: RTF_* with their BSD numbers.
namespace flag {
inline constexpr std::uint32_t up = 0x1;
inline constexpr std::uint32_t gateway = 0x2;
inline constexpr std::uint32_t host = 0x4;
inline constexpr std::uint32_t reject = 0x8;  ///< Discards and answers unreachable.
inline constexpr std::uint32_t dynamic = 0x10;
inline constexpr std::uint32_t modified = 0x20;
inline constexpr std::uint32_t cloning = 0x100;
inline constexpr std::uint32_t link_info = 0x400;
inline constexpr std::uint32_t static_route = 0x800;
inline constexpr std::uint32_t blackhole = 0x1000;  ///< Discards silently.
inline constexpr std::uint32_t proto2 = 0x4000;
inline constexpr std::uint32_t proto1 = 0x8000;
inline constexpr std::uint32_t broadcast = 0x80000;
}  // namespace flag

struct FlagLetter {
  std::uint32_t bit;
  char letter;
};
/// In the order in which netstat -r and route show print them.
inline constexpr FlagLetter kFlagLetters[] = {
    {flag::up, 'U'},           {flag::gateway, 'G'},   {flag::host, 'H'},    {flag::reject, 'R'},
    {flag::dynamic, 'D'},      {flag::modified, 'M'},  {flag::cloning, 'C'}, {flag::link_info, 'L'},
    {flag::static_route, 'S'}, {flag::blackhole, 'B'}, {flag::proto1, '1'},  {flag::proto2, '2'},
    {flag::broadcast, 'b'},
};

inline constexpr std::uint32_t kFibCount = 16;

struct Route {
  IpPrefix prefix;
  std::optional<IpAddress> gateway;  ///< None: the destination is on the interface's own link
  std::uint32_t interface_index{};
  std::uint32_t flags{flag::up};
  std::uint32_t mtu{};              ///< 0: the interface's
  std::optional<IpAddress> source;  ///< Preferred source address
  std::string congestion{};         ///< Congestion control of TCP connections this way; empty: the stack's

  /// Same destination, mask and gateway: what `route add` refuses. Without a gateway the interface stands for
  /// it.
  bool same_entry(const Route& o) const {
    return prefix == o.prefix && gateway == o.gateway && (gateway || interface_index == o.interface_index);
  }
  friend bool operator==(const Route&, const Route&) = default;
};

/// Which of several routes to one destination; unset members match any.
struct RouteSelector {
  IpPrefix prefix;
  std::optional<IpAddress> gateway;
  std::optional<std::uint32_t> interface_index;
  bool matches(const Route& r) const {
    return r.prefix == prefix && (!gateway || r.gateway == gateway) &&
           (!interface_index || r.interface_index == *interface_index);
  }
};

enum class FibError : std::uint8_t {
  exists,     ///< Destination, mask and gateway are those of an entry.
  not_found,  ///< No such entry.
  ambiguous,  ///< Several routes match: name the gateway.
};

class Fib {
 public:
  /// number: 0..kFibCount-1.
  explicit Fib(std::uint32_t number = 0);
  Fib(const Fib&);
  Fib(Fib&&) noexcept;
  Fib& operator=(const Fib&);
  Fib& operator=(Fib&&) noexcept;
  ~Fib();

  std::uint32_t number() const { return number_; }
  std::size_t size() const { return size_; }

  /// Adds behind the routes that the prefix already has. Host bits of the prefix are clear.
  /// Errors: exists.
  Expected<Fib, FibError> with(const Route& route) const;
  /// Errors: not_found, ambiguous.
  Expected<Fib, FibError> without(const RouteSelector& which) const;
  /// Puts `route` in the place of the one selected; its prefix stays. Errors: not_found, ambiguous, exists.
  Expected<Fib, FibError> changed(const RouteSelector& which, const Route& route) const;
  /// Without all routes over an interface. O(size).
  Fib without_interface(std::uint32_t index) const;

  /// The first route with flag::up of the longest prefix that has one. nullptr: no route. The answer lives as
  /// long as this Fib or a copy of it.
  const Route* lookup(const IpAddress& destination) const {
    return lookup_if(destination, [](const Route& r) { return (r.flags & flag::up) != 0; });
  }
  /// The same with another idea of usable.
  template <class Usable>
  const Route* lookup_if(const IpAddress& destination, Usable usable) const {
    const Node* matches[kMaxDepth];
    for (std::size_t n = match(destination, matches); n-- > 0;)
      for (const Route& r : routes_of(*matches[n]))
        if (usable(r)) return &r;
    return nullptr;
  }
  /// All routes of exactly this prefix, in order of addition.
  std::span<const Route> find(const IpPrefix& prefix) const;

  /// IPv4 before IPv6, then by address, shorter prefixes first, then in order of addition.
  template <class Function>
  void for_each(Function&& call) const {
    for (const Node* root : roots_) walk(root, call);
  }

 private:
  struct RouteList;
  struct Node {
    std::uint32_t references;  // by std::atomic_ref
    std::uint8_t length;
    IpAddress address;
    Node* child[2];
    RouteList* routes;  // null: a branching point only
  };
  static constexpr std::size_t kMaxDepth = 129;

  static std::span<const Route> routes_of(const Node& node);
  std::size_t match(const IpAddress& destination, const Node** out) const;
  static const Node* find_node(const Node* root, const IpPrefix& prefix);
  static Node* make(const IpPrefix& prefix, Node* zero, Node* one, RouteList* routes);
  static Node* share(Node* node);
  static void release(Node* node);
  static RouteList* share(RouteList* list);
  static void release(RouteList* list);
  static Node* put(Node* node, const IpPrefix& prefix, RouteList* routes);
  static Node* prune(Node* node, std::uint32_t interface_index, std::size_t& removed);
  static Node* join(const IpPrefix& prefix, Node* zero, Node* one, RouteList* routes);
  Fib replaced(const IpPrefix& prefix, std::vector<Route> routes, std::size_t old_count) const;
  Node* root_of(const IpAddress& a) const { return roots_[a.is_v4() ? 0 : 1]; }

  template <class Function>
  static void walk(const Node* node, Function&& call) {
    if (node == nullptr) return;
    for (const Route& r : routes_of(*node)) call(r);
    walk(node->child[0], call);
    walk(node->child[1], call);
  }

  Node* roots_[2]{};
  std::size_t size_ = 0;
  std::uint32_t number_;
};

}  // namespace iopkt::route
