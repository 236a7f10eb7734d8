// The socket options that set and show keys: TCP_MD5SIG, TCP_MD5SIG_EXT, TCP_AO_ADD_KEY, _DEL_KEY, _INFO and _GET_KEYS, with the host's
// structures (linux/tcp.h) and answers.
#include <cstring>
#include <string_view>

#include "socket/numbers.hpp"
#include "stack/ways.hpp"
#include "tcp/auth.hpp"

namespace iopkt::stack {

namespace {

namespace num = socket::num;
using tcp::Key;
using tcp::KeyChain;
using tcp::KeyPtr;
using tcp::MacAlgorithm;
using Options = socket::SocketOptions;

constexpr std::size_t kAddressLen = 128;  // struct sockaddr_storage

struct Md5Sig {  // struct tcp_md5sig
  std::uint8_t address[kAddressLen];
  std::uint8_t flags, prefix_len;
  std::uint16_t key_len;
  std::int32_t interface_index;
  std::uint8_t key[Key::kLongest];
};
static_assert(sizeof(Md5Sig) == 216);
constexpr std::uint8_t kMd5Prefix = 1, kMd5Interface = 2;

struct AoAdd {  // struct tcp_ao_add
  std::uint8_t address[kAddressLen];
  char algorithm[64];
  std::int32_t interface_index;
  std::uint32_t flags;
  std::uint16_t reserved;
  std::uint8_t prefix_len, send_id, receive_id, mac_len, key_flags, key_len;
  std::uint8_t key[Key::kLongest];
};
static_assert(sizeof(AoAdd) == 288);

struct AoDelete {  // struct tcp_ao_del
  std::uint8_t address[kAddressLen];
  std::int32_t interface_index;
  std::uint32_t flags;
  std::uint16_t reserved;
  std::uint8_t prefix_len, send_id, receive_id, current, next, key_flags;
};
static_assert(sizeof(AoDelete) == 144);

struct AoInfo {  // struct tcp_ao_info_opt
  std::uint32_t flags;
  std::uint16_t reserved;
  std::uint8_t current, next;
  std::uint64_t good, bad, key_not_found, required, dropped_icmp;
};
static_assert(sizeof(AoInfo) == 48);

struct AoShown {  // struct tcp_ao_getsockopt
  std::uint8_t address[kAddressLen];
  char algorithm[64];
  std::uint8_t key[Key::kLongest];
  std::uint32_t count;
  std::uint16_t flags;
  std::uint8_t send_id, receive_id, prefix_len, mac_len, key_flags, key_len;
  std::int32_t interface_index;
  std::uint64_t good, bad;
};
static_assert(sizeof(AoShown) == 304);

// set_current, set_rnext, ao_required, set_counters of the structures above; is_current, is_rnext, get_all of the last.
constexpr std::uint32_t kSetCurrent = 1, kSetNext = 2, kRequired = 4, kSetCounters = 8, kAcceptIcmp = 16;
constexpr std::uint32_t kDeleteAsync = 4;
constexpr std::uint16_t kIsCurrent = 1, kIsNext = 2, kGetAll = 4;
constexpr std::uint8_t kWithInterface = 1, kWithoutOptions = 2;  // TCP_AO_KEYF_IFINDEX, _EXCLUDE_OPT
constexpr std::uint8_t kMacLenDefault = 12, kMacLenLeast = 4;
constexpr std::string_view kSha1 = "hmac(sha1)", kCmac = "cmac(aes128)";

template <class T>
std::optional<T> read(Bytes value) {
  T out;
  if (value.size() < sizeof out) return std::nullopt;
  std::memcpy(&out, value.data(), sizeof out);
  return out;
}

/// What a program gave holds a secret: not after the call.
template <class T>
struct EraseAtEnd {
  T& what;
  ~EraseAtEnd() { tcp::erase(&what, sizeof what); }
};

struct Peer {
  wire::IpAddress address;
  std::uint16_t port = 0;
};
/// Of the socket's own family; nullopt: of another.
std::optional<Peer> peer_of(const Socket& k, const std::uint8_t (&address)[kAddressLen]) {
  std::uint16_t family = 0;
  std::memcpy(&family, address, sizeof family);
  const Bytes bytes = as_bytes(address, sizeof address);
  if (k.family == wire::IpFamily::v4) {
    if (family != num::kAfInet) return std::nullopt;
    return Peer{.address = wire::load_ipv4(bytes, 4), .port = load_be16(bytes, 2)};
  }
  if (family != num::kAfInet6) return std::nullopt;
  const wire::Ipv6Address v6 = wire::load_ipv6(bytes, 8);
  return Peer{.address = v6.is_v4_mapped() ? wire::IpAddress{wire::load_ipv4(bytes, 20)} : wire::IpAddress{v6}, .port = load_be16(bytes, 2)};
}

void put_address(const Socket& k, const wire::IpAddress& address, std::uint8_t (&out)[kAddressLen]) {
  const auto family = static_cast<std::uint16_t>(k.family == wire::IpFamily::v4 ? num::kAfInet : num::kAfInet6);
  std::memcpy(out, &family, sizeof family);
  if (k.family == wire::IpFamily::v4) {
    store_be32({reinterpret_cast<std::byte*>(out), kAddressLen}, 4, address.v4().value);
    return;
  }
  if (address.is_v6()) {
    std::memcpy(out + 8, address.v6().bytes.data(), 16);
    return;
  }
  out[18] = out[19] = 0xff;
  store_be32({reinterpret_cast<std::byte*>(out), kAddressLen}, 20, address.v4().value);
}

constexpr std::uint8_t bits_of(const wire::IpAddress& address) { return address.is_v4() ? 32 : 128; }

std::vector<KeyPtr> keys_of(const Options& options) { return options.keys ? options.keys->keys() : std::vector<KeyPtr>{}; }
void adopt(Options& options, KeyChain&& chain) {
  if (chain.keys().empty()) options.keys.reset();
  else options.keys = std::make_shared<const KeyChain>(std::move(chain));
}
void adopt(Options& options, std::vector<KeyPtr>&& keys) {
  KeyChain chain;
  chain.set(std::move(keys));
  adopt(options, std::move(chain));
}
KeyPtr admit(ShardState& s, const Socket& k, Key&& key) { return KeyAccounts::admit(s.stack.key_accounts(), k.user, std::move(key)); }

/// Whether one of the other kind stands for some of the same peers.
bool clashes(const std::vector<KeyPtr>& keys, const Key& key) {
  for (const KeyPtr& other : keys)
    if (other->is_md5() != key.is_md5() && (other->fits(key.peer) || key.fits(other->peer))) return true;
  return false;
}

tcp::Secret secret_of(const std::uint8_t* from, std::size_t length) {
  const Bytes bytes = as_bytes(from, length);
  return {bytes.begin(), bytes.end()};
}

Errno set_md5(ShardState& s, const Socket& k, Options& options, Bytes value, bool extended) {
  auto wanted = read<Md5Sig>(value);
  if (!wanted) return Errno::inval;
  const EraseAtEnd erase{*wanted};
  const auto peer = peer_of(k, wanted->address);
  if (!peer || wanted->key_len > Key::kLongest) return Errno::inval;
  std::uint8_t prefix = bits_of(peer->address);
  if (extended && (wanted->flags & kMd5Prefix) != 0) {
    if (wanted->prefix_len > prefix) return Errno::inval;
    prefix = wanted->prefix_len;
  }
  if (extended && (wanted->flags & kMd5Interface) != 0) return Errno::inval;  // there are no VRFs
  Key key{.algorithm = MacAlgorithm::md5, .peer = peer->address, .prefix_len = prefix, .mac_len = 16};
  std::vector<KeyPtr> keys = keys_of(options);
  const auto old = std::ranges::find_if(keys, [&](const KeyPtr& one) {
    return one->is_md5() && one->prefix_len == prefix && one->peer.family() == key.peer.family() && one->fits(key.peer);
  });
  if (wanted->key_len == 0) {
    if (old == keys.end()) return Errno::noent;
    keys.erase(old);
    return adopt(options, std::move(keys)), Errno::ok;
  }
  if (clashes(keys, key)) return Errno::keyrejected;
  key.secret = secret_of(wanted->key, wanted->key_len);
  if (old == keys.end() && keys.size() >= KeyChain::kMost) return Errno::nobufs;
  KeyPtr admitted = admit(s, k, std::move(key));
  if (!admitted) return Errno::nobufs;
  if (old != keys.end()) *old = std::move(admitted);
  else keys.push_back(std::move(admitted));
  return adopt(options, std::move(keys)), Errno::ok;
}

bool may_change_ids(const Socket& k) { return k.state != SocketState::listening; }

Errno add_ao(ShardState& s, const Socket& k, Options& options, Bytes value) {
  auto wanted = read<AoAdd>(value);
  if (!wanted) return Errno::inval;
  const EraseAtEnd erase{*wanted};
  if (wanted->reserved != 0 || (wanted->flags & ~(kSetCurrent | kSetNext)) != 0) return Errno::inval;
  if ((wanted->key_flags & ~(kWithInterface | kWithoutOptions)) != 0 || (wanted->key_flags & kWithInterface) != 0 || wanted->interface_index != 0)
    return Errno::inval;
  const auto peer = peer_of(k, wanted->address);
  if (!peer || peer->port != 0 || wanted->key_len > Key::kLongest || wanted->prefix_len > bits_of(peer->address)) return Errno::inval;
  if ((wanted->flags & (kSetCurrent | kSetNext)) != 0 && !may_change_ids(k)) return Errno::inval;
  // A connection that was opened without TCP-AO goes on without (RFC 5925 section 7.2).
  const bool open = k.state == SocketState::open;
  if (open && (!k.options->keys || k.options->keys->ao_to_send(k.remote.address, -1) == nullptr)) return Errno::inval;
  const std::string_view name{wanted->algorithm, strnlen(wanted->algorithm, sizeof wanted->algorithm)};
  if (name != kSha1 && name != kCmac) return Errno::noent;
  Key key{.algorithm = name == kSha1 ? MacAlgorithm::hmac_sha1 : MacAlgorithm::aes128_cmac,
          .peer = peer->address,
          .prefix_len = wanted->prefix_len,
          .send_id = wanted->send_id,
          .receive_id = wanted->receive_id,
          .mac_len = wanted->mac_len == 0 ? kMacLenDefault : wanted->mac_len,
          .without_options = (wanted->key_flags & kWithoutOptions) != 0,
          .secret = secret_of(wanted->key, wanted->key_len)};
  if (key.mac_len < kMacLenLeast || key.mac_len > tcp::Mac{}.size()) return Errno::inval;
  std::vector<KeyPtr> keys = keys_of(options);
  if (clashes(keys, key)) return Errno::keyrejected;
  for (const KeyPtr& other : keys)
    if (!other->is_md5() && (other->send_id == key.send_id || other->receive_id == key.receive_id) &&
        (other->fits(key.peer) || key.fits(other->peer)))
      return Errno::exist;
  if (keys.size() >= KeyChain::kMost) return Errno::nobufs;
  KeyPtr admitted = admit(s, k, std::move(key));
  if (!admitted) return Errno::nobufs;
  if ((wanted->flags & kSetCurrent) != 0) options.ao_current = admitted->send_id;
  if ((wanted->flags & kSetNext) != 0) options.ao_next = admitted->receive_id;
  keys.push_back(std::move(admitted));
  return adopt(options, std::move(keys)), Errno::ok;
}

/// Whether `k` could use a key with that SendID or RecvID: a connection those of its peer alone.
bool has_send_id(const Socket& k, const KeyChain& chain, std::uint8_t id) {
  if (k.state == SocketState::open) return chain.ao_to_send(k.remote.address, id) != nullptr;
  return std::ranges::any_of(chain.keys(), [&](const KeyPtr& key) { return !key->is_md5() && key->send_id == id; });
}
bool has_receive_id(const Socket& k, const KeyChain& chain, std::uint8_t id) {
  if (k.state == SocketState::open) return chain.ao_received(k.remote.address, id) != nullptr;
  return std::ranges::any_of(chain.keys(), [&](const KeyPtr& key) { return !key->is_md5() && key->receive_id == id; });
}

Errno delete_ao(const Socket& k, Options& options, Bytes value) {
  const auto wanted = read<AoDelete>(value);
  if (!wanted || wanted->reserved != 0 || (wanted->flags & ~(kSetCurrent | kSetNext | kDeleteAsync)) != 0) return Errno::inval;
  if (wanted->key_flags != 0 || wanted->interface_index != 0) return Errno::inval;
  // As on the host: a listener's keys alone go without waiting for anybody, which they do here in any case.
  if ((wanted->flags & kDeleteAsync) != 0 && k.state != SocketState::listening) return Errno::inval;
  const auto peer = peer_of(k, wanted->address);
  if (!peer || peer->port != 0 || wanted->prefix_len > bits_of(peer->address)) return Errno::inval;
  if ((wanted->flags & (kSetCurrent | kSetNext)) != 0 && !may_change_ids(k)) return Errno::inval;
  std::vector<KeyPtr> keys = keys_of(options);
  const auto gone = std::ranges::find_if(keys, [&](const KeyPtr& one) {
    return !one->is_md5() && one->send_id == wanted->send_id && one->receive_id == wanted->receive_id && one->prefix_len == wanted->prefix_len &&
           one->fits(peer->address);
  });
  if (gone == keys.end()) return Errno::noent;
  keys.erase(gone);
  KeyChain chain;
  chain.set(std::move(keys));
  const bool current = (wanted->flags & kSetCurrent) != 0, next = (wanted->flags & kSetNext) != 0;
  if ((current && !has_send_id(k, chain, wanted->current)) || (next && !has_receive_id(k, chain, wanted->next))) return Errno::noent;
  // What the connection uses can only go when another takes its place.
  const bool in_use = k.state == SocketState::open && k.options->keys->ao_to_send(k.remote.address, -1) != nullptr;
  if (in_use && ((!current && !has_send_id(k, chain, blank_signature({*k.options, {}, {}}, k.remote.address).key_id)) ||
                 (!next && k.options->ao_next >= 0 && !has_receive_id(k, chain, static_cast<std::uint8_t>(k.options->ao_next)))))
    return Errno::busy;
  if (current) options.ao_current = wanted->current;
  if (next) options.ao_next = wanted->next;
  return adopt(options, std::move(chain)), Errno::ok;
}

Errno set_ao_info(Socket& k, Options& options, Bytes value) {
  const auto wanted = read<AoInfo>(value);
  constexpr std::uint32_t kKnown = kSetCurrent | kSetNext | kRequired | kSetCounters | kAcceptIcmp;
  if (!wanted || wanted->reserved != 0 || (wanted->flags & ~kKnown) != 0) return Errno::inval;
  const bool current = (wanted->flags & kSetCurrent) != 0, next = (wanted->flags & kSetNext) != 0;
  if ((current || next) && !may_change_ids(k)) return Errno::inval;
  static const KeyChain kNone;
  const KeyChain& chain = options.keys ? *options.keys : kNone;
  if ((current && !has_send_id(k, chain, wanted->current)) || (next && !has_receive_id(k, chain, wanted->next))) return Errno::noent;
  if (current) options.ao_current = wanted->current;
  if (next) options.ao_next = wanted->next;
  options.ao_required = (wanted->flags & kRequired) != 0;
  options.ao_accept_icmp = (wanted->flags & kAcceptIcmp) != 0;
  if ((wanted->flags & kSetCounters) != 0) {
    if (!k.auth) k.auth = std::make_unique<AuthState>();
    k.auth->good = wanted->good, k.auth->bad = wanted->bad;
    k.auth->key_not_found = wanted->key_not_found, k.auth->required = wanted->required, k.auth->dropped_icmp = wanted->dropped_icmp;
  }
  return Errno::ok;
}

AoShown shown(const Socket& k, const Key& key, const wire::TcpSignature& now) {
  AoShown out{};
  put_address(k, key.peer, out.address);
  const std::string_view name = key.algorithm == MacAlgorithm::hmac_sha1 ? kSha1 : kCmac;
  name.copy(out.algorithm, sizeof out.algorithm - 1);
  std::memcpy(out.key, key.secret.data(), key.secret.size());
  const bool current = now.key_id == key.send_id, next = now.next_key_id == key.receive_id;
  out.flags = static_cast<std::uint16_t>((current ? kIsCurrent : 0) | (next ? kIsNext : 0));
  out.send_id = key.send_id, out.receive_id = key.receive_id;
  out.prefix_len = key.prefix_len, out.mac_len = key.mac_len;
  out.key_flags = key.without_options ? kWithoutOptions : 0;
  out.key_len = static_cast<std::uint8_t>(key.secret.size());
  return out;
}

}  // namespace

std::optional<Errno> set_key_option(ShardState& s, Socket& k, Options& options, int level, int name, Bytes value) {
  if (level != num::kSolTcp || k.kind != socket::SocketKind::tcp) return std::nullopt;
  switch (name) {
    case num::tcp_md5sig: return set_md5(s, k, options, value, false);
    case num::tcp_md5sig_ext: return set_md5(s, k, options, value, true);
    case num::tcp_ao_add_key: return add_ao(s, k, options, value);
    case num::tcp_ao_del_key: return delete_ao(k, options, value);
    case num::tcp_ao_info: return set_ao_info(k, options, value);
    default: return std::nullopt;
  }
}

socket::Result<std::string> get_key_option(const Socket& k, int name, Bytes given, std::size_t room) {
  const bool any = k.options->keys && std::ranges::any_of(k.options->keys->keys(), [](const KeyPtr& key) { return !key->is_md5(); });
  if (!any) return unexpected(Errno::noent);
  const wire::TcpSignature now = blank_signature({*k.options, {}, {}}, k.remote.address);
  const auto text = [](const auto& value) { return std::string(reinterpret_cast<const char*>(&value), sizeof value); };
  if (name == num::tcp_ao_info) {
    AoInfo out{};
    out.flags = (now.kind == wire::TcpSignature::Kind::ao ? kSetCurrent | kSetNext : 0u) | (k.options->ao_required ? kRequired : 0u) |
                (k.options->ao_accept_icmp ? kAcceptIcmp : 0u);
    out.current = now.key_id, out.next = now.next_key_id;
    static const AuthState kNone;
    const AuthState& counts = k.auth ? *k.auth : kNone;
    out.good = counts.good, out.bad = counts.bad;
    out.key_not_found = counts.key_not_found, out.required = counts.required;
    out.dropped_icmp = counts.dropped_icmp;
    return text(out).substr(0, room);
  }
  const auto wanted = read<AoShown>(given);
  if (!wanted) return unexpected(Errno::inval);
  // Of one peer, where an address is named.
  std::uint16_t family = 0;
  std::memcpy(&family, wanted->address, sizeof family);
  const auto peer = peer_of(k, wanted->address);
  if (family != 0 && (!peer || peer->port != 0 || wanted->prefix_len > bits_of(peer->address))) return unexpected(Errno::inval);
  // An array of them; the first says what is asked for, and the answer how many there are.
  std::string out;
  std::uint32_t count = 0;
  const std::size_t most = std::min<std::size_t>((wanted->flags & kGetAll) != 0 ? wanted->count : 1, room / sizeof(AoShown));
  for (const KeyPtr& one : k.options->keys->keys()) {
    const Key& key = *one;
    if (key.is_md5()) continue;
    const bool current = now.key_id == key.send_id, next = now.next_key_id == key.receive_id;
    bool asked = (wanted->flags & kGetAll) != 0;
    if ((wanted->flags & (kIsCurrent | kIsNext)) != 0) asked = ((wanted->flags & kIsCurrent) != 0 && current) || ((wanted->flags & kIsNext) != 0 && next);
    else if (!asked) asked = key.send_id == wanted->send_id && key.receive_id == wanted->receive_id &&
                             (family == 0 || (key.prefix_len == wanted->prefix_len && key.fits(peer->address)));
    if (!asked) continue;
    if (count++ < most) out += text(shown(k, key, now));
  }
  if (count == 0) return unexpected(Errno::noent);
  if (!out.empty()) std::memcpy(out.data() + offsetof(AoShown, count), &count, sizeof count);
  return out;
}

}  // namespace iopkt::stack
