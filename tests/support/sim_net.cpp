#include "tests/support/sim_net.hpp"

#include <algorithm>
#include <bit>

#include "control/interfaces.hpp"
#include "ipv6/inet6.hpp"
#include "packet/segment.hpp"
#include "stack/state.hpp"
#include "wire/describe.hpp"

namespace iopkt::sim {

using stack::Cookie;

/// Rings for accepted connections, from the heap.
class Host::Memory final : public stack::RingSource {
 public:
  explicit Memory(Host& host, std::uint32_t shard) : host_(host), shard_(shard) {}
  bool provide(Cookie, std::uint32_t, std::uint32_t, stack::Rings& out) override {
    auto stream = std::make_unique<Stream>();
    stream->host = &host_;
    stream->shard = shard_;
    stream->cookie = host_.next_cookie_++;
    stream->send_memory.resize(host_.options_.ring);
    stream->receive_memory.resize(host_.options_.ring);
    out = {{stream->send_memory.data(), host_.options_.ring}, {stream->receive_memory.data(), host_.options_.ring}, stream->cookie};
    host_.streams_.emplace(stream->cookie, std::move(stream));
    return true;
  }
  void take_back(Cookie cookie) override { host_.streams_.erase(cookie); }

 private:
  Host& host_;
  std::uint32_t shard_;
};

Host::Host(SimNet& net, std::string name, const std::string& prefix, const Options& options)
    : net_(net), name_(std::move(name)), options_(options) {
  const auto own = wire::Ipv4Prefix::parse(prefix);
  IOPKT_ASSERT(own.has_value());
  address_ = own->address;
  stack::StackConfig config;
  config.shards = options.shards;
  config.key = {net.random().next(), net.random().next()};
  config.seed = net.random().next();
  config.stable_secret = {config.key.k1, config.key.k0};
  if (options.ipv6) config.inet6 = &ipv6::inet6();
  if (options.adjust) options.adjust(config);
  std::vector<stack::RingSource*> rings;
  for (std::uint32_t n = 0; n < config.shards; ++n) {
    memory_.push_back(std::make_unique<Memory>(*this, n));
    rings.push_back(memory_.back().get());
  }
  stack_ = std::make_unique<stack::Stack>(config, pages_, rings, *this);
  stack::Network network = *stack_->network();
  iface::Interface en;
  en.index = interface_index_ = control::next_index(network);
  en.name = "en0";
  en.mtu = options.mtu;
  en.mac = {{0x02, 0, 0, static_cast<std::uint8_t>(address_.value >> 16), static_cast<std::uint8_t>(address_.value >> 8),
             static_cast<std::uint8_t>(address_.value)}};
  en.flags = iface::flag::up | iface::flag::running | iface::flag::broadcast | iface::flag::simplex | iface::flag::multicast;
  en.capabilities = en.enabled_capabilities = options.capabilities;
  IOPKT_ASSERT(control::add_interface(network, en) == socket::Errno::ok);
  IOPKT_ASSERT(control::add_address(network, en.index, {.address = address_, .prefix_length = own->length, .flags = iface::address_flag::no_dad}) ==
               socket::Errno::ok);
  if (!options.prefix6.empty()) {
    const std::size_t slash = options.prefix6.find('/');
    const auto address = wire::IpAddress::parse(options.prefix6.substr(0, slash));
    IOPKT_ASSERT(address.has_value());
    IOPKT_ASSERT(control::add_address(network, en.index,
                                      {.address = *address,
                                       .prefix_length = static_cast<std::uint8_t>(std::stoi(options.prefix6.substr(slash + 1))),
                                       .flags = iface::address_flag::no_dad}) == socket::Errno::ok);
  }
  stack_->publish(std::move(network));
  for (std::uint32_t n = 0; n < config.shards; ++n) static_cast<void>(stack_->shard(n).poll_inbox());
}

Host::~Host() = default;

std::uint32_t Host::add_interface(const std::string& prefix, const std::string& prefix6) {
  stack::Network network = *stack_->network();
  iface::Interface en = *network.interfaces.by_index(interface_index_);
  en.index = control::next_index(network);
  en.name = "en" + std::to_string(en.index - interface_index_);
  en.mac.bytes[1] = static_cast<std::uint8_t>(en.index);
  en.addresses.clear();
  IOPKT_ASSERT(control::add_interface(network, en) == socket::Errno::ok);
  for (const std::string& text : {prefix, prefix6}) {
    if (text.empty()) continue;
    const std::size_t slash = text.find('/');
    const auto address = wire::IpAddress::parse(text.substr(0, slash));
    IOPKT_ASSERT(address.has_value());
    IOPKT_ASSERT(control::add_address(network, en.index, {.address = *address,
                                                          .prefix_length = static_cast<std::uint8_t>(std::stoi(text.substr(slash + 1))),
                                                          .flags = iface::address_flag::no_dad}) == socket::Errno::ok);
  }
  stack_->publish(std::move(network));
  return en.index;
}

wire::IpAddress Host::link_local() const {
  for (const auto& a : stack_->network()->interfaces.by_index(interface_index_)->addresses)
    if (a.address.is_v6() && a.address.is_link_local() && a.is_usable()) return a.address;
  return wire::Ipv6Address::any();
}

void Host::write(LogLevel, std::string_view line) { net_.trace_.push_back(name_ + ": " + std::string(line)); }

Host::Stream& Host::connect(const wire::Endpoint& to, std::uint32_t shard) {
  Stream& s = stream(shard, to.address.family());
  connect(s, to);
  return s;
}

void Host::connect(Stream& s, const wire::Endpoint& to) {
  shard(s.shard).begin(net_.now());
  s.error = shard(s.shard).connect(s.id, to);
  if (s.error != socket::Errno::inprogress) s.failed = true;
}

Host::Stream& Host::stream(std::uint32_t shard, wire::IpFamily family) {
  auto stream = std::make_unique<Stream>();
  Stream& s = *stream;
  s.host = this;
  s.shard = shard;
  s.cookie = next_cookie_++;
  s.send_memory.resize(options_.ring);
  s.receive_memory.resize(options_.ring);
  streams_.emplace(s.cookie, std::move(stream));
  const auto id = this->shard(shard).open({.family = family, .type = 1, .privileged = true,
                                           .cookie = s.cookie,
                                           .send = {s.send_memory.data(), options_.ring},
                                           .receive = {s.receive_memory.data(), options_.ring}});
  IOPKT_ASSERT(id.has_value());
  s.id = *id;
  return s;
}

void Host::accept(std::uint32_t n, const stack::AcceptEvent& event) {
  const auto found = streams_.find(event.child_cookie);
  if (found == streams_.end() || found->second->released) return;
  Stream& s = *found->second;
  s.id = event.child;
  s.connected = true;
  shard(n).accepted(event.child);
  listeners_.at(event.listener)(s);
}

void Host::accept_waiting() {
  for (const auto& [n, event] : std::exchange(waiting_, {})) accept(n, event);
}

stack::SocketId Host::listen(wire::Port port, std::function<void(Stream&)> on_accept, std::uint32_t backlog, std::uint32_t shard) {
  const Cookie cookie = next_cookie_++;
  const auto id = this->shard(shard).open({.family = options_.ipv6 ? wire::IpFamily::v6 : wire::IpFamily::v4, .type = 1, .privileged = true, .cookie = cookie});
  IOPKT_ASSERT(id.has_value());
  socket::Errno done = this->shard(shard).bind(*id, {options_.ipv6 ? wire::IpAddress{wire::Ipv6Address::any()} : wire::Ipv4Address::any(), port}, true);
  IOPKT_ASSERT(done == socket::Errno::ok);
  done = this->shard(shard).listen(*id, backlog);
  IOPKT_ASSERT(done == socket::Errno::ok);
  listeners_[cookie] = std::move(on_accept);
  return *id;
}

Host::UdpSocket& Host::udp(const wire::Endpoint& local, std::uint32_t shard) {
  const auto id = this->shard(shard).open({.family = local.address.family(), .type = 2, .privileged = true, .cookie = next_cookie_++});
  IOPKT_ASSERT(id.has_value());
  const socket::Errno done = this->shard(shard).bind(*id, local, true);
  IOPKT_ASSERT(done == socket::Errno::ok);
  auto socket = std::make_unique<UdpSocket>(UdpSocket{*id, shard, {}, {}});
  return *udp_.emplace(std::uint64_t{shard} << 32 | id->value, std::move(socket)).first->second;
}

socket::Errno Host::send(UdpSocket& from, const wire::Endpoint& to, Bytes payload, std::uint16_t segment) {
  shard(from.shard).begin(net_.now());
  return shard(from.shard).send(from.id, {.destination = to, .segment_size = segment}, payload, {});
}

std::uint64_t Host::drops(packet::Drop reason) const {
  std::uint64_t sum = 0;
  for (std::uint32_t n = 0; n < stack_->shard_count(); ++n) sum += stack_->shard(n).state().counters.drops.value(reason);
  return sum;
}

std::uint64_t Host::drops() const {
  std::uint64_t sum = 0;
  for (const auto& row : packet::kDrops) sum += drops(row.reason);
  return sum;
}

tcp::Counters<std::uint64_t> Host::tcp_counters() const {
  tcp::Counters<std::uint64_t> sum;
  for (std::uint32_t n = 0; n < stack_->shard_count(); ++n) add_counters(stack_->shard(n).counters().tcp, sum);
  return sum;
}

std::uint64_t Host::packets_held() const { return stack_->pools().in_use(packet::Kind::mbuf) + stack_->pools().in_use(packet::Kind::cluster); }

std::size_t Host::sockets() const {
  std::size_t sum = 0;
  for (std::uint32_t n = 0; n < stack_->shard_count(); ++n) sum += stack_->shard(n).socket_count();
  return sum;
}

void Host::receive(const Frame& frame, std::uint32_t interface_index) {
  // Frames are spread over the shards as a device with several queues would.
  arrived_.push_back({next_queue_++ % stack_->shard_count(), interface_index != 0 ? interface_index : interface_index_, frame});
}

void Host::handle(std::uint32_t shard, const stack::SocketEvent& event) {
  if (const auto udp = udp_.find(std::uint64_t{shard} << 32 | event.id.value); udp != udp_.end() && event.cookie != 0) {
    if ((event.what & stack::event::soft_error) != 0) udp->second->errors.push_back(event.error);
    return;
  }
  const auto found = streams_.find(event.cookie);
  if (found == streams_.end()) return;
  Stream& s = *found->second;
  if ((event.what & stack::event::readable) != 0) s.receive_tail = this->shard(shard).receive_tail(s.id);
  if ((event.what & stack::event::writable) != 0) s.send_head = this->shard(shard).send_head(s.id);
  if ((event.what & stack::event::connected) != 0) s.connected = true;
  if ((event.what & stack::event::space_wanted) != 0 && options_.grow) s.grow();
  if ((event.what & stack::event::peer_fin) != 0) s.peer_fin = true;
  if ((event.what & stack::event::failed) != 0) s.failed = true, s.error = event.error;
  if ((event.what & stack::event::released) != 0) {
    s.released = true;
    // From here on the stack must not touch the rings: a use would show as a wild read or as broken data.
    std::fill(s.send_memory.begin(), s.send_memory.end(), std::byte{0xdb});
    s.receive_memory.clear();
    s.receive_memory.shrink_to_fit();
  }
}

void Host::transmit(std::uint32_t shard) {
  const auto pending = this->shard(shard).transmit_pending();
  for (const std::uint32_t index : std::vector<std::uint32_t>(pending.begin(), pending.end())) {
    packet::Burst burst = this->shard(shard).take_transmit(index);
    if (burst.size() > device_room) {
      packet::Burst rest{std::move_iterator{burst.begin() + static_cast<std::ptrdiff_t>(device_room)}, std::move_iterator{burst.end()}};
      burst.resize(device_room);
      this->shard(shard).untransmitted(index, std::move(rest));
    }
    for (packet::PacketPtr& packet : burst) {
      // The wire is a plain one: what the interface's offloads left open is done here.
      packet::Burst frames;
      if ((packet->flags & packet::kGsoFlags) != 0) IOPKT_ASSERT(packet::segment(*packet, 14, frames).has_value());
      else frames.push_back(std::move(packet));
      for (packet::PacketPtr& one : frames) {
        packet::complete_checksum(*one);
        Frame frame(one->size());
        one->copy_out(0, frame);
        net_.send(*this, index, std::move(frame));
      }
    }
  }
}

void Host::forget_released() {
  std::erase_if(streams_, [](const auto& one) { return one.second->released; });
}

bool Host::turn(Instant now) {
  bool any = false;
  std::vector<Arrived> arrived;
  arrived.swap(arrived_);
  for (std::uint32_t n = 0; n < stack_->shard_count(); ++n) {
    stack::Shard& shard = this->shard(n);
    shard.begin(now);
    any |= shard.poll_inbox();
    std::map<std::uint32_t, packet::Burst> bursts;
    for (const auto& [queue, index, frame] : arrived) {
      if (queue != n) continue;
      packet::PacketPtr packet = packet::allocate_header(shard.cache());
      IOPKT_ASSERT(packet && packet->append(frame));
      bursts[index].push_back(std::move(packet));
    }
    for (auto& [index, burst] : bursts) {
      any = true;
      shard.receive(index, std::move(burst));
    }
    if (shard.next_deadline() <= now) any = true;
    shard.run_timers();
    shard.finish();
    transmit(n);
    for (const stack::AcceptEvent& accept : shard.take_accepts()) {
      if (accept_at_once) this->accept(n, accept);
      else waiting_.emplace_back(n, accept);
      any = true;
    }
    for (const stack::CreditNews& news : shard.take_credit_news()) credit_news.push_back(news);
    for (const stack::SocketEvent& event : shard.take_events()) handle(n, event), any = true;
    for (const stack::Datagram& d : shard.take_datagrams()) {
      const auto udp = udp_.find(std::uint64_t{n} << 32 | d.id.value);
      if (udp == udp_.end()) continue;
      std::vector<std::byte> payload(d.payload->size());
      d.payload->copy_out(0, payload);
      if (d.error) udp->second->reported.emplace_back(*d.error, std::move(payload));
      else udp->second->received.emplace_back(d.source, std::move(payload)), udp->second->segments.push_back(d.segment_size);
      if (!d.error) udp->second->extensions.push_back(d.extras), udp->second->flow_infos.push_back(d.flow_info);
      any = true;
    }
    // Another shard has to look, which may have had its turn already.
    any |= shard.take_wakeups() != 0;
    any |= shard.has_work() || (device_room > 0 && !shard.transmit_pending().empty());
  }
  for (auto& [cookie, stream] : streams_) any |= stream->pump();
  return any;
}

Instant Host::next_deadline() const {
  Instant at = Instant::never();
  for (std::uint32_t n = 0; n < stack_->shard_count(); ++n) at = std::min(at, stack_->shard(n).next_deadline());
  return at;
}

void Host::Stream::grow() {
  stack::Shard& its_shard = host->shard(shard);
  const stack::RingSizes wanted = its_shard.wanted_rings(id);
  const auto move = [](std::vector<std::byte>& memory, std::uint32_t size, std::uint64_t from, std::uint64_t to) {
    std::vector<std::byte> larger(std::bit_ceil(size));
    const socket::RingMemory old{memory.data(), static_cast<std::uint32_t>(memory.size())};
    const socket::RingMemory fresh{larger.data(), static_cast<std::uint32_t>(larger.size())};
    const auto spans = old.at(from, static_cast<std::uint32_t>(to - from));
    fresh.write(from, spans.first);
    fresh.write(from + spans.first.size(), spans.second);
    memory.swap(larger);
    return std::pair{fresh, std::move(larger)};
  };
  if (wanted.receive > receive_memory.size()) {
    const auto moved = move(receive_memory, wanted.receive, receive_head, receive_tail);
    IOPKT_ASSERT(its_shard.move_receive_ring(id, moved.first) == socket::Errno::ok);
  }
  if (wanted.send > send_memory.size()) {
    const auto moved = move(send_memory, wanted.send, send_head, send_tail);
    IOPKT_ASSERT(its_shard.move_send_ring(id, moved.first) == socket::Errno::ok);
  }
}

bool Host::Stream::pump() {
  if (!id || released || closed) return false;
  const std::uint64_t head_before = receive_head, tail_before = send_tail;
  if (read_on && !receive_memory.empty()) {
    const auto n = static_cast<std::uint32_t>(std::min<std::uint64_t>(receive_tail - receive_head, read_most));
    const socket::RingMemory ring{receive_memory.data(), static_cast<std::uint32_t>(receive_memory.size())};
    const auto spans = ring.at(receive_head, n);
    received.insert(received.end(), spans.first.begin(), spans.first.end());
    received.insert(received.end(), spans.second.begin(), spans.second.end());
    receive_head += n;
  }
  if (connected && !failed && written < to_send.size()) {
    const socket::RingMemory ring{send_memory.data(), static_cast<std::uint32_t>(send_memory.size())};
    const auto room = static_cast<std::uint32_t>(send_memory.size() - (send_tail - send_head));
    const auto n = static_cast<std::uint32_t>(std::min<std::size_t>(room, to_send.size() - written));
    ring.write(send_tail, Bytes{to_send}.subspan(written, n));
    written += n;
    send_tail += n;
  }
  if (send_tail != tail_before || receive_head != head_before)
    IOPKT_ASSERT(host->shard(shard).progress(id, send_tail, receive_head));
  bool moved = send_tail != tail_before || receive_head != head_before;
  if (connected && written == to_send.size()) {
    if (std::exchange(shutdown_after_send, false)) shutdown(1), moved = true;
    if (std::exchange(close_after_send, false)) close(), moved = true;
  }
  return moved;
}

void Host::Stream::close() {
  if (std::exchange(closed, true)) return;
  host->shard(shard).close(id);
}

void Host::Stream::shutdown(int how) { static_cast<void>(host->shard(shard).shutdown(id, how)); }

// ---- the net

Host& SimNet::host(const std::string& prefix, const Host::Options& options) {
  hosts_.push_back(std::make_unique<Host>(*this, "h" + std::to_string(hosts_.size()), prefix, options));
  return *hosts_.back();
}

namespace {

std::vector<std::pair<Host*, std::uint32_t>> first_interfaces(const std::vector<Host*>& hosts) {
  std::vector<std::pair<Host*, std::uint32_t>> out;
  for (Host* host : hosts) out.emplace_back(host, host->interface_index());
  return out;
}

}  // namespace

void SimNet::wire(const std::vector<Host*>& hosts, const Impairment& impairment) { wire_interfaces(first_interfaces(hosts), impairment); }

void SimNet::wire_interfaces(const std::vector<std::pair<Host*, std::uint32_t>>& interfaces, const Impairment& impairment) {
  for (const auto& from : interfaces) {
    std::vector<std::pair<Host*, std::uint32_t>> others;
    std::ranges::copy_if(interfaces, std::back_inserter(others), [&](const auto& one) { return one != from; });
    add_wire({from}, std::move(others), impairment);
  }
}

Link& SimNet::link(std::vector<Host*> from, std::vector<Host*> to, const LinkConfig& config) {
  return add_wire(first_interfaces(from), first_interfaces(to), config);
}

Link& SimNet::add_wire(std::vector<std::pair<Host*, std::uint32_t>> from, std::vector<std::pair<Host*, std::uint32_t>> to,
                       const LinkConfig& config) {
  // A seed of its own: what one link does changes nothing on the others.
  const std::uint64_t seed = seed_ * 0x9e3779b97f4a7c15u + wires_.size() + 1;
  wires_.push_back(std::make_unique<Wire>(Wire{std::move(from), std::move(to), Link{config, seed}}));
  return wires_.back()->link;
}

std::vector<std::byte> SimNet::random_bytes(std::size_t count) {
  std::vector<std::byte> bytes(count);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random_.next());
  return bytes;
}

