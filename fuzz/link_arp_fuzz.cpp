// ARP from hostile stations while we look up, confirm and wait: the table stays in bounds, what is permanent
// stays, a replica agrees with the master, and no held packet is lost. Input: 4 bytes a step.
#include <algorithm>

#include "link/arp.hpp"
#include "neigh/pending.hpp"

using namespace iopkt;

namespace {

constexpr wire::MacAddress kOurMac{{2, 0, 0, 0, 0, 1}}, kStaticMac{{2, 9, 9, 9, 9, 9}};

struct World {
  explicit World(packet::Cache& c) : cache(c) {
    using namespace iface::flag;
    tunables.max_entries = 16;
    tunables.max_hold = 2;
    tunables.max_hold_total = 5;
    table = table.with({.index = 1,
                        .name = "en0",
                        .mac = kOurMac,
                        .flags = up | broadcast,
                        .addresses = {{.address = wire::Ipv4Address{10, 0, 0, 1}, .prefix_length = 27}}});
    neigh::Actions out;
    neighbours.set_static(key(30), kStaticMac, {.published = true}, now, out);
    apply(out);
  }
  static neigh::Key key(std::uint8_t host) {
    return {1, wire::Ipv4Address{10, 0, 0, static_cast<std::uint8_t>(host % 32)}};
  }
  void apply(const neigh::Actions& actions) {
    for (const neigh::Action& a : actions) {
      IOPKT_ASSERT(a.key != key(30) || a.mac == kStaticMac);
      replica.apply(a);
      if (a.kind != neigh::Action::Kind::solicit) released += pending.take(a.key).size();
    }
  }
  void hear(const std::uint8_t* d) {
    const wire::ArpPacket arp{.operation = static_cast<wire::ArpOperation>(d[1] % 4),
                              .sender_mac = {{static_cast<std::uint8_t>(d[1] >> 5 == 7 ? 1 : 2), 0, 0, 0, 0,
                                              static_cast<std::uint8_t>(d[1] >> 2 & 3)}},
                              .sender_ip = d[2] == 0 ? wire::Ipv4Address{} : key(d[2]).address.v4(),
                              .target_ip = key(d[3]).address.v4()};
    packet::PacketPtr packet = packet::allocate_header(cache);
    const MutableBytes room = packet->prepend(28);
    wire::encode(arp, room);
    if ((d[0] & 0x80) != 0) room[d[3] % 28] ^= std::byte{d[2]};
    const auto in = link::arp_input({*table.by_index(1), table, counters, &neighbours}, *packet);
    if (!in || !in->learned) return;
    IOPKT_ASSERT(!in->contested && !in->learned->mac.is_multicast());
    neigh::Actions out;
    neighbours.learned(in->learned->key, in->learned->mac, in->learned->how, now, out);
    apply(out);
  }
  void send(const neigh::Key& k) {
    neigh::Actions out;
    const auto kind = neighbours.lookup_or_start(k, now, out).kind;
    apply(out);
    if (kind != neigh::Lookup::Kind::waiting) return;
    packet::PacketPtr packet = packet::allocate_header(cache);
    IOPKT_ASSERT(!packet->prepend(40).empty());
    ++held;
    if (pending.hold(k, std::move(packet)).dropped) ++released;
    IOPKT_ASSERT(pending.size() <= 5);
  }
  void check() {
    IOPKT_ASSERT(neighbours.size() <= 16 && neighbours.next_deadline() > now);
    IOPKT_ASSERT(neighbours.find(key(30))->mac == kStaticMac);
    IOPKT_ASSERT(held == released + pending.size());
    for (const neigh::Entry& e : neighbours.list()) {
      const neigh::Lookup got = replica.lookup(e.key);
      if (e.state == neigh::State::incomplete) continue;
      const bool failed = e.state == neigh::State::failed;
      IOPKT_ASSERT(got.kind == (failed ? neigh::Lookup::Kind::unreachable : neigh::Lookup::Kind::resolved));
      IOPKT_ASSERT(failed || got.mac == e.mac);
    }
    IOPKT_ASSERT(replica.size() <= neighbours.size());
  }

  packet::Cache& cache;
  iface::InterfaceTable table;
  neigh::NeighbourTunables tunables = initial_values<neigh::NeighbourTunables>();
  neigh::ArpCounters<Counter> counters;
  neigh::Neighbours neighbours{tunables, {1, 2}};
  neigh::NeighbourReplica replica{{3, 4}};
  neigh::PendingPackets pending{tunables, {5, 6}};
  Instant now{1};
  std::size_t held = 0, released = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  packet::HeapPages pages;
  packet::Pools pools{{.pagesize = 16384}, pages};
  packet::Cache cache{pools};
  {
    World world{cache};
    for (; size >= 4; data += 4, size -= 4) {
      neigh::Actions out;
      switch (data[0] % 8) {
        case 0:
        case 1:
        case 2:
          world.hear(data);
          break;
        case 3:
          world.send(World::key(data[1]));
          break;
        case 4:
          world.neighbours.confirm(World::key(data[1]), world.now, out);
          break;
        case 5:
          world.neighbours.used(World::key(data[1]), world.now, out);
          break;
        case 6:
          if (data[1] % 32 != 30) world.neighbours.erase(World::key(data[1]), out);
          break;
        default:
          world.now += std::chrono::milliseconds{data[1] * data[2] * 20};
          break;
      }
      world.apply(out);
      out.clear();
      world.neighbours.run(world.now, out);
      world.apply(out);
      world.check();
    }
  }
  IOPKT_ASSERT(pools.in_use(packet::Kind::mbuf) == 0);
  return 0;
}
