#include "base/hash_map.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace iopkt {
namespace {

/// A hash that an attacker would like: few values, so long runs that go round the end of the table.
struct BadHash {
  std::uint32_t modulus = 3;
  std::uint64_t operator()(std::uint32_t key) const { return 0x7ffffffeu + key % modulus; }
};

template <class Hash>
void compare_with_the_standard_map(Hash hash, std::uint64_t seed, std::size_t key_count,
                                   std::size_t max_size) {
  Random random{seed};
  FlatMap<std::uint32_t, std::string, Hash> map{hash, max_size};
  std::unordered_map<std::uint32_t, std::string> model;
  for (int step = 0; step < 20'000; ++step) {
    const auto key = static_cast<std::uint32_t>(random.below(key_count));
    const std::uint64_t what = random.below(100);
    if (what < 50) {
      const std::string value = "value " + std::to_string(step);
      const auto [at, is_new] = map.try_emplace(key, value);
      if (model.size() == max_size && !model.contains(key)) {
        ASSERT_EQ(at, nullptr);
        ASSERT_FALSE(is_new);
      } else {
        const auto [there, was_new] = model.try_emplace(key, value);
        ASSERT_NE(at, nullptr);
        ASSERT_EQ(is_new, was_new);
        ASSERT_EQ(*at, there->second);
      }
    } else if (what < 98) {
      ASSERT_EQ(map.erase(key), model.erase(key) == 1);
    } else if (what < 99) {
      std::unordered_set<std::uint32_t> asked;
      const auto dead = [&](std::uint32_t k, const std::string& v) { return (k + v.size()) % 3 == 0; };
      const std::size_t erased = map.erase_if([&](const std::uint32_t& k, const std::string& v) {
        EXPECT_TRUE(asked.insert(k).second) << "asked twice";
        return dead(k, v);
      });
      ASSERT_EQ(asked.size(), model.size());
      ASSERT_EQ(erased, std::erase_if(model, [&](const auto& e) { return dead(e.first, e.second); }));
    }
    ASSERT_EQ(map.size(), model.size());
    const auto probe = static_cast<std::uint32_t>(random.below(key_count));
    ASSERT_EQ(map.contains(probe), model.contains(probe));
    if (step % 500 != 0) continue;
    std::size_t seen = 0;
    std::as_const(map).for_each([&](const std::uint32_t& k, const std::string& v) {
      ++seen;
      const auto there = model.find(k);
      ASSERT_NE(there, model.end());
      EXPECT_EQ(v, there->second);
    });
    ASSERT_EQ(seen, model.size());
  }
}

TEST(FlatMap, BehavesAsTheStandardMapUnderRandomCalls) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE(seed);
    compare_with_the_standard_map(SipHash{{seed, 2}}, seed, 40, 1000);
    compare_with_the_standard_map(SipHash{{seed, 2}}, seed, 5000, 100'000);
    compare_with_the_standard_map(SipHash{{seed, 2}}, seed, 200, 50);
    compare_with_the_standard_map(BadHash{3}, seed, 60, 1000);
    compare_with_the_standard_map(BadHash{1}, seed, 20, 12);
  }
}

TEST(FlatMap, IsBoundedAndFindsWhatItHasWhenFull) {
  FlatMap<std::uint32_t, int, SipHash> map{SipHash{{1, 2}}, 100};
  for (std::uint32_t key = 0; key < 100; ++key) ASSERT_TRUE(map.try_emplace(key, 1).is_new);
  EXPECT_EQ(map.try_emplace(100u, 1).value, nullptr);
  ASSERT_NE(map.try_emplace(7u, 9).value, nullptr);
  EXPECT_EQ(*map.find(7), 1) << "an element that is there keeps its value";
  EXPECT_EQ(map.size(), 100u);
  EXPECT_LE(map.capacity(), 256u);
}

