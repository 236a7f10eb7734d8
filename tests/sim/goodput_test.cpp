// How much of a path a transfer uses: the table of docs, kept as a snapshot that changes on purpose alone.
//
//   IOPKT_UPDATE_GOODPUT=1 build/dev/tests/test_sim --gtest_filter='Goodput.*'     writes tests/sim/goodput.txt anew; commit it
//
// Each row is one transfer over a bottleneck with a queue of one bandwidth-delay product (100 packets at least), drop-tail; both buffers
// are four of it, 256 KB to 16 MB. The share is that of the payload's part of the rate, or of the window: a buffer over the round trip
// is all that a transfer can use. Slow start is part of each transfer: 4 s of the rate, but at most 40 MB without loss, 8 MB with.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "tests/support/sim_net.hpp"

namespace iopkt::sim {
namespace {

constexpr double kPayloadShare = 1448.0 / 1514;  // MSS with timestamps, in an Ethernet frame

struct Path {
  std::uint64_t rate_bps;
  Duration round_trip;
  double loss;
};

double bdp(const Path& p) { return static_cast<double>(p.rate_bps) / 8 * static_cast<double>(p.round_trip.count()) / 1e9; }
std::uint32_t buffer(const Path& p) { return std::bit_ceil(static_cast<std::uint32_t>(std::clamp(4 * bdp(p), 262144.0, 16777216.0))); }
Duration one_way(const Path& p) { return p.round_trip / 2; }
LinkConfig bottleneck(const Path& p) {
  return {.delay = one_way(p), .loss = p.loss, .rate_bps = p.rate_bps, .queue = std::max<std::size_t>(static_cast<std::size_t>(bdp(p) / 1514), 100)};
}

/// Payload bits per second until `bytes` have come or `limit` has passed, from the first data on.
double transfer(const Path& p, std::size_t bytes, Duration limit, bool sack) {
  SimNet net{1};
  net.tracing = false;
  Host& a = net.host("10.0.0.1/24", {.ring = buffer(p)});
  Host& b = net.host("10.0.0.2/24", {.ring = buffer(p)});
  for (Host* host : {&a, &b}) {
    stack::Network next = *host->stack().network();
    next.settings.tcp.sack_enable = sack;
    host->stack().publish(std::move(next));
  }
  net.run_for(1ms);
  net.link({&a}, {&b}, bottleneck(p));
  net.link({&b}, {&a}, {.delay = one_way(p)});
  Host::Stream* taken = nullptr;
  b.listen(wire::Port{7}, [&](Host::Stream& s) { taken = &s; });
  Host::Stream& s = a.connect({b.address(), wire::Port{7}});
  if (!net.run_until([&] { return taken != nullptr; }, 100s)) return 0;
  const Instant begun = net.now();
  s.to_send.resize(bytes);
  net.run_until([&] { return taken->received.size() == bytes; }, limit);
  return static_cast<double>(taken->received.size()) * 8e9 / static_cast<double>((net.now() - begun).count());
}

std::string rate_name(std::uint64_t bps) {
  return bps >= 1'000'000'000 ? std::to_string(bps / 1'000'000'000) + " Gbit/s" : std::to_string(bps / 1'000'000) + " Mbit/s";
}

std::string table() {
  std::string out =
      "# Goodput of one transfer with the defaults, in Mbit/s and as a share of what path and window allow; the share without SACK.\n"
      "# Written by IOPKT_UPDATE_GOODPUT=1 test_sim --gtest_filter='Goodput.*'; goodput_test.cpp says what each row is.\n"
      "# rate        round trip     loss     Mbit/s    share   without SACK\n";
  char line[160];
  for (const std::uint64_t rate : {10'000'000ull, 100'000'000ull, 1'000'000'000ull, 10'000'000'000ull}) {
    for (const Duration round_trip : {Duration{1ms}, Duration{10ms}, Duration{50ms}, Duration{200ms}}) {
      for (const double loss : {0.0, 0.001, 0.01, 0.03, 0.1}) {
        const Path p{rate, round_trip, loss};
        const double window = static_cast<double>(buffer(p)) * 8e9 / static_cast<double>(round_trip.count());
        const double most = std::min(static_cast<double>(rate) * kPayloadShare, window);
        const auto bytes = static_cast<std::size_t>(std::min(most / 8 * 4, loss == 0 ? 40e6 : 8e6));
        const double got = transfer(p, bytes, 10s, true);
        std::snprintf(line, sizeof line, "%-11s %8lld ms %7.1f %% %10.2f %7.1f %%", rate_name(rate).c_str(),
                      static_cast<long long>(round_trip / 1ms), loss * 100, got / 1e6, got / most * 100);
        out += line;
        if (loss > 0 && rate <= 100'000'000) {
          std::snprintf(line, sizeof line, "%12.1f %%", transfer(p, bytes, 10s, false) / most * 100);
          out += line;
        }
        out += "\n";
      }
    }
  }
  return out;
}

TEST(Goodput, IsThatOfTheSnapshot) {
  const char* source = std::getenv("IOPKT_SOURCE_DIR");
  const std::string path = std::string(source != nullptr ? source : ".") + "/tests/sim/goodput.txt";
  const std::string now = table();
  if (std::getenv("IOPKT_UPDATE_GOODPUT") != nullptr) {
    std::ofstream(path) << now;
    return;
  }
  std::ifstream in(path);
  std::ostringstream kept;
  kept << in.rdbuf();
  EXPECT_EQ(now, kept.str()) << "the goodput of transfers has changed: if that is meant, look at each row, then\n"
                             << "  IOPKT_UPDATE_GOODPUT=1 build/dev/tests/test_sim --gtest_filter='Goodput.*'";
}

}  // namespace
}  // namespace iopkt::sim
