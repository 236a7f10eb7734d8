// Groups of both families on a lone stack between its programs and whoever says to be a querier: joins, leaves and source filters by
// every option, queries and reports of all versions, time and carriers that come and go. The table is what a simple model of the
// sockets' filters says; every report says what the model says, to whom its version wants it; there are no more of them than what
// happened accounts for; and nothing is said of groups that nobody is in, or that are nobody's business.
// Input: rows of an op and what it reads.
#include <netinet/in.h>

#include <cstring>
#include <map>
#include <set>

#include "fuzz/input.hpp"
#include "group/machine.hpp"
#include "tests/support/sim_net.hpp"
#include "wire/checksum.hpp"
#include "wire/ethernet.hpp"
#include "wire/icmpv6.hpp"
#include "wire/igmp.hpp"
#include "wire/ipv4.hpp"
#include "wire/ipv6.hpp"
#include "wire/mld.hpp"

namespace {

using namespace iopkt;
using fuzz::Input;
using group::Filter;
using group::RecordType;
using wire::IpAddress;

constexpr std::size_t kSockets = 4;  // the second half are of IPv6
constexpr std::size_t kHopByHopLen = 8;
constexpr wire::MacAddress kRouterMac{{2, 0, 0, 0, 0, 2}};

// One of each is source-specific, and one never told to anybody.
const char* const kGroups4[] = {"239.1.1.1", "239.1.1.2", "232.1.1.1", "224.0.0.1"};
const char* const kGroups6[] = {"ff02::77", "ff05::77", "ff35::77", "ff01::77"};
const char* const kSources4[] = {"10.0.0.7", "10.0.0.8", "192.0.2.1", "192.0.2.2"};
const char* const kSources6[] = {"2001:db8::7", "2001:db8::8", "2001:db8:1::7", "fe80::7"};

IpAddress address(const char* text) { return *IpAddress::parse(text); }

sockaddr_storage storage(const IpAddress& a) {
  sockaddr_storage out{};
  if (a.is_v6()) {
    sockaddr_in6 in6{};
    in6.sin6_family = AF_INET6;
    const wire::Ipv6Address bytes = a.v6();
    std::memcpy(&in6.sin6_addr, bytes.bytes.data(), 16);
    std::memcpy(&out, &in6, sizeof in6);
  } else {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_addr.s_addr = htonl(a.v4().value);
    std::memcpy(&out, &in, sizeof in);
  }
  return out;
}

class Machine {
 public:
  explicit Machine(std::uint8_t kind) : net_(1) {
    sim::Host::Options options;
    options.shards = 1 + kind % 2;
    options.ipv6 = true;
    options.prefix6 = "2001:db8::1/64";
    host_ = &net_.host("10.0.0.1/24", options);
    net_.tracing = false;
    net_.tap = [this](const sim::Host&, sim::Frame& frame) {
      look_at(Bytes{frame});
      return false;
    };
    for (std::size_t n = 0; n < kSockets; ++n) open(n);
    net_.run_for(std::chrono::seconds(30));  // its own addresses are there
    allowed_ = said_;
  }

  void step(Input& in) {
    const std::uint8_t op = in.u8();
    switch (op % 8) {
      case 0:
      case 1:
      case 2: change(in, op / 8); break;
      case 3: query4(in, op / 8); break;
      case 4: query6(in, op / 8); break;
      case 5: net_.run_for(std::chrono::milliseconds(in.u16()) * (op / 8 % 4 == 0 ? 60 : 1)); break;
      case 6:
        if (op / 8 % 4 == 0) carrier();
        else hear(in, op / 8);
        break;
      case 7: {
        const std::size_t n = in.u8() % kSockets;
        if (op / 8 % 8 != 0) break;
        close(n);
        open(n);
        break;
      }
    }
    net_.run_for(Duration{1});
    check();
  }

  void end() {
    for (std::size_t n = 0; n < kSockets; ++n) close(n);
    net_.run_for(std::chrono::hours(3));
    check();
    const std::size_t before = said_;
    net_.run_for(std::chrono::hours(3));
    IOPKT_ASSERT(said_ == before);  // nobody asks, nothing changes
    IOPKT_ASSERT(host_->packets_held() == 0);
  }

 private:
  // What one change may bring: robustness is a number of three bits. What is told of one group at once is one packet.
  static constexpr std::size_t kOfChange = 8;

