// Who is behind a next hop: the master machine of the neighbour cache, for both families.
// RFC 826 (ARP), RFC 1122 2.3.2 (timeouts, unicast poll, flood limit, one packet kept), RFC 4861 7.3.2
// (states).
//
//                     request sent                      reply
//   (none) ---------------------------> incomplete --------------> reachable
//   incomplete -- tries used up -------> failed -- hold time over -> (none)
//   reachable -- reachable time over --> stale -- used -> delay -- delay over -> probe
//   delay, probe -- reply or confirm --> reachable
//   probe -- tries used up ------------> failed
//   any -- heard with another address -> stale             permanent: changes by the operator only
//
// One Neighbours lives on one shard; the others keep a NeighbourReplica that it feeds with the same Actions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/hash_map.hpp"
#include "base/time.hpp"
#include "neigh/tunables.hpp"
#include "wire/address.hpp"

namespace iopkt::neigh {

using wire::IpAddress;
using wire::MacAddress;

struct Key {
  std::uint32_t interface_index{};
  IpAddress address;
  friend bool operator==(const Key&, const Key&) = default;
  friend auto operator<=>(const Key&, const Key&) = default;
};

enum class State : std::uint8_t { incomplete, reachable, stale, delay, probe, failed, permanent };
std::string_view name(State state);

/// One entry as arp -a shows it.
struct Entry {
  Key key;
  MacAddress mac;  ///< Zero while incomplete or failed
  State state{};
  bool published{};   ///< We answer for it: arp -s … pub
  bool proxy_only{};  ///< Published and not used for sending
  bool temporary{};   ///< Static, but with an end: arp -s … temp
  std::optional<Instant> expires;
  friend bool operator==(const Entry&, const Entry&) = default;
};

/// What the caller of a step has to do, in this order. Every replica applies each action too.
struct Action {
  enum class Kind : std::uint8_t {
    solicit,   ///< Send a request: to `mac` alone when it is not zero, otherwise to all.
    resolved,  ///< `mac` is (now) the address: send what waits.
    stale,     ///< The same (send what waits), but whoever uses it tells the master: used().
    failed,    ///< No answer: what waits dies (Drop::arp_unresolved); further lookups say unreachable.
    forgotten  ///< The entry is gone. What waits dies as well.
  };
  Kind kind{};
  Key key;
  MacAddress mac;
  friend bool operator==(const Action&, const Action&) = default;
};
using Actions = std::vector<Action>;

struct Lookup {
  enum class Kind : std::uint8_t {
    resolved,     ///< Send to `mac`.
    waiting,      ///< Asked: hold the packet.
    unreachable,  ///< Asked without an answer a moment ago: EHOSTDOWN, Drop::arp_unresolved.
    full          ///< No room for another entry: Drop::arp_table_full.
  };
  Kind kind{};
  MacAddress mac;
  bool report_use{};  ///< A replica only: tell the master with used().
};

/// How a mapping was learned.
enum class Heard : std::uint8_t {
  reply,        ///< An answer addressed to us: confirms what was asked, adds nothing.
  request,      ///< The sender of a request for one of our addresses: adds an entry (RFC 826).
  announcement,  ///< Anything else: updates what is known, adds nothing.
  // Advertisements of RFC 4861 7.2.5, by their flags. Unsolicited ones that override are announcements.
  solicited_override,  ///< Confirms, also another address than the known one; adds nothing.
  solicited,           ///< Confirms what was asked; does not take the place of another address.
  unsolicited          ///< Fills in what was asked; does not take the place of another address.
};
enum class Learned : std::uint8_t {
  created,
  confirmed,
  unchanged,
  changed,
  unknown,
  refused_permanent,
  refused_full
};

class Neighbours {
 public:
  /// `tunables` outlives the table and may change between calls. `secret`: neighbours choose addresses.
  Neighbours(const NeighbourTunables& tunables, HashKey secret);

