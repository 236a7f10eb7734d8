// The neighbour machine in virtual time: who is asked, how often, and what is believed.
#include "neigh/neighbours.hpp"

#include <gtest/gtest.h>

#include "neigh/pending.hpp"
#include "tests/support/test_pool.hpp"

namespace iopkt::neigh {

void PrintTo(const Action& a, std::ostream* out) {
  *out << "action " << static_cast<int>(a.kind) << ' ' << a.key.address.to_string() << ' '
       << a.mac.to_string();
}

namespace {

using K = Action::Kind;
using wire::Ipv4Address;

constexpr MacAddress kMac{{2, 0, 0, 0, 0, 1}}, kOther{{2, 0, 0, 0, 0, 2}};

Key key(std::uint8_t host, std::uint32_t interface_index = 1) {
  return {interface_index, Ipv4Address{10, 0, 0, host}};
}

class NeighboursTest : public testing::Test {
 protected:
  Lookup::Kind lookup(const Key& k) { return table_.lookup_or_start(k, now_, out_).kind; }
  Learned hear(const Key& k, const MacAddress& mac, Heard how) {
    return table_.learned(k, mac, how, now_, out_);
  }
  Actions take() { return std::exchange(out_, {}); }
  /// To `later` and through every deadline on the way, each at its time.
  Actions pass(Duration later) {
    const Instant end = now_ + later;
    while (table_.next_deadline() <= end) {
      now_ = std::max(now_, table_.next_deadline());
      table_.run(now_, out_);
    }
    now_ = end;
    return take();
  }
  State state(const Key& k) { return table_.find(k)->state; }
  void resolve(const Key& k) {
    lookup(k);
    hear(k, kMac, Heard::reply);
    take();
  }
  NeighbourTunables tunables_ = initial_values<NeighbourTunables>();
  Neighbours table_{tunables_, {1, 2}};
  Instant now_{1'000'000'000};
  Actions out_;
};

TEST_F(NeighboursTest, AdvertisementsAsRfc4861Section7_2_5) {
  const struct {
    const char* says;
    Heard how;
    bool other;        // another address than the known one
    State before, after;
    bool takes_other;
  } rows[] = {
      {"solicited, the same", Heard::solicited, false, State::stale, State::reachable, false},
      {"solicited, another: doubt", Heard::solicited, true, State::reachable, State::stale, false},
      {"solicited, another, in doubt already", Heard::solicited, true, State::stale, State::stale, false},
      {"unsolicited, another: doubt", Heard::unsolicited, true, State::reachable, State::stale, false},
      {"unsolicited, the same", Heard::unsolicited, false, State::reachable, State::reachable, false},
      {"unsolicited, the same, in doubt", Heard::unsolicited, false, State::stale, State::stale, false},
      {"solicited with override", Heard::solicited_override, true, State::reachable, State::reachable, true},
      {"solicited with override, in doubt", Heard::solicited_override, true, State::stale, State::reachable, true},
      {"unsolicited with override", Heard::announcement, true, State::reachable, State::stale, true},
  };
  std::uint8_t host = 10;
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    const Key k = key(++host);
    resolve(k);
    if (row.before == State::stale) {
      pass(std::chrono::seconds{tunables_.reachable_s});
      ASSERT_EQ(state(k), State::stale);
    }
    hear(k, row.other ? kOther : kMac, row.how);
    EXPECT_EQ(state(k), row.after);
    EXPECT_EQ(table_.find(k)->mac, row.takes_other ? kOther : kMac);
  }
  for (const auto& [how, after] : {std::pair{Heard::solicited, State::reachable}, std::pair{Heard::solicited_override, State::reachable},
                                   std::pair{Heard::unsolicited, State::stale}}) {
    const Key k = key(++host);
    EXPECT_EQ(hear(k, kMac, how), Learned::unknown) << "nobody was asked";
    lookup(k);
    EXPECT_EQ(hear(k, kMac, how), Learned::created);
    EXPECT_EQ(state(k), after);
  }
}

TEST_F(NeighboursTest, AsksOncePerSecondAndGivesUp) {
  EXPECT_EQ(lookup(key(2)), Lookup::Kind::waiting);
  EXPECT_EQ(take(), (Actions{{K::solicit, key(2), {}}}));
  EXPECT_EQ(lookup(key(2)), Lookup::Kind::waiting) << "asked already";
  EXPECT_TRUE(take().empty());
  EXPECT_TRUE(pass(999ms).empty());
  EXPECT_EQ(pass(1ms), (Actions{{K::solicit, key(2), {}}}));
  EXPECT_EQ(pass(1s), (Actions{{K::solicit, key(2), {}}}));
  EXPECT_EQ(pass(1s), (Actions{{K::failed, key(2), {}}}));
  EXPECT_EQ(lookup(key(2)), Lookup::Kind::unreachable);
  EXPECT_TRUE(take().empty());
  EXPECT_EQ(pass(3s), (Actions{{K::forgotten, key(2), {}}}));
  EXPECT_EQ(lookup(key(2)), Lookup::Kind::waiting) << "another try";
}

TEST_F(NeighboursTest, WhatRoutersSayIsOfIpv6OnTheirLink) {
  const Key ours{1, wire::IpAddress{*wire::Ipv6Address::parse("2001:db8::1")}}, elsewhere{2, ours.address};
  table_.set_times(1, {.reachable_ms = 500, .retransmit_ms = 100});
  resolve(ours);
  resolve(elsewhere);
  resolve(key(1));
  pass(501ms);
  EXPECT_EQ(state(ours), State::stale);
  EXPECT_EQ(state(elsewhere), State::reachable);
  EXPECT_EQ(state(key(1)), State::reachable);
  table_.set_times(1, {});
  hear(ours, kMac, Heard::solicited_override);
  pass(501ms);
  EXPECT_EQ(state(ours), State::reachable) << "no longer said";
}

TEST_F(NeighboursTest, AReplyResolves) {
  lookup(key(2));
  take();
  EXPECT_EQ(hear(key(2), kMac, Heard::reply), Learned::created);
  EXPECT_EQ(take(), (Actions{{K::resolved, key(2), kMac}}));
  const Lookup found = table_.lookup_or_start(key(2), now_, out_);
  EXPECT_EQ(found.kind, Lookup::Kind::resolved);
  EXPECT_EQ(found.mac, kMac);
  EXPECT_EQ(state(key(2)), State::reachable);
}

TEST_F(NeighboursTest, AReplyThatComesLateStillCounts) {
  lookup(key(2));
  pass(3s);
  EXPECT_EQ(state(key(2)), State::failed);
  EXPECT_EQ(hear(key(2), kMac, Heard::reply), Learned::created);
  EXPECT_EQ(lookup(key(2)), Lookup::Kind::resolved);
}

TEST_F(NeighboursTest, AnUnusedNeighbourGoesStaleAndIsForgotten) {
  resolve(key(2));
  EXPECT_EQ(pass(30s), (Actions{{K::stale, key(2), kMac}}));
  EXPECT_EQ(pass(1200s), (Actions{{K::forgotten, key(2), {}}}));
  EXPECT_EQ(table_.size(), 0u);
  EXPECT_TRUE(table_.next_deadline().is_never());
}

TEST_F(NeighboursTest, AUsedStaleNeighbourIsProbedByUnicastThenByBroadcast) {
  resolve(key(2));
  pass(30s);
  EXPECT_EQ(lookup(key(2)), Lookup::Kind::resolved) << "used while in doubt";
  EXPECT_EQ(state(key(2)), State::delay);
  EXPECT_EQ(pass(5s), (Actions{{K::solicit, key(2), kMac}}));
  EXPECT_EQ(lookup(key(2)), Lookup::Kind::resolved);
  EXPECT_EQ(pass(1s), (Actions{{K::solicit, key(2), kMac}}));
  EXPECT_EQ(pass(1s), (Actions{{K::solicit, key(2), {}}}));
  EXPECT_EQ(pass(1s), (Actions{{K::failed, key(2), {}}}));
}

TEST_F(NeighboursTest, AProbeIsAnswered) {
  resolve(key(2));
  pass(30s);
  lookup(key(2));
  pass(5s);
  EXPECT_EQ(hear(key(2), kMac, Heard::reply), Learned::confirmed);
  EXPECT_EQ(state(key(2)), State::reachable);
  EXPECT_EQ(take(), (Actions{{K::resolved, key(2), kMac}})) << "replicas stop to report";
}

TEST_F(NeighboursTest, AHostThatMovedIsFoundByTheProbe) {
  resolve(key(2));
  pass(30s);
  lookup(key(2));
  pass(7s);
  EXPECT_EQ(hear(key(2), kOther, Heard::reply), Learned::changed);
  EXPECT_EQ(state(key(2)), State::reachable);
  EXPECT_EQ(table_.find(key(2))->mac, kOther);
}

TEST_F(NeighboursTest, ProgressConfirms) {
  resolve(key(2));
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(pass(20s).empty());
    table_.confirm(key(2), now_, out_);
  }
  EXPECT_EQ(pass(30s), (Actions{{K::stale, key(2), kMac}})) << "30 s after the last";
  lookup(key(2));
  table_.confirm(key(2), now_, out_);
  EXPECT_EQ(take(), (Actions{{K::resolved, key(2), kMac}}));
  table_.confirm(key(9), now_, out_);
  lookup(key(3));
  take();
  table_.confirm(key(3), now_, out_);
  EXPECT_EQ(state(key(3)), State::incomplete) << "nothing can have been sent there";
}

TEST_F(NeighboursTest, BelievesAsMuchAsRfc826AndNoMore) {
  EXPECT_EQ(hear(key(2), kMac, Heard::announcement), Learned::unknown);
  EXPECT_EQ(hear(key(2), kMac, Heard::reply), Learned::unknown) << "nobody asked";
  EXPECT_EQ(table_.size(), 0u);
  EXPECT_EQ(hear(key(2), kMac, Heard::request), Learned::created);
  EXPECT_EQ(take(), (Actions{{K::stale, key(2), kMac}}));
  EXPECT_EQ(hear(key(2), kMac, Heard::announcement), Learned::unchanged);
  EXPECT_EQ(hear(key(2), kOther, Heard::announcement), Learned::changed);
  EXPECT_EQ(take(), (Actions{{K::resolved, key(2), kOther}, {K::stale, key(2), kOther}}));
}

TEST_F(NeighboursTest, AClaimOfAnotherAddressIsCheckedBeforeItCounts) {
  resolve(key(2));
  for (const Heard how : {Heard::reply, Heard::request, Heard::announcement}) {
    table_.erase(key(2), out_);
    resolve(key(2));
    EXPECT_EQ(hear(key(2), kOther, how), Learned::changed);
    EXPECT_EQ(state(key(2)), State::stale);
  }
}

TEST_F(NeighboursTest, WhoAsksUsWhileWeAskIsResolved) {
  for (const Heard how : {Heard::request, Heard::announcement}) {
    table_.erase(key(2), out_);
    lookup(key(2));
    take();
    EXPECT_EQ(hear(key(2), kMac, how), Learned::created);
    EXPECT_EQ(take(), (Actions{{K::resolved, key(2), kMac}, {K::stale, key(2), kMac}}));
    EXPECT_EQ(lookup(key(2)), Lookup::Kind::resolved);
  }
}

TEST_F(NeighboursTest, StaticEntriesStay) {
  ASSERT_TRUE(table_.set_static(key(2), kMac, {}, now_, out_));
  EXPECT_EQ(take(), (Actions{{K::resolved, key(2), kMac}}));
  EXPECT_EQ(hear(key(2), kOther, Heard::reply), Learned::refused_permanent);
  EXPECT_EQ(hear(key(2), kMac, Heard::reply), Learned::unchanged);
  EXPECT_TRUE(pass(100'000s).empty());
  EXPECT_EQ(lookup(key(2)), Lookup::Kind::resolved);
  EXPECT_TRUE(table_.erase(key(2), out_));
  EXPECT_EQ(take(), (Actions{{K::forgotten, key(2), {}}}));
  EXPECT_FALSE(table_.erase(key(2), out_));
}

TEST_F(NeighboursTest, TemporaryStaticEntriesEnd) {
  ASSERT_TRUE(table_.set_static(key(2), kMac, {.temporary = true}, now_, out_));
  ASSERT_TRUE(table_.list()[0].expires);
  EXPECT_EQ(*table_.list()[0].expires, now_ + 1200s);
  take();
  EXPECT_EQ(pass(1200s), (Actions{{K::forgotten, key(2), {}}}));
}

TEST_F(NeighboursTest, AStaticEntryReplacesWhatWasLearned) {
  lookup(key(2));
  take();
  ASSERT_TRUE(table_.set_static(key(2), kMac, {}, now_, out_));
  EXPECT_EQ(take(), (Actions{{K::resolved, key(2), kMac}})) << "what waited is sent";
  EXPECT_TRUE(pass(1000s).empty());
}

TEST_F(NeighboursTest, PublishesForOthers) {
  table_.set_static(key(2), kMac, {.published = true}, now_, out_);
  table_.set_static(key(3), kOther, {.proxy_only = true}, now_, out_);
  resolve(key(4));
  EXPECT_EQ(table_.published(1, key(2).address), kMac);
  EXPECT_EQ(table_.published(1, key(3).address), kOther);
  EXPECT_FALSE(table_.published(2, key(2).address)) << "on its own link only";
  EXPECT_FALSE(table_.published(1, key(4).address));
  EXPECT_EQ(lookup(key(3)), Lookup::Kind::unreachable) << "published only";
}

TEST_F(NeighboursTest, AnInterfaceTakesItsNeighboursAlong) {
  resolve(key(2));
  resolve(key(2, 7));
  table_.set_static(key(3), kMac, {}, now_, out_);
  take();
  table_.erase_interface(1, true, out_);
  EXPECT_EQ(take(), (Actions{{K::forgotten, key(2), {}}}));
  table_.erase_interface(1, false, out_);
  EXPECT_EQ(take(), (Actions{{K::forgotten, key(3), {}}}));
  EXPECT_EQ(table_.size(), 1u);
}

TEST_F(NeighboursTest, WhenFullWhatNeverAnsweredGoesFirst) {
  tunables_.max_entries = 16;
  for (std::uint8_t host = 1; host <= 8; ++host) resolve(key(host));
  for (std::uint8_t host = 101; host <= 120; ++host) {
    lookup(key(host));
    EXPECT_LE(table_.size(), 16u);
  }
  const Actions out = take();
  EXPECT_EQ(std::count_if(out.begin(), out.end(), [](const Action& a) { return a.kind == K::forgotten; }),
            12);
  for (std::uint8_t host = 1; host <= 8; ++host) EXPECT_NE(table_.find(key(host)), nullptr);
  EXPECT_EQ(table_.find(key(101)), nullptr) << "the oldest";
  EXPECT_NE(table_.find(key(120)), nullptr);
}

TEST_F(NeighboursTest, ThenTheLeastRecentlyUsed) {
  tunables_.max_entries = 16;
  for (std::uint8_t host = 1; host <= 16; ++host) resolve(key(host));
  lookup(key(1));
  lookup(key(99));
  EXPECT_NE(table_.find(key(1)), nullptr);
  EXPECT_EQ(table_.find(key(2)), nullptr);
}

TEST_F(NeighboursTest, PermanentEntriesMayFillIt) {
  tunables_.max_entries = 16;
  for (std::uint8_t host = 1; host <= 16; ++host)
    ASSERT_TRUE(table_.set_static(key(host), kMac, {}, now_, out_));
  EXPECT_FALSE(table_.set_static(key(50), kMac, {}, now_, out_));
  EXPECT_EQ(lookup(key(51)), Lookup::Kind::full);
  EXPECT_EQ(hear(key(52), kMac, Heard::request), Learned::refused_full);
}

TEST_F(NeighboursTest, ListsByKey) {
  resolve(key(3));
  lookup(key(2));
  const auto list = table_.list();
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0].key, key(2));
  EXPECT_EQ(list[0].state, State::incomplete);
  EXPECT_TRUE(list[0].mac.is_zero());
  EXPECT_EQ(list[1].mac, kMac);
}

TEST_F(NeighboursTest, BothFamiliesAreKeys) {
  const Key v6{1, *wire::Ipv6Address::parse("fe80::1")};
  resolve(v6);
  EXPECT_EQ(lookup(v6), Lookup::Kind::resolved);
  EXPECT_EQ(table_.list()[0].key, v6);
}

/// The replica says what the master would, whatever happens; and reports each stale neighbour once.
TEST_F(NeighboursTest, AReplicaFollowsTheMaster) {
  NeighbourReplica replica{{3, 4}};
  Random random{5};
  for (int i = 0; i < 20'000; ++i) {
    const Key k = key(static_cast<std::uint8_t>(random.below(6)));
    switch (random.below(7)) {
      case 0:
        lookup(k);
        break;
      case 1:
        hear(k, random.chance(0.2) ? kOther : kMac, static_cast<Heard>(random.below(3)));
        break;
      case 2:
        table_.confirm(k, now_, out_);
        break;
      case 3:
        table_.erase(k, out_);
        break;
      case 4:
        table_.used(k, now_, out_);
        break;
      case 5:
        now_ += Duration{static_cast<std::int64_t>(random.below(20'000'000'000))};
        table_.run(now_, out_);
        break;
      default:
        break;
    }
    for (const Action& action : take()) replica.apply(action);
    for (std::uint8_t host = 0; host < 6; ++host) {
      const Entry* entry = table_.find(key(host));
      const Lookup got = replica.lookup(key(host));
      if (entry == nullptr || entry->state == State::incomplete) {
        // Only for an entry that failed before does a replica know more than "unknown".
        ASSERT_EQ(got.kind, Lookup::Kind::waiting);
      } else if (entry->state == State::failed) {
        ASSERT_EQ(got.kind, Lookup::Kind::unreachable);
      } else {
        ASSERT_EQ(got.kind, Lookup::Kind::resolved);
        ASSERT_EQ(got.mac, entry->mac);
        if (entry->state == State::reachable) {
          ASSERT_FALSE(got.report_use);
        }
        ASSERT_FALSE(replica.lookup(key(host)).report_use) << "once";
      }
    }
  }
}

TEST(NeighbourReplica, ReportsTheUseOfAStaleNeighbour) {
  NeighbourReplica replica{{}};
  replica.apply({K::stale, key(2), kMac});
  EXPECT_TRUE(replica.lookup(key(2)).report_use);
  EXPECT_FALSE(replica.lookup(key(2)).report_use);
  replica.apply({K::resolved, key(2), kMac});
  replica.apply({K::stale, key(2), kMac});
  EXPECT_TRUE(replica.lookup(key(2)).report_use) << "stale again";
}

class PendingTest : public testing::Test {
 protected:
  std::vector<std::size_t> sizes(packet::Burst burst) {
    std::vector<std::size_t> out;
    for (const auto& p : burst) out.push_back(p->size());
    return out;
  }
  test::TestPool pool_;
  NeighbourTunables tunables_ = initial_values<NeighbourTunables>();
  PendingPackets pending_{tunables_, {1, 2}};
};

TEST_F(PendingTest, KeepsTheOrderAndTheLatest) {
  tunables_.max_hold = 3;
  for (std::size_t n = 1; n <= 5; ++n) {
    const auto held = pending_.hold(key(2), pool_.packet(test::Data(n)));
    ASSERT_EQ(static_cast<bool>(held.dropped), n > 3);
    if (n <= 3) continue;
    EXPECT_EQ(held.dropped->size(), n - 3);
    EXPECT_EQ(held.why, packet::Drop::arp_queue_full);
  }
  pending_.hold(key(3), pool_.packet(test::Data(9)));
  EXPECT_EQ(pending_.size(), 4u);
  EXPECT_EQ(sizes(pending_.take(key(2))), (std::vector<std::size_t>{3, 4, 5}));
  EXPECT_TRUE(pending_.take(key(2)).empty());
  EXPECT_EQ(pending_.size(), 1u);
}

TEST_F(PendingTest, HasABoundOverAllNeighbours) {
  tunables_.max_hold_total = 2;
  pending_.hold(key(1), pool_.packet(test::Data(1)));
  pending_.hold(key(2), pool_.packet(test::Data(2)));
  EXPECT_EQ(pending_.hold(key(3), pool_.packet(test::Data(3))).dropped->size(), 3u);
  EXPECT_EQ(pending_.hold(key(2), pool_.packet(test::Data(4))).dropped->size(), 2u);
  EXPECT_EQ(pending_.size(), 2u);
  EXPECT_EQ(sizes(pending_.take(key(2))), (std::vector<std::size_t>{4}));
}

TEST_F(PendingTest, OwnsWhatWasLent) {
  test::Data lent = test::counted(100);
  auto packet = packet::allocate_header(pool_.cache());
  ASSERT_TRUE(packet->append_borrowed(lent));
  pending_.hold(key(1), std::move(packet));
  std::fill(lent.begin(), lent.end(), std::byte{0xee});
  EXPECT_EQ(test::data_of(*pending_.take(key(1))[0]), test::counted(100));
}

}  // namespace
}  // namespace iopkt::neigh
