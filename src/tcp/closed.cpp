#include "tcp/closed.hpp"

namespace iopkt::tcp {

std::optional<SegmentOut> on_segment_in_closed(const SegmentIn& seg) {
  // "An incoming segment containing a RST is discarded."
  if (seg.has(wire::rst)) return std::nullopt;
  SegmentOut out;
  if (seg.has(wire::ack)) {
    // <SEQ=SEG.ACK><CTL=RST>
    out.seq = seg.ack;
    out.flags = wire::rst;
  } else {
    // <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>
    out.ack = seg.seq + seg.length();
    out.flags = wire::rst | wire::ack;
  }
  return out;
}

}  // namespace iopkt::tcp
