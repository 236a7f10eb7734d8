#include "utils/dhcp.client/machine.hpp"

#include <algorithm>
#include <array>
#include <bit>

namespace iopkt::dhcp {

using wire::DhcpMessage;
using wire::DhcpOption;
using wire::DhcpType;
using wire::Ipv4Address;

namespace {

constexpr Ipv4Address kEverybody{255, 255, 255, 255};
constexpr std::uint32_t kForever = 0xffffffff;
constexpr std::uint32_t kShortest = 60;  // seconds: a lease below that would be renewed without end
constexpr std::uint32_t kSoonest = kShortest / 2;  // the same, for when the server wants to be asked again

Bytes bytes_of(const std::string& text) { return as_bytes(text.data(), text.size()); }

Duration seconds(std::uint32_t n) { return std::chrono::seconds{n}; }

bool may_be_a_hosts(Ipv4Address a) { return !a.is_unspecified() && !a.is_multicast() && !a.is_loopback() && !a.is_limited_broadcast(); }

}  // namespace

std::optional<Lease> lease_of(const DhcpMessage& ack, Ipv4Address server) {
  Lease lease{.address = ack.yiaddr, .server = server};
  const auto time = ack.number32(DhcpOption::lease_time);
  if (!may_be_a_hosts(lease.address) || !time || *time == 0) return std::nullopt;
  if (const auto mask = ack.number32(DhcpOption::subnet_mask); mask && std::countl_one(*mask) == std::popcount(*mask) && *mask != 0)
    lease.prefix_length = static_cast<std::uint8_t>(std::popcount(*mask));
  lease.broadcast = ack.address(DhcpOption::broadcast);
  lease.routers = ack.addresses(DhcpOption::routers);
  lease.name_servers = ack.addresses(DhcpOption::name_servers);
  lease.routes = ack.classless_routes();
  if (lease.routes.size() > kRoutesMax) lease.routes.resize(kRoutesMax);
  lease.domain = ack.name(DhcpOption::domain_name);
  lease.hostname = ack.name(DhcpOption::host_name);
  if (const auto mtu = ack.number16(DhcpOption::mtu); mtu && *mtu >= 576) lease.mtu = *mtu;
  lease.seconds = std::max(*time, kShortest);
  // Section 4.4.5: half of it, and seven eighths, unless the server says something that makes sense.
  const std::uint32_t half = lease.seconds / 2, most = lease.seconds / 8 * 7;
  lease.renew_s = ack.number32(DhcpOption::renewal_time).value_or(half);
  lease.rebind_s = ack.number32(DhcpOption::rebinding_time).value_or(most);
  if (lease.rebind_s <= kSoonest || lease.rebind_s >= lease.seconds) lease.rebind_s = most;
  if (lease.renew_s < kSoonest || lease.renew_s >= lease.rebind_s) lease.renew_s = half;
  if (lease.renew_s >= lease.rebind_s) lease.rebind_s = most;
  return lease;
}

std::string resolver_text(const Lease& lease) {
  if (lease.name_servers.empty()) return {};
  std::string out = lease.domain.empty() ? "" : "domain " + lease.domain + "\n";
  for (const Ipv4Address server : lease.name_servers) out += "nameserver " + server.to_string() + "\n";
  return out;
}

// ---- messages

DhcpMessage Machine::message(DhcpType type, Instant now) {
  DhcpMessage m{.xid = xid_, .hardware = settings_.hardware, .options = {}};
  m.seconds = static_cast<std::uint16_t>(std::min<std::int64_t>((now - began_) / 1s, 65535));
  m.add8(DhcpOption::message_type, static_cast<std::uint8_t>(type));
  if (!settings_.client_id.empty()) m.add(DhcpOption::client_id, settings_.client_id);
  if (type == DhcpType::release || type == DhcpType::decline) return m;
  if (!settings_.hostname.empty()) m.add(DhcpOption::host_name, bytes_of(settings_.hostname));
  constexpr std::array<DhcpOption, 8> kWanted{DhcpOption::subnet_mask, DhcpOption::classless_routes, DhcpOption::routers,
                                              DhcpOption::name_servers, DhcpOption::domain_name, DhcpOption::broadcast,
                                              DhcpOption::host_name, DhcpOption::mtu};
  m.add(DhcpOption::parameters, as_bytes(kWanted.data(), sizeof kWanted));
  constexpr std::array<std::byte, 2> kSize{std::byte{0x05}, std::byte{0xdc}};  // 1500 bytes
  m.add(DhcpOption::size_max, kSize);
  return m;
}

Instant Machine::retry_at(Instant now) {
  const Duration chance = Duration{static_cast<std::int64_t>(random_.below(2'000'000'000))} - 1s;
  const Instant at = now + wait_ + chance;
  wait_ = std::min(2 * wait_, kLongestWait);
  return at;
}

void Machine::discover(Instant now, Result& out) {
  DhcpMessage m = message(DhcpType::discover, now);
  m.broadcast = !settings_.unicast;  // there is no address yet to which an answer could come
  out.send.push_back({encode_dhcp(m), kEverybody});
  at_ = retry_at(now);
}

void Machine::request_offer(Instant now, Result& out) {
  DhcpMessage m = message(DhcpType::request, now);
  m.broadcast = !settings_.unicast;
  m.add_address(DhcpOption::requested_address, offered_).add_address(DhcpOption::server, server_);
  out.send.push_back({encode_dhcp(m), kEverybody});
  asked_ = now;
  at_ = retry_at(now);
}

/// RENEWING asks the server that gave the lease, REBINDING whoever is there.
void Machine::request_renewal(Instant now, Result& out) {
  DhcpMessage m = message(DhcpType::request, now);
  m.ciaddr = lease_->address;
  out.send.push_back({encode_dhcp(m), state_ == State::renewing ? lease_->server : kEverybody});
  asked_ = now;
  const Instant limit = state_ == State::renewing ? rebind_at_ : end_at_;
  at_ = std::min(now + std::max((limit - now) / 2, kLeastWait), limit);
}

// ---- states

Machine::Result Machine::start(Instant now) {
  Result out;
  restart(now, out);
  return out;
}

void Machine::restart(Instant now, Result& out) {
  if (lease_) out.unconfigure = true;
  lease_.reset();
  if (settings_.attempts != 0 && rounds_ >= settings_.attempts) {
    state_ = State::given_up;
    at_ = Instant::never();
    return;
  }
  ++rounds_;
  state_ = State::selecting;
  xid_ = static_cast<std::uint32_t>(random_.next());
  began_ = now;
  tries_ = 0;
  wait_ = kFirstWait;
  discover(now, out);
}

/// RFC 2131 section 3.1 (4): a refusal means to begin anew. The first does so at once, as whoever comes to another network wants it;
/// a server that refuses what it offers must not drive us at the pace of its answers: each further one doubles the pause.
void Machine::refused(Instant now, Result& out) {
  if (refusals_++ == 0) return restart(now, out);
  if (lease_) out.unconfigure = true;
  lease_.reset();
  state_ = State::init;
  at_ = now + pause_ + Duration{static_cast<std::int64_t>(random_.below(1'000'000'000))};
  pause_ = std::min(2 * pause_, kLongestWait);
}

void Machine::on_offer(const DhcpMessage& offer, Ipv4Address server, Instant now, Result& out) {
  if (settings_.only_server && server != *settings_.only_server) return;
  if (!may_be_a_hosts(offer.yiaddr)) return;
  offered_ = offer.yiaddr;
  server_ = server;
  state_ = State::requesting;
  tries_ = 1;
  wait_ = kFirstWait;
  request_offer(now, out);
}

void Machine::bind(const DhcpMessage& ack, Instant now, Result& out) {
  auto lease = lease_of(ack, ack.address(DhcpOption::server).value_or(server_));
  if (!lease) return;
  state_ = State::bound;
  rounds_ = refusals_ = 0;
  pause_ = kFirstWait;
  const bool for_ever = lease->seconds == kForever;
  // From the moment of the request on (section 4.4.5).
  renew_at_ = for_ever ? Instant::never() : asked_ + seconds(lease->renew_s);
  rebind_at_ = for_ever ? Instant::never() : asked_ + seconds(lease->rebind_s);
  end_at_ = for_ever ? Instant::never() : asked_ + seconds(lease->seconds);
  at_ = std::max(renew_at_, now);
  server_ = lease->server;
  const bool same = lease_ && *lease_ == *lease;
  lease_ = std::move(*lease);
  if (!same) out.configure = lease_;
}

Machine::Result Machine::on_message(Bytes payload, Instant now) {
  Result out;
  const auto m = wire::parse_dhcp(payload);
  if (!m || m->op != DhcpMessage::kReply || m->xid != xid_ || m->hardware != settings_.hardware) return out;
  const auto type = m->type();
  const auto server = m->address(DhcpOption::server);
  if (!type) return out;
  if (state_ == State::selecting) {
    if (*type == DhcpType::offer && server) on_offer(*m, *server, now, out);
    return out;
  }
  const bool asked = state_ == State::requesting || state_ == State::renewing || state_ == State::rebinding;
  if (!asked) return out;
  if (settings_.only_server && server && *server != *settings_.only_server) return out;
  if (state_ == State::requesting && server != server_) return out;
  // RFC 2131 sections 3.1 (3) and 4.4.5: what is acknowledged is the address that was asked for.
  const Ipv4Address wanted = state_ == State::requesting ? offered_ : lease_->address;
  if (*type == DhcpType::ack && m->yiaddr == wanted) bind(*m, now, out);
  else if (*type == DhcpType::nak) refused(now, out);
  return out;
}

Machine::Result Machine::on_time(Instant now) {
  Result out;
  if (now < at_) return out;
  switch (state_) {
    case State::init: restart(now, out); break;
    case State::selecting:
      // A minute or so without an offer is one round.
      if (wait_ == kLongestWait && settings_.attempts != 0) restart(now, out);
      else discover(now, out);
      break;
    case State::requesting:
      if (++tries_ > kRequests) restart(now, out);
      else request_offer(now, out);
      break;
    case State::bound:
      state_ = State::renewing;
      xid_ = static_cast<std::uint32_t>(random_.next());
      began_ = now;
      request_renewal(now, out);
      break;
    case State::renewing:
      if (now >= rebind_at_) state_ = State::rebinding;
      request_renewal(now, out);
      break;
    case State::rebinding:
      if (now >= end_at_) restart(now, out);
      else request_renewal(now, out);
      break;
    case State::given_up: break;
  }
  return out;
}

Machine::Result Machine::release(Instant now) {
  Result out;
  if (lease_) {
    began_ = now;
    xid_ = static_cast<std::uint32_t>(random_.next());
    DhcpMessage m = message(DhcpType::release, now);
    m.ciaddr = lease_->address;
    m.add_address(DhcpOption::server, lease_->server);
    out.send.push_back({encode_dhcp(m), lease_->server});
    out.unconfigure = true;
  }
  lease_.reset();
  state_ = State::given_up;
  at_ = Instant::never();
  return out;
}

Machine::Result Machine::decline(Instant now) {
  Result out;
  if (!lease_) return out;
  DhcpMessage m = message(DhcpType::decline, now);
  m.add_address(DhcpOption::requested_address, lease_->address).add_address(DhcpOption::server, lease_->server);
  out.send.push_back({encode_dhcp(m), kEverybody});
  out.unconfigure = true;
  lease_.reset();
  ++declined_;
  const bool enough = settings_.conflicts != 0 && declined_ >= settings_.conflicts;
  state_ = enough ? State::given_up : State::init;
  at_ = enough ? Instant::never() : now + kPause;
  return out;
}

}  // namespace iopkt::dhcp
