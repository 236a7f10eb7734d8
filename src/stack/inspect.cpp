// What programs and operators ask about sockets: getsockopt(2), TCP_INFO, netstat's table.
#include <array>
#include <cstring>
#include <optional>

#include "socket/numbers.hpp"
#include "stack/ways.hpp"

namespace iopkt::stack {
namespace {

namespace num = socket::num;

/// Linux's struct tcp_info as far as it is filled here (linux/tcp.h); later fields are zero.
struct TcpInfo {
  std::uint8_t state{}, ca_state{}, retransmits{}, probes{}, backoff{}, options{}, scales{}, flags{};
  std::uint32_t rto{}, ato{}, snd_mss{}, rcv_mss{};
  std::uint32_t unacked{}, sacked{}, lost{}, retrans{}, fackets{};
  std::uint32_t last_data_sent{}, last_ack_sent{}, last_data_recv{}, last_ack_recv{};
  std::uint32_t pmtu{}, rcv_ssthresh{}, rtt{}, rttvar{}, snd_ssthresh{}, snd_cwnd{}, advmss{}, reordering{};
  std::uint32_t rcv_rtt{}, rcv_space{}, total_retrans{};
  std::uint64_t pacing_rate{}, max_pacing_rate{}, bytes_acked{}, bytes_received{};
  std::uint32_t segs_out{}, segs_in{}, notsent_bytes{}, min_rtt{}, data_segs_in{}, data_segs_out{};
  std::uint64_t delivery_rate{}, busy_time{}, rwnd_limited{}, sndbuf_limited{};
  std::uint32_t delivered{}, delivered_ce{};
};
static_assert(sizeof(TcpInfo) == 200);

/// TCP_CA_Open, _Disorder, _Recovery, _Loss
std::uint8_t linux_ca_state(const tcp::ConnectionInfo& i) {
  if (i.phase == tcp::Phase::loss) return 4;
  if (i.phase == tcp::Phase::fast_recovery) return 3;
  return i.sacked > 0 ? 1 : 0;
}

std::uint8_t linux_state(tcp::State state) {
  switch (state) {
    case tcp::State::established: return 1;
    case tcp::State::syn_sent: return 2;
    case tcp::State::syn_received: return 3;
    case tcp::State::fin_wait_1: return 4;
    case tcp::State::fin_wait_2: return 5;
    case tcp::State::time_wait: return 6;
    case tcp::State::closed: return 7;
    case tcp::State::close_wait: return 8;
    case tcp::State::last_ack: return 9;
    case tcp::State::closing: return 11;
  }
  return 7;
}
constexpr std::uint8_t kLinuxListen = 10, kLinuxClose = 7;

std::uint32_t microseconds(Duration d) { return static_cast<std::uint32_t>(d.count() / 1000); }
std::uint32_t segments(std::uint32_t bytes, std::uint32_t mss) { return mss == 0 ? 0 : (bytes + mss - 1) / mss; }

TcpInfo tcp_info(const ShardState& s, const Socket& k) {
  TcpInfo t;
  t.state = k.state == SocketState::listening ? kLinuxListen : kLinuxClose;
  if (k.state == SocketState::listening) {
    t.unacked = k.listener->waiting;
    t.sacked = k.listener->backlog;
  }
  if (!k.tcp) return t;
  const tcp::ConnectionInfo i = k.tcp->info();
  t.state = linux_state(i.state);
  t.ca_state = linux_ca_state(i);
  t.retransmits = i.retries;
  t.probes = i.keep_probes;
  t.backoff = i.backoff;
  t.options = static_cast<std::uint8_t>((i.timestamps ? 1 : 0) | (i.sack ? 2 : 0) | (i.window_scaling ? 4 : 0) | (i.ecn ? 8 : 0) |
                                        (i.ecn_seen ? 16 : 0) | (i.syn_data ? 32 : 0));
  t.flags = static_cast<std::uint8_t>(i.fast_open_fail << 1);  // tcpi_fastopen_client_fail, above tcpi_delivery_rate_app_limited
  t.scales = static_cast<std::uint8_t>((i.snd_scale & 15) | (i.rcv_scale & 15) << 4);
  t.rto = microseconds(i.rto);
  t.ato = s.settings.tcp.delack_ms * 1000;
  t.snd_mss = i.snd_mss;
  t.rcv_mss = i.rcv_mss;
  t.unacked = segments(i.flight, i.snd_mss);
  t.sacked = segments(i.sacked, i.snd_mss);
  t.lost = segments(i.lost, i.snd_mss);
  t.retrans = segments(i.resent, i.snd_mss);
  t.total_retrans = i.snd_mss == 0 ? 0 : static_cast<std::uint32_t>((i.resent_total + i.snd_mss - 1) / i.snd_mss);
  t.last_data_sent = static_cast<std::uint32_t>((s.now - i.last_sent).count() / 1'000'000);
  t.last_data_recv = static_cast<std::uint32_t>((s.now - i.last_received).count() / 1'000'000);
  t.pmtu = i.path_mss + (k.remote.address.is_v6() ? 60 : 40);
  t.rtt = microseconds(i.srtt);
  t.rttvar = microseconds(i.rttvar);
  // Linux shows one that was never set as TCP_INFINITE_SSTHRESH.
  t.snd_ssthresh = i.ssthresh == UINT32_MAX ? 0x7fffffffu : segments(i.ssthresh, i.snd_mss);
  t.snd_cwnd = segments(i.cwnd, i.snd_mss);
  t.advmss = i.advertised_mss;
  t.reordering = 3;
  t.rcv_space = i.rcv_wnd;
  t.pacing_rate = i.pacing_rate != 0 ? i.pacing_rate : UINT64_MAX;
  t.max_pacing_rate = UINT64_MAX;
  t.bytes_acked = i.bytes_acked;
  t.bytes_received = i.bytes_received;
  t.notsent_bytes = static_cast<std::uint32_t>(i.sent_unsent);
  t.min_rtt = microseconds(i.min_rtt);
  t.delivered_ce = i.delivered_ce;
  return t;
}

/// What an option shows while the program has not set it: the stack's variable, in the option's unit.
std::optional<std::int32_t> common_value(const tcp::Tunables& t, const socket::SocketOptions& o, int name) {
  const auto unless_set = [](std::int32_t own, std::uint32_t common) {
    return own != 0 ? own : static_cast<std::int32_t>(common);
  };
  switch (name) {
    case num::tcp_keepidle: return unless_set(o.keep_idle, t.keepidle_s);
    case num::tcp_keepintvl: return unless_set(o.keep_interval, t.keepintvl_s);
    case num::tcp_keepcnt: return unless_set(o.keep_count, t.keepcnt);
    case num::tcp_syncnt: return unless_set(o.syn_count, t.syn_retries);
    case num::tcp_linger2: return unless_set(o.linger2, t.finwait2_ms / 1000);
    default: return std::nullopt;
  }
}

std::string bytes_of(const void* data, std::size_t size, std::size_t room) {
  return {static_cast<const char*>(data), std::min(size, room)};
}

}  // namespace

wire::Endpoint Shard::local_endpoint(SocketId id) const {
  const Socket* k = state_->find(id);
  return k == nullptr ? wire::Endpoint{} : k->local;
}

wire::Endpoint Shard::remote_endpoint(SocketId id) const {
  const Socket* k = state_->find(id);
  return k == nullptr ? wire::Endpoint{} : k->remote;
}

std::uint64_t Shard::receive_tail(SocketId id) const {
  const Socket* k = state_->find(id);
  return k == nullptr ? 0 : k->receive.tail;
}

std::uint32_t Shard::receive_beyond(SocketId id) const {
  const Socket* k = state_->find(id);
  std::uint32_t bytes = 0;
  if (k != nullptr && k->tcp) k->tcp->for_each_beyond([&](std::uint64_t, std::uint32_t length) { bytes += length; });
  return bytes;
}

std::uint64_t Shard::send_head(SocketId id) const {
  const Socket* k = state_->find(id);
  return k == nullptr ? 0 : k->send.head;
}

Shard::SendLimit Shard::send_limit(SocketId id) const {
  const Socket* k = state_->find(id);
  if (k == nullptr || !k->tcp) return {};
  const std::uint32_t low_water = notsent_low_water(*state_, *k);
  return low_water == 0 ? SendLimit{} : SendLimit{.position = k->tcp->sent_position() + low_water, .low_water = low_water};
}

socket::Result<std::string> Shard::get_option(SocketId id, int level, int name, std::size_t room, Bytes given) const {
  const ShardState& s = *state_;
  const Socket* k = s.find(id);
  if (k == nullptr) return unexpected(Errno::badf);
  if (const auto filter = get_group_option(s, *k, level, name, room, given)) return *filter;
  if (k->kind == socket::SocketKind::tcp && level == num::kSolTcp) {
    // One that was reset has nothing to say any more, although it may wait for its last word to leave.
    const bool connected = k->tcp && k->tcp->state() != tcp::State::closed;
    if (name == num::tcp_info) {
      const TcpInfo info = tcp_info(s, *k);
      return bytes_of(&info, sizeof info, room);
    }
    if (name == num::tcp_ao_info || name == num::tcp_ao_get_keys) return get_key_option(*k, name, given, room);
    if (name == num::tcp_notsent_lowat) return bytes_of(&k->options->notsent_low_water, sizeof k->options->notsent_low_water, room);
    if (name == num::tcp_maxseg) {
      const std::int32_t mss = connected ? static_cast<std::int32_t>(k->tcp->info().snd_mss)
                                         : k->options->max_segment != 0 ? k->options->max_segment : 536;
      return bytes_of(&mss, sizeof mss, room);
    }
    if (name == num::tcp_congestion) {
      char name_field[16] = {};
      const std::string_view name_now = connected                         ? k->tcp->info().congestion
                                        : !k->options->congestion.empty() ? std::string_view(k->options->congestion)
                                                                         : s.settings.congestion->name();
      name_now.copy(name_field, sizeof name_field - 1);
      return bytes_of(name_field, sizeof name_field, room);
    }
    if (const auto common = common_value(s.settings.tcp, *k->options, name)) return bytes_of(&*common, sizeof *common, room);
  }
  if (level == num::kSolIpv6 && name == num::ipv6_flowlabel_mgr && k->family == wire::IpFamily::v6) {
    if (room < socket::FlowLabelRequest::kLen) return unexpected(Errno::inval);
    const auto lease = s.stack.flow_labels().find(k->leased_labels(), k->options->flow_label6, s.now);
    if (!lease) return unexpected(lease.error());
    std::array<std::byte, socket::FlowLabelRequest::kLen> out{};
    lease->encode(out);
    return bytes_of(out.data(), out.size(), room);
  }
  socket::SocketFacts facts{.kind = k->kind, .family = k->family};
  facts.type = k->kind == socket::SocketKind::tcp ? num::kStream : is_udp(k->kind) ? num::kDgram : num::kRaw;
  facts.protocol = k->protocol;
  facts.accepting = k->state == SocketState::listening;
  facts.send_ring = static_cast<std::int32_t>(k->send.memory.size);
  facts.receive_ring = static_cast<std::int32_t>(k->receive.memory.size);
  facts.cookie = static_cast<std::uint64_t>(s.number) << 32 | k->id.value;
  if (!k->remote.address.is_unspecified())
    if (const auto path = find_path(s, k->remote.address, k->fib, k->bound_interface, false))
      facts.mtu = static_cast<std::int32_t>(path->mtu);
  if (level == num::kSolIp && name == num::ip_ttl && k->options->ttl == 0) {
    const auto ttl = static_cast<std::int32_t>(s.settings.ipv4.ttl);
    return bytes_of(&ttl, sizeof ttl, room);
  }
  if (level == num::kSolIpv6 && name == num::ipv6_unicast_hops && k->family == wire::IpFamily::v6 && k->options->unicast_hops < 0) {
    const auto hops = static_cast<std::int32_t>(s.settings.ipv6.hop_limit);
    return bytes_of(&hops, sizeof hops, room);
  }
  return socket::get_option(*k->options, facts, level, name, room);
}

namespace {
const char* name_of(socket::SocketKind kind) {
  switch (kind) {
    case socket::SocketKind::tcp: return "tcp";
    case socket::SocketKind::udp: return "udp";
    case socket::SocketKind::udplite: return "udplite";
    case socket::SocketKind::raw: break;
  }
  return "ip";
}
}  // namespace

void Shard::list_sockets(std::vector<SocketSummary>& out) const {
  const ShardState& s = *state_;
  for (const auto& k : s.slab) {
    if (!k) continue;
    SocketSummary line{.protocol = name_of(k->kind),
                       .family = k->family,
                       .local = k->local,
                       .remote = k->remote,
                       .shard = s.number,
                       .id = k->id.value,
                       .user = k->user,
                       .cookie = k->cookie};
    if (k->kind == socket::SocketKind::tcp) {
      line.receive_queue = k->receive.unread();
      line.send_queue = k->send.tail - k->send.head;
      line.state = k->state == SocketState::listening ? "LISTEN" : k->tcp ? std::string(tcp::name_of(k->tcp->state())) : "CLOSED";
      if (k->state == SocketState::listening) line.receive_queue = k->listener->waiting, line.send_queue = k->listener->backlog;
    }
    out.push_back(std::move(line));
  }
  const auto without_socket = [&](const FlowKey& flow, const char* state) {
    out.push_back({.protocol = "tcp",
                   .family = flow.local.address.family(),
                   .local = flow.local,
                   .remote = flow.remote,
                   .state = state,
                   .shard = s.number});
  };
  s.flows.for_each([&](const FlowKey& flow, Timed* entry) {
    if (entry->kind == Timed::Kind::half_open) without_socket(flow, "SYN_RECEIVED");
  });
  s.time_waits.for_each([&](const FlowKey& flow) { without_socket(flow, "TIME_WAIT"); });
}

}  // namespace iopkt::stack