  void open(std::size_t n) {
    const bool v6 = n >= kSockets / 2;
    const wire::Endpoint local{v6 ? IpAddress{wire::Ipv6Address::any()} : IpAddress{wire::Ipv4Address::any()},
                               wire::Port{static_cast<std::uint16_t>(next_port_++)}};
    sockets_[n] = &host_->udp(local, static_cast<std::uint32_t>(n) % host_->stack().shard_count());
  }

  /// It leaves its groups one by one.
  void close(std::size_t n) {
    host_->shard(sockets_[n]->shard).close(sockets_[n]->id);
    std::erase_if(model_, [&](const auto& one) { return one.first.first == n; });
    allowed_ += kOfChange * 4;
    net_.run_for(Duration{1});
  }

  // ---- programs

  void change(Input& in, unsigned how) {
    const std::size_t n = in.u8() % kSockets;
    const std::uint8_t which = in.u8();
    const bool v6 = n >= kSockets / 2;
    const int level = v6 ? IPPROTO_IPV6 : IPPROTO_IP;
    const IpAddress to = address((v6 ? kGroups6 : kGroups4)[which % 4]);
    const IpAddress source = address((v6 ? kSources6 : kSources4)[which / 4 % 4]);
    const auto key = std::pair{n, to};
    const auto set = [&](int name, const void* value, std::size_t size) {
      return host_->shard(sockets_[n]->shard).set_option(sockets_[n]->id, level, name, as_bytes(value, size), false) == socket::Errno::ok;
    };
    const auto group_of = [&](int name) {
      group_req r{};
      r.gr_interface = host_->interface_index();
      r.gr_group = storage(to);
      return set(name, &r, sizeof r);
    };
    const auto source_of = [&](int name) {
      group_source_req r{};
      r.gsr_interface = host_->interface_index();
      r.gsr_group = storage(to);
      r.gsr_source = storage(source);
      return set(name, &r, sizeof r);
    };
    allowed_ += kOfChange;
    switch (how % 8) {
      case 0:
      case 1:
        if (how % 2 == 0 ? group_of(MCAST_JOIN_GROUP) : join_by_old_name(n, to, set)) {
          IOPKT_ASSERT(!model_.contains(key));
          model_[key] = Filter::everything();
        }
        break;
      case 2:
        if (group_of(MCAST_LEAVE_GROUP)) IOPKT_ASSERT(model_.erase(key) == 1);
        break;
      case 3:
        if (source_of(MCAST_JOIN_SOURCE_GROUP)) {
          Filter& f = model_[key];
          IOPKT_ASSERT(!f.exclude || f.sources.empty());
          f.exclude = false;
          IOPKT_ASSERT(f.add(source));
        }
        break;
      case 4:
        if (source_of(MCAST_LEAVE_SOURCE_GROUP)) {
          Filter& f = model_.at(key);
          IOPKT_ASSERT(!f.exclude && f.remove(source));
          if (f.sources.empty()) model_.erase(key);
        }
        break;
      case 5:
        if (source_of(MCAST_BLOCK_SOURCE)) {
          Filter& f = model_.at(key);
          IOPKT_ASSERT(f.exclude && f.add(source));
        }
        break;
      case 6:
        if (source_of(MCAST_UNBLOCK_SOURCE)) {
          Filter& f = model_.at(key);
          IOPKT_ASSERT(f.exclude && f.remove(source));
        }
        break;
      case 7: {
        Filter wanted{.exclude = in.u8() % 2 != 0};
        std::vector<std::byte> value(GROUP_FILTER_SIZE(4));
        group_filter head{};
        head.gf_interface = host_->interface_index();
        head.gf_group = storage(to);
        head.gf_fmode = wanted.exclude ? MCAST_EXCLUDE : MCAST_INCLUDE;
        head.gf_numsrc = in.u8() % 5;
        std::memcpy(value.data(), &head, GROUP_FILTER_SIZE(0));
        for (std::uint32_t i = 0; i < head.gf_numsrc; ++i) {
          const IpAddress one = address((v6 ? kSources6 : kSources4)[in.u8() % 4]);
          const sockaddr_storage text = storage(one);
          std::memcpy(value.data() + GROUP_FILTER_SIZE(i), &text, sizeof text);
          wanted.add(one);
        }
        if (!set(MCAST_MSFILTER, value.data(), GROUP_FILTER_SIZE(head.gf_numsrc))) break;
        IOPKT_ASSERT(model_.contains(key));
        if (wanted.is_member()) model_[key] = wanted;
        else model_.erase(key);
        break;
      }
    }
  }

