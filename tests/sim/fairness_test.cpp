// Flows that share a bottleneck: what each gets of it, kept as a snapshot (scripts/goodput), with bounds where a standard has an opinion.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <vector>

#include "tests/support/sim_net.hpp"
#include "tests/support/snapshot.hpp"

namespace iopkt::sim {
namespace {

struct Pair {
  const char* first;
  const char* second;
  Duration first_round_trip = 40ms, second_round_trip = 40ms;
  double queue = 1;     ///< bandwidth-delay products of 40 ms
  double least = 0;     ///< of Jain's index
  const char* why = "";
  bool in_ctest = true;  ///< false: scripts/goodput grid alone
};

struct Shares {
  double first = 0, second = 0;  ///< bytes in the time that counts
  double used = 0;               ///< of the rate, payload alone
  /// Jain's index of two shares: 1 is equal, 0.5 is all for one.
  double jain() const { return (first + second) * (first + second) / (2 * (first * first + second * second)); }
};

/// Two hosts send to a third through one link of 20 Mbit/s; what counts is the time from 12 s to 32 s.
Shares compete(const Pair& pair, Duration second_begins) {
  constexpr std::uint64_t kRate = 20'000'000;
  constexpr double kProduct = kRate / 8 * 0.04 / 1514;
  SimNet net{1};
  net.tracing = false;
  Host& a = net.host("10.0.0.1/24", {.ring = 1u << 20});
  Host& b = net.host("10.0.0.2/24", {.ring = 1u << 20});
  Host& c = net.host("10.0.0.3/24", {.ring = 1u << 20});
  const auto use = [&](Host& host, const char* control) {
    stack::Network next = *host.stack().network();
    next.settings.congestion = tcp::find_congestion(control);
    host.stack().publish(std::move(next));
  };
  use(a, pair.first), use(b, pair.second);
  net.run_for(1ms);
  net.link({&a, &b}, {&c}, {.delay = 1ms, .rate_bps = kRate, .queue = static_cast<std::size_t>(kProduct * pair.queue)});
  // The way back tells them apart: both hear each frame, and each takes what is addressed to it.
  net.link({&c}, {&a}, {.delay = pair.first_round_trip - 1ms});
  net.link({&c}, {&b}, {.delay = pair.second_round_trip - 1ms});
  std::map<wire::IpAddress, Host::Stream*> taken;
  c.listen(wire::Port{7}, [&](Host::Stream& s) { taken[c.shard(s.shard).remote_endpoint(s.id).address] = &s; });
  const auto begin = [&](Host& host) { host.connect({c.address(), wire::Port{7}}).to_send.resize(kRate / 8 * 30); };
  begin(a);
  net.run_for(second_begins);
  begin(b);
  net.run_for(12s - second_begins);
  const std::size_t a_before = taken.at(a.address())->received.size(), b_before = taken.at(b.address())->received.size();
  net.run_for(20s);
  Shares out;
  out.first = static_cast<double>(taken.at(a.address())->received.size() - a_before);
  out.second = static_cast<double>(taken.at(b.address())->received.size() - b_before);
  out.used = (out.first + out.second) / (kRate / 8 * 20.0);
  return out;
}

/// One queue drops by the phase in which two flows meet at it (Floyd, Jacobson: "On traffic phase effects", 1992): a single run says
/// little of the algorithms.
constexpr Duration kBeginnings[] = {3s, 3137ms, 3274ms};

constexpr Pair kPairs[] = {
    {.first = "cubic", .second = "cubic", .least = 0.95, .why = "RFC 9438 section 3.3: equal flows share equally"},
    {.first = "reno", .second = "reno", .least = 0.95, .why = "RFC 5681"},
    {.first = "cubic", .second = "reno", .least = 0.8, .why = "RFC 9438 section 5.1: Reno-friendly where the product is small"},
    {.first = "bbr", .second = "bbr", .least = 0.9, .why = "draft-ietf-ccwg-bbr section 3.2: about equal shares"},
    {.first = "cubic", .second = "bbr"},
    {.first = "cubic", .second = "bbr", .queue = 4, .in_ctest = false},
    {.first = "bbr", .second = "cubic"},
    {.first = "reno", .second = "bbr", .in_ctest = false},
    {.first = "cubic", .second = "cubic", .second_round_trip = 120ms, .least = 0.6, .why = "RFC 9438 section 3.3: RTT-fairness, linear at worst"},
    {.first = "reno", .second = "reno", .second_round_trip = 120ms, .in_ctest = false},
    {.first = "bbr", .second = "bbr", .second_round_trip = 120ms, .in_ctest = false},
};

std::string table(bool all) {
  std::string out =
      "# Two flows through 20 Mbit/s: Mbit/s of each from 12 s to 32 s, Jain's index, what both use of the rate. The queue is in\n"
      "# bandwidth-delay products of 40 ms. Of three runs, in which the second begins a little later each: means, of the index the\n"
      "# median and the worst. fairness_test.cpp; written by scripts/goodput.\n"
      "# first          second        queue    first   second    Jain   worst     used\n";
  for (const Pair& pair : kPairs) {
    if (!all && !pair.in_ctest) continue;
    Shares mean;
    std::vector<double> indices;
    for (const Duration begins : kBeginnings) {
      const Shares one = compete(pair, begins);
      mean.first += one.first / std::size(kBeginnings);
      mean.second += one.second / std::size(kBeginnings);
      mean.used += one.used / std::size(kBeginnings);
      indices.push_back(one.jain());
    }
    std::ranges::sort(indices);
    const double index = indices[indices.size() / 2];
    char line[160];
    std::snprintf(line, sizeof line, "%-6s %4lld ms  %-6s %4lld ms %6.0f %8.2f %8.2f %7.3f %7.3f %7.1f %%\n", pair.first,
                  static_cast<long long>(pair.first_round_trip / 1ms), pair.second, static_cast<long long>(pair.second_round_trip / 1ms),
                  pair.queue, mean.first * 8 / 20e6, mean.second * 8 / 20e6, index, indices.front(), mean.used * 100);
    out += line;
    EXPECT_GT(index, pair.least) << line << pair.why;
    EXPECT_GT(mean.used, 0.9) << line;
  }
  return out;
}

TEST(Fairness, IsThatOfTheSnapshot) { testing::expect_snapshot("fairness.txt", table(false)); }

TEST(Fairness, OfAllPairs) {
  if (std::getenv("IOPKT_GOODPUT_GRID") == nullptr) GTEST_SKIP() << "scripts/goodput grid";
  testing::expect_snapshot("fairness_grid.txt", table(true));
}

}  // namespace
}  // namespace iopkt::sim
