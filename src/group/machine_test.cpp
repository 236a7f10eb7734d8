#include "group/machine.hpp"

#include <gtest/gtest.h>

#include "group/table.hpp"

namespace iopkt::group {
namespace {

using wire::IpAddress;
using wire::IpFamily;
using wire::Ipv4Address;

constexpr Ipv4Address kGroup{239, 1, 1, 1}, kOther{239, 1, 1, 2}, kSsm{232, 1, 1, 1};
constexpr Ipv4Address kA{10, 0, 0, 1}, kB{10, 0, 0, 2}, kC{10, 0, 0, 3};

Filter including(std::vector<IpAddress> sources) { return {false, std::move(sources)}; }
Filter excluding(std::vector<IpAddress> sources) { return {true, std::move(sources)}; }

/// An interface 1, with what it says at which time.
struct Rig {
  Machine machine{7};
  Instant now{};
  std::vector<std::pair<Instant, Message>> said;
  Filter current;

  void note(std::vector<Message> out) {
    for (Message& m : out) said.emplace_back(now, std::move(m));
  }
  void set(const Filter& filter, const IpAddress& group = kGroup, std::uint32_t user = 0) {
    std::vector<Message> out;
    machine.changed({1, group}, std::exchange(current, filter), filter, user, now, out);
    note(std::move(out));
  }
  void hear(Query query) { machine.query_heard(1, query, now); }
  void wait(Duration time) {
    const Instant end = now + time;
    while (machine.next_deadline() <= end) {
      now = std::max(now, machine.next_deadline());
      std::vector<Message> out;
      machine.run(now, out);
      note(std::move(out));
    }
    now = end;
  }
  std::vector<Record> records() {
    std::vector<Record> all;
    for (const auto& [when, m] : said) all.insert(all.end(), m.records.begin(), m.records.end());
    said.clear();
    return all;
  }
};

Query about(std::optional<IpAddress> group, std::vector<IpAddress> sources = {}, Duration limit = 10s) {
  return {.age = Age::current, .family = IpFamily::v4, .group = group, .sources = std::move(sources), .max_response = limit};
}
Query of_v2(std::optional<IpAddress> group = std::nullopt) {
  return {.age = Age::older, .family = IpFamily::v4, .group = group, .max_response = 5s};
}

TEST(GroupMachine, JoiningAndLeavingIsToldTwice) {
  Rig r;
  r.set(Filter::everything());
  r.wait(5s);
  ASSERT_EQ(r.said.size(), 2u);
  EXPECT_EQ(r.said[0].first, Instant{});
  EXPECT_LE(r.said[1].first, Instant{} + 1s);
  EXPECT_EQ(r.records(), std::vector<Record>(2, {RecordType::to_exclude, kGroup, {}}));
  r.set({});
  r.wait(5s);
  EXPECT_EQ(r.records(), std::vector<Record>(2, {RecordType::to_include, kGroup, {}}));
  EXPECT_TRUE(r.machine.next_deadline().is_never());
  r.hear(about(std::nullopt));
  r.wait(20s);
  EXPECT_TRUE(r.said.empty()) << "nothing is left of it";
}

/// RFC 3376 section 5.1, the table of old and new states.
TEST(GroupMachine, ADifferenceOfSourcesIsToldAsSuch) {
  struct Case {
    Filter before, after;
    std::vector<Record> wanted;
  };
  const std::vector<Case> cases{
      {including({kA, kB}), including({kB, kC}), {{RecordType::allow, kGroup, {kC}}, {RecordType::block, kGroup, {kA}}}},
      {excluding({kA, kB}), excluding({kB, kC}), {{RecordType::allow, kGroup, {kA}}, {RecordType::block, kGroup, {kC}}}},
      {including({kA}), excluding({kB}), {{RecordType::to_exclude, kGroup, {kB}}}},
      {excluding({kA}), including({kB}), {{RecordType::to_include, kGroup, {kB}}}},
      {including({kA}), including({}), {{RecordType::block, kGroup, {kA}}}},
  };
  for (const Case& one : cases) {
    Rig r;
    r.set(one.before);
    r.wait(5s);
    r.said.clear();
    r.set(one.after);
    EXPECT_EQ(r.records(), one.wanted);
    r.wait(5s);
    EXPECT_EQ(r.records(), one.wanted) << "again, robustness - 1 times";
  }
}

TEST(GroupMachine, AChangeThatComesBeforeTheNextReportIsToldWithIt) {
  Rig r;
  r.set(including({kA}));
  r.set(including({kA, kB}));
  EXPECT_EQ(r.records(), (std::vector<Record>{{RecordType::allow, kGroup, {kA}}, {RecordType::allow, kGroup, {kA, kB}}}));
  r.wait(5s);
  EXPECT_EQ(r.records(), (std::vector<Record>{{RecordType::allow, kGroup, {kB}}}));
  r.set(excluding({}));
  r.said.clear();
  r.set(excluding({kC}));
  EXPECT_EQ(r.records(), (std::vector<Record>{{RecordType::to_exclude, kGroup, {kC}}})) << "a changed mode says it all";
}

TEST(GroupMachine, QueriesAreAnsweredOnceAndInTime) {
  Rig r;
  r.set(excluding({kA}));
  r.current = {};
  r.set(including({kB}), kOther);
  r.wait(5s);
  r.said.clear();
  const Instant asked = r.now;
  r.hear(about(std::nullopt));
  r.hear(about(std::nullopt));
  r.wait(20s);
  ASSERT_EQ(r.said.size(), 1u);
  EXPECT_GT(r.said[0].first, asked);
  EXPECT_LE(r.said[0].first, asked + 10s);
  EXPECT_EQ(r.records(), (std::vector<Record>{{RecordType::is_exclude, kGroup, {kA}}, {RecordType::is_include, kOther, {kB}}}));
  r.hear(about(kGroup));
  r.wait(20s);
  EXPECT_EQ(r.records(), (std::vector<Record>{{RecordType::is_exclude, kGroup, {kA}}}));
  r.hear(about(IpAddress{Ipv4Address{239, 9, 9, 9}}));
  r.wait(20s);
  EXPECT_TRUE(r.said.empty());
}

/// RFC 3376 section 5.2, the answers to a query about sources.
TEST(GroupMachine, AQueryAboutSourcesHearsOfThose) {
  Rig r;
  r.set(including({kA, kB}));
  r.wait(5s);
  r.said.clear();
  r.hear(about(kGroup, {kB, kC}));
  r.hear(about(kGroup, {kA}));
  r.wait(20s);
  EXPECT_EQ(r.records(), (std::vector<Record>{{RecordType::is_include, kGroup, {kA, kB}}})) << "both lists, in one answer";
  r.hear(about(kGroup, {kC}));
  r.wait(20s);
  EXPECT_TRUE(r.said.empty());
  r.hear(about(kGroup, {kC}));
  r.hear(about(kGroup));
  r.wait(20s);
  EXPECT_EQ(r.records(), (std::vector<Record>{{RecordType::is_include, kGroup, {kA, kB}}})) << "the whole list was asked for";
  r.set(excluding({kA}));
  r.wait(5s);
  r.said.clear();
  r.hear(about(kGroup, {kA, kB}));
  r.wait(20s);
  EXPECT_EQ(r.records(), (std::vector<Record>{{RecordType::is_include, kGroup, {kB}}}));
}

TEST(GroupMachine, AnOlderQuerierIsSpokenToInItsOwnVersion) {
  Rig r;
  r.set(excluding({kA}));
  r.wait(5s);
  r.said.clear();
  r.hear(of_v2());
  r.wait(5s);
  ASSERT_EQ(r.said.size(), 1u);
  EXPECT_EQ(r.said[0].second.kind, Message::Kind::joined);
  EXPECT_EQ(r.said[0].second.age, Age::older);
  r.said.clear();
  r.current = {};
  r.set(Filter::everything(), kOther);
  r.wait(10s);
  EXPECT_EQ(r.said.size(), 2u) << "joining is told twice in version 2 as well";
  r.said.clear();
  r.set({}, kOther);
  ASSERT_EQ(r.said.size(), 1u);
  EXPECT_EQ(r.said[0].second.kind, Message::Kind::left);
  r.said.clear();
  r.hear({.age = Age::oldest, .family = IpFamily::v4});
  r.wait(11s);
  ASSERT_EQ(r.said.size(), 1u);
  EXPECT_EQ(r.said[0].second.age, Age::oldest);
  EXPECT_EQ(r.machine.age_of(1, IpFamily::v4, r.now), Age::oldest);
  r.wait(300s);
  EXPECT_EQ(r.machine.age_of(1, IpFamily::v4, r.now), Age::current) << "2 * 125 s + 10 s after the last one";
}

TEST(GroupMachine, WhatAnotherHostReportsNeedNotBeReported) {
  Rig r;
  r.hear(of_v2());
  r.set(Filter::everything());
  r.wait(20s);
  r.said.clear();
  r.hear(of_v2());
  r.machine.report_heard({1, kGroup}, r.now);
  r.wait(20s);
  EXPECT_TRUE(r.said.empty());
  r.set({});
  EXPECT_TRUE(r.said.empty()) << "who did not report last says nothing when it goes";
}

TEST(GroupMachine, AnOlderReportSilencesNoCurrentOne) {
  Rig r;
  r.set(Filter::everything());
  r.machine.report_heard({1, kGroup}, r.now);
  r.wait(5s);
  EXPECT_EQ(r.records(), std::vector<Record>(2, {RecordType::to_exclude, kGroup, {}}));
  r.hear(about(kGroup));
  r.machine.report_heard({1, kGroup}, r.now);
  r.wait(20s);
  EXPECT_EQ(r.records(), (std::vector<Record>{{RecordType::is_exclude, kGroup, {}}}));
  r.set({});
  r.machine.report_heard({1, kGroup}, r.now);
  r.wait(5s);
  EXPECT_EQ(r.records(), std::vector<Record>(2, {RecordType::to_include, kGroup, {}})) << "and the group is forgotten with the last one";
  EXPECT_TRUE(r.machine.next_deadline().is_never());
}

TEST(GroupMachine, AQuerierSaysHowOftenAChangeIsTold) {
  Rig r;
  Query query = about(std::nullopt);
  query.robustness = 5;
  r.hear(query);
  r.set(Filter::everything());
  r.wait(20s);
  EXPECT_GE(r.records().size(), 5u);
}

TEST(GroupMachine, SourceSpecificGroupsHaveNoExclude) {
  Rig r;
  r.set(Filter::everything(), kSsm);
  r.hear(about(std::nullopt));
  r.wait(20s);
  EXPECT_TRUE(r.said.empty());
  Rig s;
  s.set(including({kA}), kSsm);
  EXPECT_EQ(s.records(), (std::vector<Record>{{RecordType::allow, kSsm, {kA}}}));
}

TEST(GroupMachine, SomeGroupsNeedNoWord) {
  Rig r;
  for (const char* group : {"224.0.0.1", "ff02::1", "ff01::5"}) {
    r.current = {};
    r.set(Filter::everything(), *IpAddress::parse(group));
  }
  r.hear(about(std::nullopt));
  r.wait(20s);
  EXPECT_TRUE(r.said.empty());
  EXPECT_FALSE(is_silent(*IpAddress::parse("ff02::2")));
  EXPECT_TRUE(is_source_specific(*IpAddress::parse("ff3e::1:2")));
  EXPECT_FALSE(is_source_specific(*IpAddress::parse("ff0e::1:2")));
}

TEST(GroupMachine, AnInterfaceThatComesUpSaysAllAnew) {
  Rig r;
  r.set(Filter::everything());
  r.wait(5s);
  r.said.clear();
  r.machine.link_down(1);
  r.hear(about(std::nullopt));
  r.wait(20s);
  EXPECT_TRUE(r.said.empty());
  std::vector<Message> out;
  r.machine.link_up(1, r.now, out);
  r.note(std::move(out));
  r.wait(5s);
  EXPECT_EQ(r.records(), std::vector<Record>(2, {RecordType::to_exclude, kGroup, {}}));
}

TEST(GroupMachine, NothingIsSaidWhereTheLinkWasDownBeforeAnybodyJoined) {
  Rig r;
  r.machine.link_down(1);
  r.set(Filter::everything());
  r.wait(20s);
  EXPECT_TRUE(r.said.empty());
  std::vector<Message> out;
  r.machine.link_up(1, r.now, out);
  r.note(std::move(out));
  EXPECT_EQ(r.records(), std::vector<Record>(1, {RecordType::to_exclude, kGroup, {}}));
}

TEST(GroupMachine, WhatIsSaidAtOneTimeGoesTogether) {
  Rig r;
  for (std::uint32_t i = 0; i < 300; ++i) r.current = {}, r.set(Filter::everything(), Ipv4Address{0xef020000 + i});
  r.machine.link_down(1);
  std::vector<Message> out;
  r.machine.link_up(1, r.now, out);
  ASSERT_EQ(out.size(), 1u) << "packets are filled up to the MTU by whoever sends it";
  EXPECT_EQ(out[0].records.size(), 300u);
}

TEST(GroupMachine, LeavingInALoopIsBounded) {
  Rig r;
  constexpr std::uint32_t kLoop = 3000;
  for (std::uint32_t i = 0; i < kLoop; ++i) r.set(Filter::everything(), Ipv4Address{0xef020000 + i}), r.set({}, Ipv4Address{0xef020000 + i});
  const auto ends = [&] {
    const std::vector<Record> all = r.records();
    return static_cast<std::size_t>(std::ranges::count(all, RecordType::to_include, &Record::type));
  };
  EXPECT_EQ(ends(), kLoop) << "each end is told";
  r.wait(5s);
  EXPECT_EQ(ends(), Machine::kLeavingMost) << "so many are told again";
  EXPECT_TRUE(r.machine.next_deadline().is_never());
  // One user's loop is not another's.
  for (std::uint32_t i = 0; i < kLoop; ++i) r.set(Filter::everything(), Ipv4Address{0xef020000 + i}, 1), r.set({}, Ipv4Address{0xef020000 + i}, 1);
  r.set(Filter::everything(), kGroup, 2), r.set({}, kGroup, 2);
  r.records();
  r.wait(5s);
  EXPECT_EQ(ends(), Machine::kLeavingMost + 1);
  // Many users together have a bound, too.
  for (std::uint32_t i = 0; i < 5 * Machine::kLeavingMost; ++i)
    r.set(Filter::everything(), Ipv4Address{0xef020000 + i}, 10 + i / 1000), r.set({}, Ipv4Address{0xef020000 + i}, 10 + i / 1000);
  r.records();
  r.wait(5s);
  EXPECT_EQ(ends(), Machine::kLeavingOfAll);
}

TEST(GroupMachine, AForgedOlderQueryIsBelievedForAWhile) {
  Rig r;
  r.set(Filter::everything());
  // The longest interval and the most losses that a query can speak of: 62 hours.
  r.hear({.age = Age::current, .family = IpFamily::v4, .max_response = 1s, .robustness = 7, .interval = 31744s});
  r.hear({.age = Age::oldest, .family = IpFamily::v4});
  r.wait(Machine::kOlderMost - 1s);
  EXPECT_EQ(r.machine.age_of(1, IpFamily::v4, r.now), Age::oldest);
  r.wait(2s);
  EXPECT_EQ(r.machine.age_of(1, IpFamily::v4, r.now), Age::current);
}

/// RFC 3376 section 3.2.
TEST(GroupTable, AnInterfaceListensToWhatItsSocketsDo) {
  Table table;
  const Key key{1, kGroup};
  EXPECT_EQ(table.merged(key), nullptr);
  EXPECT_EQ(table.set(key, 1, including({kA, kB})).after, including({kA, kB}));
  EXPECT_EQ(table.set(key, 2, including({kC})).after, including({kA, kB, kC}));
  EXPECT_EQ(table.set(key, 3, excluding({kA, IpAddress{Ipv4Address{10, 0, 0, 9}}})).after, excluding({Ipv4Address{10, 0, 0, 9}}));
  const Table::Change change = table.set(key, 4, excluding({kB}));
  EXPECT_EQ(change.before, excluding({Ipv4Address{10, 0, 0, 9}}));
  EXPECT_EQ(change.after, excluding({}));
  EXPECT_EQ(*table.of(key, 4), excluding({kB}));
  EXPECT_EQ(table.of(key, 9), nullptr);
  for (const Listener who : {1u, 2u, 3u, 4u}) table.remove(key, who);
  EXPECT_TRUE(table.empty());
  EXPECT_FALSE(table.set(key, 1, {}, true).after.is_member()) << "a socket that hears nothing of it, yet has joined";
  EXPECT_EQ(table.merged(key), nullptr);
  EXPECT_FALSE(table.empty());
}

TEST(GroupTable, ListenersMayComeAndGoInAnyOrder) {
  Table table;
  const Key key{1, kGroup};
  for (const std::uint32_t who : {7u, 1u, 9u, 3u, 8u, 2u}) table.set(key, who, including({Ipv4Address{who}}));
  EXPECT_EQ(*table.merged(key), including({Ipv4Address{1}, Ipv4Address{2}, Ipv4Address{3}, Ipv4Address{7}, Ipv4Address{8}, Ipv4Address{9}}));
  table.set(key, 9, excluding({kA}));
  table.remove(key, 5);
  table.remove(key, 3);
  for (const std::uint32_t who : {7u, 1u, 8u, 2u}) {
    ASSERT_NE(table.of(key, who), nullptr) << who;
    EXPECT_EQ(*table.of(key, who), including({Ipv4Address{who}}));
  }
  EXPECT_EQ(*table.of(key, 9), excluding({kA}));
  for (const Listener who : {0u, 3u, 5u, 10u}) EXPECT_EQ(table.of(key, who), nullptr) << who;
  ASSERT_EQ(table.rows().size(), 1u);
  EXPECT_EQ(table.rows()[0].listeners, 5u);
}

}  // namespace
}  // namespace iopkt::group
