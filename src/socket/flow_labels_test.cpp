#include "socket/flow_labels.hpp"

#include <gtest/gtest.h>

namespace iopkt::socket {
namespace {

using Action = FlowLabelRequest::Action;
using Share = FlowLabelRequest::Share;

struct FlowLabelTable : ::testing::Test {
  Result<std::uint32_t> ask(FlowLabels::Held& held, Share share, std::uint32_t label = 0, std::uint16_t flags = FlowLabelRequest::kCreate,
                            FlowLabels::Caller caller = {.process = 1, .user = 100}) {
    return labels.change(held, {.destination = wire::Ipv6Address::loopback(), .label = label, .action = Action::get, .share = share, .flags = flags},
                         caller, now, random);
  }
  Result<std::uint32_t> put(FlowLabels::Held& held, std::uint32_t label) {
    return labels.change(held, {.label = label, .action = Action::put}, {}, now, random);
  }
  FlowLabels labels;
  Random random{7};
  Instant now{};
  FlowLabels::Held a, b;
};

TEST_F(FlowLabelTable, ALeaseIsForWhomItIs) {
  ASSERT_EQ(*ask(a, Share::process, 5), 5u);
  EXPECT_EQ(ask(b, Share::process, 5, 0, {.process = 2, .user = 100}).error(), Errno::perm);
  EXPECT_EQ(*ask(b, Share::process, 5, 0), 5u);
  ASSERT_EQ(*ask(a, Share::user, 6), 6u);
  EXPECT_EQ(ask(b, Share::user, 6, 0, {.process = 2, .user = 101}).error(), Errno::perm);
  EXPECT_EQ(*ask(b, Share::user, 6, 0, {.process = 2, .user = 100}), 6u);
  ASSERT_EQ(*ask(a, Share::exclusive, 7), 7u);
  EXPECT_EQ(ask(a, Share::exclusive, 7).error(), Errno::perm) << "not even to himself";
  EXPECT_EQ(ask(b, Share::any, 8, 0).error(), Errno::noent);
}

TEST_F(FlowLabelTable, AnyLabelGoesUntilOneIsSomebodys) {
  EXPECT_TRUE(labels.may_send(a, 0x12345));
  ASSERT_TRUE(ask(b, Share::any, 9));
  EXPECT_TRUE(labels.may_send(a, 0x12345));
  const auto own = ask(b, Share::exclusive);
  ASSERT_TRUE(own && *own != 0 && *own <= 0xfffff);
  EXPECT_FALSE(labels.may_send(a, 0x12345));
  EXPECT_FALSE(labels.may_send(a, *own));
  EXPECT_TRUE(labels.may_send(b, *own));
  EXPECT_TRUE(labels.may_send(a, 0));
}

/// RFC 6437 section 3: a label is not soon another flow's. It lingers, and is then forgotten.
TEST_F(FlowLabelTable, WhatIsGivenBackLingers) {
  ASSERT_TRUE(ask(a, Share::exclusive, 5));
  labels.release(a, now);
  EXPECT_TRUE(a.empty());
  now += 5s;
  EXPECT_EQ(ask(b, Share::exclusive, 5).error(), Errno::perm);
  now += 2s;
  EXPECT_EQ(*ask(b, Share::exclusive, 5), 5u);
  EXPECT_EQ(*put(b, 5), 0u);
  EXPECT_EQ(put(b, 5).error(), Errno::esrch);
  now += 10s;
  ASSERT_TRUE(ask(a, Share::any, 6));
  EXPECT_TRUE(labels.may_send(b, 77)) << "no lease is for one alone any more";
}

/// What is taken up again, or renewed, is forgotten at its new end; all that are over at once go at once.
TEST_F(FlowLabelTable, EachIsForgottenAtItsOwnEnd) {
  std::vector<FlowLabels::Held> sockets(10 * FlowLabels::kForgetMost);
  for (std::uint32_t i = 0; i < sockets.size(); ++i) ASSERT_TRUE(ask(sockets[i], Share::user, 100 + i));
  for (FlowLabels::Held& one : sockets) labels.release(one, now);
  now += 5s;
  ASSERT_TRUE(ask(a, Share::user, 100));
  ASSERT_TRUE(ask(a, Share::user, 101));
  ASSERT_TRUE(ask(a, Share::user, 101)) << "twice";
  EXPECT_EQ(*put(a, 101), 0u);
  EXPECT_EQ(*labels.change(b, {.label = 102, .action = Action::renew, .expires_s = 60}, {.privileged = true}, now, random), 0u);
  now += 1s;
  EXPECT_EQ(ask(b, Share::user, 103, 0).error(), Errno::noent) << "over";
  EXPECT_EQ(ask(b, Share::user, 100 + static_cast<std::uint32_t>(sockets.size()) - 1, 0).error(), Errno::noent);
  EXPECT_EQ(*ask(b, Share::user, 100, 0), 100u);
  EXPECT_EQ(*ask(b, Share::user, 101, 0), 101u);
  EXPECT_EQ(*ask(b, Share::user, 102, 0), 102u);
  labels.release(a, now);
  labels.release(b, now);
  now += 7s;
  EXPECT_EQ(ask(b, Share::user, 101, 0).error(), Errno::noent);
  EXPECT_EQ(*ask(b, Share::user, 102, 0), 102u) << "renewed";
  EXPECT_FALSE(labels.may_send(a, 9));
  labels.release(b, now);
  now += 60s;
  EXPECT_EQ(ask(b, Share::user, 102, 0).error(), Errno::noent);
  EXPECT_TRUE(labels.may_send(a, 9)) << "no lease is left";
}

TEST_F(FlowLabelTable, TimesAreBounded) {
  FlowLabelRequest wish{.destination = wire::Ipv6Address::loopback(), .label = 5, .action = Action::get, .share = Share::exclusive,
                        .flags = FlowLabelRequest::kCreate, .expires_s = 151};
  EXPECT_EQ(labels.change(a, wish, {}, now, random).error(), Errno::perm);
  EXPECT_TRUE(labels.change(a, wish, {.privileged = true}, now, random));
  EXPECT_EQ(labels.find(a, 5, now)->expires_s, 151);
  EXPECT_EQ(labels.find(a, 5, now)->linger_s, 6);
  EXPECT_EQ(labels.find(b, 5, now).error(), Errno::noent);
  wish.action = Action::renew, wish.expires_s = 20;
  EXPECT_EQ(labels.change(b, wish, {}, now, random).error(), Errno::esrch);
}

TEST_F(FlowLabelTable, TheTableIsBounded) {
  std::size_t count = 0;
  while (ask(a, Share::any)) ++count;
  EXPECT_EQ(count, FlowLabels::kOfSocketMost);
  EXPECT_EQ(ask(a, Share::any).error(), Errno::nobufs);
  std::vector<FlowLabels::Held> sockets(FlowLabels::kMost);
  std::size_t all = count;
  for (FlowLabels::Held& one : sockets) all += ask(one, Share::any) ? 1 : 0;
  EXPECT_LE(all, FlowLabels::kMost * 3 / 4 + 1) << "the rest is not for everybody";
  for (FlowLabels::Held& one : sockets) all += one.empty() && ask(one, Share::any, 0, FlowLabelRequest::kCreate, {.privileged = true}) ? 1 : 0;
  EXPECT_EQ(all, FlowLabels::kMost);
}

}  // namespace
}  // namespace iopkt::socket
