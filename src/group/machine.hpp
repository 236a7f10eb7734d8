// A host's side of IGMP and MLD: what is reported to routers, and when. RFC 3376 sections 5 and 7 (IGMPv3, and hosts that meet older
// queriers: RFC 2236, RFC 1112), RFC 3810 sections 6 and 8 (MLDv2: the same), RFC 4604 (no EXCLUDE for source-specific groups).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "base/random.hpp"
#include "base/time.hpp"
#include "group/filter.hpp"

namespace iopkt::group {

/// The numbers of RFC 3376 section 4.2.12.
enum class RecordType : std::uint8_t { is_include = 1, is_exclude = 2, to_include = 3, to_exclude = 4, allow = 5, block = 6 };

struct Record {
  RecordType type{};
  wire::IpAddress group;
  std::vector<wire::IpAddress> sources;
  friend bool operator==(const Record&, const Record&) = default;
};

/// How old a querier is: IGMPv3 and MLDv2 are current, IGMPv2 and MLDv1 older, IGMPv1 oldest.
enum class Age : std::uint8_t { current, older, oldest };

/// What is to be sent on one interface.
struct Message {
  enum class Kind : std::uint8_t {
    report,  ///< of the current version, with `records`; split as the MTU wants it
    joined,  ///< a report of the version that `age` says, for `group`
    left     ///< of the version before the current one, for `group`
  };
  Kind kind{};
  Age age{};
  std::uint32_t interface_index{};
  wire::IpFamily family{};
  wire::IpAddress group;
  std::vector<Record> records;
};

/// A query that was heard, already read. `group`: nullopt, about all.
struct Query {
  Age age{};
  wire::IpFamily family{};
  std::optional<wire::IpAddress> group;
  std::vector<wire::IpAddress> sources;
  Duration max_response{};
  std::uint8_t robustness{};  ///< of a current one; 0: not said
  Duration interval{};        ///< of a current one; 0: not said
};

class Machine {
 public:
  explicit Machine(std::uint64_t seed) : random_(seed) {}

  /// What an interface listens to has changed (Table::Change), by a socket of `user`.
  void changed(const Key& key, const Filter& before, const Filter& after, std::uint32_t user, Instant now, std::vector<Message>& out);
  void query_heard(std::uint32_t interface_index, const Query& query, Instant now);
  /// Another host reported the group, in an older version: where that is what the querier speaks, too, we need not.
  void report_heard(const Key& key, Instant now);
  /// All that is listened to is said anew: who heard it before may not have believed it (RFC 3590: it came from no address yet).
  void say_again(std::uint32_t interface_index, wire::IpFamily family, Instant now, std::vector<Message>& out);
  /// The interface has come up, on what may be another network: all is said anew.
  void link_up(std::uint32_t interface_index, Instant now, std::vector<Message>& out);
  /// It has gone: nothing is said there any more until link_up().
  void link_down(std::uint32_t interface_index);

  Instant next_deadline() const { return next_; }
  void run(Instant now, std::vector<Message>& out);
  /// By which version this interface speaks at the moment.
  Age age_of(std::uint32_t interface_index, wire::IpFamily family, Instant now) const;

  static constexpr unsigned kRobustness = 2;                 ///< until a querier says otherwise
  static constexpr Duration kQueryInterval = 125s;           ///< the same
  static constexpr Duration kUnsolicitedInterval = 1s;       ///< between two reports of one change
  static constexpr Duration kOldUnsolicitedInterval = 10s;   ///< the same, in older versions
  static constexpr Duration kOldResponse = 10s;              ///< of a query that has no field for it
  static constexpr Duration kOlderMost = 1800s;              ///< an older querier is believed no longer, whatever intervals were said
  static constexpr std::size_t kLeavingMost = 1024;          ///< groups that a user left and that are to be said again; of more it is said once
  static constexpr std::size_t kLeavingOfAll = 4 * kLeavingMost;  ///< the same of all users together

 private:
  struct Link {  // an interface and family
    unsigned robustness = kRobustness;
    Duration interval = kQueryInterval;
    Instant older_until{}, oldest_until{};
    Instant general_at = Instant::never();
    bool up = true;
  };
  using LinkKey = std::pair<std::uint32_t, wire::IpFamily>;
  struct Group {
    Filter filter;
    unsigned mode_left = 0;                            // reports of a changed mode that are still to be sent
    std::map<wire::IpAddress, unsigned> sources_left;  // the same for sources that were added or taken away
    Instant change_at = Instant::never();
    Instant answer_at = Instant::never();
    std::vector<wire::IpAddress> asked;                // the sources of the query; empty: all
    bool reported_last = false;                        // older versions: nobody else did since
    std::uint32_t user = 0;                            // who changed it last
  };

  Duration within(Duration limit) { return Duration{static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(limit.count()))) + 1}; }
  Link& link_of(std::uint32_t interface_index, wire::IpFamily family) { return links_[{interface_index, family}]; }
  void set_age(std::uint32_t interface_index, wire::IpFamily family, Link& link, Age age, Instant now);
  void changed_in_older(const Key& key, Group& g, Age age, bool was_member, Instant now, std::vector<Message>& out);
  void report_change(const Key& key, Group& g, Instant now, std::vector<Message>& out);
  static void answer_group(const Key& key, Group& g, Age age, std::vector<Message>& out);
  void answer_general(std::uint32_t interface_index, wire::IpFamily family, std::vector<Message>& out) const;
  static void answer_later(Group& g, const Query& query, Duration delay, Instant now);
  void note_deadlines();

  Random random_;
  std::map<LinkKey, Link> links_;
  std::map<Key, Group> groups_;
  // Of these, those that nobody is a member of any more, by who left them, and all.
  std::map<std::uint32_t, std::size_t> leaving_;
  std::size_t leaving_of_all_ = 0;
  Instant next_ = Instant::never();
};

/// What of `records` fits into one message each of `room` bytes, in order; a record takes `head` bytes and each of its sources
/// `each`. Long lists are cut up; of an exclude list only the first part is told: the rest would be a change of its own. RFC 3376
/// section 4.2.16, RFC 3810 section 5.2.15. `room` holds a record with one source.
std::vector<std::vector<Record>> split(const std::vector<Record>& records, std::size_t room, std::size_t head, std::size_t each);

/// 224.0.0.1, ff01::1 and ff02::1: every host is in them.
bool is_all_hosts(const wire::IpAddress& group);
/// Groups that are listened to without a word: all-systems, and what never leaves the host (RFC 3376 section 4, RFC 3810 section 6).
bool is_silent(const wire::IpAddress& group);
/// RFC 4607: 232/8, ff3x::/32.
bool is_source_specific(const wire::IpAddress& group);

}  // namespace iopkt::group
