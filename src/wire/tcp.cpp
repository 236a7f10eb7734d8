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
  timestamps = 8
};

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

/// Bytes of all options but SACK, a multiple of 4.
std::size_t fixed_options_len(const TcpOptions& o) {
  std::size_t len = 0;
  if (o.mss) len += 4;
  if (o.timestamps) len += 12;  // with two bytes before it: SACK-permitted, or NOP NOP
  if (o.sack_permitted && !o.timestamps) len += 4;
  if (o.window_scale) len += 4;
  return len;
}

std::size_t sack_blocks_that_fit(const TcpOptions& o) {
  constexpr std::size_t kMaxOptionsLen = TcpView::kMaxHeaderLen - TcpView::kMinHeaderLen;
  IOPKT_ASSERT(o.sack_count <= o.sack.size());
  const std::size_t left = kMaxOptionsLen - fixed_options_len(o);
  return left < 12 ? 0 : std::min<std::size_t>(o.sack_count, (left - 4) / 8);
}

/// Writes options one after the other.
class Writer {
 public:
  Writer(MutableBytes out, std::size_t at) : out_(out), at_(at) {}
  void u8(std::uint8_t v) { store_u8(out_, at_, v), at_ += 1; }
  void u16(std::uint16_t v) { store_be16(out_, at_, v), at_ += 2; }
  void u32(std::uint32_t v) { store_be32(out_, at_, v), at_ += 4; }
  void nops(int n) {
    while (n-- > 0) u8(Kind::nop);
  }
  std::size_t at() const { return at_; }

 private:
  MutableBytes out_;
  std::size_t at_;
};

void write_options(const TcpOptions& o, std::size_t sack_blocks, Writer& out) {
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

std::size_t encoded_len(const TcpHeader& h) {
  const std::size_t sack_blocks = sack_blocks_that_fit(h.options);
  return TcpView::kMinHeaderLen + fixed_options_len(h.options) + (sack_blocks > 0 ? 4 + 8 * sack_blocks : 0);
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
  store_u8(out, At::data_offset, static_cast<std::uint8_t>(len / 4 << 4));
  store_u8(out, At::flags, h.flags);
  store_be16(out, At::window, h.window);
  store_be16(out, At::checksum, 0);
  store_be16(out, At::urgent, h.urgent);
  Writer writer{out, TcpView::kMinHeaderLen};
  write_options(h.options, sack_blocks, writer);
  IOPKT_ASSERT(writer.at() == len);
  return len;
}

}  // namespace iopkt::wire
