// Doorbells: no ring is lost, whoever sleeps, is preempted or dies; and the memory files keep their promises.
#include <fcntl.h>
#include <sys/eventfd.h>

#include <cstring>

#include "ipc/test_rig.hpp"

namespace iopkt::ipc::test {
namespace {

TEST(DoorbellTest, CollectsEachSlotOnceAndClears) {
  Mapping control;
  const int fd = make_control(9, 2, 1000, control);
  ASSERT_GE(fd, 0);
  Doorbell& bell = doorbell_at(control.base, 1);
  const int event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  const std::vector<std::uint32_t> slots = {0, 1, 63, 64, 4095, 4096, 100'000, kClientSlotsMax - 1};
  for (const std::uint32_t s : slots) ring(bell, s, event), ring(bell, s, event);
  ring(bell, kClientSlotsMax, event);
  EXPECT_TRUE(rung(bell));
  EXPECT_FALSE(rung(doorbell_at(control.base, 0)));
  std::vector<std::uint32_t> seen;
  collect(bell, [&](std::uint32_t s) { seen.push_back(s); });
  EXPECT_EQ(seen, slots);
  EXPECT_FALSE(rung(bell));
  std::uint64_t writes = 0;
  EXPECT_EQ(read(event, &writes, sizeof writes), 8);
  EXPECT_EQ(writes, 1u) << "a bell is armed from the start, and one write disarms it";
  EXPECT_TRUE(shard_awake(bell));
  // A client died after setting only the lowest level.
  bell.bits[77].store(5);
  collect(bell, [&](std::uint32_t) { FAIL(); });
  seen.clear();
  collect_stranded(bell, [&](std::uint32_t s) { seen.push_back(s); });
  EXPECT_EQ(seen, (std::vector<std::uint32_t>{77 * 64, 77 * 64 + 2}));
  close(event);
  close(fd);
  unmap(control);
}

TEST(DoorbellTest, ArmingSeesWhatWasRungBefore) {
  Mapping control;
  const int fd = make_control(9, 1, 0, control);
  Doorbell& bell = doorbell_at(control.base, 0);
  const int event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  DoorbellArmer armer;
  armer.disarm(bell);
  ring(bell, 5, event);
  std::uint64_t writes = 0;
  EXPECT_EQ(read(event, &writes, sizeof writes), -1) << "the shard is awake";
  EXPECT_FALSE(armer.arm(bell));
  collect(bell, [](std::uint32_t) {});
  EXPECT_TRUE(armer.arm(bell));
  EXPECT_FALSE(shard_awake(bell));
  ring(bell, 5, event);
  EXPECT_EQ(read(event, &writes, sizeof writes), 8);
  close(event);
  close(fd);
  unmap(control);
}

struct Numbers {
  std::atomic<std::uint64_t> raised[8], seen[8];
  std::atomic<std::uint32_t> done, lost;
};

/// Raises a number, rings, and now and then waits until the shard has seen it.
void raise_and_ring(Numbers& numbers, Doorbell& bell, int event, int id) {
  Random random{static_cast<std::uint64_t>(id) + 3};
  const auto end = now() + stress_time();
  while (numbers.lost == 0) {
    const bool last = now() > end;
    const std::uint64_t which = random.below(8);
    const std::uint64_t mine = numbers.raised[which].fetch_add(1) + 1;
    ring(bell, static_cast<std::uint32_t>(which * 5000), event);
    if (random.below(4) == 0) sched_yield();
    const bool wait = last || random.below(16) == 0;
    if (wait && !eventually([&] { return numbers.seen[which] >= mine; })) numbers.lost = 1;
    if (last) break;
  }
  numbers.done.fetch_add(1);
}

TEST(DoorbellTest, AnEventWithoutARingMeansDisarmed) {
  Mapping control;
  const int fd = make_control(9, 1, 0, control);
  Doorbell& bell = doorbell_at(control.base, 0);
  const int event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  DoorbellArmer armer;
  armer.disarm(bell);
  ring(bell, 5, event);
  collect(bell, [](std::uint32_t) {});
  ASSERT_TRUE(armer.arm(bell));
  ring(bell, 5, event);
  // As if the bit had been collected before the client looked at need_wake.
  collect(bell, [](std::uint32_t) {});
  EXPECT_FALSE(rung(bell));
  EXPECT_TRUE(shard_awake(bell)) << "the client has disarmed it";
  std::uint64_t writes = 0;
  EXPECT_EQ(read(event, &writes, sizeof writes), 8) << "and has said so";
  EXPECT_TRUE(armer.arm(bell));
  ring(bell, 5, event);
  EXPECT_EQ(read(event, &writes, sizeof writes), 8);
  close(event);
  close(fd);
  unmap(control);
}

/// The shard sleeps whenever it may, and looks only after a wake-up: a lost ring leaves a client waiting.
void stress(bool processes) {
  Mapping control;
  const int fd = make_control(9, 1, 0, control);
  Doorbell& bell = doorbell_at(control.base, 0);
  const int event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  const int ep = epoll_create1(EPOLL_CLOEXEC);
  epoll_event interest{.events = EPOLLIN | EPOLLET, .data = {}};
  epoll_ctl(ep, EPOLL_CTL_ADD, event, &interest);
  auto* numbers = new (mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) Numbers{};
  Crew crew{3, processes, [&](int id) { raise_and_ring(*numbers, bell, event, id); }};
  DoorbellArmer armer;
  std::uint64_t sleeps = 0;
  const auto serve = [&] {
    collect(bell, [&](std::uint32_t slot) { numbers->seen[slot / 5000] = numbers->raised[slot / 5000].load(); });
  };
  while (numbers->done < 3 && numbers->lost == 0) {
    serve();
    if (!armer.arm(bell)) continue;
    ++sleeps;
    epoll_event got;
    // The timeout does not look at the bell: only a wake-up helps.
    while (epoll_wait(ep, &got, 1, 20) == 0 && numbers->done < 3 && numbers->lost == 0) {
    }
    armer.disarm(bell);
  }
  EXPECT_TRUE(crew.join());
  serve();
  EXPECT_EQ(numbers->lost, 0u);
  EXPECT_GT(sleeps, 0u);
  for (int i = 0; i < 8; ++i) EXPECT_EQ(numbers->seen[i], numbers->raised[i]);
  close(ep);
  close(event);
  close(fd);
  munmap(numbers, kPage);
  unmap(control);
}

TEST(DoorbellStress, NoRingIsLostByThreads) { stress(false); }
TEST(DoorbellStress, NoRingIsLostByProcesses) { stress(true); }

// ---------------------------------------------------------------------------------------------- memory files

TEST(ArenaTest, CannotBeTruncatedAndIsCheckedBeforeUse) {
  Mapping ours;
  const ArenaGeometry geometry{.size = 1 << 20, .slot_count = 16};
  const int fd = make_arena(geometry, 3, 4, 160, ours);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(ftruncate(fd, kPage), -1);
  EXPECT_EQ(ftruncate(fd, 2 << 20), -1);
  EXPECT_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
  Mapping theirs = map_arena(fd);
  ASSERT_TRUE(theirs);
  EXPECT_EQ(arena_header(theirs).arena_id, 4u);
  EXPECT_EQ(arena_header(theirs).first_slot, 160u);
  EXPECT_EQ(map_control(fd).base, nullptr) << "another kind of file";
  reset_slot(slot_at(ours.base, arena_header(ours), 2), AF_INET, SOCK_DGRAM, 17, 99, 1);
  EXPECT_EQ(slot_at(theirs.base, arena_header(theirs), 2).nonce, 99u);
  EXPECT_EQ(slot_at(theirs.base, arena_header(theirs), 2).incarnation, 1u);
  ours.base[ring_area_offset(geometry)] = std::byte{5};
  punch_hole(fd, ring_area_offset(geometry), kPage);
  EXPECT_EQ(theirs.base[ring_area_offset(geometry)], std::byte{0});
  reinterpret_cast<ArenaHeader*>(ours.base)->slot_count = 1 << 30;
  EXPECT_EQ(map_arena(fd).base, nullptr);
  const int plain = memfd_create("plain", MFD_CLOEXEC);
  EXPECT_EQ(ftruncate(plain, 1 << 20), 0);
  EXPECT_EQ(map_arena(plain).base, nullptr) << "not sealed";
  close(plain);
  close(fd);
  unmap(ours);
  unmap(theirs);
}

TEST(ArenaTest, TheStatusFileIsReadOnlyForClients) {
  Mapping ours;
  const int fd = make_status(2, ours);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
  Mapping theirs = map_status(fd);
  ASSERT_TRUE(theirs);
  EXPECT_FALSE(shard_alive(status_page(theirs).alive[1]));
  AliveNode node{};
  std::thread shard{[&] {
    EXPECT_TRUE(bind_alive(reinterpret_cast<StatusPage*>(ours.base)->alive[1], node));
    EXPECT_TRUE(shard_alive(status_page(theirs).alive[1]));
  }};
  shard.join();
  EXPECT_TRUE(eventually([&] { return !shard_alive(status_page(theirs).alive[1]); }));
  close(fd);
  unmap(ours);
  unmap(theirs);
}

TEST(NamesTest, AreReadWholeOrAgain) {
  Rig rig;
  Names names;
  names.local = {.family = AF_INET, .port = 80, .scope = 0, .addr = {10, 0, 0, 1}};
  names.peer = {.family = AF_INET6, .port = 443, .scope = 3, .addr = {0xfe, 0x80}};
  write_names(*rig.slot, names);
  EXPECT_EQ(read_names(*rig.slot).local, names.local);
  EXPECT_EQ(read_names(*rig.slot).peer, names.peer);
  std::atomic<bool> stop{false};
  std::thread writer{[&] {
    for (std::uint16_t i = 0; !stop; ++i) {
      Names n;
      n.local.port = n.peer.port = i;
      write_names(*rig.slot, n);
    }
  }};
  const auto end = now() + std::chrono::milliseconds{20};
  while (now() < end) {
    const Names n = read_names(*rig.slot);
    ASSERT_TRUE(n.local.port == n.peer.port || n.peer.port == 443);
  }
  stop = true;
  writer.join();
}

}  // namespace
}  // namespace iopkt::ipc::test
