#include "tests/script/run.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <cstring>

#include "tests/script/calls.hpp"
#include "tests/script/expression.hpp"
#include "tests/script/packets.hpp"

namespace iopkt::script {
namespace {

constexpr Duration kTolerance = 4ms;      // packetdrill's
// Where the peer's numbers begin: near the end of their circle, so that scripts wrap them.
constexpr std::uint32_t kPeerBase = 0xffff'f000u;
constexpr Duration kLongest = 100'000s;   // `*` waits no longer

class Player {
 public:
  Player(const Script& script, System& system) : script_(script), system_(system), start_(system.now()) {
    tolerance_ = kTolerance;
    flow_.irs = kPeerBase;
    flow_.family = streams_.family = system.family();
    for (const auto& [name, value] : script.options) option(name, value);
  }

  void play() {
    for (const Event& event : script_.events) {
      const Duration at = event.time.any ? last_ : (event.time.relative ? last_ : Duration{}) + event.time.begin;
      last_ = std::visit([&](const auto& what) { return this->play(event, at, what); }, event.what);
    }
    const int line = script_.events.empty() ? 1 : script_.events.back().line;
    if (call_) advance(call_->returns_at + tolerance_);
    if (call_) throw Fault(call_->event->line, std::get<CallEvent>(call_->event->what).name + "() did not return");
    if (const auto left = next_packet()) throw unexpected(line, *left);
  }
  const std::vector<std::string>& trace() const { return trace_; }

 private:
  struct Call {
    const Event* event;
    Request request;
    Duration returns_at;
  };

  void option(const std::string& name, const std::string& value) {
    if (name == "--tolerance_usecs") tolerance_ = std::chrono::microseconds(std::strtol(value.c_str(), nullptr, 10));
    else if (name == "--ip_version" && (value == "ipv4" || value == "ipv6")) return;  // families_of()
    else if (name == "--mtu") return;  // machine_options()
    else throw Fault(1, "not built: the option " + name + (value.empty() ? "" : "=" + value));
  }
  Duration since(Instant at) const { return at - start_; }

  // ---- time
  /// Everything until `to` happens; what leaves waits to be expected.
  void advance(Duration to) {
    const Instant limit = start_ + to;
    for (;;) {
      const bool more = system_.step(limit);
      ask_again();
      if (!more) return;
    }
  }
  void ask_again() {
    if (!call_) return;
    if (const auto result = system_.attempt(call_->request)) finish_call(*result);
  }
  /// Nothing may have left before this event that was not expected.
  void quiet_until(int line, Duration at) {
    if (const auto* first = peek_packet(); first != nullptr && since(first->at) + tolerance_ < at) throw unexpected(line, *next_packet());
  }

  // ---- packets
  const Captured* peek_packet() {
    if (!head_) head_ = system_.take();
    return head_ ? &*head_ : nullptr;
  }
  std::optional<Captured> next_packet() {
    static_cast<void>(peek_packet());
    return std::exchange(head_, std::nullopt);
  }
  Fault unexpected(int line, const Captured& packet) {
    Flow flow = flow_;
    const Decoded seen = decode(packet.bytes, {}, flow, last_injected_, false);
    return {line, "a packet left that nobody expected, at " + to_string(since(packet.at)) + ":\n  > " + to_string(seen.packet)};
  }
  Flow& flow_of(const Packet& p, bool inbound) {
    if (!p.ports) return flow_;
    const auto key = inbound ? std::pair{p.ports->to, p.ports->from} : std::pair{p.ports->from, p.ports->to};
    if (flow_.local_known && key == std::pair{flow_.local, flow_.remote}) return flow_;
    Flow& flow = flows_[key];
    flow.irs = kPeerBase;
    flow.family = flow_.family;
    flow.local = key.first, flow.remote = key.second, flow.local_known = true;
    return flow;
  }