void SimNet::send(Host& from, std::uint32_t interface_index, Frame frame) {
  if (tracing) {
    trace_.push_back(std::to_string(now_.ns / 1000) + " us " + from.name() + ": " + wire::describe(frame));
    if (trace_.size() > 400) trace_.erase(trace_.begin(), trace_.begin() + 200);
    trace_hash_ = siphash24({trace_hash_, static_cast<std::uint64_t>(now_.ns)}, frame);
  }
  if (tap && !tap(from, frame)) return;
  for (auto& wire : wires_)
    if (std::ranges::find(wire->from, std::pair{&from, interface_index}) != wire->from.end()) wire->link.put(now_, frame);
}

bool SimNet::settle() {
  bool any = false, again = true;
  // A stack that never comes to rest is a defect: the bound turns it into a failing test.
  for (int i = 0; i < 100000 && again; ++i) {
    again = false;
    for (auto& host : hosts_) again |= host->turn(now_);
    any |= again;
  }
  IOPKT_ASSERT(!again);
  return any;
}

bool SimNet::run_until(const std::function<bool()>& done, Duration limit) {
  const Instant end = now_ + limit;
  for (;;) {
    settle();
    if (done()) return true;
    Instant next = Instant::never();
    for (const auto& wire : wires_) next = std::min(next, wire->link.next());
    for (auto& host : hosts_) next = std::min(next, host->next_deadline());
    if (next > end) {
      now_ = end;
      return done();
    }
    now_ = std::max(now_, next);
    for (auto& wire : wires_)
      while (const auto frame = wire->link.take(now_))
        for (const auto& [to, index] : wire->to) to->receive(*frame, index);
  }
}

void SimNet::run_for(Duration time) {
  static_cast<void>(run_until([] { return false; }, time));
}

std::string SimNet::trace() const {
  std::string text = "seed " + std::to_string(seed_) + "\n";
  const std::size_t from = trace_.size() > 100 ? trace_.size() - 100 : 0;
  for (std::size_t i = from; i < trace_.size(); ++i) text += trace_[i] + "\n";
  return text;
}

}  // namespace iopkt::sim
