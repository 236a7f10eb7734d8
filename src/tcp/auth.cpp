#include "tcp/auth.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>
#include <tuple>

#include "base/assert.hpp"
#include "wire/ip_prefix.hpp"

namespace iopkt::tcp {

namespace {

constexpr std::uint8_t kProtocolTcp = 6;
constexpr std::uint8_t kEnd = 0, kNop = 1, kAo = 29;
constexpr std::size_t kCmacKeyLen = 16;
constexpr std::size_t kFixedHeader = wire::TcpView::kMinHeaderLen;

const unsigned char* raw(Bytes bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }

struct FreeMac {
  void operator()(EVP_MAC* mac) const { EVP_MAC_free(mac); }
  void operator()(EVP_MAC_CTX* context) const { EVP_MAC_CTX_free(context); }
};
struct FreeDigest {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

/// HMAC-SHA1 or AES-128-CMAC.
class Hasher {
 public:
  Hasher(MacAlgorithm algorithm, Bytes key) {
    const bool sha1 = algorithm == MacAlgorithm::hmac_sha1;
    // Looked up in the library's tables once.
    static const std::unique_ptr<EVP_MAC, FreeMac> kHmac(EVP_MAC_fetch(nullptr, "HMAC", nullptr)), kCmac(EVP_MAC_fetch(nullptr, "CMAC", nullptr));
    EVP_MAC* const mac = sha1 ? kHmac.get() : kCmac.get();
    context_.reset(mac != nullptr ? EVP_MAC_CTX_new(mac) : nullptr);
    char digest[] = "SHA1", cipher[] = "AES-128-CBC";
    const OSSL_PARAM parameters[] = {
        sha1 ? OSSL_PARAM_construct_utf8_string("digest", digest, 0) : OSSL_PARAM_construct_utf8_string("cipher", cipher, 0),
        OSSL_PARAM_construct_end()};
    static constexpr unsigned char kNothing = 0;  // a key without a byte is one, too; a null pointer would say that there is none
    good_ = context_ && EVP_MAC_init(context_.get(), key.empty() ? &kNothing : raw(key), key.size(), parameters) == 1;
  }
  void add(Bytes bytes) { good_ = good_ && (bytes.empty() || EVP_MAC_update(context_.get(), raw(bytes), bytes.size()) == 1); }
  /// nullopt: the library failed.
  std::optional<TrafficKey> finish() {
    TrafficKey out{};
    std::size_t length = 0;
    if (!good_ || EVP_MAC_final(context_.get(), reinterpret_cast<unsigned char*>(out.data()), &length, out.size()) != 1) return std::nullopt;
    return out;
  }

