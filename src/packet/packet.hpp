// The packet: a list of pieces with the metadata that travels with it. One owner, passed on by moving.
//
// A Packet *is* the driver's iopkt_frame (its base), so that a burst goes to a driver without conversion. Its
// pieces lie in three kinds of memory:
//   - the packet's own header room (kHeaderRoom bytes): headers that we write;
//   - clusters, owned;
//   - borrowed memory, usually a client's send ring: valid only until the shard's current iteration ends.
//   Whoever keeps a
//     packet longer calls own() first.
// Borrowed pieces are always neighbours: [borrowed_from, borrowed_from + borrowed_count).
//
// Offload metadata follows the packet's front: csum_start and header_len always count from the byte that is
// the first one now. prepend() and trim_front() keep them so; whoever writes a transport header in front of
// its payload says csum_start 0. When the transport header itself is trimmed off, IOPKT_CSUM_NEEDED turns
// into IOPKT_CSUM_VALID: nobody is left who could fill the field in, and the sender on this machine vouches
// for the bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/bytes.hpp"
#include "iopkt/driver.h"
#include "packet/pool.hpp"

namespace iopkt::packet {

inline constexpr std::uint16_t kInlinePieces = 6;
inline constexpr std::size_t kHeaderRoom = 192;  // link 18 + IPv4 60 + TCP 60, and room to prepend
inline constexpr std::size_t kReceiveHeadroom =
    64;  // in front of a received frame, so that a forwarded one can grow
inline constexpr std::uint32_t kMaxPacketBytes = 65535 + 64;

/// Tags carry what only some packets need; `type` is one of the names below.
enum class TagType : std::uint16_t { txq = 1, capture_time = 2, ipsec_done = 3 };
struct Tag {
  Tag* next;
  TagType type;
  std::uint16_t size;  ///< 0..16
  std::byte value[16];
};
static_assert(sizeof(Tag) <= kTagBytes);

class PacketPtr;

class Packet : public iopkt_frame {
 public:
  Packet(const Packet&) = delete;
  Packet& operator=(const Packet&) = delete;

  std::uint32_t size() const { return len; }
  /// The first piece; empty for an empty packet.
  Bytes head() const { return piece_count == 0 ? Bytes{} : Bytes{bytes_of(piece[0]), piece[0].len}; }
  MutableBytes mutable_head() {
    return piece_count == 0 ? MutableBytes{} : MutableBytes{bytes_of(piece[0]), piece[0].len};
  }
  Bytes piece_bytes(std::size_t i) const { return {bytes_of(piece[i]), piece[i].len}; }

  /// Makes the first `n` bytes one piece. False: the packet is shorter, n is above a cluster, or the pool is
  /// empty.
  [[nodiscard]] bool pull_up(std::uint32_t n);
  /// Room for `n` bytes in front, uninitialised and part of the packet. Empty: n is above a cluster, or no
  /// memory.
  [[nodiscard]] MutableBytes prepend(std::uint32_t n);
  void trim_front(std::uint32_t n);  ///< n <= size()
  void trim_back(std::uint32_t n);   ///< n <= size()
  /// Copies `bytes` behind the last piece. False: the pool is empty (the packet is as before).
  [[nodiscard]] bool append(Bytes bytes);
  /// Refers to memory of somebody else; see the head of this file. False: too many pieces, or not at the end.
  [[nodiscard]] bool append_borrowed(Bytes bytes);
  /// Moves the bytes of `other` behind the last piece; copies only what is small or lies in its header room.
  /// Its metadata is lost. False: no memory; this packet is as before, `other` is gone.
  [[nodiscard]] bool absorb(PacketPtr other);
  /// Zeroes behind the last piece.
  [[nodiscard]] bool append_zeroes(std::uint32_t n);
  void copy_out(std::uint32_t offset, MutableBytes to) const;  ///< offset + to.size() <= size()
  void copy_in(std::uint32_t offset, Bytes from);              ///< only into pieces that are not borrowed
  /// Ones' complement partial sum of [offset, offset + length), not folded into a complement.
  std::uint32_t sum(std::uint32_t offset, std::uint32_t length) const;

