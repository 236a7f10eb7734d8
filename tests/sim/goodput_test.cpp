// How much of a path a transfer uses, kept as snapshots that change on purpose alone (scripts/goodput writes them anew; commit them):
// tests/sim/goodput.txt has a part of the paths and is compared by ctest, tests/sim/goodput_grid.txt all of them (scripts/goodput grid).
//
// Each row is one transfer over a bottleneck with a queue of one bandwidth-delay product (100 packets at least), drop-tail; both buffers
// are four of it, 256 KB to 16 MB. The share is that of the payload's part of the rate, or of the window: a buffer over the round trip
// is all that a transfer can use. Slow start is part of each transfer: 4 s of the rate, but at most 40 MB without loss, 8 MB with; so
// a lossy row may well be above the steady state that RFC 9438 section 5 gives for its loss, which is printed beside it.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "tests/support/sim_net.hpp"
#include "tests/support/snapshot.hpp"

namespace iopkt::sim {
namespace {

constexpr double kPayloadShare = 1448.0 / 1514;  // MSS with timestamps, in an Ethernet frame
constexpr double kSegment = 1448;

struct Path {
  std::uint64_t rate_bps;
  Duration round_trip;
  double loss, reorder;
};

/// How the sender is set up.
struct Way {
  const char* title;
  const char* congestion = "cubic";
  bool sack = true, rack = true, pacing = false;
};

double seconds(Duration d) { return static_cast<double>(d.count()) / 1e9; }
double bdp(const Path& p) { return static_cast<double>(p.rate_bps) / 8 * seconds(p.round_trip); }
std::uint32_t buffer(const Path& p) { return std::bit_ceil(static_cast<std::uint32_t>(std::clamp(4 * bdp(p), 262144.0, 16777216.0))); }
Duration one_way(const Path& p) { return p.round_trip / 2; }
LinkConfig bottleneck(const Path& p) {
  return {.delay = one_way(p), .loss = p.loss, .reorder = p.reorder, .rate_bps = p.rate_bps,
          .queue = std::max<std::size_t>(static_cast<std::size_t>(bdp(p) / 1514), 100), .reorder_by = p.round_trip / 8};
}

/// RFC 9438 section 5, equations 5 and 6 (beta 0.7, C 0.4), and Reno's where that is more, as its tables 1 and 2 have it: segments.
double published_window(double loss, Duration round_trip, bool cubic) {
  const double reno = 1.2 / std::sqrt(loss);
  return cubic ? std::max(reno, 1.054 * std::pow(seconds(round_trip), 0.75) / std::pow(loss, 0.75)) : reno;
}

void set_up(Host& host, const Way& way) {
  stack::Network next = *host.stack().network();
  next.settings.congestion = tcp::find_congestion(way.congestion);
  next.settings.tcp.sack_enable = way.sack;
  next.settings.tcp.rack = way.rack;
  next.settings.tcp.pacing = way.pacing;
  host.stack().publish(std::move(next));
}

struct Transfer {
  SimNet net{1};
  Host::Stream* from = nullptr;
  Host::Stream* to = nullptr;

