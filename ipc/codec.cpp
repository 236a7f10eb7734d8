// Frames of the control connection: taking apart, putting together. No lengths are believed before they are checked.
#include <algorithm>
#include <cstring>

#include "ipc/messages.hpp"

namespace iopkt::ipc {

namespace {
constexpr MessageRow kRows[] = {
#define IOPKT_ROW(number, name, Req, Ans, request_blob, answer_blob, request_fds, answer_fds)                     \
  MessageRow{MessageId::name, #name, fixed_size<Req>(), fixed_size<Ans>(), BlobKind::request_blob,                \
             BlobKind::answer_blob, request_fds, answer_fds},
    IOPKT_IPC_MESSAGES(IOPKT_ROW)
#undef IOPKT_ROW
};
constexpr bool rows_are_in_order() {
  for (std::size_t i = 0; i < std::size(kRows); ++i) {
    if (static_cast<std::size_t>(kRows[i].id) != i + 1) return false;
  }
  return true;
}
static_assert(rows_are_in_order(), "a row's number is its place");
static_assert(std::all_of(std::begin(kRows), std::end(kRows), [](const MessageRow& r) {
  return r.request_fds <= kMessageFdsMax && r.answer_fds <= kMessageFdsMax && r.request_size <= 1024;
}));

constexpr std::uint16_t kFlagsKnown = kAnswer | kMore | kContinuation;
constexpr std::uint32_t kErrnoMax = 4095;

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
bool has_nul(std::string_view text) { return text.find('\0') != std::string_view::npos; }

/// Everything of a header that can be judged with its row alone; both for what was received and for what is to be sent.
FrameError check(const FrameHeader& h, const MessageRow& row, std::size_t fds, bool& good) {
  good = false;
  const bool answer = (h.flags & kAnswer) != 0, continued = (h.flags & kContinuation) != 0;
  if ((h.flags & ~kFlagsKnown) != 0 || h.reserved != 0) return FrameError::bad_flags;
  if (!answer && (h.error != 0 || h.line_len != 0)) return FrameError::unexpected_error;
  if (h.error > kErrnoMax || h.line_len > kLineMax) return FrameError::unexpected_error;
  const std::size_t fixed = continued || h.error != 0 ? 0 : answer ? row.answer_size : row.request_size;
  if (h.fixed_len != fixed) return FrameError::bad_fixed;
  const BlobKind kind = answer ? row.answer_blob : row.request_blob;
  if (kind == BlobKind::none && h.blob_len != 0) return FrameError::unexpected_blob;
  const std::size_t fds_max = continued || h.error != 0 ? 0 : answer ? row.answer_fds : row.request_fds;
  if (fds > fds_max) return FrameError::too_many_fds;
  good = true;
  return {};
}
}  // namespace

std::span<const MessageRow> message_rows() { return kRows; }

const MessageRow* message_row(std::uint16_t id) {
  return id >= 1 && id <= std::size(kRows) ? &kRows[id - 1] : nullptr;
}

std::string_view to_string(FrameError error) {
  switch (error) {
    case FrameError::truncated: return "truncated";
    case FrameError::bad_magic: return "bad_magic";
    case FrameError::unknown_message: return "unknown_message";
    case FrameError::bad_flags: return "bad_flags";
    case FrameError::bad_length: return "bad_length";
    case FrameError::bad_fixed: return "bad_fixed";
    case FrameError::unexpected_blob: return "unexpected_blob";
    case FrameError::bad_text: return "bad_text";
    case FrameError::unexpected_error: return "unexpected_error";
    case FrameError::too_many_fds: return "too_many_fds";
  }
  return "?";
}

Expected<Frame, FrameError> decode_frame(std::span<const std::byte> message, std::size_t fds) {
  Frame frame;
  if (message.size() < sizeof(FrameHeader)) return unexpected(FrameError::truncated);
  std::memcpy(&frame.header, message.data(), sizeof(FrameHeader));
  const FrameHeader& h = frame.header;
  if (h.magic != FrameHeader::kMagic) return unexpected(FrameError::bad_magic);
  frame.row = message_row(h.id);
  if (frame.row == nullptr) return unexpected(FrameError::unknown_message);
  bool good = false;
  const FrameError error = check(h, *frame.row, fds, good);
  if (!good) return unexpected(error);
  // 64-bit sums: three 32-bit lengths cannot wrap.
  const std::uint64_t sum = std::uint64_t{sizeof(FrameHeader)} + h.fixed_len + h.blob_len + h.line_len;
  if (sum != message.size()) return unexpected(FrameError::bad_length);
  frame.fixed = message.subspan(sizeof(FrameHeader), h.fixed_len);
  frame.blob = message.subspan(sizeof(FrameHeader) + h.fixed_len, h.blob_len);
  frame.line = as_text(message.last(h.line_len));
  const BlobKind kind = frame.answer() ? frame.row->answer_blob : frame.row->request_blob;
  if (has_nul(frame.line) || (kind == BlobKind::text && has_nul(as_text(frame.blob)))) {
    return unexpected(FrameError::bad_text);
  }
  return frame;
}

std::size_t encode_frame(std::span<std::byte> out, FrameHeader header, std::span<const std::byte> fixed,
                         std::span<const std::byte> blob, std::string_view line) {
  const MessageRow* row = message_row(header.id);
  const std::size_t sum = sizeof header + fixed.size() + blob.size() + line.size();
  if (row == nullptr || blob.size() > kMessageMax || sum > out.size() || sum > kMessageMax) return 0;
  header.fixed_len = static_cast<std::uint32_t>(fixed.size());
  header.blob_len = static_cast<std::uint32_t>(blob.size());
  header.line_len = static_cast<std::uint32_t>(line.size());
  bool good = false;
  check(header, *row, 0, good);
  if (!good) return 0;
  std::byte* at = out.data();
  const auto put = [&at](const void* from, std::size_t n) {
    if (n > 0) std::memcpy(at, from, n);
    at += n;
  };
  put(&header, sizeof header);
  put(fixed.data(), fixed.size());
  put(blob.data(), blob.size());
  put(line.data(), line.size());
  return sum;
}

std::size_t encode_refusal(std::span<std::byte> out, MessageId id, std::uint32_t number, int error,
                           std::string_view line) {
  return encode_frame(out,
                      {.id = static_cast<std::uint16_t>(id),
                       .flags = kAnswer,
                       .number = number,
                       .error = static_cast<std::uint32_t>(error)},
                      {}, {}, line.substr(0, kLineMax));
}

}  // namespace iopkt::ipc