  bool is_borrowed() const { return borrowed_count_ != 0; }
  /// Copies borrowed pieces into clusters. False: no memory; the packet is as before.
  [[nodiscard]] bool own();
  /// A deep copy with the same metadata, all its memory owned. Null: no memory.
  PacketPtr clone(Cache& cache) const;
  /// A new packet with a deep copy of [offset, offset+length) and no offload metadata.
  PacketPtr copy_range(Cache& cache, std::uint32_t offset, std::uint32_t length) const;

  /// After a driver filled pieces: drops unused ones, checks the sum and the offload metadata (a checksum
  /// field inside of the frame; GSO only with a size). False: the driver broke its contract.
  [[nodiscard]] bool accept_received();

  const Tag* find_tag(TagType type) const;
  [[nodiscard]] bool add_tag(TagType type, Bytes value);  ///< value up to 16 bytes

  Cache& cache() const { return *cache_; }
  /// Which shard frees it; a packet that crosses shards is handed to the other's cache.
  void move_to(Cache& cache) { cache_ = &cache; }

  // What the layers learn on the way; plain values, zero in a new packet.
  std::uint32_t rx_interface{};  ///< index, 0: made here
  std::uint32_t flow_hash{};     ///< symmetric, by the stack; 0: not computed
  std::uint16_t network_len{};   ///< bytes of the network header that was trimmed off the front
  std::uint16_t link_len{};      ///< bytes of the link header that was trimmed off the front
  bool link_broadcast{}, link_multicast{};
  bool textless{};  ///< a segment of a connection of ours, without text
  bool looped{};    ///< came from this stack through lo0 or to its own address

 private:
  friend class PacketPtr;
  friend PacketPtr allocate(Cache& cache, std::uint32_t capacity);
  friend PacketPtr allocate_header(Cache& cache);
  Packet(Cache& cache) noexcept;
  ~Packet() = default;
  void destroy() noexcept;

  static std::byte* bytes_of(const iopkt_piece& p) { return reinterpret_cast<std::byte*>(p.data); }
  bool is_inline(const iopkt_piece& p) const {
    return bytes_of(p) >= room_ && bytes_of(p) <= room_ + kHeaderRoom;
  }
  bool borrowed_at(std::size_t i) const {
    return i >= borrowed_from_ && i < borrowed_from_ + borrowed_count_;
  }
  std::byte* cluster_of(const iopkt_piece& p) const;
  std::uint32_t headroom() const;
  std::uint32_t tailroom() const;
  bool reserve_piece();
  bool grow_table();
  void remove_front(std::uint32_t n);
  bool insert_front(std::byte* data, std::uint32_t n, std::uint32_t capacity);
  bool push_cluster(std::uint32_t headroom_bytes);
  void drop_piece(std::size_t i);

  Cache* cache_;
  Tag* tags_ = nullptr;
  std::uint16_t borrowed_from_ = 0, borrowed_count_ = 0;
  iopkt_piece inline_pieces_[kInlinePieces];
  std::byte room_[kHeaderRoom];
};
static_assert(sizeof(Packet) <= kMbufSize);

/// The owner of a packet. Moving it is handing the packet on; the last owner frees it.
class PacketPtr {
 public:
  PacketPtr() = default;
  explicit PacketPtr(Packet* packet) : packet_(packet) {}
  PacketPtr(PacketPtr&& other) noexcept : packet_(other.release()) {}
  PacketPtr& operator=(PacketPtr&& other) noexcept {
    if (this != &other) reset(), packet_ = other.release();
    return *this;
  }
  ~PacketPtr() { reset(); }

  Packet* get() const { return packet_; }
  Packet& operator*() const { return *packet_; }
  Packet* operator->() const { return packet_; }
  explicit operator bool() const { return packet_ != nullptr; }
  [[nodiscard]] Packet* release() { return std::exchange(packet_, nullptr); }
  void reset() {
    if (packet_ != nullptr) std::exchange(packet_, nullptr)->destroy();
  }

 private:
  Packet* packet_ = nullptr;
};

using Burst = std::vector<PacketPtr>;

/// A packet for receiving: pieces with room for `capacity` bytes together, each len 0, kReceiveHeadroom in
/// front of the first. Null: the pool is empty.
PacketPtr allocate(Cache& cache, std::uint32_t capacity);
/// An empty packet for sending: no cluster, the header room free for prepend().
PacketPtr allocate_header(Cache& cache);

}  // namespace iopkt::packet
