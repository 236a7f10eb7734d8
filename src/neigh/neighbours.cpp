#include "neigh/neighbours.hpp"

#include <algorithm>

namespace iopkt::neigh {
namespace {
Duration seconds(std::uint32_t n) { return std::chrono::seconds{n}; }
}  // namespace

std::string_view name(State state) {
  switch (state) {
    case State::incomplete:
      return "incomplete";
    case State::reachable:
      return "reachable";
    case State::stale:
      return "stale";
    case State::delay:
      return "delay";
    case State::probe:
      return "probe";
    case State::failed:
      return "failed";
    case State::permanent:
      return "permanent";
  }
  return "unknown";
}

Neighbours::Neighbours(const NeighbourTunables& tunables, HashKey secret)
    : tunables_(tunables), records_(16, SipHash{secret}) {}

void Neighbours::set_times(std::uint32_t interface_index, Times times) {
  if (times == Times{}) times_.erase(interface_index);
  else times_[interface_index] = times;
}

Neighbours::Times Neighbours::times_of(const Key& key) const {
  const auto at = key.address.is_v6() ? times_.find(key.interface_index) : times_.end();
  return at == times_.end() ? Times{} : at->second;
}

Duration Neighbours::reachable(const Key& key) const {
  const std::uint32_t said = times_of(key).reachable_ms;
  return said != 0 ? Duration{std::chrono::milliseconds{said}} : seconds(tunables_.reachable_s);
}

Duration Neighbours::retransmit(const Key& key) const {
  const std::uint32_t said = times_of(key).retransmit_ms;
  return std::chrono::milliseconds{said != 0 ? said : tunables_.retransmit_ms};
}

Neighbours::Record* Neighbours::find_record(const Key& key) {
  const auto at = records_.find(key);
  return at == records_.end() ? nullptr : &at->second;
}

const Entry* Neighbours::find(const Key& key) const {
  const auto at = records_.find(key);
  return at == records_.end() ? nullptr : &at->second.entry;
}

void Neighbours::set_deadline(Record& record, Instant at) {
  if (record.deadline == at) return;
  if (!record.deadline.is_never()) deadlines_.erase({record.deadline, record.entry.key});
  record.deadline = at;
  if (!at.is_never()) deadlines_.insert({at, record.entry.key});
}

/// Also moves the record to the front of its rank: it was used.
void Neighbours::set_rank(Record& record, Rank rank) {
  const auto list_of = [&](Rank r) -> std::list<Key>& { return order_[static_cast<std::size_t>(r)]; };
  if (record.rank != Rank::fixed && rank != Rank::fixed) {
    list_of(rank).splice(list_of(rank).begin(), list_of(record.rank), record.position);
  } else if (rank != Rank::fixed) {
    list_of(rank).push_front(record.entry.key);
    record.position = list_of(rank).begin();
  } else if (record.rank != Rank::fixed) {
    list_of(record.rank).erase(record.position);
  }
  record.rank = rank;
}

void Neighbours::remove(Map::iterator at, Action::Kind kind, Actions& out) {
  Record& record = at->second;
  set_deadline(record, Instant::never());
  set_rank(record, Rank::fixed);
  out.push_back({kind, record.entry.key, {}});
  records_.erase(at);
}

bool Neighbours::make_room(Actions& out) {
  // What never answered goes before what did, of those what was not used for the longest time.
  for (std::list<Key>& order : order_) {
    if (records_.size() < tunables_.max_entries) return true;
    while (records_.size() >= tunables_.max_entries && !order.empty())
      remove(records_.find(Key{order.back()}), Action::Kind::forgotten, out);
  }
  return records_.size() < tunables_.max_entries;
}

Neighbours::Record* Neighbours::insert(const Key& key, Instant now, Actions& out) {
  if (!make_room(out)) return nullptr;
  Record& record = records_[key];
  record.entry.key = key;
  record.rank = Rank::fixed;
  record.touched = now;
  return &record;
}

void Neighbours::solicit(Record& record, Instant now, Actions& out) {
  ++record.tries;
  // RFC 1122 2.3.2.1 (2): a known address is polled by unicast; the last try reaches one that has moved.
  const bool unicast =
      record.entry.state == State::probe && (record.tries < tunables_.max_tries || tunables_.max_tries == 1);
  out.push_back({Action::Kind::solicit, record.entry.key, unicast ? record.entry.mac : MacAddress{}});
  set_deadline(record, now + retransmit(record.entry.key));
}

void Neighbours::become_reachable(Record& record, const MacAddress& mac, Instant now, Actions& out) {
  const bool news = record.entry.state != State::reachable || record.entry.mac != mac;
  record.entry.state = State::reachable;
  record.entry.mac = mac;
  record.confirmed = now;
  record.tries = 0;
  set_rank(record, Rank::proven);
  set_deadline(record, now + reachable(record.entry.key));
  if (news) out.push_back({Action::Kind::resolved, record.entry.key, mac});
}

void Neighbours::become_stale(Record& record, Instant now, Actions& out) {
  record.entry.state = State::stale;
  record.tries = 0;
  set_deadline(record, std::max(now, record.touched + seconds(tunables_.keep_s)));
  out.push_back({Action::Kind::stale, record.entry.key, record.entry.mac});
}

void Neighbours::fail(Record& record, Instant now, Actions& out) {
  record.entry.state = State::failed;
  record.entry.mac = {};
  record.tries = 0;
  set_rank(record, Rank::unproven);
  set_deadline(record, now + seconds(tunables_.down_s));
  out.push_back({Action::Kind::failed, record.entry.key, {}});
}

Lookup Neighbours::lookup_or_start(const Key& key, Instant now, Actions& out) {
  Record* record = find_record(key);
  if (record == nullptr || record->entry.proxy_only) {
    // What is only published for others has no entry of its own beside it: arp -s … pub proxy says that we
    // route there.
    if (record != nullptr) return {Lookup::Kind::unreachable, {}};
    record = insert(key, now, out);
    if (record == nullptr) return {Lookup::Kind::full, {}};
    record->entry.state = State::incomplete;
    set_rank(*record, Rank::unproven);
    solicit(*record, now, out);
    return {Lookup::Kind::waiting, {}};
  }
  record->touched = now;
  switch (record->entry.state) {
    case State::incomplete:
      return {Lookup::Kind::waiting, {}};
    case State::failed:
      return {Lookup::Kind::unreachable, {}};
    case State::stale:
      used(key, now, out);
      break;
    default:
      break;
  }
  if (record->rank != Rank::fixed) set_rank(*record, record->rank);
  return {Lookup::Kind::resolved, record->entry.mac};
}

void Neighbours::used(const Key& key, Instant now, Actions&) {
  Record* record = find_record(key);
  if (record == nullptr || record->entry.state != State::stale) return;
  record->touched = now;
  record->entry.state = State::delay;
  set_deadline(*record, now + seconds(tunables_.delay_s));
}

void Neighbours::confirm(const Key& key, Instant now, Actions& out) {
  Record* record = find_record(key);
  if (record == nullptr) return;
  switch (record->entry.state) {
    // The deadline stays where it is: expire() looks at `confirmed`.
    case State::reachable:
      record->confirmed = now;
      break;
    case State::stale:
    case State::delay:
    case State::probe:
      become_reachable(*record, record->entry.mac, now, out);
      break;
    case State::incomplete:
    case State::failed:
    case State::permanent:
      break;
  }
}

Learned Neighbours::learned(const Key& key, const MacAddress& mac, Heard how, Instant now, Actions& out) {
  Record* record = find_record(key);
  if (record == nullptr) {
    if (how != Heard::request) return Learned::unknown;
    record = insert(key, now, out);
    if (record == nullptr) return Learned::refused_full;
    record->entry.mac = mac;
    set_rank(*record, Rank::unproven);
    become_stale(*record, now, out);
    return Learned::created;
  }
  Entry& entry = record->entry;
  if (entry.state == State::permanent)
    return entry.mac == mac ? Learned::unchanged : Learned::refused_permanent;
  const bool waiting = entry.state == State::incomplete || entry.state == State::failed;
  const bool changes = !waiting && entry.mac != mac;
  if (changes && (how == Heard::solicited || how == Heard::unsolicited)) {
    // RFC 4861 7.2.5 (I): without the override flag another address only casts doubt on the known one.
    if (entry.state == State::reachable) become_stale(*record, now, out);
    return Learned::unchanged;
  }
  if (how == Heard::solicited_override) {
    become_reachable(*record, mac, now, out);
    return waiting ? Learned::created : changes ? Learned::changed : Learned::confirmed;
  }
  // A reply that nobody waits for may not take a neighbour over that is known to work.
  const bool fresh = entry.state != State::reachable;
  if ((how == Heard::reply || how == Heard::solicited) && (fresh || !changes)) {
    become_reachable(*record, mac, now, out);
    if (waiting) return Learned::created;
    return changes ? Learned::changed : fresh ? Learned::confirmed : Learned::unchanged;
  }
  if (waiting) {
    // The address is usable; that the way to it works too is still to be shown.
    entry.mac = mac;
    out.push_back({Action::Kind::resolved, key, mac});
    record->touched = now;
    become_stale(*record, now, out);
    return Learned::created;
  }
  if (!changes) return Learned::unchanged;
  entry.mac = mac;
  set_rank(*record, Rank::unproven);
  out.push_back({Action::Kind::resolved, key, mac});
  become_stale(*record, now, out);
  return Learned::changed;
}

bool Neighbours::set_static(const Key& key, const MacAddress& mac, StaticOptions options, Instant now,
                            Actions& out) {
  Record* record = find_record(key);
  if (record == nullptr) record = insert(key, now, out);
  if (record == nullptr) return false;
  Entry& entry = record->entry;
  entry.mac = mac;
  entry.state = State::permanent;
  entry.published = options.published || options.proxy_only;
  entry.proxy_only = options.proxy_only;
  entry.temporary = options.temporary;
  set_rank(*record, Rank::fixed);
  set_deadline(*record, options.temporary ? now + seconds(tunables_.keep_s) : Instant::never());
  if (!options.proxy_only) out.push_back({Action::Kind::resolved, key, mac});
  return true;
}

bool Neighbours::erase(const Key& key, Actions& out) {
  const auto at = records_.find(key);
  if (at == records_.end()) return false;
  remove(at, Action::Kind::forgotten, out);
  return true;
}

void Neighbours::erase_interface(std::uint32_t interface_index, bool keep_permanent, Actions& out) {
  std::vector<Key> gone;
  for (const auto& [key, record] : records_)
    if (key.interface_index == interface_index && !(keep_permanent && record.entry.state == State::permanent))
      gone.push_back(key);
  std::sort(gone.begin(), gone.end());
  for (const Key& key : gone) erase(key, out);
}

std::optional<MacAddress> Neighbours::published(std::uint32_t interface_index,
                                                const IpAddress& address) const {
  const Entry* entry = find({interface_index, address});
  return entry != nullptr && entry->published ? std::optional{entry->mac} : std::nullopt;
}

void Neighbours::run(Instant now, Actions& out) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const Key key = deadlines_.begin()->second;
    Record& record = *find_record(key);
    deadlines_.erase(deadlines_.begin());
    record.deadline = Instant::never();
    expire(record, now, out);
  }
}

