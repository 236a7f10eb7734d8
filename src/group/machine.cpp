#include "group/machine.hpp"

#include <algorithm>

namespace iopkt::group {

using wire::IpAddress;
using wire::IpFamily;

bool is_all_hosts(const IpAddress& group) {
  if (group.is_v4()) return group.v4() == wire::Ipv4Address{224, 0, 0, 1};
  const auto& words = group.words();
  return (words[0] == 0xff010000 || words[0] == 0xff020000) && (words[1] | words[2]) == 0 && words[3] == 1;
}

bool is_silent(const IpAddress& group) {
  // The scopes 0 (reserved) and 1 (the interface itself) leave no host.
  return is_all_hosts(group) || (group.is_v6() && (group.words()[0] >> 16 & 15) < 2);
}

bool is_source_specific(const IpAddress& group) {
  if (group.is_v4()) return group.v4().value >> 24 == 232;
  return group.words()[0] >> 20 == 0xff3 && (group.words()[0] & 0xffff) == 0;
}

std::vector<std::vector<Record>> split(const std::vector<Record>& records, std::size_t room, std::size_t head, std::size_t each) {
  const std::size_t sources_max = (room - head) / each;
  std::vector<std::vector<Record>> out;
  std::size_t left = 0;
  const auto put = [&](Record&& record) {
    const std::size_t length = head + each * record.sources.size();
    if (out.empty() || length > left) out.emplace_back(), left = room;
    left -= length;
    out.back().push_back(std::move(record));
  };
  for (const Record& record : records) {
    auto from = record.sources.begin();
    do {
      const auto to = from + static_cast<std::ptrdiff_t>(std::min<std::size_t>(sources_max, static_cast<std::size_t>(record.sources.end() - from)));
      put({record.type, record.group, {from, to}});
      from = to;
      if (record.type == RecordType::is_exclude || record.type == RecordType::to_exclude) break;
    } while (from != record.sources.end());
  }
  return out;
}

namespace {

bool of_interface(const Key& key, std::uint32_t interface_index, IpFamily family) {
  return key.interface_index == interface_index && key.group.family() == family;
}

/// RFC 4604 section 2.2: of a source-specific group routers hear no EXCLUDE.
bool may_say(const Record& record) {
  const bool excludes = record.type == RecordType::is_exclude || record.type == RecordType::to_exclude;
  return !excludes || !is_source_specific(record.group);
}

void say(std::uint32_t interface_index, IpFamily family, std::vector<Record> records, std::vector<Message>& out) {
  std::erase_if(records, [](const Record& one) { return !may_say(one); });
  if (records.empty()) return;
  // What is said at one time goes into as few packets as hold it.
  if (!out.empty() && out.back().kind == Message::Kind::report && out.back().interface_index == interface_index && out.back().family == family) {
    std::move(records.begin(), records.end(), std::back_inserter(out.back().records));
    return;
  }
  out.push_back({.kind = Message::Kind::report, .interface_index = interface_index, .family = family, .group = {}, .records = std::move(records)});
}

Message of_older(Message::Kind kind, Age age, const Key& key) {
  return {.kind = kind, .age = age, .interface_index = key.interface_index, .family = key.group.family(), .group = key.group, .records = {}};
}

}  // namespace

// ---- versions

Age Machine::age_of(std::uint32_t interface_index, IpFamily family, Instant now) const {
  const auto at = links_.find({interface_index, family});
  if (at == links_.end()) return Age::current;
  if (now < at->second.oldest_until) return Age::oldest;
  return now < at->second.older_until ? Age::older : Age::current;
}

/// RFC 3376 section 7.2.1: an older querier is believed for a while; a change of the version ends what was pending.
void Machine::set_age(std::uint32_t interface_index, IpFamily family, Link& link, Age age, Instant now) {
  const Age before = age_of(interface_index, family, now);
  // What anybody on the link may say once must not hold for days.
  const Instant until = now + std::min<Duration>(link.interval * link.robustness + kOldResponse, kOlderMost);
  if (age == Age::oldest) link.oldest_until = until;
  if (age == Age::older) link.older_until = until;
  if (age_of(interface_index, family, now) == before) return;
  link.general_at = Instant::never();
  for (auto it = groups_.begin(); it != groups_.end();) {
    Group& g = it->second;
    if (of_interface(it->first, interface_index, family)) {
      g.mode_left = 0;
      g.sources_left.clear();
      g.change_at = g.answer_at = Instant::never();
      g.asked.clear();
      if (!g.filter.is_member()) {
        it = groups_.erase(it);
        continue;
      }
    }
    ++it;
  }
}

// ---- what changes here: RFC 3376 section 5.1

void Machine::changed(const Key& key, const Filter& before, const Filter& after, std::uint32_t user, Instant now, std::vector<Message>& out) {
  if (before == after) return;
  Link& link = link_of(key.interface_index, key.group.family());
  Group& g = groups_[key];
  g.filter = after;
  g.user = user;
  const Age age = age_of(key.interface_index, key.group.family(), now);
  if (is_silent(key.group) || !link.up) {
    if (!after.is_member()) groups_.erase(key);
  } else if (age != Age::current) {
    changed_in_older(key, g, age, before.is_member(), now, out);
  } else {
    if (before.exclude != after.exclude) {
      g.mode_left = link.robustness;
      g.sources_left.clear();
    } else {
      std::vector<IpAddress> differing;
      std::set_symmetric_difference(before.sources.begin(), before.sources.end(), after.sources.begin(), after.sources.end(),
                                    std::back_inserter(differing));
      for (const IpAddress& source : differing) g.sources_left[source] = link.robustness;
    }
    report_change(key, g, now, out);
  }
  note_deadlines();
}

void Machine::changed_in_older(const Key& key, Group& g, Age age, bool was_member, Instant now, std::vector<Message>& out) {
  if (!g.filter.is_member()) {
    // RFC 2236 section 3: only who reported last needs to say that it goes; nobody said so in version 1.
    if (age == Age::older && g.reported_last) out.push_back(of_older(Message::Kind::left, age, key));
    groups_.erase(key);
    return;
  }
  if (was_member) return;  // filters are not told
  out.push_back(of_older(Message::Kind::joined, age, key));
  g.reported_last = true;
  g.mode_left = link_of(key.interface_index, key.group.family()).robustness - 1;
  g.change_at = g.mode_left > 0 ? now + within(kOldUnsolicitedInterval) : Instant::never();
}

/// The next report of a change; the group is forgotten with the last one of its end.
void Machine::report_change(const Key& key, Group& g, Instant now, std::vector<Message>& out) {
  std::vector<Record> records;
  if (g.mode_left > 0) {
    records.push_back({g.filter.exclude ? RecordType::to_exclude : RecordType::to_include, key.group, g.filter.sources});
    --g.mode_left;
  } else {
    Record allow{RecordType::allow, key.group, {}}, block{RecordType::block, key.group, {}};
    for (const auto& [source, left] : g.sources_left) (g.filter.passes(source) ? allow : block).sources.push_back(source);
    if (!allow.sources.empty()) records.push_back(std::move(allow));
    if (!block.sources.empty()) records.push_back(std::move(block));
  }
  for (auto it = g.sources_left.begin(); it != g.sources_left.end();) it = --it->second == 0 ? g.sources_left.erase(it) : std::next(it);
  say(key.interface_index, key.group.family(), std::move(records), out);
  const auto leaving = leaving_.find(g.user);
  const bool once = !g.filter.is_member() && ((leaving != leaving_.end() && leaving->second >= kLeavingMost) || leaving_of_all_ >= kLeavingOfAll);
  if (!once && (g.mode_left > 0 || !g.sources_left.empty())) {
    g.change_at = now + within(kUnsolicitedInterval);
    return;
  }
  g.change_at = Instant::never();
  if (!g.filter.is_member()) groups_.erase(key);
}

// ---- queries: RFC 3376 section 5.2

void Machine::query_heard(std::uint32_t interface_index, const Query& query, Instant now) {
  Link& link = link_of(interface_index, query.family);
  if (!link.up) return;
  if (query.age == Age::current) {
    link.robustness = query.robustness != 0 ? query.robustness : kRobustness;
    link.interval = query.interval > Duration::zero() ? query.interval : kQueryInterval;
  } else {
    set_age(interface_index, query.family, link, query.age, now);
  }
  const Duration limit = query.age == Age::oldest ? kOldResponse : query.max_response;
  const Duration delay = limit > Duration::zero() ? within(limit) : Duration{1};
  // An older querier hears of each group by itself.
  const bool each = age_of(interface_index, query.family, now) != Age::current;
  if (!query.group && !each) {
    link.general_at = std::min(link.general_at, now + delay);
  } else if (link.general_at > now + delay || each) {
    for (auto& [key, g] : groups_) {
      if (!of_interface(key, interface_index, query.family) || is_silent(key.group) || !g.filter.is_member()) continue;
      if (query.group && *query.group != key.group) continue;
      answer_later(g, query, !query.group && limit > Duration::zero() ? within(limit) : delay, now);
    }
  }
  note_deadlines();
}

void Machine::answer_later(Group& g, const Query& query, Duration delay, Instant now) {
  const bool pending = !g.answer_at.is_never();
  if (!pending) {
    g.asked = query.sources;
  } else if (query.sources.empty() || g.asked.empty()) {
    g.asked.clear();
  } else {
    g.asked.insert(g.asked.end(), query.sources.begin(), query.sources.end());
    std::sort(g.asked.begin(), g.asked.end());
    g.asked.erase(std::unique(g.asked.begin(), g.asked.end()), g.asked.end());
    // More than one packet can ask for is as good as all.
    constexpr std::size_t kAskedMax = 1024;
    if (g.asked.size() > kAskedMax) g.asked.clear();
  }
  g.answer_at = std::min(g.answer_at, now + delay);
}

void Machine::answer_general(std::uint32_t interface_index, IpFamily family, std::vector<Message>& out) const {
  std::vector<Record> records;
  for (const auto& [key, g] : groups_)
    if (of_interface(key, interface_index, family) && !is_silent(key.group) && g.filter.is_member())
      records.push_back({g.filter.exclude ? RecordType::is_exclude : RecordType::is_include, key.group, g.filter.sources});
  say(interface_index, family, std::move(records), out);
}

void Machine::answer_group(const Key& key, Group& g, Age age, std::vector<Message>& out) {
  if (!g.filter.is_member()) return;
  if (age != Age::current) {
    out.push_back(of_older(Message::Kind::joined, age, key));
    g.reported_last = true;
    return;
  }
  Record record{g.filter.exclude ? RecordType::is_exclude : RecordType::is_include, key.group, g.filter.sources};
  if (!g.asked.empty()) {
    // Which of those that were asked for we want to hear: IS_IN, and nothing where that is none.
    record = {RecordType::is_include, key.group, {}};
    for (const IpAddress& source : g.asked)
      if (g.filter.passes(source)) record.sources.push_back(source);
    if (record.sources.empty()) return;
  }
  say(key.interface_index, key.group.family(), {std::move(record)}, out);
}

void Machine::report_heard(const Key& key, Instant now) {
  const auto at = groups_.find(key);
  // RFC 3376 section 7.2.2: an older report MAY take the place of a current one. It does not: anybody could silence us so.
  if (at == groups_.end() || age_of(key.interface_index, key.group.family(), now) == Age::current) return;
  Group& g = at->second;
  g.answer_at = Instant::never();
  g.asked.clear();
  g.mode_left = 0;
  g.change_at = Instant::never();
  g.reported_last = false;
  note_deadlines();
}

// ---- interfaces

void Machine::say_again(std::uint32_t interface_index, IpFamily family, Instant now, std::vector<Message>& out) {
  std::vector<std::pair<Key, Group>> joined;
  for (auto& [key, g] : groups_)
    if (of_interface(key, interface_index, family) && g.filter.is_member()) joined.emplace_back(key, g);
  for (const auto& [key, g] : joined) {
    groups_.erase(key);
    changed(key, {}, g.filter, g.user, now, out);
  }
}

void Machine::link_up(std::uint32_t interface_index, Instant now, std::vector<Message>& out) {
  for (auto& [at, link] : links_)
    if (at.first == interface_index) link = Link{};
  for (const IpFamily family : {IpFamily::v4, IpFamily::v6}) say_again(interface_index, family, now, out);
}

void Machine::link_down(std::uint32_t interface_index) {
  for (const IpFamily family : {IpFamily::v4, IpFamily::v6}) {
    Link& link = link_of(interface_index, family);
    link.up = false, link.general_at = Instant::never();
  }
  for (auto& [key, g] : groups_)
    if (key.interface_index == interface_index) g.change_at = g.answer_at = Instant::never();
  std::erase_if(groups_, [&](const auto& one) { return one.first.interface_index == interface_index && !one.second.filter.is_member(); });
  note_deadlines();
}

// ---- time

void Machine::note_deadlines() {
  next_ = Instant::never();
  for (const auto& [at, link] : links_) next_ = std::min(next_, link.general_at);
  leaving_.clear();
  leaving_of_all_ = 0;
  for (const auto& [key, g] : groups_) {
    next_ = std::min({next_, g.change_at, g.answer_at});
    if (!g.filter.is_member()) ++leaving_[g.user], ++leaving_of_all_;
  }
}

void Machine::run(Instant now, std::vector<Message>& out) {
  if (now < next_) return;
  for (auto& [at, link] : links_) {
    if (link.general_at > now) continue;
    link.general_at = Instant::never();
    answer_general(at.first, at.second, out);
  }
  for (auto it = groups_.begin(); it != groups_.end();) {
    const Key key = it->first;
    Group& g = it->second;
    ++it;  // report_change() may erase it
    const Age age = age_of(key.interface_index, key.group.family(), now);
    if (g.answer_at <= now) {
      g.answer_at = Instant::never();
      answer_group(key, g, age, out);
      g.asked.clear();
    }
    if (g.change_at > now) continue;
    if (age == Age::current) {
      report_change(key, g, now, out);
      continue;
    }
    out.push_back(of_older(Message::Kind::joined, age, key));
    g.change_at = --g.mode_left > 0 ? now + within(kOldUnsolicitedInterval) : Instant::never();
  }
  note_deadlines();
}

}  // namespace iopkt::group
