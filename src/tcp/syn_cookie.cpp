#include "tcp/syn_cookie.hpp"

#include <algorithm>
#include <array>

#include "base/bytes.hpp"

namespace iopkt::tcp {

namespace {

constexpr std::int64_t kUnitMs = 64'000;
constexpr std::uint32_t kTimeMask = 31, kHashMask = 0xffffff;
/// What peers name most: the least, the default, dial-up and tunnels, IPv6's and IPv4's Ethernet, jumbo frames, loopback.
constexpr std::array<std::uint16_t, 8> kMss{64, 536, 1220, 1380, 1440, 1460, 8940, 65483};
constexpr std::uint32_t kOptionBits = 6, kOptionMask = (1u << kOptionBits) - 1, kNoScale = 15, kSack = 1u << 4, kEcn = 1u << 5;

std::uint32_t hash_of(HashKey secret, const wire::Endpoint& local, const wire::Endpoint& remote, SeqNum irs, std::uint32_t top) {
  std::array<std::byte, 3 * 4 + 2 * (4 + 16)> bytes{};
  std::size_t at = 0;
  const auto put = [&](std::uint32_t word) {
    store_be32(bytes, at, word);
    at += 4;
  };
  put(irs.value);
  put(top);
  put(std::uint32_t{local.port.value} << 16 | remote.port.value);
  for (const wire::Endpoint* e : {&local, &remote}) {
    put(static_cast<std::uint32_t>(e->address.family()));
    for (const std::uint32_t word : e->address.words()) put(word);
  }
  // Another key than that of ISNs and tables, so that a cookie tells nothing of them.
  return static_cast<std::uint32_t>(siphash24({secret.k0 ^ 0x73796e636f6f6b69u, secret.k1}, bytes)) & kHashMask;
}

std::uint32_t unit_of(Instant now) { return static_cast<std::uint32_t>(now.milliseconds() / kUnitMs); }

SeqNum cookie_of(HashKey secret, const wire::Endpoint& local, const wire::Endpoint& remote, SeqNum irs, std::uint32_t index,
                 std::uint32_t unit) {
  // The hash covers the whole unit: a cookie of 32 units ago is none.
  const std::uint32_t hash = hash_of(secret, local, remote, irs, unit << 3 | index);
  return {(unit & kTimeMask) << 27 | index << 24 | hash};
}

}  // namespace

SeqNum syn_cookie(HashKey secret, const wire::Endpoint& local, const wire::Endpoint& remote, SeqNum irs, std::uint16_t peer_mss,
                  Instant now) {
  std::uint32_t index = kMss.size() - 1;
  while (index > 0 && kMss[index] > peer_mss) --index;
  return cookie_of(secret, local, remote, irs, index, unit_of(now));
}

std::optional<std::uint16_t> mss_of_cookie(HashKey secret, const wire::Endpoint& local, const wire::Endpoint& remote, SeqNum irs,
                                           SeqNum cookie, Instant now) {
  const std::uint32_t index = cookie.value >> 24 & 7;
  for (const std::uint32_t age : {0u, 1u})
    if (cookie_of(secret, local, remote, irs, index, unit_of(now) - age) == cookie) return kMss[index];
  return std::nullopt;
}

SegmentOut cookie_syn_ack(const HalfOpen& child, Instant now) {
  SegmentOut out = syn_ack(child, now);
  if (!child.timestamps) {
    // Nothing would remember what these agree to.
    if (child.ecn == EcnMode::classic) out.flags = static_cast<std::uint16_t>(out.flags & ~wire::ece);
    out.options.window_scale.reset();
    out.options.sack_permitted = false;
    return out;
  }
  const std::uint32_t scale = child.window_scaling ? child.snd_scale : kNoScale;
  const std::uint32_t kept = scale | (child.sack ? kSack : 0) | (child.ecn == EcnMode::classic ? kEcn : 0);
  const auto clock = static_cast<std::uint32_t>(now.milliseconds());
  std::uint32_t value = (clock & ~kOptionMask) | kept;
  if (value > clock) value -= kOptionMask + 1;  // never ahead of the clock that the connection goes on with
  out.options.timestamps->value = value + child.timestamp_offset;
  return out;
}

std::optional<HalfOpen> child_of_cookie(const Context& context, HashKey secret, const OpenConfig& config, const wire::Endpoint& local,
                                        const wire::Endpoint& remote, const SegmentIn& ack, Instant now) {
  if (!ack.has(wire::ack) || ack.has(wire::syn) || ack.has(wire::rst)) return std::nullopt;
  const SeqNum irs = ack.seq - 1;
  const auto mss = mss_of_cookie(secret, local, remote, irs, ack.ack - 1, now);
  if (!mss) return std::nullopt;
  // The SYN as it was, as far as it is known: then the rest is what a listener makes of any.
  wire::TcpOptions options;
  std::uint16_t flags = wire::syn;
  options.mss = *mss;
  if (ack.options.timestamps) {
    const std::uint32_t kept = ack.options.timestamps->echo - config.timestamp_offset;
    options.timestamps = wire::TcpTimestamps{ack.options.timestamps->value, 0};
    if ((kept & kNoScale) != kNoScale) options.window_scale = static_cast<std::uint8_t>(kept & kNoScale);
    options.sack_permitted = (kept & kSack) != 0;
    if ((kept & kEcn) != 0) flags |= wire::ece | wire::cwr;
  }
  // RFC 9768 section 5.1: of AccECN the ACK speaks; 0 and 1 are of clients that did not ask.
  const bool accurate = context.tunables->ecn_enable >= 3 && flags == wire::syn && wire::ace_of(ack.flags) > 1;
  if (accurate) flags |= wire::ae | wire::cwr | wire::ece;
  const SegmentIn syn{.seq = irs, .flags = flags, .window = ack.window, .options = options};
  HalfOpen child = half_open_of(context, config, syn, ack.ack - 1, now);
  child.untimed = true;
  return child;
}

}  // namespace iopkt::tcp