  template <class Set>
  bool join_by_old_name(std::size_t n, const IpAddress& to, Set set) {
    if (n >= kSockets / 2) {
      ipv6_mreq r{};
      const wire::Ipv6Address bytes = to.v6();
      std::memcpy(&r.ipv6mr_multiaddr, bytes.bytes.data(), 16);
      r.ipv6mr_interface = host_->interface_index();
      return set(IPV6_JOIN_GROUP, &r, sizeof r);
    }
    const ip_mreqn r{.imr_multiaddr = {htonl(to.v4().value)}, .imr_address = {}, .imr_ifindex = static_cast<int>(host_->interface_index())};
    return set(IP_ADD_MEMBERSHIP, &r, sizeof r);
  }

  void carrier() {
    stack::Network network = *host_->stack().network();
    iface::Interface en = *network.interfaces.by_index(host_->interface_index());
    up_ = en.link_up = !en.link_up;
    network.interfaces = network.interfaces.with(en);
    host_->stack().publish(std::move(network));
    allowed_ += kOfChange * host_->shard(0).list_groups().size();
  }

  // ---- the network

  void ip4(std::vector<std::byte> message, const wire::Ipv4Address& to) {
    wire::Ipv4Header h{.ttl = 1, .protocol = wire::IpProtocol::igmp, .src = {10, 0, 0, 2}, .dst = to,
                       .payload_len = static_cast<std::uint16_t>(message.size())};
    std::vector<std::byte> packet(wire::encoded_len(h));
    wire::encode(h, packet);
    frame(0x0800, packet, message, {{1, 0, 0x5e, 0, 0, 1}});
  }
  void ip6(std::vector<std::byte> message, const wire::Ipv6Address& to) {
    wire::Ipv6Header h{.payload_len = static_cast<std::uint16_t>(kHopByHopLen + message.size()), .next_header = wire::IpProtocol::hop_by_hop,
                       .hop_limit = 1, .src = *wire::Ipv6Address::parse("fe80::2"), .dst = to};
    if (message.size() >= 8) wire::store_icmpv6_checksum(message, h.src, h.dst);
    std::vector<std::byte> packet(wire::Ipv6View::kHeaderLen);
    wire::encode(h, packet);
    // RFC 2711: a router alert of value 0, and padding.
    for (const int byte : {58, 0, 5, 2, 0, 0, 1, 0}) packet.push_back(static_cast<std::byte>(byte));
    frame(0x86dd, packet, message, {{0x33, 0x33, 0, 0, 0, 1}});
  }
  void frame(std::uint16_t type, const std::vector<std::byte>& packet, const std::vector<std::byte>& message, const wire::MacAddress& to) {
    sim::Frame out(14);
    wire::store_mac(out, 0, to);
    wire::store_mac(out, 6, kRouterMac);
    store_be16(out, 12, type);
    out.insert(out.end(), packet.begin(), packet.end());
    out.insert(out.end(), message.begin(), message.end());
    host_->receive(out);
  }

  /// Of every version: about all, a group, or sources of a group.
  void query4(Input& in, unsigned how) {
    const std::uint8_t which = in.u8();
    const wire::Ipv4Address about = how % 3 == 0 ? wire::Ipv4Address{} : address(kGroups4[which % 4]).v4();
    std::vector<std::byte> message(wire::IgmpView::kHeaderLen);
    wire::encode_igmp(wire::IgmpType::query, how / 4 % 4 == 1 ? std::uint8_t{0} : in.u8(), about, message);
    if (how / 4 % 4 > 1) {
      message.push_back(std::byte{in.u8()}), message.push_back(std::byte{in.u8()});
      const std::uint8_t count = how % 3 == 2 ? in.u8() % 5 : 0;
      message.push_back({}), message.push_back(std::byte{count});
      for (std::uint8_t i = 0; i < count; ++i) {
        const std::size_t at = message.size();
        message.resize(at + 4);
        wire::store_ipv4(message, at, address(kSources4[in.u8() % 4]).v4());
      }
    }
    store_be16(message, wire::IgmpView::kChecksumOffset, 0);
    store_be16(message, wire::IgmpView::kChecksumOffset, wire::finish(wire::sum(message, 0)));
    asked();
    ip4(std::move(message), wire::kAllSystems);
  }
  void query6(Input& in, unsigned how) {
    const std::uint8_t which = in.u8();
    const wire::Ipv6Address about = how % 3 == 0 ? wire::Ipv6Address::any() : address(kGroups6[which % 4]).v6();
    std::vector<std::byte> message(wire::MldView::kQueryV1Len);
    wire::encode_mld(wire::Icmpv6Type::listener_query, in.u16(), about, message);
    if (how / 4 % 4 > 1) {
      message.push_back(std::byte{in.u8()}), message.push_back(std::byte{in.u8()});
      const std::uint8_t count = how % 3 == 2 ? in.u8() % 5 : 0;
      message.push_back({}), message.push_back(std::byte{count});
      for (std::uint8_t i = 0; i < count; ++i) {
        const std::size_t at = message.size();
        message.resize(at + 16);
        wire::store_ipv6(message, at, address(kSources6[in.u8() % 4]).v6());
      }
    }
    asked();
    ip6(std::move(message), wire::Ipv6Address::all_nodes());
  }
  /// Each group at most once, or all in one.
  void asked() { allowed_ += host_->shard(0).list_groups().size() + 1; }

