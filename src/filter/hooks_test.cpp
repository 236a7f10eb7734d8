// The chain of filters: asked in order, the first refusal decides.
#include "filter/hooks.hpp"

#include <gtest/gtest.h>

#include "tests/support/test_pool.hpp"

namespace iopkt::filter {
namespace {

struct Probe {
  int asked = 0;
  bool refuses = false;
};

Expected<void, Drop> ask(void* context, Hook, const iface::Interface&, packet::Packet&) {
  auto& probe = *static_cast<Probe*>(context);
  ++probe.asked;
  if (probe.refuses) return unexpected(Drop::filter_blocked);
  return {};
}

TEST(FilterChain, TheFirstRefusalDecides) {
  test::TestPool pool;
  const auto packet = pool.packet(test::Data(20));
  const iface::Interface en0{.index = 1, .name = "en0"};
  FilterChain chain;
  EXPECT_TRUE(chain.run(Hook::in, en0, *packet)) << "empty";
  EXPECT_TRUE(chain.egress(en0, *packet));

  Probe first, second, third;
  for (Probe* probe : {&first, &second, &third}) chain.add(Hook::out, ask, probe);
  EXPECT_TRUE(chain.egress(en0, *packet));
  second.refuses = true;
  EXPECT_EQ(chain.egress(en0, *packet).error(), Drop::filter_blocked);
  EXPECT_EQ(first.asked, 2);
  EXPECT_EQ(second.asked, 2);
  EXPECT_EQ(third.asked, 1);
  EXPECT_TRUE(chain.run(Hook::in, en0, *packet)) << "another hook";
  chain.remove(Hook::out, ask, &second);
  EXPECT_TRUE(chain.egress(en0, *packet));
}

}  // namespace
}  // namespace iopkt::filter
