#include "wire/tcp.hpp"

#include <algorithm>

namespace iopkt::wire {
namespace {

enum Kind : std::uint8_t {
  end = 0,
  nop = 1,
  mss = 2,
  window_scale = 3,
  sack_permitted = 4,
  sack = 5,
  timestamps = 8,
  md5 = 19,
  ao = 29,
  fast_open = 34,
  accecn0 = 172,
  accecn1 = 174
};

constexpr std::size_t kMaxOptionsLen = TcpView::kMaxHeaderLen - TcpView::kMinHeaderLen;

/// A MAC of `from`, which may be longer than what is kept.
void read_signature(TcpSignature::Kind kind, Bytes from, std::uint8_t key_id, std::uint8_t next_key_id, TcpOptions& out) {
  const bool twice = out.signature.kind != TcpSignature::Kind::none;
  out.signature = {.kind = kind, .key_id = key_id, .next_key_id = next_key_id, .length = static_cast<std::uint8_t>(from.size()), .twice = twice};
  std::copy_n(from.begin(), std::min(from.size(), out.signature.mac.size()), out.signature.mac.begin());
}

/// RFC 9768 section 3.2.3: "the whole 3-octet fields that fit within the length", in one order or the other.
void read_accecn(Bytes bytes, bool order1, TcpOptions& out) {
  const std::size_t fields = std::min<std::size_t>((bytes.size() - 2) / 3, 3);
  AccEcnOption o{.order1 = order1, .fields = static_cast<std::uint8_t>(fields)};
  std::uint32_t* const places[] = {order1 ? &o.e1b : &o.e0b, &o.ceb, order1 ? &o.e0b : &o.e1b};
  for (std::size_t i = 0; i < fields; ++i)
    *places[i] = std::uint32_t{load_u8(bytes, 2 + 3 * i)} << 16 | load_be16(bytes, 3 + 3 * i);
  out.accecn = o;
}

/// One option by its kind; `bytes` is the whole option, 2 bytes or more. Another length than the kind's:
/// skipped.
void read_option(Bytes bytes, TcpOptions& out) {
  switch (load_u8(bytes, 0)) {
    case Kind::mss:
      if (bytes.size() == 4) out.mss = load_be16(bytes, 2);
      break;
    case Kind::window_scale:
      if (bytes.size() == 3) out.window_scale = load_u8(bytes, 2);
      break;
    case Kind::sack_permitted:
      if (bytes.size() == 2) out.sack_permitted = true;
      break;
    case Kind::timestamps:
      if (bytes.size() == 10) out.timestamps = TcpTimestamps{load_be32(bytes, 2), load_be32(bytes, 6)};
      break;
    case Kind::sack: {
      const std::size_t count = (bytes.size() - 2) / 8;
      if (bytes.size() != 2 + 8 * count || count == 0) break;
      IOPKT_ASSERT(count <= out.sack.size());  // 40 bytes of options hold no more
      out.sack = {};
      out.sack_count = static_cast<std::uint8_t>(count);
      for (std::size_t i = 0; i < count; ++i)
        out.sack[i] = {SeqNum{load_be32(bytes, 2 + 8 * i)}, SeqNum{load_be32(bytes, 6 + 8 * i)}};
      break;
    }
    case Kind::fast_open: {
      const std::size_t size = bytes.size() - 2;
      if (size != 0 && (size < FastOpenCookie::kMin || size > FastOpenCookie::kMax || size % 2 != 0)) break;
      out.fast_open = FastOpenCookie{.size = static_cast<std::uint8_t>(size)};
      std::copy_n(bytes.begin() + 2, size, out.fast_open->bytes.begin());
      break;
    }
    case Kind::accecn0:
    case Kind::accecn1:
      read_accecn(bytes, load_u8(bytes, 0) == Kind::accecn1, out);
      break;
    case Kind::md5:
      if (bytes.size() == 18) read_signature(TcpSignature::Kind::md5, bytes.subspan(2), 0, 0, out);
      break;
    case Kind::ao:
      if (bytes.size() >= 4) read_signature(TcpSignature::Kind::ao, bytes.subspan(4), load_u8(bytes, 2), load_u8(bytes, 3), out);
      break;
    default:
      break;
  }
}

TcpOptions read_options(Bytes bytes) {
  TcpOptions out;
  std::size_t at = 0;
  while (at < bytes.size()) {
    const std::uint8_t kind = load_u8(bytes, at);
    if (kind == Kind::end) break;
    if (kind == Kind::nop) {
      ++at;
      continue;
    }
    if (at + 1 == bytes.size()) break;
    const std::size_t len = load_u8(bytes, at + 1);
    if (len < 2 || len > bytes.size() - at) break;  // RFC 9293 section 3.1, MUST-7
    read_option(bytes.subspan(at, len), out);
    at += len;
  }
  return out;
}

/// Of a MAC that was longer only the beginning is known.
std::size_t mac_len(const TcpSignature& s) { return std::min<std::size_t>(s.length, s.mac.size()); }

/// Bytes of all options but SACK and the cookie, a multiple of 4.
std::size_t fixed_options_len(const TcpOptions& o) {
  std::size_t len = encoded_len(o.signature);
  if (o.mss) len += 4;
  if (o.timestamps) len += 12;  // with two bytes before it: SACK-permitted, or NOP NOP
  if (o.sack_permitted && !o.timestamps) len += 4;
  if (o.window_scale) len += 4;
  return len;
}

/// 0: there is none, or no room for it.
std::size_t cookie_len(const TcpOptions& o) {
  if (!o.fast_open) return 0;
  const std::size_t len = (2 + std::size_t{o.fast_open->size} + 3) / 4 * 4;
  return len <= kMaxOptionsLen - fixed_options_len(o) ? len : 0;
}

std::size_t sack_blocks_that_fit(const TcpOptions& o) {
  IOPKT_ASSERT(o.sack_count <= o.sack.size());
  const std::size_t left = kMaxOptionsLen - fixed_options_len(o) - cookie_len(o);
  return left < 12 ? 0 : std::min<std::size_t>(o.sack_count, (left - 4) / 8);
}

/// 0: there is none, or no room for it.
std::size_t accecn_len(const TcpOptions& o, std::size_t sack_blocks) {
  if (!o.accecn) return 0;
  const std::size_t others = fixed_options_len(o) + cookie_len(o) + (sack_blocks > 0 ? 4 + 8 * sack_blocks : 0);
  const std::size_t len = encoded_len(*o.accecn);
  return len <= kMaxOptionsLen - others ? len : 0;
}

/// Writes options one after the other.
class Writer {
 public:
  Writer(MutableBytes out, std::size_t at) : out_(out), at_(at) {}
  void u8(std::uint8_t v) { store_u8(out_, at_, v), at_ += 1; }
  void u16(std::uint16_t v) { store_be16(out_, at_, v), at_ += 2; }
  void u32(std::uint32_t v) { store_be32(out_, at_, v), at_ += 4; }
  void bytes(Bytes from) {
    std::copy(from.begin(), from.end(), out_.begin() + static_cast<std::ptrdiff_t>(at_));
    at_ += from.size();
  }
  void nops(int n) {
    while (n-- > 0) u8(Kind::nop);
  }
  std::size_t at() const { return at_; }