  /// Others' reports, or anything.
  void hear(Input& in, unsigned how) {
    const std::uint8_t which = in.u8();
    if (how % 4 == 1) {
      asked();
      std::vector<std::byte> message = in.bytes(in.u8());
      if (which % 2 == 0) return ip6(std::move(message), wire::Ipv6Address::all_nodes());
      if (message.size() >= 4) {
        store_be16(message, wire::IgmpView::kChecksumOffset, 0);
        store_be16(message, wire::IgmpView::kChecksumOffset, wire::finish(wire::sum(message, 0)));
      }
      return ip4(std::move(message), wire::kAllSystems);
    }
    if (how % 4 == 2) {
      const IpAddress group = address(kGroups4[which % 4]);
      std::vector<std::byte> message(wire::IgmpView::kHeaderLen);
      wire::encode_igmp(which % 8 < 4 ? wire::IgmpType::report_v1 : wire::IgmpType::report_v2, 0, group.v4(), message);
      return ip4(std::move(message), group.v4());
    }
    const IpAddress group = address(kGroups6[which % 4]);
    std::vector<std::byte> message(wire::MldView::kQueryV1Len);
    wire::encode_mld(wire::Icmpv6Type::listener_report, 0, group.v6(), message);
    ip6(std::move(message), group.v6());
  }

  // ---- what is said

  /// RFC 3376 section 3.2: of all sockets' filters.
  Filter merged(const IpAddress& to) const {
    Filter out;
    std::set<IpAddress> included;
    bool first = true;
    for (const auto& [key, f] : model_) {
      if (key.second != to) continue;
      if (!f.exclude) {
        included.insert(f.sources.begin(), f.sources.end());
        continue;
      }
      if (std::exchange(first, false)) out = f;
      else std::erase_if(out.sources, [&](const IpAddress& one) { return !f.names(one); });
    }
    if (!out.exclude) return {.exclude = false, .sources = {included.begin(), included.end()}};
    std::erase_if(out.sources, [&](const IpAddress& one) { return included.contains(one); });
    return out;
  }
  static bool is_programs(const IpAddress& to) {
    const auto in = [&](const auto& list) { return std::ranges::any_of(list, [&](const char* one) { return address(one) == to; }); };
    return in(kGroups4) || in(kGroups6);
  }
  static Filter plain(Filter f) {
    for (IpAddress& one : f.sources) one = one.with_zone(0);
    std::ranges::sort(f.sources);
    return f;
  }

  void check() {
    IOPKT_ASSERT(said_ <= allowed_);
    for (std::uint32_t n = 0; n < host_->stack().shard_count(); ++n) {
      std::set<IpAddress> seen;
      own_.clear();
      for (const group::Table::Row& row : host_->shard(n).list_groups()) {
        const IpAddress to = row.key.group.with_zone(0);
        if (!is_programs(to)) {
          own_.insert(to);
          continue;
        }
        IOPKT_ASSERT(seen.insert(to).second && plain(row.filter) == merged(to));
      }
      for (const auto& [key, f] : model_) IOPKT_ASSERT(seen.contains(key.second));
    }
  }

