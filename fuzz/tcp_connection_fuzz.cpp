// One TCP connection against any sequence of segments, user calls, ICMP errors and timers. What must hold whatever comes:
// copies lie in the offered window and never over a byte that was received; output lies in what was written and in the peer's
// window; the window never retreats; time always moves on; output ends.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "tcp/connection.hpp"
#include "tcp/listen.hpp"

namespace {

constexpr std::uint32_t kFixedHeaders = 40;                       // IPv4 and TCP without options
constexpr std::uint16_t kPathMssMax = 65535 - kFixedHeaders;      // there is no larger MTU

using namespace iopkt;
using namespace iopkt::tcp;

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : at_(data), end_(data + size) {}
  bool empty() const { return at_ == end_; }
  std::uint8_t u8() { return at_ == end_ ? 0 : *at_++; }
  std::uint16_t u16() { return static_cast<std::uint16_t>(u8() | u8() << 8); }
  std::uint32_t u32() { return u16() | static_cast<std::uint32_t>(u16()) << 16; }

 private:
  const std::uint8_t* at_;
  const std::uint8_t* end_;
};

class Machine {
 public:
  explicit Machine(Input& in) : in_(in), capacity_(4096u << (in.u8() % 6)) {
    tunables_.reass_ranges = 4 + in.u8() % 32;
    config_.receive_capacity = capacity_;
    const std::uint8_t size = in.u8();
    config_.receive_capacity_max = capacity_ << (size % 4);
    tunables_.ecn_enable = (size & 128) != 0 ? 3 : 1;  // AccECN (RFC 9768), or RFC 3168
    tunables_.ecn_option = (size & 64) == 0;
    const std::uint8_t bits = in.u8();
    config_.window_scaling = (bits & 1) != 0;
    config_.timestamps = (bits & 2) != 0;
    config_.sack = (bits & 4) != 0;
    config_.options.nodelay = (bits & 8) != 0;
    config_.options.keepalive = (bits & 16) != 0;
    config_.advertised_mss = config_.path_mss = static_cast<std::uint16_t>(64 + in.u16() % 9000);
    if ((bits & 32) != 0) config_.options.user_timeout_ms = 5000;
    if ((bits & 64) != 0) {
      tunables_.rack = tunables_.prr = tunables_.frto = 0;
      config_.congestion = &newreno();
    }
    tunables_.pacing = bits >> 7;
    peer_seq_ = SeqNum{in.u32()};
    iss_ = SeqNum{in.u32()};
  }

  bool open() {
    const std::uint8_t how = in_.u8();
    wire::TcpOptions options;
    options.mss = in_.u16();
    if ((how & 2) != 0) options.window_scale = in_.u8();
    if ((how & 4) != 0) options.timestamps = {in_.u32(), 0};
    options.sack_permitted = (how & 8) != 0;
    if ((how & 32) != 0) {
      config_.fast_open = wire::FastOpenCookie{.size = static_cast<std::uint8_t>((how & 64) != 0 ? 8 : 0)};
      config_.fast_open_mss = in_.u16();
      config_.hold_syn = (how & 128) != 0;
    }
    if ((how & 1) != 0) {
      connection_.emplace(Connection::open_active(context_, config_, iss_, now_));
      flush();
      return true;
    }
    const auto syn_flags = static_cast<std::uint16_t>(wire::syn | ((how & 16) == 0 ? 0 : tunables_.ecn_enable == 3 ? wire::flags_of_ace(7) : wire::ece | wire::cwr));
    const SegmentIn syn{.seq = peer_seq_, .flags = syn_flags, .window = in_.u16(), .options = options};
    auto heard = on_segment_in_listen(context_, config_, syn, iss_, now_);
    IOPKT_ASSERT(heard.kind == ListenOutcome::Kind::open_child);
    if ((how & 32) != 0) return open_fast(heard.child);
    options.window_scale.reset();
    options.sack_permitted = false;
    const SegmentIn ack{.seq = peer_seq_ + 1, .ack = iss_ + 1, .flags = wire::ack, .window = in_.u16(), .options = options};
    if (on_segment(context_, heard.child, ack, now_).kind != HalfOpenOutcome::Kind::complete) return false;
    connection_.emplace(Connection::from_half_open(context_, heard.child, config_, now_));
    segment(ack);
    return true;
  }

