#include "tcp/accecn.hpp"

#include <algorithm>
#include <bit>

namespace iopkt::tcp {

namespace {

constexpr std::uint16_t kAsked = wire::ae | wire::cwr | wire::ece;
constexpr std::uint16_t kClassicSyn = wire::cwr | wire::ece;
constexpr std::uint32_t kCycle = 8;  // DIVACE
constexpr std::uint8_t kNotEct = 0, kEct1 = 1, kEct0 = 2, kCe = 3;

/// A field of an option against the counter that it echoes.
std::uint32_t decode_bytes(std::uint32_t field, std::uint32_t counter) { return (field - counter) & wire::AccEcnOption::kMask; }

}  // namespace

// ---- the handshake ----------------------------------------------------------------------------------------------------

EcnMode ecn_granted(std::uint32_t enable, std::uint16_t syn_flags) {
  const std::uint16_t asked = syn_flags & kAsked;
  if (enable == 0 || asked == 0) return EcnMode::none;
  // Section 3.1.3: what is neither of the three known is for the future, and asks for this.
  if (enable >= 3) return asked == kClassicSyn ? EcnMode::classic : EcnMode::accurate;
  return (asked & kClassicSyn) == kClassicSyn ? EcnMode::classic : EcnMode::none;
}

EcnMode ecn_of_answer(std::uint16_t flags) {
  switch (flags & kAsked) {
    case 0:
    case kAsked:  // a peer that reflects what it does not know
      return EcnMode::none;
    case wire::ece:
      return EcnMode::classic;
    default:
      return EcnMode::accurate;
  }
}

std::uint16_t handshake_flags(std::uint8_t ip_ecn) {
  switch (ip_ecn & 3) {
    case kNotEct: return wire::cwr;
    case kEct1: return wire::cwr | wire::ece;
    case kEct0: return wire::ae;
    default: return wire::ae | wire::cwr;
  }
}

std::optional<std::uint8_t> handshake_ecn(std::uint16_t flags) {
  for (const std::uint8_t field : {kNotEct, kEct1, kEct0, kCe})
    if (handshake_flags(field) == (flags & kAsked)) return field;
  return std::nullopt;
}

// ---- the receiver -----------------------------------------------------------------------------------------------------

bool AccEcn::on_packets(const SegmentIn& seg, bool waiting) {
  const bool ce = seg.ecn == kCe, after_other = !last_was_ce;
  last_was_ce = ce;
  const auto count = [&](std::uint32_t& counter, Field field) {
    if (seg.payload_len == 0) return;
    counter += seg.payload_len;
    moved |= field;
    unsaid |= field;
  };
  if (seg.ecn == kEct0) count(r_e0b, e0b);
  if (seg.ecn == kEct1) count(r_e1b, e1b);
  if (!ce) return false;
  count(r_ceb, ceb);
  r_cep += seg.packets;
  marks_unsaid = static_cast<std::uint8_t>(std::min<std::uint32_t>(marks_unsaid + seg.packets, 255));
  return (seg.payload_len > 0 && after_other) || marks_unsaid >= (waiting ? 2 : 3);
}

void AccEcn::on_syn_ack(std::uint8_t ip_ecn) {
  syn_ecn = ip_ecn;
  handshake_due = true;
  if (ip_ecn != kCe || r_counted_syn_ack) return;
  r_counted_syn_ack = true;
  ++r_cep;
}

/// The shortest with these fields.
wire::AccEcnOption AccEcn::option_with(std::uint8_t fields) const {
  wire::AccEcnOption o;
  // Without either, or with both, the order is free.
  o.order1 = (fields & e0b) == 0 && ((fields & e1b) != 0 || (moved & (e0b | e1b)) == e1b);
  o.fields = (fields & (e0b | e1b)) == (e0b | e1b) ? 3 : (fields & ceb) != 0 ? 2 : 1;
  if (o.has_e0b()) o.e0b = r_e0b & wire::AccEcnOption::kMask;
  if (o.has_ceb()) o.ceb = r_ceb & wire::AccEcnOption::kMask;
  if (o.has_e1b()) o.e1b = r_e1b & wire::AccEcnOption::kMask;
  return o;
}

wire::AccEcnOption AccEcn::whole_option() const { return option_with(e0b | ceb | e1b); }

std::optional<wire::AccEcnOption> AccEcn::option(std::uint32_t room, bool data) const {
  if (!says_options) return std::nullopt;
  if (handshake_due || (data && first_data == FirstData::due)) {
    const wire::AccEcnOption whole = whole_option();
    if (encoded_len(whole) <= room) return whole;
  }
  // Acknowledgments alone repeat it, as the one before may have been lost.
  if (moved == 0 || (data && unsaid == 0)) return std::nullopt;
  // All that ever counted; where that is too much, what is new.
  for (const std::uint8_t fields : {moved, unsaid}) {
    if (fields == 0) break;
    const wire::AccEcnOption o = option_with(fields);
    if (encoded_len(o) <= room) return o;
  }
  return std::nullopt;
}

void AccEcn::on_sent(const std::optional<wire::AccEcnOption>& said, bool data) {
  marks_unsaid = 0;
  handshake_due = false;
  if (data && first_data == FirstData::due) first_data = said ? FirstData::sent : FirstData::other;
  if (said) unsaid = 0;
}

// ---- the sender -------------------------------------------------------------------------------------------------------

bool AccEcn::on_handshake_echo(std::uint8_t ip_ecn) {
  if (ip_ecn != kNotEct) sends_ect = false;
  return ip_ecn == kCe;
}

bool AccEcn::on_last_ack(std::uint16_t flags) {
  if ((flags & kAsked) == 0) {
    // Note 1: the client is in another mode, or something on the path clears the flags.
    sends_ect = heeds = false;
    return false;
  }
  const auto field = handshake_ecn(flags);
  if (!field) return false;
  if (*field == kCe) ++s_cep;
  return on_handshake_echo(*field);
}

/// Answers how many more bytes are marked; nullopt: the option does not say.
std::optional<std::uint32_t> AccEcn::take_option(const wire::AccEcnOption& o) {
  if (heard == Heard::zeroed) return std::nullopt;
  if (heard == Heard::none && o.fields > 0) {
    // Section 3.2.3.2.4: no counter begins with zero, so something on the path has cleared them.
    heard = (o.has_e0b() && o.e0b == 0) || (o.has_e1b() && o.e1b == 0) ? Heard::zeroed : Heard::yes;
    if (heard == Heard::zeroed) return std::nullopt;
  }
  if (o.has_e0b()) s_e0b += decode_bytes(o.e0b, s_e0b);
  if (o.has_e1b()) s_e1b += decode_bytes(o.e1b, s_e1b);
  // A field that is left out did not change (section 3.2.3.3); of an empty option nothing is known.
  if (!o.has_ceb()) return o.fields > 0 ? std::optional{0u} : std::nullopt;
  const std::uint32_t more = decode_bytes(o.ceb, s_ceb);
  s_ceb += more;
  return more;
}

std::uint32_t decode_ace(std::uint8_t ace, std::uint32_t counter, std::uint32_t acked, std::optional<std::uint32_t> ce_bytes,
                         std::uint32_t mss, bool marks_of_late) {
  const std::uint32_t least = (ace - counter) % kCycle;
  if (acked <= least) return least;  // "the Data Sender SHOULD consider the ACE counter to be correct"
  const std::uint32_t most = acked - (acked - least) % kCycle;
  if (!ce_bytes) return marks_of_late ? most : least;
  // The fewest that can have so many bytes.
  std::uint32_t marks = least;
  while (marks < most && *ce_bytes > std::uint64_t{marks} * mss) marks += kCycle;
  return marks;
}

AccEcn::Echo AccEcn::on_ack(const SegmentIn& seg, std::uint32_t acked, std::uint32_t mss, bool marks_of_late) {
  constexpr std::uint8_t kOddMost = 3;
  const std::optional<std::uint32_t> ce_bytes = seg.options.accecn ? take_option(*seg.options.accecn) : std::nullopt;
  const std::uint8_t ace = wire::ace_of(seg.flags);
  const bool bytes = ce_bytes.value_or(0) > 0;
  // Section 3.2.2.4: it does not begin with zero, nor do so few packets bring it there.
  if (!fed_back && ace == 0 && acked < kCycle - 5 && !bytes) sends_ect = heeds = false;
  fed_back = true;
  if (!heeds) return {};
  const bool told = ((ace - s_cep) % kCycle) != 0 || bytes;
  const std::uint32_t more = decode_ace(ace, s_cep, acked, ce_bytes, mss, marks_of_late);
  s_cep += more;
  // Section 3.2.3.2.5. Once is no proof: segments may be short, and an option may have come late for want of room.
  if (more > 0) odd_echoes = 0;
  else if (bytes && ++odd_echoes >= kOddMost) sends_ect = heeds = false;
  return {.marks = more, .congestion = more > 0 || bytes, .told = told};
}

}  // namespace iopkt::tcp