 private:
  std::unique_ptr<EVP_MAC_CTX, FreeMac> context_;
  bool good_ = false;
};

/// An address as it stands in a pseudo-header, behind what is there.
void put(std::vector<std::byte>& out, const wire::IpAddress& address) {
  if (address.is_v4()) {
    std::byte four[4];
    store_be32(four, 0, address.v4().value);
    out.insert(out.end(), std::begin(four), std::end(four));
    return;
  }
  for (const std::uint8_t byte : address.v6().bytes) out.push_back(std::byte{byte});
}
void put16(std::vector<std::byte>& out, std::uint32_t value) {
  out.push_back(static_cast<std::byte>(value >> 8)), out.push_back(static_cast<std::byte>(value));
}
void put32(std::vector<std::byte>& out, std::uint32_t value) { put16(out, value >> 16), put16(out, value & 0xffff); }

/// RFC 9293 section 3.1: of IPv4; RFC 8200 section 8.1: of IPv6.
void put_pseudo_header(std::vector<std::byte>& out, const SignedSegment& s) {
  put(out, s.from), put(out, s.to);
  const auto length = static_cast<std::uint32_t>(s.header.size() + s.payload.size());
  if (s.from.is_v4()) put16(out, kProtocolTcp), put16(out, length);
  else put32(out, length), put32(out, kProtocolTcp);
}

/// The fixed header with no checksum.
void put_fixed_header(std::vector<std::byte>& out, Bytes header) {
  const std::size_t at = out.size();
  out.insert(out.end(), header.begin(), header.begin() + kFixedHeader);
  out[at + wire::TcpView::kChecksumOffset] = out[at + wire::TcpView::kChecksumOffset + 1] = std::byte{0};
}

/// The TCP-AO option in the options; nullopt: there is none. The header was parsed before, but may say anything.
std::optional<Bytes> find_ao(Bytes options) {
  for (std::size_t at = 0; at < options.size();) {
    const std::uint8_t kind = load_u8(options, at);
    if (kind == kEnd) break;
    if (kind == kNop) {
      ++at;
      continue;
    }
    if (at + 1 >= options.size()) break;
    const std::size_t length = load_u8(options, at + 1);
    if (length < 2 || length > options.size() - at) break;
    if (kind == kAo && length >= 4) return options.subspan(at, length);
    at += length;
  }
  return std::nullopt;
}

/// RFC 5926 section 3.1.1.2: a secret of another length than 128 bits is made one.
std::optional<TrafficKey> cmac_key(Bytes secret) {
  TrafficKey out{};
  if (secret.size() == kCmacKeyLen) {
    std::copy(secret.begin(), secret.end(), out.begin());
    return out;
  }
  Hasher hasher(MacAlgorithm::aes128_cmac, Bytes{out}.first(kCmacKeyLen));
  hasher.add(secret);
  return hasher.finish();
}

}  // namespace

bool Key::fits(const wire::IpAddress& remote) const {
  if (peer.family() != remote.family()) return false;
  if (peer.is_v4()) return prefix_len == 0 || ((peer.v4().value ^ remote.v4().value) >> (32 - std::min<unsigned>(prefix_len, 32))) == 0;
  const auto mine = peer.v6().bytes, theirs = remote.v6().bytes;
  const std::size_t bits = std::min<std::size_t>(prefix_len, 128), whole = bits / 8;
  if (!std::equal(mine.begin(), mine.begin() + static_cast<std::ptrdiff_t>(whole), theirs.begin())) return false;
  return bits % 8 == 0 || ((mine[whole] ^ theirs[whole]) >> (8 - bits % 8)) == 0;
}

void erase(void* at, std::size_t size) { OPENSSL_cleanse(at, size); }

namespace {

/// Without its zone, which no key has.
wire::IpAddress key_network(const wire::IpAddress& address, std::uint8_t prefix_len) {
  const wire::IpAddress bare = address.is_v4() ? address : wire::IpAddress{address.v6()};
  return wire::network_of(bare, std::min<std::uint8_t>(prefix_len, bare.is_v4() ? 32 : 128));
}

}  // namespace

void KeyChain::set(std::vector<KeyPtr> keys) {
  keys_ = std::move(keys);
  spans_.clear();
  by_network_.clear();
  std::vector<std::uint32_t> order(keys_.size());
  std::iota(order.begin(), order.end(), 0u);
  const auto rank = [&](std::uint32_t i) {
    const Key& key = *keys_[i];
    return std::tuple{key.is_md5(), key.peer.family(), -int{key.prefix_len}, key_network(key.peer, key.prefix_len), i};
  };
  std::ranges::sort(order, {}, rank);
  for (const std::uint32_t i : order) {
    const Key& key = *keys_[i];
    const auto at = static_cast<std::uint32_t>(by_network_.size());
    if (spans_.empty() || spans_.back().md5 != key.is_md5() || spans_.back().family != key.peer.family() || spans_.back().prefix_len != key.prefix_len)
      spans_.push_back({key.is_md5(), key.peer.family(), key.prefix_len, at, at});
    by_network_.push_back({key_network(key.peer, key.prefix_len), i});
    ++spans_.back().end;
  }
}

std::span<const KeyChain::Place> KeyChain::places(const Span& span, const wire::IpAddress& remote) const {
  if (span.family != remote.family()) return {};
  const auto all = std::span{by_network_}.subspan(span.begin, span.end - span.begin);
  const auto found = std::ranges::equal_range(all, key_network(remote, span.prefix_len), {}, &Place::network);
  return {found.begin(), found.end()};
}

std::shared_ptr<const KeyChain> KeyChain::narrowed(const std::shared_ptr<const KeyChain>& chain, const wire::IpAddress& remote) {
  if (!chain) return nullptr;
  std::vector<std::uint32_t> fitting;
  for (const Span& span : chain->spans_)
    for (const Place& place : chain->places(span, remote)) fitting.push_back(place.key);
  if (fitting.empty()) return nullptr;
  if (fitting.size() == chain->keys_.size()) return chain;
  std::ranges::sort(fitting);  // the order of TCP-AO's keys is that of their addition
  std::vector<KeyPtr> keys;
  for (const std::uint32_t i : fitting) keys.push_back(chain->keys_[i]);
  const auto out = std::make_shared<KeyChain>();
  out->set(std::move(keys));
  return out;
}

std::size_t KeyChain::longest_option(const wire::IpAddress& remote) const {
  using Kind = wire::TcpSignature::Kind;
  std::size_t most = 0;
  for (const Span& span : spans_)
    for (const Place& place : places(span, remote)) {
      const Key& key = *keys_[place.key];
      const wire::TcpSignature option{.kind = key.is_md5() ? Kind::md5 : Kind::ao, .length = key.is_md5() ? std::uint8_t{16} : key.mac_len};
      most = std::max(most, wire::encoded_len(option));
    }
  return most;
}

/// Of those that `fits(key)`: of the longest prefix TCP-MD5's, else the first that was added.
template <class Fits>
const Key* KeyChain::find(bool md5, const wire::IpAddress& remote, Fits fits) const {
  std::optional<std::uint32_t> best;
  for (const Span& span : spans_) {
    if (span.md5 != md5) continue;
    for (const Place& place : places(span, remote)) {
      if (!fits(*keys_[place.key])) continue;
      if (md5) return keys_[place.key].get();
      best = std::min(best.value_or(place.key), place.key);
      break;  // the others of this network were added later
    }
  }
  return best ? keys_[*best].get() : nullptr;
}

const Key* KeyChain::md5_for(const wire::IpAddress& remote) const {
  return find(true, remote, [](const Key&) { return true; });
}

const Key* KeyChain::ao_to_send(const wire::IpAddress& remote, int send_id) const {
  return find(false, remote, [&](const Key& key) { return send_id < 0 || key.send_id == send_id; });
}

const Key* KeyChain::ao_received(const wire::IpAddress& remote, int receive_id) const {
  return find(false, remote, [&](const Key& key) { return receive_id < 0 || key.receive_id == receive_id; });
}

std::optional<Mac> md5_digest(const Key& key, const SignedSegment& segment) {
  std::vector<std::byte> front;
  put_pseudo_header(front, segment);
  put_fixed_header(front, segment.header);
  Mac out{};
  const std::unique_ptr<EVP_MD_CTX, FreeDigest> context(EVP_MD_CTX_new());
  const auto add = [&](Bytes bytes) { return bytes.empty() || EVP_DigestUpdate(context.get(), bytes.data(), bytes.size()) == 1; };
  const bool good = context && EVP_DigestInit_ex(context.get(), EVP_md5(), nullptr) == 1 && add(front) && add(segment.payload) &&
                    add(key.secret) && EVP_DigestFinal_ex(context.get(), reinterpret_cast<unsigned char*>(out.data()), nullptr) == 1;
  return good ? std::optional{out} : std::nullopt;
}

std::optional<TrafficKey> traffic_key(const Key& key, const TrafficKeyContext& c) {
  const bool sha1 = key.algorithm == MacAlgorithm::hmac_sha1;
  // RFC 5926 section 3.1.1: i || Label || Context || Output_Length
  std::vector<std::byte> input{std::byte{1}};
  for (const char letter : {'T', 'C', 'P', '-', 'A', 'O'}) input.push_back(static_cast<std::byte>(letter));
  put(input, c.from), put(input, c.to);
  put16(input, c.from_port.value), put16(input, c.to_port.value);
  put32(input, c.from_isn.value), put32(input, c.to_isn.value);
  put16(input, sha1 ? 160 : 128);
  const auto cmac = sha1 ? TrafficKey{} : cmac_key(key.secret);
  if (!cmac) return std::nullopt;
  Hasher hasher(key.algorithm, sha1 ? Bytes{key.secret} : Bytes{*cmac}.first(kCmacKeyLen));
  hasher.add(input);
  return hasher.finish();
}

std::optional<Mac> ao_mac(const Key& key, const TrafficKey& with, std::uint32_t extension, const SignedSegment& segment) {
  std::vector<std::byte> front;
  put32(front, extension);
  put_pseudo_header(front, segment);
  const std::size_t header_at = front.size();
  put_fixed_header(front, segment.header);
  const Bytes options = segment.header.subspan(kFixedHeader);
  if (const auto ao = find_ao(options)) {
    if (key.without_options) {
      front.insert(front.end(), ao->begin(), ao->end());
      std::fill(front.end() - static_cast<std::ptrdiff_t>(ao->size() - 4), front.end(), std::byte{0});
    } else {
      front.insert(front.end(), options.begin(), options.end());
      const std::size_t at = header_at + kFixedHeader + static_cast<std::size_t>(ao->data() - options.data());
      std::fill_n(front.begin() + static_cast<std::ptrdiff_t>(at + 4), ao->size() - 4, std::byte{0});
    }
  }
  const bool sha1 = key.algorithm == MacAlgorithm::hmac_sha1;
  Hasher hasher(key.algorithm, Bytes{with}.first(sha1 ? with.size() : kCmacKeyLen));
  hasher.add(front);
  hasher.add(segment.payload);
  const auto made = hasher.finish();
  if (!made) return std::nullopt;
  Mac out{};
  std::copy_n(made->begin(), out.size(), out.begin());
  return out;
}

bool same_mac(Bytes a, Bytes b) { return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0; }

}  // namespace iopkt::tcp