TEST(FlatMap, TakesMemoryOnlyWhenItMust) {
  FlatMap<std::uint32_t, int, SipHash> map{SipHash{}};
  EXPECT_EQ(map.capacity(), 0u);
  EXPECT_EQ(map.find(1), nullptr);
  EXPECT_FALSE(map.erase(1));
  EXPECT_EQ(map.erase_if([](const auto&, auto&) { return true; }), 0u);
  map.reserve(1000);
  const std::size_t capacity = map.capacity();
  for (std::uint32_t key = 0; key < 1000; ++key) map.try_emplace(key, 0);
  EXPECT_EQ(map.capacity(), capacity);
  for (int round = 0; round < 10'000; ++round) {  // no tombstones: coming and going never grows the table
    map.erase(static_cast<std::uint32_t>(round));
    map.try_emplace(static_cast<std::uint32_t>(round + 1000), 0);
  }
  EXPECT_EQ(map.capacity(), capacity);
  map.clear();
  EXPECT_EQ(map.capacity(), 0u);
  EXPECT_TRUE(map.empty());
}

TEST(FlatMap, OwnsWhatItHolds) {
  auto watched = std::make_shared<int>(1);
  {
    FlatMap<std::uint32_t, std::shared_ptr<int>, BadHash> map{BadHash{2}};
    for (std::uint32_t key = 0; key < 50; ++key) map.try_emplace(key, watched);
    EXPECT_EQ(watched.use_count(), 51);
    for (std::uint32_t key = 0; key < 50; key += 2) map.erase(key);
    EXPECT_EQ(watched.use_count(), 26);
    FlatMap<std::uint32_t, std::shared_ptr<int>, BadHash> moved{std::move(map)};
    EXPECT_EQ(moved.size(), 25u);
    EXPECT_EQ(watched.use_count(), 26);
    FlatMap<std::uint32_t, std::shared_ptr<int>, BadHash> assigned{BadHash{2}};
    assigned.try_emplace(1u, watched);
    assigned = std::move(moved);
    EXPECT_EQ(watched.use_count(), 26);
    EXPECT_TRUE(assigned.contains(49));
  }
  EXPECT_EQ(watched.use_count(), 1);
}

TEST(FlatMap, TakesKeysAndValuesThatOnlyMove) {
  FlatMap<std::uint32_t, std::unique_ptr<int>, SipHash> map{SipHash{{3, 4}}};
  for (std::uint32_t key = 0; key < 100; ++key)
    map.try_emplace(key, std::make_unique<int>(static_cast<int>(key)));
  for (std::uint32_t key = 0; key < 100; ++key) EXPECT_EQ(**map.find(key), static_cast<int>(key));
}

struct Named {
  std::uint32_t name = 0;
};
std::uint32_t name_of(const Named* one) { return one->name; }

TEST(FlatMap, FindsValuesThatKnowTheirKey) {
  std::vector<Named> all(200);
  FlatMap<std::uint32_t, Named*, BadHash, KeyInside<std::uint32_t, Named*, name_of>> map{BadHash{5}};
  for (std::uint32_t key = 0; key < all.size(); ++key) {
    ASSERT_TRUE(map.try_emplace(key, &all[key]).is_new);
    all[key].name = key;
  }
  EXPECT_FALSE(map.try_emplace(7u, &all[8]).is_new);
  for (std::uint32_t key = 0; key < all.size(); key += 2) EXPECT_TRUE(map.erase(key));
  EXPECT_EQ(map.erase_if([](const std::uint32_t& key, Named* one) { return key != one->name || key % 3 == 0; }), 33u);
  for (std::uint32_t key = 0; key < all.size(); ++key) {
    Named** const found = map.find(key);
    ASSERT_EQ(found != nullptr, key % 2 == 1 && key % 3 != 0) << key;
    ASSERT_TRUE(found == nullptr || *found == &all[key]);
  }
}

}  // namespace
}  // namespace iopkt
