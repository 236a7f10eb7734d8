// Flows that share a bottleneck: what each gets of it.
#include <gtest/gtest.h>

#include "tests/support/sim_net.hpp"

namespace iopkt::sim {
namespace {

/// Jain's index of two shares: 1 is equal, 0.5 is all for one.
double fairness(double a, double b) { return (a + b) * (a + b) / (2 * (a * a + b * b)); }

struct Shares {
  double first = 0, second = 0;  ///< bytes in the time that counts
  double used = 0;               ///< of the rate, payload alone
};

/// Two hosts send to a third through one link of 20 Mbit/s and 20 ms, with a queue of one bandwidth-delay product; the second begins
/// three seconds after the first, and what counts is the time from 12 s to 40 s.
Shares compete(const tcp::CongestionControl& first, const tcp::CongestionControl& second) {
  constexpr std::uint64_t kRate = 20'000'000;
  SimNet net{1};
  net.tracing = false;
  Host& a = net.host("10.0.0.1/24", {.ring = 1u << 20});
  Host& b = net.host("10.0.0.2/24", {.ring = 1u << 20});
  Host& c = net.host("10.0.0.3/24", {.ring = 1u << 20});
  const auto use = [&](Host& host, const tcp::CongestionControl& control) {
    stack::Network next = *host.stack().network();
    next.settings.congestion = &control;
    host.stack().publish(std::move(next));
  };
  use(a, first), use(b, second);
  net.run_for(1ms);
  net.link({&a, &b}, {&c}, {.delay = 10ms, .rate_bps = kRate, .queue = 40});
  net.link({&c}, {&a, &b}, {.delay = 10ms});
  std::map<wire::IpAddress, Host::Stream*> taken;
  c.listen(wire::Port{7}, [&](Host::Stream& s) { taken[c.shard(s.shard).remote_endpoint(s.id).address] = &s; });
  const auto begin = [&](Host& host) { host.connect({c.address(), wire::Port{7}}).to_send.resize(kRate / 8 * 30); };
  begin(a);
  net.run_for(3s);
  begin(b);
  net.run_for(9s);
  const std::size_t a_before = taken.at(a.address())->received.size(), b_before = taken.at(b.address())->received.size();
  net.run_for(28s);
  Shares out;
  out.first = static_cast<double>(taken.at(a.address())->received.size() - a_before);
  out.second = static_cast<double>(taken.at(b.address())->received.size() - b_before);
  out.used = (out.first + out.second) / (kRate / 8 * 28.0);
  return out;
}

TEST(Fairness, TwoCubicFlowsShareEqually) {
  const Shares s = compete(*tcp::find_congestion("cubic"), *tcp::find_congestion("cubic"));
  EXPECT_GT(fairness(s.first, s.second), 0.95) << s.first << " and " << s.second;
  EXPECT_GT(s.used, 0.9);
}

TEST(Fairness, TwoNewRenoFlowsShareEqually) {
  const Shares s = compete(*tcp::find_congestion("newreno"), *tcp::find_congestion("newreno"));
  EXPECT_GT(fairness(s.first, s.second), 0.95) << s.first << " and " << s.second;
  EXPECT_GT(s.used, 0.9);
}

/// RFC 9438 section 5: where RTT and rate are small CUBIC takes no more than a Reno flow would (it stays in its Reno-friendly region).
TEST(Fairness, CubicLeavesNewRenoItsShare) {
  const Shares s = compete(*tcp::find_congestion("cubic"), *tcp::find_congestion("newreno"));
  EXPECT_GT(fairness(s.first, s.second), 0.8) << s.first << " and " << s.second;
  EXPECT_GT(s.used, 0.9);
}

}  // namespace
}  // namespace iopkt::sim