 private:
  MutableBytes out_;
  std::size_t at_;
};

void write_signature(const TcpSignature& s, Writer& out) {
  if (s.kind == TcpSignature::Kind::none) return;
  const std::size_t length = mac_len(s);
  // In both cases the MAC begins at kSignatureOffset.
  if (s.kind == TcpSignature::Kind::md5) out.nops(2);
  out.u8(static_cast<std::uint8_t>(s.kind)), out.u8(static_cast<std::uint8_t>(length + (s.kind == TcpSignature::Kind::md5 ? 2 : 4)));
  if (s.kind == TcpSignature::Kind::ao) out.u8(s.key_id), out.u8(s.next_key_id);
  out.bytes(Bytes{s.mac}.first(length));
  while (out.at() % 4 != 0) out.nops(1);
}

void write_accecn(const AccEcnOption& o, Writer& out) {
  out.u8(o.order1 ? Kind::accecn1 : Kind::accecn0), out.u8(static_cast<std::uint8_t>(2 + 3 * o.fields));
  const std::uint32_t values[] = {o.order1 ? o.e1b : o.e0b, o.ceb, o.order1 ? o.e0b : o.e1b};
  for (std::size_t i = 0; i < o.fields; ++i)
    out.u8(static_cast<std::uint8_t>(values[i] >> 16)), out.u16(static_cast<std::uint16_t>(values[i]));
  while (out.at() % 4 != 0) out.nops(1);
}

void write_options(const TcpOptions& o, std::size_t sack_blocks, Writer& out) {
  write_signature(o.signature, out);
  if (o.mss) {
    out.u8(Kind::mss), out.u8(4);
    out.u16(*o.mss);
  }
  if (o.sack_permitted) {
    if (!o.timestamps) out.nops(2);
    out.u8(Kind::sack_permitted), out.u8(2);
  }
  if (o.timestamps) {
    if (!o.sack_permitted) out.nops(2);
    out.u8(Kind::timestamps), out.u8(10);
    out.u32(o.timestamps->value);
    out.u32(o.timestamps->echo);
  }
  if (o.window_scale) {
    out.nops(1);
    out.u8(Kind::window_scale), out.u8(3);
    out.u8(*o.window_scale);
  }
  if (const std::size_t len = cookie_len(o); len > 0) {
    out.u8(Kind::fast_open), out.u8(static_cast<std::uint8_t>(2 + o.fast_open->size));
    out.bytes(Bytes{o.fast_open->bytes}.first(o.fast_open->size));
    out.nops(static_cast<int>(len) - 2 - o.fast_open->size);
  }
  if (accecn_len(o, sack_blocks) > 0) write_accecn(*o.accecn, out);
  if (sack_blocks > 0) {
    out.nops(2);
    out.u8(Kind::sack), out.u8(static_cast<std::uint8_t>(2 + 8 * sack_blocks));
    for (std::size_t i = 0; i < sack_blocks; ++i) {
      out.u32(o.sack[i].left.value);
      out.u32(o.sack[i].right.value);
    }
  }
}

}  // namespace

TcpHeader TcpView::header() const {
  TcpHeader h{.src = src(),
              .dst = dst(),
              .seq = seq(),
              .ack = ack(),
              .flags = flags(),
              .window = window(),
              .urgent = urgent(),
              .options = {}};
  if (header_len_ != kMinHeaderLen) h.options = read_options(option_bytes());
  return h;
}

std::size_t encoded_len(const TcpSignature& s) {
  switch (s.kind) {
    case TcpSignature::Kind::none: return 0;
    case TcpSignature::Kind::md5: return 20;
    case TcpSignature::Kind::ao: return (4 + mac_len(s) + 3) / 4 * 4;
  }
  return 0;
}

std::size_t encoded_len(const AccEcnOption& o) { return (2 + 3 * std::size_t{o.fields} + 3) / 4 * 4; }

std::size_t encoded_len(const TcpHeader& h) {
  const std::size_t sack_blocks = sack_blocks_that_fit(h.options);
  return TcpView::kMinHeaderLen + fixed_options_len(h.options) + cookie_len(h.options) + accecn_len(h.options, sack_blocks) +
         (sack_blocks > 0 ? 4 + 8 * sack_blocks : 0);
}

std::size_t encode(const TcpHeader& h, MutableBytes out) {
  using At = TcpView::At;
  const std::size_t sack_blocks = sack_blocks_that_fit(h.options);
  const std::size_t len = encoded_len(h);
  IOPKT_ASSERT(out.size() >= len);
  store_be16(out, At::src, h.src.value);
  store_be16(out, At::dst, h.dst.value);
  store_be32(out, At::seq, h.seq.value);
  store_be32(out, At::ack, h.ack.value);
  store_be16(out, At::data_offset, static_cast<std::uint16_t>(len / 4 << 12 | (h.flags & kTcpFlags)));
  store_be16(out, At::window, h.window);
  store_be16(out, At::checksum, 0);
  store_be16(out, At::urgent, h.urgent);
  Writer writer{out, TcpView::kMinHeaderLen};
  write_options(h.options, sack_blocks, writer);
  IOPKT_ASSERT(writer.at() == len);
  return len;
}

}  // namespace iopkt::wire