  Transfer(std::uint32_t ring, const LinkConfig& there, Duration back, const Way& way) {
    net.tracing = false;
    Host& a = net.host("10.0.0.1/24", {.ring = ring});
    Host& b = net.host("10.0.0.2/24", {.ring = ring});
    set_up(a, way), set_up(b, way);
    net.run_for(1ms);
    net.link({&a}, {&b}, there);
    net.link({&b}, {&a}, {.delay = back});
    b.listen(wire::Port{7}, [&](Host::Stream& s) { to = &s; });
    from = &a.connect({b.address(), wire::Port{7}});
    net.run_until([&] { return to != nullptr; }, 100s);
  }
};

/// Payload bits per second until `bytes` have come or `limit` has passed, from the first data on.
double goodput(const Path& p, std::size_t bytes, Duration limit, const Way& way) {
  Transfer t(buffer(p), bottleneck(p), one_way(p), way);
  if (t.to == nullptr) return 0;
  const Instant begun = t.net.now();
  t.from->to_send.resize(bytes);
  t.net.run_until([&] { return t.to->received.size() == bytes; }, limit);
  return static_cast<double>(t.to->received.size()) * 8 / seconds(t.net.now() - begun);
}

std::string rate_name(std::uint64_t bps) {
  return bps >= 1'000'000'000 ? std::to_string(bps / 1'000'000'000) + " Gbit/s" : std::to_string(bps / 1'000'000) + " Mbit/s";
}

template <class... Args>
std::string format(const char* how, Args... args) {
  char line[200];
  std::snprintf(line, sizeof line, how, args...);
  return line;
}

constexpr Way kWays[] = {{.title = "CUBIC"},
                         {.title = "no SACK", .sack = false},
                         {.title = "no RACK", .rack = false},
                         {.title = "paced", .pacing = true},
                         {.title = "BBR", .congestion = "bbr"}};

std::string row(const Path& p) {
  const double window = buffer(p) * 8.0 / seconds(p.round_trip);
  const double most = std::min(static_cast<double>(p.rate_bps) * kPayloadShare, window);
  const auto bytes = static_cast<std::size_t>(std::min(most / 8 * 4, p.loss == 0 ? 40e6 : 8e6));
  std::string out = format("%-11s %5lld ms %5.1f %%  %5.1f %%", rate_name(p.rate_bps).c_str(),
                           static_cast<long long>(p.round_trip / 1ms), p.loss * 100, p.reorder * 100);
  for (const Way& way : kWays) {
    const double got = goodput(p, bytes, 10s, way);
    if (&way == kWays) out += format(" %9.2f", got / 1e6);
    out += format(" %7.1f %%", got / most * 100);
  }
  if (p.loss > 0) {
    const double steady = published_window(p.loss, p.round_trip, true) * kSegment * 8 / seconds(p.round_trip);
    out += format(" %9.2f", std::min(steady, most) / 1e6);
  }
  return out + "\n";
}

std::string heading(const char* command) {
  return format("# Goodput of one transfer in Mbit/s, and as a share of what path and window allow; written by %s.\n", command) +
         "# goodput_test.cpp says what each row is; the last column is the steady state of RFC 9438 section 5 (tables 1 and 2), Mbit/s.\n"
         "# rate     round trip    loss  reordered  CUBIC              no SACK   no RACK     paced       BBR  RFC 9438\n";
}

constexpr std::uint64_t kRates[] = {10'000'000, 100'000'000, 1'000'000'000, 10'000'000'000};
constexpr Duration kRoundTrips[] = {1ms, 10ms, 50ms, 100ms, 200ms};
constexpr double kLosses[] = {0, 0.001, 0.01, 0.03, 0.1};
constexpr double kReordered = 0.01;

std::string grid(bool all) {
  std::string out = heading(all ? "scripts/goodput grid" : "scripts/goodput");
  for (const std::uint64_t rate : kRates) {
    for (const Duration round_trip : kRoundTrips) {
      // The part that ctest plays: every loss at 10 ms, and at 100 ms where that is slow; of the others one each.
      const bool whole = all || (round_trip == 10ms && rate < 10'000'000'000) || (round_trip == 100ms && rate == 10'000'000);
      if (!whole && (round_trip == 200ms || rate == 10'000'000)) continue;
      // 40 MB without loss take their time.
      const bool long_ones = all || (whole && rate < 1'000'000'000);
      for (const double loss : kLosses)
        if (loss == 0 ? long_ones : whole || loss == 0.001) out += row({rate, round_trip, loss, 0});
      if (long_ones) out += row({rate, round_trip, 0, kReordered});
    }
  }
  return out;
}

TEST(Goodput, IsThatOfTheSnapshot) { testing::expect_snapshot("goodput.txt", grid(false)); }

/// Segments in flight in the steady state: each 1/p-th frame is lost, and nothing else bounds the window. A slow start is forgotten after
/// ten sawteeth (fewer would show what it left, not the steady state), then the mean of twenty counts.
///
/// The model of RFC 9438 section 5 has windows of fractions of a segment, no delayed acknowledgment, and a loss that is known and repaired
/// in no time. A real window is whole segments (half of one less on average), an odd one waits for the next to be acknowledged, and
/// each sawtooth has a round trip for noticing the loss and one for the recovery, in which nothing grows: of the ten that a
/// sawtooth has at p = 0.01 that is much, of the thirty at 0.001 little.
double steady_window(const Way& way, double loss, Duration round_trip) {
  const auto every = static_cast<std::uint64_t>(std::lround(1 / loss));
  Transfer t(4u << 20, {.delay = round_trip / 2, .lose_every = every}, round_trip / 2, way);
  if (t.to == nullptr) return 0;
  const double settling = loss < 0.001 ? 2.5 : 10, counted = loss < 0.001 ? 4 : 20;
  t.from->to_send.resize(static_cast<std::size_t>((settling + counted + 2) * kSegment / loss));
  const auto bytes = [&](double sawteeth) { return static_cast<std::size_t>(sawteeth * kSegment / loss); };
  t.net.run_until([&] { return t.to->received.size() >= bytes(settling); }, 1000s);
  const Instant begun = t.net.now();
  const std::size_t before = t.to->received.size();
  t.net.run_until([&] { return t.to->received.size() >= before + bytes(counted); }, 1000s);
  return static_cast<double>(t.to->received.size() - before) / kSegment / (seconds(t.net.now() - begun) / seconds(round_trip));
}

/// The response functions of RFC 9438 section 5: what is published beside what we have. BBR has none.
std::string response(bool all) {
  std::string out =
      "# Mean window in segments in the steady state where each 1/p-th packet is lost, beside RFC 9438 section 5, tables 1 and 2.\n"
      "# round trip        p     Reno  RFC 9438    CUBIC  RFC 9438\n";
  for (const Duration round_trip : {Duration{10ms}, Duration{100ms}}) {
    for (const double loss : {0.01, 0.001, 0.0001}) {
      if (!all && loss < 0.001) continue;
      out += format("%8lld ms  %7.4f", static_cast<long long>(round_trip / 1ms), loss);
      out += format(" %8.1f %9.0f", steady_window({.title = "Reno", .congestion = "reno"}, loss, round_trip), published_window(loss, round_trip, false));
      out += format(" %8.1f %9.0f\n", steady_window({.title = "CUBIC"}, loss, round_trip), published_window(loss, round_trip, true));
    }
  }
  return out;
}

TEST(Goodput, SteadyWindowsBesideThoseOfRfc9438) { testing::expect_snapshot("response.txt", response(false)); }

TEST(Goodput, OfAllPaths) {
  if (std::getenv("IOPKT_GOODPUT_GRID") == nullptr) GTEST_SKIP() << "scripts/goodput grid";
  testing::expect_snapshot("goodput_grid.txt", grid(true) + response(true));
}

}  // namespace
}  // namespace iopkt::sim
