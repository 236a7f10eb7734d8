// TCP-MD5 and TCP-AO: which key a segment is signed with, and what an arriving one must have. RFC 2385, RFC 5925.
#include <vector>

#include "stack/ways.hpp"
#include "tcp/auth.hpp"

namespace iopkt::stack {

namespace {

using packet::Drop;
using Kind = wire::TcpSignature::Kind;

/// The key of our own segments: TCP-MD5's goes first; both at once are refused when they are set.
const tcp::Key* sending_key(const socket::SocketOptions& options, const wire::IpAddress& remote, int current) {
  if (!options.keys) return nullptr;
  if (const tcp::Key* md5 = options.keys->md5_for(remote)) return md5;
  const tcp::Key* asked = options.keys->ao_to_send(remote, current);
  return asked != nullptr ? asked : options.keys->ao_to_send(remote, -1);
}

std::vector<std::byte> bytes_of(const packet::Packet& packet, std::uint32_t from) {
  std::vector<std::byte> out(packet.size() - from);
  packet.copy_out(from, out);
  return out;
}

/// The MAC of a segment that `from` sends. A first SYN knows its own ISN only.
std::optional<tcp::Mac> mac_of(const tcp::Key& key, const wire::Endpoint& from, const wire::Endpoint& to, wire::SeqNum from_isn,
                               wire::SeqNum to_isn, std::uint32_t extension, Bytes header, Bytes payload, tcp::TrafficKeys::One* known) {
  const tcp::SignedSegment segment{from.address, to.address, header, payload};
  if (key.is_md5()) return tcp::md5_digest(key, segment);
  if (known == nullptr || known->key != &key || known->from_isn != from_isn || known->to_isn != to_isn) {
    const auto derived = tcp::traffic_key(key, {from.address, to.address, from.port, to.port, from_isn, to_isn});
    if (!derived) return std::nullopt;
    if (known == nullptr) return tcp::ao_mac(key, *derived, extension, segment);
    *known = {&key, from_isn, to_isn, *derived};
  }
  return tcp::ao_mac(key, known->value, extension, segment);
}

wire::TcpSignature blank_of(const socket::SocketOptions& options, const wire::IpAddress& remote, int current) {
  wire::TcpSignature out;
  const tcp::Key* key = sending_key(options, remote, current);
  if (key == nullptr) return out;
  if (key->is_md5()) return {.kind = Kind::md5, .length = 16};
  // What the peer is asked to send with: the key that we use, unless the program chose another (RFC 5925 section 3.1).
  const tcp::Key* next = options.ao_next < 0 ? nullptr : options.keys->ao_received(remote, options.ao_next);
  return {.kind = Kind::ao,
          .key_id = key->send_id,
          .next_key_id = next != nullptr ? next->receive_id : key->receive_id,
          .length = key->mac_len};
}

AuthState& auth_of(Socket& k) {
  if (!k.auth) k.auth = std::make_unique<AuthState>();
  return *k.auth;
}

}  // namespace

tcp::TrafficKeys* derived_keys(Socket& k) {
  if (!k.options->keys) return nullptr;
  tcp::TrafficKeys& derived = auth_of(k).derived;
  if (derived.chain != k.options->keys) derived = tcp::TrafficKeys{.chain = k.options->keys, .out = {}, .in = {}};
  return &derived;
}

bool ignores_icmp(Socket& k, const message::FlowError& error) {
  if (!k.options->keys || k.options->ao_accept_icmp || !tcp::is_synchronized(k.tcp->state())) return false;
  if (k.options->keys->ao_to_send(k.remote.address, -1) == nullptr) return false;
  const bool v4 = error.flow.local.address.is_v4();
  const tcp::Failure other = v4 ? tcp::Failure::protocol_unreachable : tcp::Failure::admin_prohibited;
  const bool hard = error.failure == tcp::Failure::refused || error.failure == other;
  if (!hard && !(v4 && error.mtu != 0)) return false;
  ++auth_of(k).dropped_icmp;
  return true;
}

std::uint8_t signature_len(const socket::SocketOptions& options, const wire::IpAddress& remote) {
  return options.keys ? static_cast<std::uint8_t>(options.keys->longest_option(remote)) : std::uint8_t{0};
}

bool uses_md5(const socket::SocketOptions& options, const wire::IpAddress& remote) {
  return options.keys && options.keys->md5_for(remote) != nullptr;
}

wire::TcpSignature blank_signature(const Signing& signing, const wire::IpAddress& remote) {
  return blank_of(signing.options, remote, signing.current >= 0 ? signing.current : signing.options.ao_current);
}

bool sign(const Signing& signing, const FlowKey& flow, const wire::TcpSignature& option, packet::Packet& packet, std::uint32_t header_len) {
  const wire::IpAddress& remote = flow.remote.address;
  const tcp::Key* key = option.kind == Kind::md5 ? signing.options.keys->md5_for(remote)
                                                 : signing.options.keys->ao_to_send(remote, option.key_id);
  if (key == nullptr) return false;
  const std::vector<std::byte> header(packet.head().begin(), packet.head().begin() + header_len);
  const std::uint16_t flags = wire::TcpView::parse(header)->flags();
  const bool first = (flags & wire::syn) != 0 && (flags & wire::ack) == 0;
  const auto mac = mac_of(*key, flow.local, flow.remote, signing.iss, first ? wire::SeqNum{} : signing.irs, signing.extension, header,
                          bytes_of(packet, header_len), signing.derived != nullptr ? &signing.derived->out : nullptr);
  if (!mac) return false;
  packet.copy_in(wire::kSignatureOffset, Bytes{*mac}.first(option.length));
  return true;
}

std::optional<Drop> check_signature(ShardState& s, const Signing& signing, const FlowKey& flow, const tcp::SegmentIn& seg,
                                    const packet::Packet& packet, std::uint32_t header_len) {
  const wire::TcpSignature& shown = seg.options.signature;
  const socket::SocketOptions& options = signing.options;
  if (!options.keys && !options.ao_required && shown.kind == Kind::none) return std::nullopt;
  if (shown.twice) return Drop::tcp_signature_unexpected;
  const wire::IpAddress& remote = flow.remote.address;
  static const tcp::KeyChain kNone;
  const tcp::KeyChain& keys = options.keys ? *options.keys : kNone;
  const tcp::Key* md5 = keys.md5_for(remote);
  const tcp::Key* key = nullptr;
  switch (shown.kind) {
    case Kind::none:
      if (md5 == nullptr && keys.ao_received(remote, -1) == nullptr && !options.ao_required) return std::nullopt;
      return Drop::tcp_signature_missing;
    case Kind::md5:
      if (md5 == nullptr) return Drop::tcp_signature_unexpected;
      key = md5;
      break;
    case Kind::ao:
      if (md5 != nullptr) return Drop::tcp_signature_unexpected;
      key = keys.ao_received(remote, shown.key_id);
      if (key == nullptr) return Drop::tcp_key_unknown;
      if (shown.length != key->mac_len) return Drop::tcp_signature_mismatch;
      break;
  }
  const bool first = seg.has(wire::syn) && !seg.has(wire::ack);
  const std::vector<std::byte> bytes = bytes_of(packet, 0);
  const auto mac = mac_of(*key, flow.remote, flow.local, seg.has(wire::syn) ? seg.seq : signing.irs, first ? wire::SeqNum{} : signing.iss,
                          signing.extension, Bytes{bytes}.first(header_len), Bytes{bytes}.subspan(header_len),
                          signing.derived != nullptr ? &signing.derived->in : nullptr);
  if (!mac || !tcp::same_mac(Bytes{*mac}.first(shown.length), Bytes{shown.mac}.first(shown.length))) return Drop::tcp_signature_mismatch;
  ++s.counters.tcp.signatures_good;
  return std::nullopt;
}

void follow_key(Socket& k, const tcp::SegmentIn& seg) {
  const wire::TcpSignature& shown = seg.options.signature;
  if (shown.kind != Kind::ao || !k.options->keys) return;
  if (k.options->ao_current == shown.next_key_id || k.options->keys->ao_to_send(k.remote.address, shown.next_key_id) == nullptr) return;
  k.options.change([&](socket::SocketOptions& o) { o.ao_current = shown.next_key_id; });
}

void count_signature(Socket& k, const tcp::SegmentIn& seg, const std::optional<Drop>& wrong) {
  if (!k.options->keys && !k.options->ao_required) return;
  AuthState& counts = auth_of(k);
  if (!wrong && seg.options.signature.kind == Kind::ao) ++counts.good;
  else if (wrong == Drop::tcp_signature_mismatch) ++counts.bad;
  else if (wrong == Drop::tcp_key_unknown) ++counts.key_not_found;
  else if (wrong == Drop::tcp_signature_missing) ++counts.required;
}

}  // namespace iopkt::stack