  void run() {
    for (int i = 0; i < 400 && !in_.empty(); ++i) {
      switch (in_.u8() % 16) {
        case 0: case 1: case 2: case 3: case 4: case 5: random_segment(); break;
        case 6: case 7:
          written_ += in_.u16();
          if (!shut_) connection_->set_send_tail(written_);
          else written_ = tail_at_shut_;
          break;
        case 8: {
          const std::uint64_t unread = connection_->receive_tail() - read_;
          read_ += unread * in_.u8() / 255;
          connection_->set_receive_read(read_);
          break;
        }
        case 9: case 10: timer(); break;
        case 11: now_ += Duration{in_.u32()}; break;
        case 12: options(); break;
        case 13: control(); break;
        case 14: connection_->on_mtu_change(std::min<std::uint16_t>(in_.u16(), kPathMssMax), maybe_seq(), now_); break;
        default:
          if (written_ > 0) connection_->set_send_urgent(written_);
      }
      flush();
    }
    // Left alone, whatever is pending ends or waits for the peer: time moves on and nothing spins.
    for (int i = 0; i < 60; ++i) timer(), flush();
  }

 private:
  std::optional<SeqNum> maybe_seq() {
    if ((in_.u8() & 1) == 0) return std::nullopt;
    return connection_->export_state().snd.seq_of(connection_->export_state().snd.una + in_.u8() % 4);
  }

  bool open_fast(const HalfOpen& half) {
    const std::uint32_t length = in_.u16();
    Copies copies;
    connection_.emplace(Connection::open_fast(context_, half, config_, length, now_, copies));
    received_.resize(connection_->receive_tail(), true);
    for (const Copy& c : copies) IOPKT_ASSERT(c.from + c.length <= length && c.to_position + c.length <= capacity_);
    flush();
    return true;
  }

  void options() {
    Options o = connection_->options();
    const std::uint8_t bits = in_.u8();
    o.nodelay = (bits & 1) != 0;
    o.cork = (bits & 2) != 0;
    o.quickack = (bits & 4) != 0;
    o.keepalive = (bits & 8) != 0;
    o.keep_idle_ms = in_.u16();
    o.user_timeout_ms = (bits & 16) != 0 ? in_.u16() : 0;
    o.signature_len = (bits & 32) != 0 ? 20 : (bits & 64) != 0 ? 16 : 0;
    connection_->set_options(o, now_);
  }

  void control() {
    switch (in_.u8() % 8) {
      case 0: connection_->close(now_), shut(); break;
      case 1: connection_->abort(now_); break;
      case 2: case 3: connection_->shutdown_write(), shut(); break;
      case 4: connection_->on_icmp_error(Failure::host_unreachable, iss_ + in_.u16(), now_); break;
      case 5:
        capacity_ = std::max(capacity_, 2048u + in_.u16() * 8u);
        connection_->set_receive_capacity(capacity_);
        break;
      default: {  // exported and imported, it is the same
        const Connection copy = Connection::import_state(context_, connection_->export_state());
        IOPKT_ASSERT(copy.export_state() == connection_->export_state());
        break;
      }
    }
  }
  void shut() {
    if (!shut_) tail_at_shut_ = written_;
    shut_ = true;
  }

  void random_segment() {
    const ControlBlock& b = connection_->export_state();
    const std::uint8_t shape = in_.u8();
    wire::TcpOptions o;
    if (b.timestamps || (shape & 1) != 0) {
      const std::uint32_t echo = connection_->timestamp(now_) - in_.u8();
      o.timestamps = {b.rcv.ts_recent + (in_.u8() % 8 == 0 ? in_.u32() : in_.u8() % 4), echo};
    }
    if ((shape & 2) != 0) {
      o.sack_count = static_cast<std::uint8_t>(in_.u8() % 5);
      for (std::uint8_t i = 0; i < o.sack_count; ++i) {
        const SeqNum left = b.snd.seq_of(b.snd.una) + in_.u16();
        o.sack[i] = {left, left + in_.u16() % 5000};
      }
    }
    if ((shape & 4) != 0) o.mss = in_.u16();
    if (b.accurate && (shape & 64) != 0) {
      const std::uint8_t fields = in_.u8();
      o.accecn = wire::AccEcnOption{.order1 = (fields & 4) != 0, .fields = static_cast<std::uint8_t>(fields % 4)};
      if (o.accecn->has_e0b()) o.accecn->e0b = (b.accurate->s_e0b + in_.u16()) & wire::AccEcnOption::kMask;
      if (o.accecn->has_ceb()) o.accecn->ceb = (b.accurate->s_ceb + in_.u16()) & wire::AccEcnOption::kMask;
      if (o.accecn->has_e1b()) o.accecn->e1b = in_.u16();
    }
    const auto near = [&](std::uint8_t how) -> std::uint32_t {
      if (how < 100) return 0;
      if (how < 200) return in_.u16();
      if (how < 250) return 0u - in_.u8();
      return in_.u32();
    };
    std::uint16_t flags = wire::ack;
    switch (in_.u8() % 16) {
      case 0: flags = in_.u8(); break;
      case 1: flags |= wire::fin; break;
      case 2: flags |= wire::syn; break;
      case 3: flags = wire::syn; break;
      case 4: flags |= wire::rst; break;
      case 5: flags |= wire::urg; break;
      case 6: flags |= wire::ece; break;
      case 7: flags |= wire::cwr; break;
      case 8: flags |= wire::flags_of_ace(in_.u8()); break;
      default: break;
    }
    const SeqNum seq = b.state == State::syn_sent ? peer_seq_ : b.rcv.seq_of(b.rcv.nxt) + near(in_.u8());
    const std::uint8_t ack_how = in_.u8();
    // Between SND.UNA and SND.NXT, or anywhere.
    const SeqNum ack = ack_how < 200 ? b.snd.seq_of(b.snd.una + (b.snd.max - b.snd.una) * ack_how / 199)
                                     : b.snd.seq_of(b.snd.una) + near(in_.u8());
    segment({.seq = seq, .ack = ack, .flags = flags, .window = in_.u16(), .urgent = in_.u16(), .options = o,
             .payload_len = (shape & 8) != 0 ? std::uint32_t{in_.u16()} : std::uint32_t{in_.u8()}, .ecn = static_cast<std::uint8_t>(shape >> 4 & 3)});
  }

