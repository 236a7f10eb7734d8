// Datagram records in both directions; the stack's side copies each header once and believes only the copy.
#include "ipc/datagram_ring.hpp"

#include <algorithm>
#include <cstring>

#include "ipc/ring_copy.hpp"

namespace iopkt::ipc {

namespace {
/// Does the record fit what is there? `available`: bytes between its start and the tail.
bool plausible(const RecordHeader& header, std::size_t available) {
  return header.total_len >= sizeof(RecordHeader) && header.total_len <= available &&
         header.total_len % kRecordAlign == 0 && header.extensions_len <= kExtensionsMax &&
         header.extensions_len <= header.total_len - sizeof(RecordHeader) &&
         header.payload_len <= header.total_len - sizeof(RecordHeader) - header.extensions_len;
}
}  // namespace

// ---------------------------------------------------------------------------------------------- stack side

DatagramProducer::Put DatagramProducer::put(ReceiveRingProducer& ring, RecordHeader header,
                                            std::span<const iovec> payload, std::span<const std::byte> extensions) {
  const std::size_t size = ring.size();
  if (size == 0) return Put::no_ring;
  const std::size_t length = total_length(payload, kRingSizeMax);
  const std::size_t total = record_size(length + extensions.size());
  if (total > size / 2) return Put::too_long;
  if (total > ring.free_space()) return Put::full;
  header.total_len = static_cast<std::uint32_t>(total);
  header.payload_len = static_cast<std::uint32_t>(length);
  header.extensions_len = static_cast<std::uint16_t>(extensions.size());
  if (header.original_len == 0) header.original_len = header.payload_len;
  std::uint64_t at = ring.tail();
  copy_to_ring(ring.base(), size, at, &header, sizeof header);
  at += sizeof header;
  copy_to_ring(ring.base(), size, at, extensions.data(), extensions.size());
  at += extensions.size();
  for (const iovec& piece : payload) {
    copy_to_ring(ring.base(), size, at, piece.iov_base, piece.iov_len);
    at += piece.iov_len;
  }
  return ring.publish((ring.tail() + total) & kPositionMask) ? Put::queued_flush : Put::queued;
}

bool DatagramConsumer::next(SendRingConsumer& ring, std::uint64_t position, Datagram& out) {
  const std::size_t available = static_cast<std::size_t>(distance(position, ring.checked_tail()));
  if (ring.broken() || available == 0 || available > ring.size()) return false;
  if (available < sizeof(RecordHeader)) {
    ring.set_broken();
    return false;
  }
  copy_from_ring(&out.header, ring.base(), ring.size(), position, sizeof out.header);
  if (!plausible(out.header, available) || out.header.total_len > ring.size() / 2) {
    ring.set_broken();
    return false;
  }
  out.extensions.resize(out.header.extensions_len);
  copy_from_ring(out.extensions.data(), ring.base(), ring.size(), position + sizeof(RecordHeader), out.extensions.size());
  const std::size_t start = (position + sizeof(RecordHeader) + out.extensions.size()) & (ring.size() - 1);
  const std::size_t first = std::min<std::size_t>(out.header.payload_len, ring.size() - start);
  out.first = {ring.base() + start, first};
  out.second = {ring.base(), out.header.payload_len - first};
  out.end = (position + out.header.total_len) & kPositionMask;
  return true;
}

// ---------------------------------------------------------------------------------------------- client side

/// False: what was copied is no record, because the ring moved on meanwhile; the claim would fail.
bool DatagramReader::copy_header(const ReaderCore::View& view, RecordHeader& header) {
  if (view.unread < sizeof header) return false;
  copy_from_ring(&header, view.base, view.size, view.head.position(), sizeof header);
  return plausible(header, view.unread);
}

ReadOutcome DatagramReader::read(std::span<const iovec> to, RecordHeader& header, bool take, std::span<std::byte> extensions) {
  for (;;) {
    const std::uint32_t status = core_.status();
    ReaderCore::View view;
    if (!core_.load(view)) return core_.nothing(status);
    if (view.unread == 0) {
      core_.settle();
      if (nothing_unread()) return core_.nothing(status);
      continue;
    }
    if (!copy_header(view, header)) {
      if (core_.still_valid(view)) return {ReadOutcome::Kind::empty};  // the stack wrote nonsense; never with ours
      continue;
    }
    const std::uint64_t at = view.head.position() + sizeof header;
    if (header.extensions_len <= extensions.size()) copy_from_ring(extensions.data(), view.base, view.size, at, header.extensions_len);
    const std::size_t n = scatter(to, view.base, view.size, at + header.extensions_len, header.payload_len);
    io_->step(Step::copied);
    const bool right = take ? core_.claim(view, header.total_len) : core_.still_valid(view);
    if (!right) continue;
    if (!take || header.total_len < view.unread) core_.observe(view);
    if (take) core_.settle();
    return {ReadOutcome::Kind::data, n};
  }
}

std::size_t DatagramReader::next_size() {
  for (;;) {
    ReaderCore::View view;
    RecordHeader header;
    if (!core_.load(view) || view.unread == 0) return 0;
    const bool whole = copy_header(view, header);
    if (!core_.still_valid(view)) continue;
    core_.observe(view);
    return whole ? header.payload_len : 0;
  }
}

bool DatagramReader::nothing_unread() const {
  ReaderCore::View view;
  return !core_.load(view) || view.unread == 0;
}

WriteOutcome DatagramWriter::write(RecordHeader header, std::span<const iovec> payload, std::span<const std::byte> extensions) {
  const std::size_t length = total_length(payload, kRingSizeMax);
  header.extensions_len = static_cast<std::uint16_t>(extensions.size());
  header.total_len = static_cast<std::uint32_t>(record_size(length + extensions.size()));
  header.payload_len = static_cast<std::uint32_t>(length);
  for (;;) {
    if (const auto outcome = try_write(header, payload, extensions)) return *outcome;
  }
}

/// Nothing: the ring was full when it was looked at, and is not any more.
std::optional<WriteOutcome> DatagramWriter::try_write(const RecordHeader& header, std::span<const iovec> payload,
                                                      std::span<const std::byte> extensions) {
  SendRingWriter& w = writer_;
  const WriteOutcome obstacle = w.blocked();
  if (obstacle.kind != WriteOutcome::Kind::full) return obstacle;
  const std::size_t total = header.total_len;
  SendRingWriter::View view;
  bool fits = false, stalled = false;
  {
    WriterLock lock(*w.slot_, *w.io_);
    for (;;) {
      if (!w.io_->still_open()) return WriteOutcome{WriteOutcome::Kind::gone};
      if (!w.load(view)) return WriteOutcome{WriteOutcome::Kind::no_ring};
      if (total > view.size / 2) return WriteOutcome{WriteOutcome::Kind::too_long};
      fits = total <= view.room;
      if (!fits) break;
      std::uint64_t at = view.tail.position();
      copy_to_ring(view.base, view.size, at, &header, sizeof header);
      at += sizeof header;
      copy_to_ring(view.base, view.size, at, extensions.data(), extensions.size());
      at += extensions.size();
      for (const iovec& piece : payload) {
        copy_to_ring(view.base, view.size, at, piece.iov_base, piece.iov_len);
        at += piece.iov_len;
      }
      w.io_->step(Step::write_copied);
      if (!lock.still_mine()) {
        lock.retake();
        continue;
      }
      std::uint64_t seen = view.tail.bits;
      const std::uint64_t next = PositionWord::make((view.tail.position() + total) & kPositionMask, view.tail.epoch()).bits;
      if (w.slot_->tx_tail.compare_exchange_strong(seen, next, std::memory_order_acq_rel)) break;
    }
    const std::size_t least = stall_room(true, view.size);
    w.io_->step(Step::write_published);
    stalled = w.stall_if_full(view.tail.position() + (fits ? total : 0), view.size, fits ? least : std::max(least, total));
  }
  if (!fits) {
    if (!stalled) return std::nullopt;
    return w.blocked();
  }
  w.io_->ring();
  return WriteOutcome{WriteOutcome::Kind::data, header.payload_len};
}

}  // namespace iopkt::ipc