  Duration play(const Event& event, Duration at, const PacketEvent& what) {
    if (what.packet.kind == Packet::Kind::icmp && what.packet.icmpv6 != (flow_.family == wire::IpFamily::v6))
      throw Fault(event.line, "a message of the other family's ICMP: say --ip_version=ipv4 or ipv6");
    if (!may_have(what.packet)) throw Fault(event.line, "an address or a header of the other family: say --ip_version=ipv4 or ipv6");
    if (what.inbound) {
      advance(at);
      quiet_until(event.line, at);
      last_injected_ = encode(what.packet, flow_of(what.packet, true));
      trace_.push_back(to_string(at) + " < " + to_string(what.packet));
      system_.inject(last_injected_);
      ask_again();
      return at;
    }
    const Duration latest = event.time.any ? at + kLongest : event.time.until ? (event.time.relative ? last_ : Duration{}) + *event.time.until : at;
    return expect(event, at, latest, what.packet);
  }
  bool may_have(const Packet& p) const {
    const bool v6 = flow_.family == wire::IpFamily::v6;
    const bool good = (!p.from || p.from->is_v6() == v6) && (!p.to || p.to->is_v6() == v6);
    return good && (v6 ? p.ip_options.empty() : p.extensions.empty());
  }
  Duration expect(const Event& event, Duration earliest, Duration latest, const Packet& said) {
    const std::string want = "  expected at " + to_string(earliest) +
                             (event.time.any ? " or later" : latest != earliest ? " to " + to_string(latest) : "") + ": > " + to_string(said);
    const Instant limit = start_ + latest + tolerance_;
    while (peek_packet() == nullptr) {
      if ((head_ = system_.sniff())) {
        ask_again();
        break;
      }
      const bool more = system_.step(limit);
      ask_again();
      if (!more && peek_packet() == nullptr) throw Fault(event.line, "no packet left\n" + want);
    }
    const Captured packet = *next_packet();
    const Duration at = since(packet.at);
    Flow& flow = flow_of(said, false);
    const Decoded seen = decode(packet.bytes, said, flow, last_injected_, !streams_.own_text);
    const std::string both = want + "\n  left     at " + to_string(at) + ": > " + to_string(seen.packet);
    trace_.push_back(to_string(at) + " > " + to_string(seen.packet));
    const std::string also = seen.broken.empty() ? "" : "a broken packet: " + seen.broken + "\n";
    if (!matches(said, seen.packet, static_cast<std::uint32_t>(tolerance_ / 1ms))) throw Fault(event.line, "another packet\n" + also + both);
    if (!also.empty()) throw Fault(event.line, also + both);
    if (!event.time.any && (at + tolerance_ < earliest || at > latest + tolerance_)) throw Fault(event.line, "at another time\n" + both);
    return event.time.any || event.time.until ? at : earliest;
  }

  // ---- calls
  Duration play(const Event& event, Duration at, const CallEvent& what) {
    advance(at);
    quiet_until(event.line, at);
    if (call_) advance(call_->returns_at + tolerance_);
    if (call_) throw Fault(event.line, "a call while another one blocks (line " + std::to_string(call_->event->line) + ")");
    trace_.push_back(to_string(at) + " " + what.name + "()");
    Call call{&event, to_request(event, streams_), at};
    if (event.time.returns) call.returns_at = (event.time.relative ? last_ : Duration{}) + *event.time.returns;
    call_ = std::move(call);
    if (const auto result = system_.attempt(call_->request)) finish_call(*result);
    else if (!event.time.returns) throw Fault(event.line, what.name + "() blocks");
    return at;
  }
  void finish_call(std::int64_t result) {
    const Call call = *std::exchange(call_, std::nullopt);
    const auto& what = std::get<CallEvent>(call.event->what);
    const Duration at = since(system_.now());
    if (at + tolerance_ < call.returns_at || at > call.returns_at + tolerance_)
      throw Fault(call.event->line, what.name + "() returned at " + to_string(at) + " instead of " + to_string(call.returns_at));
    check_answer(*call.event, call.request, result, streams_);
    if (result >= 0 && (what.name == "accept" || what.name == "socket")) information_of_ = static_cast<int>(result);
    if (what.name == "connect") information_of_ = call.request.fd;
  }

