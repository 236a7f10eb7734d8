// For tests: two TCP ends on a wire with faults, in virtual time. Every byte is a function of its position, so that what the
// receive ring holds can be checked without keeping what was sent.
#pragma once

#include <cstdint>
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/random.hpp"
#include "tcp/closed.hpp"
#include "tcp/connection.hpp"
#include "tcp/listen.hpp"

namespace iopkt::tcp::testing {

inline std::uint8_t byte_at(std::uint64_t seed, std::uint64_t position) {
  std::uint64_t z = (position + seed * 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
  return static_cast<std::uint8_t>((z ^ (z >> 29)) >> 13);
}

struct WireFaults {
  Duration delay{10ms};
  double loss{}, duplicate{}, reorder{};
  Duration reorder_delay{15ms};
  std::uint64_t rate_bps{};          ///< 0: infinitely fast
  std::uint32_t queue_bytes{200000}; ///< of the bottleneck
  std::uint32_t mark_bytes{UINT32_MAX}; ///< a longer queue marks what is ECN-capable
  double merge{};                    ///< chance that a large segment arrives in one piece, as after GRO
};

struct Sent {
  Instant at;
  int from;
  SegmentOut segment;
  bool lost;
  bool ce{};
};

/// One end: an application that writes `to_write` bytes and reads all that comes, over a receive ring.
struct Host {
  Tunables tunables = default_tunables();
  Counters<Counter> counters;
  Context context{&tunables, &counters};
  OpenConfig config;
  std::uint64_t seed{};
  std::optional<Connection> connection;
  std::optional<HalfOpen> half;
  bool listening{};
  SeqNum iss{};
  std::uint64_t write_limit{};   ///< the application writes this much
  std::uint64_t written{};
  std::uint32_t send_buffer{262144};
  bool reading{true};
  bool shut_when_written{};      ///< shutdown_write() after the last byte
  bool close_when_done{};        ///< close() when written and the peer's FIN was read
  bool shut{};
  std::uint64_t read{};
  std::vector<std::uint8_t> ring;
  Events events{};
  bool destroyed{};              ///< event_closed was seen and the connection taken away
  State last_state{State::closed};
  Failure last_failure{};
  std::map<Drop, int> drops;
  bool corrupt{};                ///< a byte read was not the byte written

  std::uint64_t count(Counter Counters<Counter>::*c) const { return (counters.*c).value(); }
  void use_config() {
    if (ring.size() != config.receive_capacity) ring.assign(config.receive_capacity, 0);
  }
};

class Pair {
 public:
  explicit Pair(std::uint64_t seed = 1) : random(seed) {
    for (int i = 0; i < 2; ++i) {
      hosts[i].seed = seed * 2 + static_cast<std::uint64_t>(i);
      hosts[i].iss = SeqNum{static_cast<std::uint32_t>(random.next())};
      hosts[i].config.advertised_mss = hosts[i].config.path_mss = 1460;
      hosts[i].config.receive_capacity = hosts[i].config.receive_capacity_max = 262144;
    }
  }

  Host hosts[2];
  Host& a = hosts[0];
  Host& b = hosts[1];
  WireFaults faults[2];  ///< of what host i sends
  Random random;
  Instant now{1'000'000'000};
  std::vector<Sent> trace;
  bool keep_trace{true};
  bool (*filter)(const Sent&){};  ///< true: this one is lost
  std::uint64_t events_done{};

  void connect() {
    a.use_config();
    b.use_config();
    b.listening = true;
    a.connection.emplace(Connection::open_active(a.context, a.config, a.iss, now));
    settle(0);
  }
  /// Both ends know of each other and nothing is in flight.
  void establish() {
    connect();
    run_until([&] { return b.connection && b.connection->state() == State::established &&
                           a.connection->state() == State::established; }, 10s);
  }

  template <class Done>
  bool run_until(Done done, Duration limit) {
    const Instant end = now + limit;
    while (!done()) {
      if (!step(end)) return done();
    }
    return true;
  }
  void run_for(Duration d) {
    const Instant end = now + d;
    while (step(end)) {
    }
    now = end;
  }
  /// Lets the application act and sends all that may be sent.
  void settle(int i) {
    Host& h = hosts[i];
    for (int round = 0; round < 1000; ++round) {
      application(i);
      bool sent = false;
      if (h.connection) {
        while (const auto out = h.connection->poll_output(now)) {
          transmit(i, *out);
          sent = true;
        }
        application(i);
        reap(i);
      }
      if (!sent) return;
    }
    stuck = true;
  }
  /// Gives host i a segment as if it had come from the wire.
  void inject(int i, const SegmentOut& s) { deliver(i, s); }
  SegmentOut last(int from) const {
    for (auto it = trace.rbegin(); it != trace.rend(); ++it)
      if (it->from == from) return it->segment;
    return {};
  }
  int count_from(int from, Instant since, bool (*match)(const SegmentOut&)) const {
    int n = 0;
    for (const auto& s : trace) n += s.from == from && s.at >= since && match(s.segment);
    return n;
  }
  std::string text() const {
    std::string all;
    for (const auto& s : trace) {
      char line[200];
      std::snprintf(line, sizeof line, "%10.4f %c> %s%s%s%s%s seq %u ack %u len %u win %u gso %u sack %d%s%s\n",
                    static_cast<double>(s.at.ns) / 1e9, s.from == 0 ? 'a' : 'b', s.segment.has(wire::syn) ? "S" : "",
                    s.segment.has(wire::fin) ? "F" : "", s.segment.has(wire::rst) ? "R" : "",
                    s.segment.has(wire::psh) ? "P" : "", s.segment.has(wire::ack) ? "." : "", s.segment.seq.value,
                    s.segment.ack.value, s.segment.payload_len, s.segment.window, s.segment.gso_size,
                    s.segment.options.sack_count, s.segment.retransmission ? " again" : "", s.lost ? " LOST" : "");
      all += line;
      if (all.size() > 60000) break;
    }
    return all;
  }
  bool stuck{};  ///< poll_output() did not end

 private:
  struct Arrival {
    int to;
    SegmentOut segment;
    bool ce;
  };
  std::multimap<Instant, Arrival> wire_;
  Instant line_free_[2]{};

  bool step(Instant end) {
    ++events_done;
    Instant next = wire_.empty() ? Instant::never() : wire_.begin()->first;
    for (auto& h : hosts) {
      if (h.connection) next = std::min(next, h.connection->next_deadline());
      if (h.half) next = std::min(next, h.half->deadline);
    }
    if (next > end || next.is_never() || stuck) return false;
    now = std::max(now, next);
    if (!wire_.empty() && wire_.begin()->first <= now) {
      const Arrival arrival = wire_.begin()->second;
      wire_.erase(wire_.begin());
      deliver(arrival.to, arrival.segment, arrival.ce);
      return true;
    }
    for (int i = 0; i < 2; ++i) {
      Host& h = hosts[i];
      if (h.half && h.half->deadline <= now) {
        const auto out = on_timer(h.context, *h.half, now);
        if (out.kind == HalfOpenOutcome::Kind::answer) transmit(i, out.answer);
        else h.half.reset();
      }
      if (h.connection && h.connection->next_deadline() <= now) {
        h.connection->on_timer(now);
        settle(i);
        if (h.connection && h.connection->next_deadline() <= now) stuck = true;
      }
    }
    return true;
  }

  void application(int i) {
    Host& h = hosts[i];
    if (!h.connection) return;
    Connection& c = *h.connection;
    const Events e = c.take_events();
    h.events |= e;
    h.last_state = c.state();
    h.last_failure = c.failure();
    const std::uint64_t room = c.send_acked() + h.send_buffer;
    const std::uint64_t tail = std::min(h.write_limit, room);
    if (tail > h.written && !h.shut) {
      h.written = tail;
      c.set_send_tail(tail);
    }
    if (h.reading && c.receive_tail() > h.read && !c.is_orphan()) {
      const Host& peer = hosts[1 - i];
      for (; h.read < c.receive_tail(); ++h.read)
        if (h.ring[h.read % h.ring.size()] != byte_at(peer.seed, h.read)) h.corrupt = true;
      c.set_receive_read(h.read);
    }
    if (h.shut_when_written && !h.shut && h.written == h.write_limit) {
      h.shut = true;
      c.shutdown_write();
    }
    if (h.close_when_done && h.written == h.write_limit && c.peer_fin() && h.read == c.receive_tail() && !c.is_orphan())
      c.close(now);
  }

  void reap(int i) {
    Host& h = hosts[i];
    if (!h.connection || h.connection->state() != State::closed) return;
    h.events |= h.connection->take_events();
    h.last_state = State::closed;
    h.last_failure = h.connection->failure();
    if ((h.events & event_closed) != 0) {
      h.connection.reset();
      h.destroyed = true;
    }
  }

  void transmit(int i, const SegmentOut& out) {
    if (out.gso_size == 0 || random.chance(faults[i].merge)) return transmit_piece(i, out);
    for (std::uint32_t at = 0; at < out.payload_len; at += out.gso_size) {
      SegmentOut piece = out;
      piece.gso_size = 0;
      piece.seq = out.seq + at;
      piece.payload_position = out.payload_position + at;
      piece.payload_len = std::min<std::uint32_t>(out.gso_size, out.payload_len - at);
      if (at + piece.payload_len < out.payload_len)
        piece.flags = static_cast<std::uint16_t>(piece.flags & ~(wire::fin | wire::psh));
      transmit_piece(i, piece);
    }
  }

  void transmit_piece(int i, const SegmentOut& s) {
    WireFaults& f = faults[i];
    Sent sent{now, i, s, false};
    Instant arrives = now + f.delay;
    if (f.rate_bps != 0) {
      line_free_[i] = std::max(line_free_[i], now);
      const std::int64_t queued = (line_free_[i] - now).count() / 8 * static_cast<std::int64_t>(f.rate_bps) / 1'000'000'000;
      sent.ce = s.ect && queued > f.mark_bytes;
      if (queued > f.queue_bytes) sent.lost = true;
      else line_free_[i] += Duration((s.payload_len + 66) * 8ll * 1'000'000'000 / static_cast<std::int64_t>(f.rate_bps));
      arrives = line_free_[i] + f.delay;
    }
    if (random.chance(f.loss) || (filter != nullptr && filter(sent))) sent.lost = true;
    if (keep_trace) trace.push_back(sent);
    if (sent.lost) return;
    if (random.chance(f.reorder)) arrives += f.reorder_delay;
    wire_.emplace(arrives, Arrival{1 - i, s, sent.ce});
    if (random.chance(f.duplicate)) wire_.emplace(arrives + 1ms, Arrival{1 - i, s, sent.ce});
  }

  static std::uint16_t packets_of(const SegmentOut& s) {
    return static_cast<std::uint16_t>(s.gso_size == 0 ? 1 : (s.payload_len + s.gso_size - 1) / s.gso_size);
  }

  void deliver(int i, const SegmentOut& s, bool ce = false) {
    Host& h = hosts[i];
    const SegmentIn in{.seq = s.seq, .ack = s.ack, .flags = s.flags, .window = s.window, .urgent = s.urgent,
                       .options = s.options, .payload_len = s.payload_len, .packets = packets_of(s), .ecn = static_cast<std::uint8_t>(ce ? 3 : s.ect ? 2 : 0)};
    if (!h.connection && h.half) {
      const auto out = on_segment(h.context, *h.half, in, now);
      if (out.drop) ++h.drops[*out.drop];
      if (out.kind == HalfOpenOutcome::Kind::answer) transmit(i, out.answer);
      if (out.kind == HalfOpenOutcome::Kind::give_up) h.half.reset();
      if (out.kind == HalfOpenOutcome::Kind::complete) {
        h.connection.emplace(Connection::from_half_open(h.context, *h.half, h.config, now));
        h.half.reset();
      }
    } else if (!h.connection && h.listening && !h.destroyed) {
      const auto out = on_segment_in_listen(h.context, h.config, in, h.iss, now);
      if (out.kind == ListenOutcome::Kind::ignore) ++h.drops[out.drop];
      else transmit(i, out.answer);
      if (out.kind == ListenOutcome::Kind::open_child) h.half = out.child;
      return;
    }
    if (!h.connection) {
      if (h.half) return;
      if (const auto rst = on_segment_in_closed(in)) transmit(i, *rst);
      return;
    }
    Copies copies;
    const SegmentResult result = h.connection->on_segment(in, now, copies);
    if (result.drop) ++h.drops[*result.drop];
    for (const Copy& c : copies) {
      if (c.from + c.length > s.payload_len || c.to_position + c.length > h.read + h.ring.size()) h.corrupt = true;
      for (std::uint32_t k = 0; k < c.length; ++k)
        h.ring[(c.to_position + k) % h.ring.size()] = byte_at(hosts[1 - i].seed, s.payload_position + c.from + k);
    }
    settle(i);
  }
};

}  // namespace iopkt::tcp::testing