  /// What the routers of an interface say of its IPv6 neighbours (RFC 4861 section 6.3.4), in the place of the tunables; 0: nothing.
  struct Times {
    std::uint32_t reachable_ms{}, retransmit_ms{};
    friend bool operator==(const Times&, const Times&) = default;
  };
  void set_times(std::uint32_t interface_index, Times times);

  /// For a packet that is about to be sent. Starts resolution if the neighbour is not known.
  Lookup lookup_or_start(const Key& key, Instant now, Actions& out);
  /// What is known, without starting anything or counting as use.
  const Entry* find(const Key& key) const;

  Learned learned(const Key& key, const MacAddress& mac, Heard how, Instant now, Actions& out);
  /// A replica used a stale entry.
  void used(const Key& key, Instant now, Actions& out);
  /// A transport protocol made progress through this neighbour: as good as a reply (RFC 4861 7.3.1). Cheap.
  void confirm(const Key& key, Instant now, Actions& out);

  struct StaticOptions {
    bool temporary{}, published{}, proxy_only{};
  };
  /// arp -s. False: the table is full of permanent entries.
  bool set_static(const Key& key, const MacAddress& mac, StaticOptions options, Instant now, Actions& out);
  /// arp -d. False: no such entry.
  bool erase(const Key& key, Actions& out);
  /// All entries of an interface, permanent ones too: it goes away. Or, keeping those, its link went down.
  void erase_interface(std::uint32_t interface_index, bool keep_permanent, Actions& out);
  /// What to answer to a request for an address that is not ours: the MAC of a published entry.
  std::optional<MacAddress> published(std::uint32_t interface_index, const IpAddress& address) const;

  Instant next_deadline() const { return deadlines_.empty() ? Instant::never() : deadlines_.begin()->first; }
  void run(Instant now, Actions& out);

  std::size_t size() const { return records_.size(); }
  /// Sorted by key.
  std::vector<Entry> list() const;

 private:
  enum class Rank : std::uint8_t { unproven, proven, fixed };  // who is evicted first
  struct Record {
    Entry entry;
    std::uint32_t tries{};
    Instant confirmed, touched;
    Instant deadline{Instant::never()};
    Rank rank{Rank::unproven};
    std::list<Key>::iterator position;
  };
  using Map = std::unordered_map<Key, Record, SipHash>;

  Times times_of(const Key& key) const;
  Duration reachable(const Key& key) const;
  Duration retransmit(const Key& key) const;
  Record* find_record(const Key& key);
  Record* insert(const Key& key, Instant now, Actions& out);
  bool make_room(Actions& out);
  void set_deadline(Record& record, Instant at);
  void set_rank(Record& record, Rank rank);
  void remove(Map::iterator at, Action::Kind kind, Actions& out);
  void solicit(Record& record, Instant now, Actions& out);
  void become_reachable(Record& record, const MacAddress& mac, Instant now, Actions& out);
  void become_stale(Record& record, Instant now, Actions& out);
  void fail(Record& record, Instant now, Actions& out);
  void expire(Record& record, Instant now, Actions& out);

  const NeighbourTunables& tunables_;
  std::map<std::uint32_t, Times> times_;  // by interface
  Map records_;
  std::set<std::pair<Instant, Key>> deadlines_;
  std::list<Key> order_[2];  // by rank; the front was used last
};

/// What a shard other than the master's knows. Never starts anything.
class NeighbourReplica {
 public:
  explicit NeighbourReplica(HashKey secret) : records_(SipHash{secret}) {}
  /// waiting: unknown here; hold the packet and let the master call lookup_or_start().
  Lookup lookup(const Key& key);
  void apply(const Action& action);
  std::size_t size() const { return records_.size(); }

 private:
  struct Record {
    MacAddress mac;
    bool failed{}, stale{}, reported{};
  };
  FlatMap<Key, Record, SipHash> records_;
};

}  // namespace iopkt::neigh
