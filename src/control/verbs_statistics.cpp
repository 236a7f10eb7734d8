// statistics, buffers, sockets, snapshot: what netstat reads. Sums over all shards.
#include <algorithm>

#include "control/handlers.hpp"

namespace iopkt::control {
namespace {

/// One protocol: rows {name, unit, help, value} and drops {name, text, source, value}.
template <template <class> class Counters, class Member>
Record protocol(stack::Stack& stack, std::string_view name, Member member) {
  Counters<std::uint64_t> sum;
  for (std::uint32_t n = 0; n < stack.shard_count(); ++n)
    add_counters<Counters>(stack.shard(n).counters().*member, sum);
  std::vector<Record> rows;
  for (const auto& row : Counters<std::uint64_t>::table())
    rows.push_back(Record{}
                       .text("name", row.name)
                       .text("unit", row.unit)
                       .text("help", row.help)
                       .number("value", sum.*row.member));
  Record out;
  out.text("protocol", name);
  out.list("counters", std::move(rows));
  return out;
}

std::uint64_t drops_of(stack::Stack& stack, packet::Drop reason) {
  std::uint64_t sum = 0;
  for (std::uint32_t n = 0; n < stack.shard_count(); ++n)
    sum += stack.shard(n).counters().drops.value(reason);
  return sum;
}

/// The protocol under which netstat -s shows the drops of a layer.
std::string_view shown_under(std::string_view layer) {
  return layer == "ipv4" ? "ip" : layer == "ipv6" ? "ip6" : layer == "nd" ? "icmp6" : layer;
}

std::vector<Record> drops(stack::Stack& stack, std::string_view layer) {
  std::vector<Record> rows;
  for (const packet::DropRow& row : packet::kDrops)
    if (shown_under(row.layer) == layer)
      rows.push_back(Record{}
                         .text("name", row.name)
                         .text("help", row.text)
                         .text("source", row.source)
                         .number("value", drops_of(stack, row.reason)));
  return rows;
}

void add_drop_only_layers(stack::Stack& stack, std::vector<Record>& protocols) {
  std::vector<std::string_view> seen;
  for (const packet::DropRow& row : packet::kDrops) {
    const std::string_view layer = shown_under(row.layer);
    const bool known =
        std::ranges::any_of(protocols, [&](const Record& p) { return p.text_of("protocol") == layer; });
    if (known) continue;
    Record one;
    one.text("protocol", layer).list("counters", {});
    protocols.push_back(std::move(one));
  }
  for (Record& p : protocols) p.list("drops", drops(stack, p.text_of("protocol")));
}

std::vector<Record> all_protocols(stack::Stack& stack) {
  using C = stack::ShardCounters;
  std::vector<Record> out;
  out.push_back(protocol<ipv4::Ipv4Counters>(stack, "ip", &C::ipv4));
  out.push_back(protocol<icmp::IcmpCounters>(stack, "icmp", &C::icmp));
  if (stack.config().inet6 != nullptr) {
    out.push_back(protocol<ipv6::Ipv6Counters>(stack, "ip6", &C::ipv6));
    out.push_back(protocol<icmp::Icmp6Counters>(stack, "icmp6", &C::icmp6));
  }
  out.push_back(protocol<tcp::Counters>(stack, "tcp", &C::tcp));
  out.push_back(protocol<udp::UdpCounters>(stack, "udp", &C::udp));
  out.push_back(protocol<neigh::ArpCounters>(stack, "arp", &C::arp));
  out.push_back(protocol<stack::WayCounters>(stack, "stack", &C::way));
  add_drop_only_layers(stack, out);
  return out;
}

Record pool(const packet::Pools& pools, packet::Kind kind) {
  const packet::PoolStatistics s = pools.statistics(kind);
  Record out;
  out.number("object_bytes", s.object_bytes)
      .number("quantum_bytes", s.quantum_bytes)
      .number("quanta", s.quanta);
  out.number("total", s.total)
      .number("in_use", s.in_use)
      .number("requests", s.requests)
      .number("failures", s.failures);
  out.number("cache_hits", s.cache_hits)
      .number("cache_refills", s.cache_refills)
      .number("cache_spills", s.cache_spills);
  return out;
}

/// An IPv4 address of a socket of AF_INET6 as its program sees it.
std::string end_text(const Network& network, const stack::SocketSummary& s, const wire::IpAddress& address) {
  const bool mapped = s.family == wire::IpFamily::v6 && address.is_v4();
  return mapped ? "::ffff:" + address.to_string() : address_text(network, address);
}

Record socket_line(const Network& network, const stack::SocketSummary& s) {
  Record out;
  out.text("protocol", s.protocol).text("family", family_name(s.family));
  out.number("receive_queue", s.receive_queue).number("send_queue", s.send_queue);
  out.address("local", end_text(network, s, s.local.address)).number("local_port", s.local.port.value);
  out.address("remote", end_text(network, s, s.remote.address)).number("remote_port", s.remote.port.value);
  out.text("state", s.state);
  out.number("shard", s.shard).number("id", s.id).number("user", s.user).number("cookie", s.cookie);
  return out;
}

std::vector<Record> socket_lines(const Context& context) {
  std::vector<const stack::SocketSummary*> all;
  for (const ShardPart& part : context.parts)
    for (const stack::SocketSummary& s : part.sockets) all.push_back(&s);
  std::ranges::stable_sort(all, [](const auto* a, const auto* b) {
    if (a->protocol != b->protocol) return a->protocol < b->protocol;
    return std::pair{a->local, a->remote} < std::pair{b->local, b->remote};
  });
  std::vector<Record> lines;
  for (const stack::SocketSummary* s : all) lines.push_back(socket_line(*context.stack.network(), *s));
  return lines;
}

void move_fields(Outcome&& from, Record& to) {
  for (const Field& field : from.answer.fields()) to.put(field);
}

}  // namespace

Outcome statistics(const Context& context, const Record& arguments) {
  const std::string_view only = arguments.text_of("protocol");
  std::vector<Record> all = all_protocols(context.stack);
  if (!only.empty()) {
    std::erase_if(all, [&](const Record& p) { return p.text_of("protocol") != only; });
    if (all.empty())
      return refuse(Errno::protonosupport, std::string(only) + ": unknown or uninstrumented protocol");
  }
  Outcome outcome;
  outcome.answer.list("protocols", std::move(all));
  return outcome;
}

Outcome buffers(const Context& context, const Record&) {
  const packet::Pools& pools = context.stack.pools();
  const packet::PoolConfig& config = pools.config();
  Outcome outcome;
  outcome.answer.group("mbufs", pool(pools, packet::Kind::mbuf));
  outcome.answer.group("clusters", pool(pools, packet::Kind::cluster));
  outcome.answer.group("tags", pool(pools, packet::Kind::tag));
  outcome.answer.number("bytes_max", config.max_bytes)
      .number("pagesize", config.pagesize)
      .number("mclbytes", config.mclbytes);
  outcome.answer.number("caches", config.caching ? context.stack.shard_count() : 0u)
      .number("mbuf_cache", config.caching ? config.mbuf_cache : 0u)
      .number("pkt_cache", config.caching ? config.pkt_cache : 0u)
      .number("mtag_cache", config.caching ? config.mtag_cache : 0u);
  outcome.answer.number("num_pool_cache", config.num_pool_cache);
  return outcome;
}

Outcome sockets(const Context& context, const Record&) {
  Outcome outcome;
  outcome.answer.list("sockets", socket_lines(context));
  return outcome;
}

Outcome info(const Context& context, const Record&) {
  Outcome outcome;
  outcome.answer.number("shards", context.stack.shard_count());
  outcome.answer.number("network_version", context.stack.network()->version);
  context.surroundings.describe_process(outcome.answer);
  return outcome;
}

Outcome snapshot(const Context& context, const Record&) {
  Outcome outcome;
  const Record all_fibs = Record{}.text("fib", "a");
  move_fields(info(context, {}), outcome.answer);
  move_fields(interface_list(context, {}), outcome.answer);
  move_fields(route_list(context, all_fibs), outcome.answer);
  move_fields(arp_list(context, {}), outcome.answer);
  move_fields(sysctl_get(context, {}), outcome.answer);
  move_fields(statistics(context, {}), outcome.answer);
  outcome.answer.group("buffers", buffers(context, {}).answer);
  outcome.answer.list("sockets", socket_lines(context));
  return outcome;
}

}  // namespace iopkt::control