  /// `to`: where the packet goes.
  void look_at_record(RecordType type, const IpAddress& to, const std::vector<IpAddress>& sources) {
    IOPKT_ASSERT(!group::is_silent(to));
    const bool excludes = type == RecordType::is_exclude || type == RecordType::to_exclude;
    IOPKT_ASSERT(!excludes || !group::is_source_specific(to));
    const Filter now = is_programs(to) ? merged(to) : own_.contains(to) ? Filter::everything() : Filter{};
    // Its own groups come and go between two looks.
    if (!is_programs(to)) return;
    switch (type) {
      case RecordType::is_exclude:
      case RecordType::to_exclude: IOPKT_ASSERT(now.exclude && sources == now.sources); break;
      case RecordType::to_include: IOPKT_ASSERT(!now.exclude && sources == now.sources); break;
      case RecordType::is_include:
      case RecordType::allow:
        IOPKT_ASSERT(now.is_member() && !sources.empty());
        for (const IpAddress& one : sources) IOPKT_ASSERT(now.passes(one));
        break;
      case RecordType::block:
        IOPKT_ASSERT(!sources.empty());
        for (const IpAddress& one : sources) IOPKT_ASSERT(!now.passes(one));
        break;
    }
  }
  void look_at_older(bool leaves, const IpAddress& to) {
    IOPKT_ASSERT(!group::is_silent(to));
    if (is_programs(to)) IOPKT_ASSERT(merged(to).is_member() != leaves);
  }

  void look_at(Bytes bytes) {
    if (load_be16(bytes, 12) == 0x0800) return look_at_igmp(bytes.subspan(14));
    if (load_be16(bytes, 12) == 0x86dd) look_at_mld(bytes.subspan(14));
  }
  void count() {
    IOPKT_ASSERT(up_);
    ++said_;
  }

  void look_at_igmp(Bytes packet) {
    const auto ip = wire::Ipv4View::parse(packet);
    IOPKT_ASSERT(ip);
    if (ip->header().protocol != wire::IpProtocol::igmp) return;
    IOPKT_ASSERT(ip->header().ttl == 1);
    const auto view = wire::IgmpView::parse(ip->payload());
    IOPKT_ASSERT(view && view->checksum_ok());
    count();
    const wire::Ipv4Address dst = ip->header().dst;
    if (view->type() != wire::IgmpType::report_v3) {
      const bool leaves = view->type() == wire::IgmpType::leave;
      IOPKT_ASSERT(dst == (leaves ? wire::kAllRouters : view->group()));
      return look_at_older(leaves, view->group());
    }
    IOPKT_ASSERT(dst == wire::kIgmpRouters);
    Bytes rest = view->records();
    for (std::size_t i = 0; i < view->record_count(); ++i) {
      const auto record = wire::IgmpRecordView::parse(rest);
      IOPKT_ASSERT(record);
      std::vector<IpAddress> sources;
      for (std::size_t s = 0; s < record->source_count(); ++s) sources.push_back(record->source(s));
      look_at_record(static_cast<RecordType>(record->type()), record->group(), sources);
      rest = rest.subspan(record->size());
    }
    IOPKT_ASSERT(rest.empty());
  }

  void look_at_mld(Bytes packet) {
    const auto ip = wire::Ipv6View::parse_header(packet);
    IOPKT_ASSERT(ip);
    if (ip->next_header() != wire::IpProtocol::hop_by_hop) return;
    const Bytes message = packet.subspan(wire::Ipv6View::kHeaderLen + kHopByHopLen);
    const auto view = wire::MldView::parse(message);
    IOPKT_ASSERT(view && load_u8(packet, 7) == 1);
    count();
    const wire::Ipv6Address dst = ip->dst();
    if (view->type() != wire::Icmpv6Type::listener_report_v2) {
      const bool leaves = view->type() == wire::Icmpv6Type::listener_done;
      IOPKT_ASSERT(dst == (leaves ? wire::Ipv6Address::all_routers() : view->group()));
      return look_at_older(leaves, IpAddress{view->group()});
    }
    IOPKT_ASSERT(dst == wire::kMldRouters);
    Bytes rest = view->records();
    for (std::size_t i = 0; i < view->record_count(); ++i) {
      const auto record = wire::MldRecordView::parse(rest);
      IOPKT_ASSERT(record);
      std::vector<IpAddress> sources;
      for (std::size_t s = 0; s < record->source_count(); ++s) sources.emplace_back(record->source(s));
      look_at_record(static_cast<RecordType>(record->type()), IpAddress{record->group()}, sources);
      rest = rest.subspan(record->size());
    }
    IOPKT_ASSERT(rest.empty());
  }

  sim::SimNet net_;
  sim::Host* host_ = nullptr;
  sim::Host::UdpSocket* sockets_[kSockets]{};
  unsigned next_port_ = 5000;
  std::map<std::pair<std::size_t, IpAddress>, Filter> model_;
  std::set<IpAddress> own_;  // what the stack listens to for itself
  bool up_ = true;
  std::size_t said_ = 0, allowed_ = SIZE_MAX;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input in{data, size};
  Machine machine{in.u8()};
  for (int step = 0; step < 150 && !in.empty(); ++step) machine.step(in);
  machine.end();
  return 0;
}