void Neighbours::expire(Record& record, Instant now, Actions& out) {
  const Key key = record.entry.key;
  switch (record.entry.state) {
    case State::reachable:
      if (const Instant until = record.confirmed + reachable(key); until > now)
        return set_deadline(record, until);
      return become_stale(record, now, out);
    case State::stale:
      if (const Instant until = record.touched + seconds(tunables_.keep_s); until > now)
        return set_deadline(record, until);
      return remove(records_.find(key), Action::Kind::forgotten, out);
    case State::delay:
      record.entry.state = State::probe;
      record.tries = 0;
      return solicit(record, now, out);
    case State::incomplete:
    case State::probe:
      if (record.tries < tunables_.max_tries) return solicit(record, now, out);
      return fail(record, now, out);
    case State::failed:
    case State::permanent:  // temporary
      return remove(records_.find(key), Action::Kind::forgotten, out);
  }
}

std::vector<Entry> Neighbours::list() const {
  std::vector<Entry> entries;
  entries.reserve(records_.size());
  for (const auto& [key, record] : records_) {
    entries.push_back(record.entry);
    if (!record.deadline.is_never()) entries.back().expires = record.deadline;
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.key < b.key; });
  return entries;
}

Lookup NeighbourReplica::lookup(const Key& key) {
  Record* record = records_.find(key);
  if (record == nullptr) return {Lookup::Kind::waiting, {}};
  if (record->failed) return {Lookup::Kind::unreachable, {}};
  const bool report = record->stale && !std::exchange(record->reported, true);
  return {Lookup::Kind::resolved, record->mac, report};
}

void NeighbourReplica::apply(const Action& action) {
  switch (action.kind) {
    case Action::Kind::solicit:
      return;
    case Action::Kind::forgotten:
      records_.erase(action.key);
      return;
    case Action::Kind::resolved:
    case Action::Kind::stale:
    case Action::Kind::failed:
      break;
  }
  // Full is impossible: the master has its bound, and tells what it forgets.
  Record* record = records_.try_emplace(action.key).value;
  if (record == nullptr) return;
  *record = {.mac = action.mac,
             .failed = action.kind == Action::Kind::failed,
             .stale = action.kind == Action::Kind::stale};
}

}  // namespace iopkt::neigh