  void segment(const SegmentIn& seg) {
    const std::uint64_t tail = connection_->receive_tail(), edge = std::max<std::uint64_t>(connection_->receive_edge(), tail);
    Copies copies;
    connection_->on_segment(seg, now_, copies);
    std::uint32_t from = 0;
    for (const Copy& c : copies) {
      IOPKT_ASSERT(c.length > 0 && c.from >= from && c.from + c.length <= seg.payload_len);
      from = c.from + c.length;
      IOPKT_ASSERT(c.to_position >= tail && c.to_position + c.length <= edge);
      IOPKT_ASSERT(c.to_position + c.length <= read_ + capacity_);
      if (received_.size() < c.to_position + c.length) received_.resize(c.to_position + c.length);
      for (std::uint64_t p = c.to_position; p < c.to_position + c.length; ++p) {
        IOPKT_ASSERT(!received_[p]);
        received_[p] = true;
      }
    }
    const std::uint64_t new_tail = connection_->receive_tail();
    IOPKT_ASSERT(new_tail >= tail);
    for (std::uint64_t p = tail; p < new_tail; ++p) IOPKT_ASSERT(received_[p]);
    if (connection_->state() != State::closed && !connection_->peer_fin() && new_tail < received_.size())
      IOPKT_ASSERT(!received_[new_tail]);
    flush();
  }

  void timer() {
    const Instant at = connection_->next_deadline();
    if (at.is_never()) return;
    now_ = std::max(now_, at);
    connection_->on_timer(now_);
    flush();
    IOPKT_ASSERT(connection_->next_deadline() > now_);
  }

  void flush() {
    std::uint64_t n = 0;
    while (const auto out = connection_->poll_output(now_)) {
      // All that is in flight may have to go again, in pieces of the least MSS less its options.
      IOPKT_ASSERT(++n < 20000 + written_ / 16);
      check(*out);
    }
    connection_->take_events();
    check_block();
  }

