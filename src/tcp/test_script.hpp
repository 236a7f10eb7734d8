// For tests: one connection against a scripted peer. Numbers are relative: peer sequence 1 is its first byte of data, our
// sequence 1 is ours.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tcp/connection.hpp"
#include "tcp/listen.hpp"

namespace iopkt::tcp::testing {

/// A segment of the peer, relative.
struct From {
  std::uint32_t seq{1}, ack{1};
  std::uint16_t flags{wire::ack};
  std::uint32_t len{};
  std::uint16_t window{65535};
  std::uint16_t urgent{};
  std::vector<std::pair<std::uint32_t, std::uint32_t>> sack{};  ///< relative to our numbers
  std::optional<wire::TcpTimestamps> ts{};
};

struct Script {
  Tunables tunables = default_tunables();
  Counters<Counter> counters;
  Context context{&tunables, &counters};
  OpenConfig config;
  SeqNum iss{0xfffffff0u};   ///< wraps in the first bytes
  SeqNum irs{0xffffff00u};
  Instant now{1'000'000'000};
  std::optional<Connection> c;
  Copies copies;
  SegmentResult result;
  std::uint64_t written{};
  Events events{};

  Script() {
    config.advertised_mss = config.path_mss = 1000;
    config.receive_capacity = config.receive_capacity_max = 65535;
    config.timestamps = config.window_scaling = false;
    tunables.nagle = 1;
    config.congestion = &newreno();  // the windows of RFC 5681
    tunables.rack = tunables.prr = tunables.frto = tunables.mtu_probing = 0;  // tests of them turn them on
  }
  Script(const Script&) = delete;

  std::uint32_t rel_seq(const SegmentOut& s) const { return s.seq.value - iss.value; }
  std::uint32_t rel_ack(const SegmentOut& s) const { return s.ack.value - irs.value; }

  std::vector<SegmentOut> drain() {
    std::vector<SegmentOut> all;
    while (const auto s = c->poll_output(now)) {
      all.push_back(*s);
      if (all.size() > 5000) break;
    }
    events |= c->take_events();
    return all;
  }
  std::vector<SegmentOut> give(const From& f) {
    wire::TcpOptions o;
    o.timestamps = f.ts;
    for (const auto& [l, r] : f.sack) o.sack[o.sack_count++] = {iss + l, iss + r};
    return give_raw({.seq = irs + f.seq, .ack = iss + f.ack, .flags = f.flags, .window = f.window, .urgent = f.urgent,
                     .options = o, .payload_len = f.len});
  }
  std::vector<SegmentOut> give_raw(const SegmentIn& seg) {
    result = c->on_segment(seg, now, copies);
    return drain();
  }
  std::vector<SegmentOut> write(std::uint64_t more) {
    written += more;
    c->set_send_tail(written);
    return drain();
  }
  std::vector<SegmentOut> wait(Duration d) {
    std::vector<SegmentOut> all;
    const Instant end = now + d;
    while (c->next_deadline() <= end) {
      now = std::max(now, c->next_deadline());
      c->on_timer(now);
      for (const auto& s : drain()) all.push_back(s);
    }
    now = end;
    return all;
  }
  /// Until the next timer that sends something, at most `most`.
  std::vector<SegmentOut> next_timer(Duration most = 1000s) {
    const Instant end = now + most;
    while (c->next_deadline() <= end) {
      now = std::max(now, c->next_deadline());
      c->on_timer(now);
      if (auto all = drain(); !all.empty()) return all;
    }
    return {};
  }
  void open_active(const wire::TcpOptions& peer_options, std::uint16_t window = 65535) {
    c.emplace(Connection::open_active(context, config, iss, now));
    drain();
    now += 1ms;
    give_raw({.seq = irs, .ack = iss + 1, .flags = wire::syn | wire::ack, .window = window, .options = peer_options});
  }
  /// ESTABLISHED with an MSS of 1000 on both sides; `sack` and a large first cwnd on demand.
  void establish(bool sack = false, std::uint16_t window = 65535) {
    wire::TcpOptions o;
    o.mss = 1000;
    o.sack_permitted = sack;
    open_active(o, window);
    events = 0;
  }
  const ControlBlock& block() const { return c->export_state(); }
  /// Changes fields by way of export and import.
  template <class Change>
  void edit(Change change) {
    ControlBlock b = c->export_state();
    change(b);
    c.emplace(Connection::import_state(context, b));
  }
  std::uint64_t count(Counter Counters<Counter>::*cell) const { return (counters.*cell).value(); }
  /// "S seq ack len": flags as in tcpdump.
  std::string text(const SegmentOut& s) const {
    std::string t;
    if (s.has(wire::syn)) t += 'S';
    if (s.has(wire::fin)) t += 'F';
    if (s.has(wire::rst)) t += 'R';
    if (s.has(wire::urg)) t += 'U';
    if (s.has(wire::ack)) t += '.';
    t += " " + std::to_string(static_cast<std::int32_t>(rel_seq(s)));
    if (s.has(wire::ack)) t += " ack " + std::to_string(static_cast<std::int32_t>(rel_ack(s)));
    if (s.payload_len != 0) t += " len " + std::to_string(s.payload_len);
    return t;
  }
  std::vector<std::string> texts(const std::vector<SegmentOut>& all) const {
    std::vector<std::string> t;
    for (const auto& s : all) t.push_back(text(s));
    return t;
  }
};

}  // namespace iopkt::tcp::testing