  // ---- settings and assertions
  Duration play(const Event& event, Duration at, const CommandEvent& what) {
    advance(at);
    const auto setting = setting_of(what);
    if (!setting) throw Fault(event.line, "not built: the command `" + what.text + "`; it is `sysctl [-i] NAME=VALUE`");
    const auto wrong = system_.set_variable(setting->name, setting->value);
    if (wrong && !(setting->may_miss && wrong->starts_with("no such variable"))) throw Fault(event.line, *wrong);
    return at;
  }
  Duration play(const Event& event, Duration at, const CodeEvent& what) {
    advance(at);
    Names names;
    names.value = [&](const std::string& name) { return value_of(name, event.line); };
    names.call = [&](const std::string& function, const std::string& argument) -> std::optional<std::int64_t> {
      if (function != "drops") return std::nullopt;
      const auto count = system_.drops(argument);
      return count ? std::optional{static_cast<std::int64_t>(*count)} : std::nullopt;
    };
    check_assertions(what.text, event.line, names);
    return at;
  }
  /// Fields of TCP_INFO of the socket that was made, connected or accepted last; and the symbols.
  std::optional<std::int64_t> value_of(const std::string& name, int line) {
    Request r;
    r.op = Request::Op::getsockopt;
    r.fd = information_of_;
    r.a = IPPROTO_TCP, r.b = TCP_INFO, r.room = sizeof(tcp_info_t);
    if (!name.starts_with("tcpi_")) return symbol(name);
    const auto result = system_.attempt(r);
    if (!result || *result < 0) throw Fault(line, "no TCP_INFO of descriptor " + std::to_string(information_of_));
    tcp_info_t info{};
    std::memcpy(&info, r.data.data(), std::min(r.data.size(), sizeof info));
    return field_of(info, name);
  }
  /// Linux's struct tcp_info, as far as its fields are named here.
  struct tcp_info_t {
    std::uint8_t state, ca_state, retransmits, probes, backoff, options, scales, flags;
    std::uint32_t rto, ato, snd_mss, rcv_mss, unacked, sacked, lost, retrans, fackets;
    std::uint32_t last_data_sent, last_ack_sent, last_data_recv, last_ack_recv;
    std::uint32_t pmtu, rcv_ssthresh, rtt, rttvar, snd_ssthresh, snd_cwnd, advmss, reordering, rcv_rtt, rcv_space, total_retrans;
    std::uint64_t pacing_rate, max_pacing_rate, bytes_acked, bytes_received;
    std::uint32_t segs_out, segs_in, notsent_bytes, min_rtt, data_segs_in, data_segs_out;
    std::uint64_t delivery_rate, busy_time, rwnd_limited, sndbuf_limited;
    std::uint32_t delivered, delivered_ce;
  };
  static std::optional<std::int64_t> field_of(const tcp_info_t& i, const std::string& name) {
#define IOPKT_FIELD(f) \
  if (name == "tcpi_" #f) return static_cast<std::int64_t>(i.f)
    IOPKT_FIELD(state); IOPKT_FIELD(ca_state); IOPKT_FIELD(retransmits); IOPKT_FIELD(probes); IOPKT_FIELD(backoff);
    IOPKT_FIELD(options); IOPKT_FIELD(rto); IOPKT_FIELD(ato); IOPKT_FIELD(snd_mss); IOPKT_FIELD(rcv_mss); IOPKT_FIELD(unacked);
    IOPKT_FIELD(sacked); IOPKT_FIELD(lost); IOPKT_FIELD(retrans); IOPKT_FIELD(last_data_sent); IOPKT_FIELD(last_data_recv);
    IOPKT_FIELD(pmtu); IOPKT_FIELD(rtt); IOPKT_FIELD(rttvar); IOPKT_FIELD(snd_ssthresh); IOPKT_FIELD(snd_cwnd);
    IOPKT_FIELD(advmss); IOPKT_FIELD(reordering); IOPKT_FIELD(rcv_space); IOPKT_FIELD(total_retrans); IOPKT_FIELD(pacing_rate);
    IOPKT_FIELD(bytes_acked); IOPKT_FIELD(bytes_received); IOPKT_FIELD(notsent_bytes); IOPKT_FIELD(min_rtt);
    IOPKT_FIELD(delivered_ce);
#undef IOPKT_FIELD
    if (name == "tcpi_snd_wscale") return i.scales & 15;
    if (name == "tcpi_rcv_wscale") return i.scales >> 4;
    return std::nullopt;
  }

  const Script& script_;
  System& system_;
  Instant start_;
  Duration tolerance_{}, last_{};
  Flow flow_;
  std::map<std::pair<std::uint16_t, std::uint16_t>, Flow> flows_;  // by local and remote port
  Streams streams_;
  std::optional<Captured> head_;
  std::optional<Call> call_;
  PacketBytes last_injected_;
  int information_of_ = 3;
  std::vector<std::string> trace_;
};

}  // namespace

std::optional<Setting> setting_of(const CommandEvent& command) {
  std::string_view text = command.text;
  const auto accept = [&](std::string_view word) {
    if (!text.starts_with(word)) return false;
    text.remove_prefix(word.size());
    return true;
  };
  if (!accept("sysctl ")) return std::nullopt;
  Setting out;
  out.may_miss = accept("-i ");
  const auto equals = text.find('=');
  if (equals == std::string_view::npos) return std::nullopt;
  out.name = text.substr(0, equals);
  out.value = text.substr(equals + 1);
  return out;
}

std::vector<wire::IpFamily> families_of(const Script& script) {
  const auto said = script.options.find("--ip_version");
  if (said == script.options.end()) return {wire::IpFamily::v4, wire::IpFamily::v6};
  return {said->second == "ipv6" ? wire::IpFamily::v6 : wire::IpFamily::v4};
}

MachineOptions machine_options(const Script& script, std::uint32_t shards, wire::IpFamily family) {
  MachineOptions out{.shards = shards, .family = family};
  if (const auto mtu = script.options.find("--mtu"); mtu != script.options.end())
    out.mtu = static_cast<std::uint32_t>(std::strtoul(mtu->second.c_str(), nullptr, 10));
  if (family == wire::IpFamily::v6) out.mtu += 20;
  return out;
}

void play(const Script& script, System& system) { Player(script, system).play(); }

std::string play_text(const std::string& name, const std::string& text, System& system) {
  std::vector<std::string> trace;
  try {
    const Script script = parse(text);
    Player player(script, system);
    try {
      player.play();
    } catch (const Fault&) {
      trace = player.trace();
      throw;
    }
  } catch (const Fault& fault) {
    std::string out = name + ":" + std::to_string(fault.line) + ": " + fault.what();
    if (!trace.empty()) out += "\n  until then:";
    for (std::size_t i = trace.size() > 30 ? trace.size() - 30 : 0; i < trace.size(); ++i) out += "\n    " + trace[i];
    return out;
  }
  return {};
}

}  // namespace iopkt::script
