// AccECN (RFC 9768) between whole stacks: both agree, a link marks, and what was marked is known at the other end exactly, whatever
// becomes of the acknowledgments.
#include <gtest/gtest.h>

#include "tests/support/sim_net.hpp"

namespace iopkt::sim {
namespace {

struct Transfer {
  SimNet net{3};
  Host* a;
  Host* b;
  Link* back_link;
  Host::Stream* from = nullptr;
  Host::Stream* to = nullptr;

  Transfer(const LinkConfig& there, const LinkConfig& back, std::uint32_t sender_asks, std::uint32_t receiver_grants, std::uint32_t capabilities = 0)
      : a(&net.host("10.0.0.1/24", {.capabilities = capabilities, .ring = 1u << 20})),
        b(&net.host("10.0.0.2/24", {.capabilities = capabilities, .ring = 1u << 20})) {
    net.tracing = false;
    set_ecn(*a, sender_asks), set_ecn(*b, receiver_grants);
    net.run_for(1ms);
    net.link({a}, {b}, there);
    back_link = &net.link({b}, {a}, back);
    b->listen(wire::Port{7}, [&](Host::Stream& s) { to = &s; });
    from = &a->connect({b->address(), wire::Port{7}});
    net.run_until([&] { return to != nullptr; }, 100s);
  }
  static void set_ecn(Host& host, std::uint32_t value) {
    stack::Network next = *host.stack().network();
    next.settings.tcp.ecn_enable = value;
    host.stack().publish(std::move(next));
  }
  bool send(std::size_t bytes) {
    from->to_send.resize(bytes);
    return net.run_until([&] { return to->received.size() == bytes && from->send_head == bytes; }, 200s);
  }
};

TEST(AccEcn, MarksOfALinkAreCountedEndToEnd) {
  for (const double ack_loss : {0.0, 0.3}) {
    for (const std::uint32_t capabilities : {0u, std::uint32_t{IOPKT_CAP_TSO4 | IOPKT_CAP_CSUM_TX}}) {
      SCOPED_TRACE(std::to_string(ack_loss) + " " + std::to_string(capabilities));
      Transfer t({.delay = 5ms, .mark = 0.05, .rate_bps = 50'000'000}, {.delay = 5ms}, 3, 3, capabilities);
      ASSERT_NE(t.to, nullptr);
      t.back_link->change({.delay = 5ms, .loss = ack_loss});
      ASSERT_TRUE(t.send(4'000'000));
      EXPECT_EQ(t.a->tcp_counters().ecn_accurate + t.b->tcp_counters().ecn_accurate, 2u);
      EXPECT_GT(t.b->tcp_counters().rx_ce, 50u);
      EXPECT_EQ(t.a->tcp_counters().ecn_delivered_ce, t.b->tcp_counters().rx_ce);
      EXPECT_GT(t.a->tcp_counters().ecn_reductions, 5u);
      EXPECT_EQ(t.a->tcp_counters().ecn_mangled + t.b->tcp_counters().ecn_mangled, 0u);
    }
  }
}

TEST(AccEcn, CoDelMarksInPlaceOfDrops) {
  LinkConfig there{.delay = 10ms, .rate_bps = 20'000'000};
  there.codel = Codel{.ecn = true};
  for (const std::uint32_t way : {1u, 3u}) {
    SCOPED_TRACE(way);
    Transfer t(there, {.delay = 10ms}, way, 3);
    ASSERT_NE(t.to, nullptr);
    const Instant begun = t.net.now();
    ASSERT_TRUE(t.send(20'000'000));
    EXPECT_EQ(t.a->tcp_counters().tx_retransmitted_segments, 0u);
    EXPECT_GT(t.a->tcp_counters().ecn_reductions, 2u);
    EXPECT_LT(t.net.now() - begun, 10s) << "8.4 s at the full rate";
  }
}

}  // namespace
}  // namespace iopkt::sim
