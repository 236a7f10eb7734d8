#include "tcp/delivery_rate.hpp"

#include <algorithm>

#include "tcp/sent_log.hpp"

namespace iopkt::tcp {

void RateSampler::on_delivered(DeliveryRate& c, const Sent& p, const TransmitState& note, bool certain, Instant now) {
  c.delivered += static_cast<std::uint64_t>(p.length());
  c.delivered_time = now;
  rs_.newly_acked += static_cast<std::uint32_t>(p.length());
  if (!certain || !note.known || (rs_.has_data && p.order <= newest_)) return;
  newest_ = p.order;
  rs_.has_data = true;
  rs_.prior_delivered = c.delivered - static_cast<std::uint32_t>(static_cast<std::uint32_t>(c.delivered) - note.delivered);
  rs_.lost = static_cast<std::uint32_t>(static_cast<std::uint32_t>(c.lost) - note.lost);
  rs_.tx_in_flight = note.tx_in_flight;
  rs_.is_app_limited = note.app_limited;
  send_elapsed_ = p.at - note.first_send_time;
  ack_elapsed_ = now - note.delivered_time;
  c.first_send_time = p.at;
}

RateSample RateSampler::finish(DeliveryRate& c, Duration min_rtt) const {
  // The bubble is acknowledged and gone.
  if (c.app_limited != 0 && c.delivered > c.app_limited) c.app_limited = 0;
  RateSample rs = rs_;
  rs.total_delivered = c.delivered;
  if (!rs.has_data) return rs;
  rs.interval = std::max(send_elapsed_, ack_elapsed_);
  rs.delivered = c.delivered - rs.prior_delivered;
  if (rs.interval < min_rtt || rs.interval.count() <= 0) return rs;
  __extension__ using Wide = unsigned __int128;
  rs.delivery_rate = static_cast<std::uint64_t>(Wide{rs.delivered} * 1'000'000'000u / static_cast<std::uint64_t>(rs.interval.count()));
  return rs;
}

}  // namespace iopkt::tcp
