// TCP Fast Open on both sides: whose cookie is good, how many may wait, and what is learned of servers. RFC 7413.
#include "stack/ways.hpp"

namespace iopkt::stack {

namespace {

/// The listener's keys, newest first: TCP_FASTOPEN_KEY, else the stack's own.
std::pair<HashKey, std::optional<HashKey>> keys_of(const ShardState& s, const socket::SocketOptions& options) {
  const Bytes own = as_bytes(options.fastopen_key.data(), options.fastopen_key.size());
  if (own.empty()) return {tcp::default_fast_open_key(s.key()), std::nullopt};
  std::optional<HashKey> older;
  if (own.size() > tcp::kFastOpenKeyLen) older = tcp::fast_open_key(own.subspan(tcp::kFastOpenKeyLen));
  return {tcp::fast_open_key(own), older};
}

}  // namespace

void prepare_fast_open(const ShardState& s, const FlowKey& flow, tcp::OpenConfig& config) {
  const auto known = s.fast_open.find(flow.local.address, flow.remote.address, s.now);
  if (known.paused) return;
  config.fast_open = known.cookie;
  config.fast_open_mss = known.mss;
  config.hold_syn = known.cookie.size != 0;
}

wire::FastOpenCookie fast_open_cookie(const ShardState& s, const socket::SocketOptions& options, const FlowKey& flow) {
  return tcp::fast_open_cookie(keys_of(s, options).first, flow.local.address, flow.remote.address);
}

FastOpenWish judge_fast_open(ShardState& s, Listener& listener, const socket::SocketOptions& options, const FlowKey& flow,
                             const tcp::SegmentIn& syn) {
  if (s.settings.tcp.fastopen_server == 0 || options.fastopen <= 0 || !syn.options.fast_open || options.keys) return {};
  const wire::FastOpenCookie& shown = *syn.options.fast_open;
  const auto [newest, older] = keys_of(s, options);
  const wire::FastOpenCookie current = tcp::fast_open_cookie(newest, flow.local.address, flow.remote.address);
  if (shown.size == 0) {
    ++s.counters.tcp.fast_open_cookies;
    return {.give = current};
  }
  const bool good = shown == current;
  const bool aged = !good && older && shown == tcp::fast_open_cookie(*older, flow.local.address, flow.remote.address);
  if (!good && !aged) {
    ++s.counters.tcp.fast_open_bad;
    return {.give = current};
  }
  FastOpenWish wish;
  if (aged) wish.give = current;
  wish.open = listener.fast_open_pending < static_cast<std::uint32_t>(options.fastopen);
  if (!wish.open) ++s.counters.tcp.fast_open_overflow;
  return wish;
}

void leave_fast_open_queue(Socket& k) {
  if (!k.fast_open_parent) return;
  --k.fast_open_parent->fast_open_pending;
  k.fast_open_parent.reset();
}

void learn_fast_open(ShardState& s, const Socket& k, const tcp::SegmentIn& syn_ack) {
  if (!k.tcp->fast_open_offered()) return;
  const bool lost = k.tcp->fast_open_lost();
  const auto& given = syn_ack.options.fast_open;
  if (!lost && (!given || given->size == 0)) return;
  const message::FastOpenNews news{.local = k.local.address,
                                   .server = k.remote.address,
                                   .cookie = lost ? wire::FastOpenCookie{} : *given,
                                   .mss = syn_ack.options.mss.value_or(536),
                                   .lost = lost};
  if (lost) ++s.counters.tcp.fast_open_paused;
  take_fast_open_news(s, news);
  send_to_all_others(s, [&] { return Message{news}; });
}

void take_fast_open_news(ShardState& s, const message::FastOpenNews& news) {
  if (news.lost) s.fast_open.lost(news.local, news.server, tcp::seconds(s.settings.tcp.fastopen_pause_s), s.now);
  else s.fast_open.learn(news.local, news.server, news.cookie, news.mss);
}

}  // namespace iopkt::stack
