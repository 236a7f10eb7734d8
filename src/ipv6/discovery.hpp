// Neighbour discovery and address autoconfiguration of a whole stack, as whoever drives it sees them: RFC 4861, RFC 4862,
// RFC 7217 (interface identifiers), RFC 4191 (preferences), RFC 8106 (name servers),
// RFC 8981 (temporary addresses), RFC 4429 (optimistic detection), RFC 7527 (looped links).
//
// It lives on shard 0. What it decides becomes part of the tables that all shards read (addresses and their state, routes,
// link parameters), and only in run(): a packet that it is given leaves a mark, no more. Who is behind an address is the
// business of neigh::Neighbours; this machine says what was heard.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/expected.hpp"
#include "base/random.hpp"
#include "base/time.hpp"
#include "iface/interface.hpp"
#include "ipv6/counters.hpp"
#include "ipv6/input.hpp"
#include "ipv6/tunables.hpp"
#include "neigh/neighbours.hpp"
#include "packet/drops.hpp"
#include "route/fib.hpp"
#include "wire/ip_header.hpp"
#include "wire/nd.hpp"

namespace iopkt::ipv6 {

/// An ICMPv6 message to send with hop limit 255; its checksum is still to be filled in.
struct DiscoveryMessage {
  std::uint32_t interface_index{};
  wire::IpAddress src;  ///< May be unspecified, and then it stays so
  wire::IpAddress dst;
  std::vector<std::byte> bytes;
};

/// For Neighbours::learned(); without an address of the link: only that the neighbour answered, for confirm().
struct DiscoveryHeard {
  neigh::Key key;
  std::optional<wire::MacAddress> mac;
  neigh::Heard how{};
};

/// What the caller has to do, in this order.
struct DiscoveryOutcome {
  std::vector<DiscoveryHeard> heard;
  std::vector<DiscoveryMessage> send;
  std::vector<std::string> log;  ///< Worth a line for operators
};

struct DiscoveryContext {
  const iface::Interface& in;
  const route::Fib& fib;            ///< That of the interface: whose redirects count
  const wire::IpHeader& header;     ///< Of the packet that brought the message
  Membership groups{};              ///< Whose anycast addresses are answered for
  /// For addresses that are answered for others; null: none.
  const neigh::Neighbours* neighbours{};
  Instant now;
};

/// What ndp -p and -r and the resolver's configuration show.
struct DiscoveryState {
  struct Router {
    std::uint32_t interface_index{};
    wire::IpAddress address;
    wire::RouterPreference preference{};
    bool reachable{};
    bool managed{}, other{};  ///< What it says of DHCPv6
    Instant until;
  };
  struct Prefix {
    std::uint32_t interface_index{};
    wire::IpPrefix prefix;
    bool on_link{}, autonomous{};
    Instant until, preferred_until;
  };
  /// RFC 4191: a more specific route over a router.
  struct MoreSpecific {
    std::uint32_t interface_index{};
    wire::IpPrefix prefix;
    wire::IpAddress router;
    wire::RouterPreference preference{};
    Instant until;
  };
  struct Server {
    std::uint32_t interface_index{};
    wire::IpAddress address;
    Instant until;
  };
  struct Domain {
    std::uint32_t interface_index{};
    std::string name;
    Instant until;
  };
  /// The lifetimes of an address as they are; those in the tables are as old as the tables.
  struct Lifetime {
    std::uint32_t interface_index{};
    wire::IpAddress address;
    Instant preferred_until, valid_until;
  };
  struct Link {
    std::uint32_t interface_index{};
    std::uint32_t base_reachable_ms{}, retransmit_ms{};  ///< As advertised; 0: not
    std::uint8_t hop_limit{};                            ///< The same
    std::uint64_t advertisements{};                      ///< Taken since the link came up: who waits for one compares
  };
  std::vector<Router> routers;
  std::vector<Prefix> prefixes;
  std::vector<MoreSpecific> routes;
  std::vector<Server> dns_servers;
  std::vector<Domain> dns_domains;
  std::vector<Lifetime> lifetimes;
  std::vector<Link> links;
  bool settled{true};  ///< The tables follow what was heard a few times at once, and then now and then: they have.
};

struct Tables {
  iface::InterfaceTable& interfaces;
  std::span<route::Fib> fibs;
};

class Discovery {
 public:
  virtual ~Discovery() = default;

  /// Reads a message of neighbour discovery whose checksum is right.
  /// Errors: nd_bad_hop_limit, nd_malformed, nd_bad_address, nd_not_for_us, nd_ignored, nd_limit.
  virtual Expected<DiscoveryOutcome, packet::Drop> input(const DiscoveryContext& context, Bytes message) = 0;
  /// A solicitation for `key.address`: to `unicast` alone, or to its group. nullopt: we have no address to ask from.
  virtual std::optional<DiscoveryMessage> solicit(const iface::Interface& out, const neigh::Key& key, bool unicast) const = 0;
  /// The neighbour cache gave a neighbour up, or found it again: routers that do not answer are used last (RFC 4861 6.3.6).
  virtual void neighbour_changed(const neigh::Key& key, bool reachable) = 0;

  /// The tables are others now, by whoever: run() will look at them.
  virtual void tables_changed(Instant now) = 0;
  virtual Instant next_deadline() const = 0;
  /// Does what is due, and brings the tables up to date. True: they changed.
  virtual bool run(Instant now, const Tables& tables, DiscoveryOutcome& out) = 0;

  /// Asks for routers again on an interface, as if it had just come up (rtsol). False: it is down, or takes no advertisements.
  virtual bool solicit_again(std::uint32_t interface_index, Instant now) = 0;
  /// Forgets the prefixes, or the routers and the routes over them, that were advertised; the addresses stay (ndp -P, -R). Answers
  /// how many there were.
  enum class What : std::uint8_t { prefixes, routers };
  virtual std::size_t forget(What what, Instant now) = 0;

  virtual DiscoveryState state() const = 0;
};

/// `tunables` and `counters` outlive it; tunables may change between calls. `secret`: of RFC 7217, the same after a restart for
/// the same addresses; `seed`: of delays.
struct DiscoveryConfig {
  const Ipv6Tunables& tunables;
  Ipv6Counters<Counter>& counters;
  HashKey secret;
  std::uint64_t seed{};
};

}  // namespace iopkt::ipv6
