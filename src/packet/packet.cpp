#include "packet/packet.hpp"

#include <algorithm>
#include <new>

#include "wire/checksum.hpp"

namespace iopkt::packet {
namespace {
/// With these, csum_start and header_len have a meaning.
constexpr std::uint32_t kGso = IOPKT_GSO_TCP4 | IOPKT_GSO_TCP6 | IOPKT_GSO_UDP;
constexpr std::uint32_t kFrontRelative = IOPKT_CSUM_NEEDED | kGso;
/// What is shorter is copied by absorb(): a piece of its own costs a cluster and a place in the table.
constexpr std::uint32_t kAbsorbCopyBelow = 256;

iopkt_piece make_piece(std::byte* data, std::uint32_t length, std::uint32_t capacity) {
  return {reinterpret_cast<std::uint8_t*>(data), length, capacity};
}
}  // namespace

Packet::Packet(Cache& cache) noexcept : iopkt_frame{}, cache_(&cache) {
  piece = inline_pieces_;
  piece_capacity = kInlinePieces;
}

PacketPtr allocate_header(Cache& cache) {
  void* memory = cache.take(Kind::mbuf);
  return PacketPtr{memory == nullptr ? nullptr : new (memory) Packet(cache)};
}

PacketPtr allocate(Cache& cache, std::uint32_t capacity) {
  PacketPtr packet = allocate_header(cache);
  if (!packet) return packet;
  std::uint32_t room = 0;
  while (room < capacity || packet->piece_count == 0) {
    const std::uint32_t headroom = packet->piece_count == 0 ? kReceiveHeadroom : 0;
    if (!packet->push_cluster(headroom)) return PacketPtr{};
    room += packet->piece[packet->piece_count - 1].capacity;
  }
  return packet;
}

void Packet::destroy() noexcept {
  for (std::size_t i = 0; i < piece_count; ++i) drop_piece(i);
  if (piece != inline_pieces_) cache_->give(Kind::cluster, piece);
  while (tags_ != nullptr) {
    Tag* tag = tags_;
    tags_ = tag->next;
    cache_->give(Kind::tag, tag);
  }
  Cache* cache = cache_;
  this->~Packet();
  cache->give(Kind::mbuf, this);
}

void Packet::drop_piece(std::size_t i) {
  if (!borrowed_at(i) && !is_inline(piece[i])) cache_->give(Kind::cluster, cluster_of(piece[i]));
}

std::byte* Packet::cluster_of(const iopkt_piece& p) const {
  // A piece that was trimmed to nothing may stand at the very end of its cluster.
  const auto address = reinterpret_cast<std::uintptr_t>(p.data) - (p.len == 0 && p.capacity == 0 ? 1u : 0u);
  return reinterpret_cast<std::byte*>(address & ~(static_cast<std::uintptr_t>(cache_->cluster_bytes()) - 1));
}

std::uint32_t Packet::headroom() const {
  if (piece_count == 0 || borrowed_at(0)) return 0;
  const std::byte* start = is_inline(piece[0]) ? room_ : cluster_of(piece[0]);
  return static_cast<std::uint32_t>(bytes_of(piece[0]) - start);
}

std::uint32_t Packet::tailroom() const {
  if (piece_count == 0) return 0;
  const std::size_t last = piece_count - 1u;
  return borrowed_at(last) ? 0 : piece[last].capacity - piece[last].len;
}

bool Packet::reserve_piece() { return piece_count < piece_capacity || grow_table(); }

bool Packet::grow_table() {
  if (piece != inline_pieces_) return false;
  // More pieces than the mbuf holds: the table itself moves into a cluster.
  auto* table = static_cast<iopkt_piece*>(cache_->take(Kind::cluster));
  if (table == nullptr) return false;
  std::copy_n(inline_pieces_, piece_count, table);
  piece = table;
  piece_capacity =
      static_cast<std::uint16_t>(std::min<std::size_t>(cache_->cluster_bytes() / sizeof(iopkt_piece), 4096));
  return true;
}

bool Packet::insert_front(std::byte* data, std::uint32_t n, std::uint32_t capacity) {
  if (!reserve_piece()) return false;
  std::copy_backward(piece, piece + piece_count, piece + piece_count + 1);
  piece[0] = make_piece(data, n, capacity);
  ++piece_count;
  if (borrowed_count_ != 0) ++borrowed_from_;
  return true;
}

bool Packet::push_cluster(std::uint32_t headroom_bytes) {
  if (!reserve_piece()) return false;
  auto* cluster = static_cast<std::byte*>(cache_->take(Kind::cluster));
  if (cluster == nullptr) return false;
  piece[piece_count++] = make_piece(cluster + headroom_bytes, 0, cache_->cluster_bytes() - headroom_bytes);
  return true;
}

MutableBytes Packet::prepend(std::uint32_t n) {
  if (headroom() < n) {
    const bool room_used =
        std::any_of(piece, piece + piece_count, [&](const iopkt_piece& p) { return is_inline(p); });
    if (!room_used && n <= kHeaderRoom) {
      // Headers are written back to front, so the first one goes to the end of the room.
      if (!insert_front(room_ + kHeaderRoom, 0, 0)) return {};
    } else {
      if (n > cache_->cluster_bytes()) return {};
      auto* cluster = static_cast<std::byte*>(cache_->take(Kind::cluster));
      if (cluster == nullptr) return {};
      // One byte from the end keeps even an empty piece inside of its cluster.
      if (!insert_front(cluster + cache_->cluster_bytes(), 0, 0)) {
        cache_->give(Kind::cluster, cluster);
        return {};
      }
    }
  }
  piece[0].data -= n;
  piece[0].len += n;
  piece[0].capacity += n;
  len += n;
  if ((flags & kFrontRelative) != 0) {
    csum_start = static_cast<std::uint16_t>(csum_start + n);
    header_len = static_cast<std::uint16_t>(header_len + n);
  }
  return {bytes_of(piece[0]), n};
}

void Packet::trim_front(std::uint32_t n) {
  remove_front(n);
  if ((flags & kFrontRelative) != 0) {
    if ((flags & IOPKT_CSUM_NEEDED) != 0 && n > csum_start)
      flags = (flags & ~std::uint32_t{IOPKT_CSUM_NEEDED}) | IOPKT_CSUM_VALID;
    csum_start = static_cast<std::uint16_t>(csum_start - std::min<std::uint32_t>(n, csum_start));
    header_len = static_cast<std::uint16_t>(header_len - std::min<std::uint32_t>(n, header_len));
  }
}

void Packet::remove_front(std::uint32_t n) {
  IOPKT_ASSERT(n <= len);
  len -= n;
  std::size_t gone = 0;
  while (n > 0 && n >= piece[gone].len && gone + 1u < piece_count) {
    n -= piece[gone].len;
    drop_piece(gone++);
  }
  if (gone > 0) {
    std::copy(piece + gone, piece + piece_count, piece);
    piece_count = static_cast<std::uint16_t>(piece_count - gone);
    if (borrowed_count_ != 0) {
      const std::size_t before = std::min<std::size_t>(gone, borrowed_from_);
      borrowed_count_ =
          static_cast<std::uint16_t>(borrowed_count_ - std::min<std::size_t>(gone - before, borrowed_count_));
      borrowed_from_ = static_cast<std::uint16_t>(borrowed_from_ - before);
    }
  }
  if (n > 0) {
    piece[0].data += n;
    piece[0].len -= n;
    piece[0].capacity -= n;
  }
}

void Packet::trim_back(std::uint32_t n) {
  IOPKT_ASSERT(n <= len);
  len -= n;
  while (n > 0) {
    iopkt_piece& last = piece[piece_count - 1u];
    if (n < last.len || piece_count == 1) {
      last.len -= n;
      return;
    }
    n -= last.len;
    drop_piece(piece_count - 1u);
    --piece_count;
    if (borrowed_count_ != 0 && borrowed_from_ + borrowed_count_ > piece_count) --borrowed_count_;
  }
}

bool Packet::append(Bytes bytes) {
  const std::uint32_t before = len;
  while (!bytes.empty()) {
    if (tailroom() == 0 && !push_cluster(piece_count == 0 ? kReceiveHeadroom : 0)) {
      trim_back(len - before);
      return false;
    }
    iopkt_piece& last = piece[piece_count - 1u];
    const auto n = static_cast<std::uint32_t>(std::min<std::size_t>(tailroom(), bytes.size()));
    std::memcpy(last.data + last.len, bytes.data(), n);
    last.len += n;
    len += n;
    bytes = bytes.subspan(n);
  }
  return true;
}

bool Packet::append_zeroes(std::uint32_t n) {
  static constexpr std::byte kZeroes[64]{};
  const std::uint32_t before = len;
  for (std::uint32_t left = n; left > 0;) {
    const std::uint32_t step = std::min<std::uint32_t>(left, sizeof kZeroes);
    if (!append({kZeroes, step})) {
      trim_back(len - before);
      return false;
    }
    left -= step;
  }
  return true;
}

bool Packet::append_borrowed(Bytes bytes) {
  if (bytes.empty()) return true;
  if (borrowed_count_ != 0 && borrowed_from_ + borrowed_count_ != piece_count) return false;
  if (!reserve_piece()) return false;
  if (borrowed_count_ == 0) borrowed_from_ = piece_count;
  const auto n = static_cast<std::uint32_t>(bytes.size());
  piece[piece_count++] = make_piece(const_cast<std::byte*>(bytes.data()), n, n);
  ++borrowed_count_;
  len += n;
  return true;
}

bool Packet::own() {
  if (borrowed_count_ == 0) return true;
  PacketPtr copy = allocate_header(*cache_);
  if (!copy) return false;
  const std::size_t from = borrowed_from_, behind = from + borrowed_count_;
  for (std::size_t i = from; i < behind; ++i)
    if (!copy->append(piece_bytes(i))) return false;
  const std::size_t fresh = copy->piece_count, tail = piece_count - behind;
  if (from + fresh + tail > piece_capacity && !grow_table()) return false;
  if (from + fresh + tail > piece_capacity) return false;
  if (fresh < borrowed_count_)
    std::copy(piece + behind, piece + piece_count, piece + from + fresh);
  else
    std::copy_backward(piece + behind, piece + piece_count, piece + from + fresh + tail);
  std::copy_n(copy->piece, fresh, piece + from);
  piece_count = static_cast<std::uint16_t>(from + fresh + tail);
  borrowed_from_ = borrowed_count_ = 0;
  copy->piece_count = 0;
  copy->len = 0;
  return true;
}

bool Packet::absorb(PacketPtr other) {
  if (!other->own()) return false;
  const std::uint32_t before = len;
  if (piece_count + other->piece_count > piece_capacity) (void)grow_table();
  bool done = true;
  for (std::size_t i = 0; i < other->piece_count; ++i) {
    const iopkt_piece p = other->piece[i];
    const bool copies = other->is_inline(p) || p.len < kAbsorbCopyBelow || !done || !reserve_piece();
    if (!copies) {
      piece[piece_count++] = p;
      len += p.len;
      continue;
    }
    done = done && append(other->piece_bytes(i));
    other->drop_piece(i);
  }
  other->piece_count = 0;
  other->len = 0;
  if (!done) trim_back(len - before);
  return done;
}

bool Packet::pull_up(std::uint32_t n) {
  if (piece_count > 0 && piece[0].len >= n) return true;
  if (n > len || n > cache_->cluster_bytes() || !reserve_piece()) return false;
  auto* cluster = static_cast<std::byte*>(cache_->take(Kind::cluster));
  if (cluster == nullptr) return false;
  const std::uint32_t room = cache_->cluster_bytes();
  const std::uint32_t headroom_bytes = room - n >= kReceiveHeadroom ? kReceiveHeadroom : 0;
  copy_out(0, {cluster + headroom_bytes, n});
  remove_front(n);
  if (len == 0) {
    for (std::size_t i = 0; i < piece_count; ++i) drop_piece(i);
    piece_count = 0;
    borrowed_count_ = 0;
  }
  const bool inserted = insert_front(cluster + headroom_bytes, n, len == 0 ? room - headroom_bytes : n);
  IOPKT_ASSERT(inserted && "a place was reserved");
  len += n;
  return true;
}

void Packet::copy_out(std::uint32_t offset, MutableBytes to) const {
  IOPKT_ASSERT(offset + to.size() <= len);
  for (std::size_t i = 0; !to.empty(); ++i) {
    const Bytes from = piece_bytes(i);
    if (offset >= from.size()) {
      offset -= static_cast<std::uint32_t>(from.size());
      continue;
    }
    const std::size_t n = std::min(to.size(), from.size() - offset);
    std::memcpy(to.data(), from.data() + offset, n);
    to = to.subspan(n);
    offset = 0;
  }
}

void Packet::copy_in(std::uint32_t offset, Bytes from) {
  IOPKT_ASSERT(offset + from.size() <= len);
  for (std::size_t i = 0; !from.empty(); ++i) {
    if (offset >= piece[i].len) {
      offset -= piece[i].len;
      continue;
    }
    IOPKT_ASSERT(!borrowed_at(i));
    const std::size_t n = std::min<std::size_t>(from.size(), piece[i].len - offset);
    std::memcpy(piece[i].data + offset, from.data(), n);
    from = from.subspan(n);
    offset = 0;
  }
}

std::uint32_t Packet::sum(std::uint32_t offset, std::uint32_t length) const {
  IOPKT_ASSERT(offset + length <= len);
  wire::InternetChecksum sum;
  for (std::size_t i = 0; length > 0; ++i) {
    const Bytes from = piece_bytes(i);
    if (offset >= from.size()) {
      offset -= static_cast<std::uint32_t>(from.size());
      continue;
    }
    const auto n = static_cast<std::uint32_t>(std::min<std::size_t>(length, from.size() - offset));
    sum.add(from.subspan(offset, n));
    length -= n;
    offset = 0;
  }
  return sum.partial();
}

PacketPtr Packet::copy_range(Cache& cache, std::uint32_t offset, std::uint32_t length) const {
  IOPKT_ASSERT(offset + length <= len);
  PacketPtr copy = allocate_header(cache);
  if (!copy) return copy;
  std::uint32_t skip = offset;
  for (std::size_t i = 0; length > 0; ++i) {
    const Bytes from = piece_bytes(i);
    if (skip >= from.size()) {
      skip -= static_cast<std::uint32_t>(from.size());
      continue;
    }
    const auto n = static_cast<std::uint32_t>(std::min<std::size_t>(length, from.size() - skip));
    if (!copy->append(from.subspan(skip, n))) return PacketPtr{};
    length -= n;
    skip = 0;
  }
  copy->rx_interface = rx_interface;
  return copy;
}

PacketPtr Packet::clone(Cache& cache) const {
  PacketPtr copy = copy_range(cache, 0, len);
  if (!copy) return copy;
  copy->flags = flags;
  copy->hash = hash;
  copy->csum_start = csum_start;
  copy->csum_offset = csum_offset;
  copy->gso_size = gso_size;
  copy->header_len = header_len;
  copy->vlan_tci = vlan_tci;
  copy->txq = txq;
  copy->time_ns = time_ns;
  copy->flow_hash = flow_hash;
  copy->network_len = network_len;
  copy->link_len = link_len;
  copy->link_broadcast = link_broadcast;
  copy->link_multicast = link_multicast;
  copy->looped = looped;
  for (const Tag* tag = tags_; tag != nullptr; tag = tag->next)
    if (!copy->add_tag(tag->type, {tag->value, tag->size})) return PacketPtr{};
  return copy;
}

bool Packet::accept_received() {
  std::uint16_t used = 0;
  std::uint64_t bytes = 0;
  for (std::uint16_t i = 0; i < piece_count; ++i) {
    if (piece[i].len > piece[i].capacity) return false;
    bytes += piece[i].len;
    if (piece[i].len != 0) used = static_cast<std::uint16_t>(i + 1);
  }
  for (std::uint16_t i = used; i < piece_count; ++i) drop_piece(i);
  piece_count = used;
  if (bytes != len || len == 0 || len > kMaxPacketBytes) return false;
  const bool needs = (flags & IOPKT_CSUM_NEEDED) != 0;
  if (needs && std::uint32_t{csum_start} + csum_offset + 2 > len) return false;
  return (flags & kGso) == 0 || gso_size != 0;
}

const Tag* Packet::find_tag(TagType type) const {
  const Tag* tag = tags_;
  while (tag != nullptr && tag->type != type) tag = tag->next;
  return tag;
}

bool Packet::add_tag(TagType type, Bytes value) {
  IOPKT_ASSERT(value.size() <= sizeof(Tag::value));
  void* memory = cache_->take(Kind::tag);
  if (memory == nullptr) return false;
  auto* tag = new (memory) Tag{tags_, type, static_cast<std::uint16_t>(value.size()), {}};
  std::copy(value.begin(), value.end(), tag->value);
  tags_ = tag;
  return true;
}

}  // namespace iopkt::packet