  void check(const SegmentOut& out) {
    const ControlBlock& b = connection_->export_state();
    if (out.has(wire::rst) || out.has(wire::syn)) {
      // RFC 7413: the first SYN of a client with a cookie has data.
      const bool fast = b.fast_open == FastOpen::sent && !out.has(wire::ack) && !out.retransmission;
      IOPKT_ASSERT(out.payload_len == 0 || (fast && out.payload_position == 0 && out.payload_len <= std::min<std::uint64_t>(written_, b.snd.path_mss)));
      return;
    }
    const std::uint32_t sacks = out.options.sack_count, accecn = out.options.accecn ? static_cast<std::uint32_t>(wire::encoded_len(*out.options.accecn)) : 0;
    const std::uint32_t options = (out.options.timestamps ? 12 : 0) + accecn + (sacks > 0 ? 4 + 8 * sacks : 0);
    IOPKT_ASSERT(b.accurate || accecn == 0);
    // Devices clear CWR in all pieces but the first.
    IOPKT_ASSERT(!b.accurate || out.gso_size == 0 || !out.has(wire::cwr));
    IOPKT_ASSERT(options + b.options.signature_len <= 40u);
    IOPKT_ASSERT(b.options.signature_len == 0 || out.gso_size == 0);
    IOPKT_ASSERT(kFixedHeaders + options + out.payload_len <= 65535u);
    IOPKT_ASSERT(out.gso_size == 0 || (out.gso_size < out.payload_len && out.gso_size <= b.snd.mss()));
    // RFC 4821 section 7: a probe of a larger MTU is what it is for being larger.
    const Offset begin = static_cast<Offset>(out.payload_position) + 1;
    const bool probe = b.snd.air().mtu_probe.begin == begin && b.snd.air().mtu_probe.end == begin + out.payload_len;
    IOPKT_ASSERT(out.gso_size != 0 || out.payload_len <= b.snd.mss() || probe);
    if (out.payload_len > 0) {
      IOPKT_ASSERT(out.payload_position >= connection_->send_acked());
      IOPKT_ASSERT(out.payload_position + out.payload_len <= written_);
      IOPKT_ASSERT(out.seq == iss_ + 1 + static_cast<std::uint32_t>(out.payload_position));
      const auto end = static_cast<Offset>(out.payload_position + out.payload_len) + 1;
      IOPKT_ASSERT(end <= b.snd.window_edge() || out.payload_len == 1);
    }
    if (out.has(wire::fin))
      IOPKT_ASSERT(shut_ && out.seq + out.payload_len == iss_ + 1 + static_cast<std::uint32_t>(tail_at_shut_));
    // Never more than the ring holds, and never less than was offered (but for the rounding of the scale).
    const Offset edge = b.rcv.nxt + (Offset{out.window} << b.rcv.scale);
    IOPKT_ASSERT(b.rcv.fin_received || edge <= static_cast<Offset>(read_) + 1 + capacity_);
    IOPKT_ASSERT(b.rcv.fin_received || edge > last_edge_ - (Offset{1} << b.rcv.scale));
    last_edge_ = std::max(last_edge_, edge);
  }

  void check_block() const {
    const ControlBlock& b = connection_->export_state();
    IOPKT_ASSERT(b.snd.una <= b.snd.nxt && b.snd.nxt <= b.snd.max && b.snd.max <= b.snd.tail + 1);
    IOPKT_ASSERT(b.rcv.read <= b.rcv.nxt);
    IOPKT_ASSERT(b.rcv.beyond().size() <= tunables_.reass_ranges);
    const SentLog& log = b.snd.air().log;
    IOPKT_ASSERT(log.size() <= 2 * SentLog::kMost + 64);
    // It covers what is in flight, but for the SYN of a passive open.
    if (is_synchronized(b.state)) IOPKT_ASSERT(log.flying() + log.sacked() + log.lost() == b.snd.nxt - b.snd.una);
    IOPKT_ASSERT(log.flying() >= log.again() && log.again() >= 0 && log.lost() >= 0 && log.sacked() >= 0);
    IOPKT_ASSERT(b.snd.cc.cwnd >= 1 && b.snd.cc.cwnd <= (1u << 30));
    if (!b.rcv.beyond().empty()) IOPKT_ASSERT(b.rcv.beyond()[0].begin > b.rcv.nxt && b.rcv.beyond().back().end <= b.rcv.adv);
    if (!log.empty()) IOPKT_ASSERT(log[0].begin == b.snd.una && log.back().end == b.snd.nxt);
    // Something in flight is always watched.
    if (is_synchronized(b.state) && b.state != State::time_wait && b.snd.in_flight()) IOPKT_ASSERT(!b.rexmt_at.is_never());
    // Something that waits for a closed window too; what waits for its pace finds that out when its time has come.
    if (may_send(b.state) && !b.snd.in_flight() && b.snd.nxt < b.snd.tail && b.snd.wnd == 0)
      IOPKT_ASSERT(!b.rexmt_at.is_never() || b.snd.pace_blocked);
    if (b.state == State::closed) IOPKT_ASSERT(connection_->next_deadline().is_never());
  }

  Input& in_;
  Tunables tunables_ = default_tunables();
  Counters<Counter> counters_;
  Context context_{&tunables_, &counters_};
  OpenConfig config_;
  std::uint32_t capacity_;
  SeqNum peer_seq_, iss_;
  Instant now_{1'000'000'000};
  std::optional<Connection> connection_;
  std::uint64_t written_{}, read_{}, tail_at_shut_{};
  bool shut_{};
  Offset last_edge_{};
  std::vector<bool> received_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input in(data, size);
  Machine machine(in);
  if (machine.open()) machine.run();
  return 0;
}
