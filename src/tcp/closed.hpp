// CLOSED: the answer to a segment that belongs to no connection. RFC 9293 section 3.10.7.1.
#pragma once

#include <optional>

#include "tcp/segment.hpp"

namespace iopkt::tcp {

/// nullopt: a RST is never answered. Otherwise the RST that stops the sender.
std::optional<SegmentOut> on_segment_in_closed(const SegmentIn& seg);

}  // namespace iopkt::tcp
