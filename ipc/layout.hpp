// The shared memory between one client and the stack: arenas of slots and rings, and the control page with the doorbells.
//
// One client is one credential and one process tree. The daemon makes all memory (sealed memory files, so that nobody can
// truncate them under the other side), the client maps what it is given. `fork` shares it; every protocol below works from
// any thread, process and signal handler of the client.
//
// Who trusts whom. The client trusts the stack. The stack trusts nothing here: it keeps its own copy of whatever it relies
// on (ring place and size, its own positions) and reads only client-written positions, which it checks each time.
// ReceiveRingProducer, SendRingConsumer and DatagramConsumer are the only code of the stack that reads these words.
//
// Invariants. At rest means that no call is in progress on the slot and the stack has flushed.
//  * Positions count bytes since the ring was made, modulo 2^48, and live in the upper 48 bits of their word. A position
//    indexes the ring by its low bits (ring sizes are powers of two).
//  * Receive: head <= tail <= head + size. The stack writes the tail (in W), readers advance the head by CAS.
//  * At rest a token byte is queued in the program's descriptor if and only if tail - head >= the low-water mark (without an urgent
//    byte at the head that is not read in line), which is the same as: the state in W is PRESENT. Extra tokens (edge fidelity) are
//    counted in W and leave with the first one.
//  * Send: head <= tail <= head + size. Writers, under the writer lock, advance the tail by CAS; the stack writes the head (in V).
//  * At rest a STALL unit is queued above the ballast if and only if STALLED is set in V. It is set when a write leaves less
//    than stall_room(), and cleared when unstall_room() is free again.
//  * Everything else in a slot has one writer, named beside it.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace iopkt::ipc {

inline constexpr std::uint32_t kLayoutVersion = 5;  ///< pinned by test: whoever changes what lies in shared memory raises it
inline constexpr std::uint32_t kArenaMagic = 0x41706f69;    // "iopA"
inline constexpr std::uint32_t kControlMagic = 0x43706f69;  // "iopC"
inline constexpr std::size_t kCacheLine = 64;
inline constexpr std::size_t kPage = 4096;

// ---------------------------------------------------------------------------------------------- positions

inline constexpr unsigned kPositionShift = 16;
inline constexpr std::uint64_t kPositionMask = (std::uint64_t{1} << 48) - 1;

/// Bytes from `from` to `to`, modulo 2^48. A result above kPositionMask/2 means that `to` lies before `from`.
constexpr std::uint64_t distance(std::uint64_t from, std::uint64_t to) { return (to - from) & kPositionMask; }
constexpr bool lies_before(std::uint64_t a, std::uint64_t b) { return distance(a, b) - 1 < kPositionMask / 2; }
constexpr std::uint64_t position_of(std::uint64_t word) { return word >> kPositionShift; }

// ---------------------------------------------------------------------------------------------- the word W

/// Who holds the readiness token of a receive ring. Left by: none: stack; want: stack (flush) or the reader that finds the
/// ring empty (cancelled); sending: stack; present: the reader that finds the ring empty and takes the byte.
enum class TokenState : std::uint8_t { none = 0, want = 1, sending = 2, present = 3 };

/// How the socket's data travels. A property of the socket, so that every holder follows; it only moves forward. How a socket
/// gets from one to the next is told in stream_end.hpp.
enum class Mode : std::uint8_t { ring = 0, switching = 1, stream = 2 };

/// W, the receive word: tail and token state change together, so that a decision taken on an old tail cannot be stored.
struct ReceiveWord {
  static constexpr std::uint64_t kStateMask = 3;
  static constexpr std::uint64_t kRemoving = 1 << 2;   ///< R: the winner of present -> none has not taken its byte yet
  static constexpr std::uint64_t kObserved = 1 << 3;   ///< a reader saw data and left some: the next arrival renews the edge
  static constexpr std::uint64_t kEdge = 1 << 4;       ///< some holder polls edge-triggered
  static constexpr unsigned kExtraShift = 5;           ///< tokens queued beyond the first, 0..15
  static constexpr std::uint64_t kExtraMask = 15;
  static constexpr unsigned kModeShift = 9;
  static constexpr std::uint64_t kModeMask = 3;
  static constexpr std::uint64_t kPromise = 1 << 11;   ///< reserved: a reader promises to look again

  std::uint64_t bits{};

  constexpr std::uint64_t tail() const { return position_of(bits); }
  constexpr TokenState state() const { return static_cast<TokenState>(bits & kStateMask); }
  constexpr bool removing() const { return (bits & kRemoving) != 0; }
  constexpr bool observed() const { return (bits & kObserved) != 0; }
  constexpr bool edge() const { return (bits & kEdge) != 0; }
  constexpr unsigned extra() const { return static_cast<unsigned>(bits >> kExtraShift & kExtraMask); }
  constexpr Mode mode() const { return static_cast<Mode>(bits >> kModeShift & kModeMask); }

  constexpr ReceiveWord with_tail(std::uint64_t t) const {
    return {(t << kPositionShift) | (bits & ((std::uint64_t{1} << kPositionShift) - 1))};
  }
  constexpr ReceiveWord with_state(TokenState s) const { return {(bits & ~kStateMask) | static_cast<std::uint64_t>(s)}; }
  constexpr ReceiveWord with(std::uint64_t flag, bool on) const { return {on ? bits | flag : bits & ~flag}; }
  constexpr ReceiveWord with_extra(unsigned n) const {
    return {(bits & ~(kExtraMask << kExtraShift)) | ((n & kExtraMask) << kExtraShift)};
  }
  constexpr ReceiveWord with_mode(Mode m) const {
    return {(bits & ~(kModeMask << kModeShift)) | (static_cast<std::uint64_t>(m) << kModeShift)};
  }
  friend constexpr bool operator==(ReceiveWord, ReceiveWord) = default;
};

/// U, the urgent word (RFC 6093): the newest urgent byte of the stream. One is urgent at a time; it is so until the head has passed it.
/// Written by the stack before it publishes a tail behind that byte, so that no reader crosses a mark it does not know.
struct UrgentWord {
  static constexpr std::uint64_t kSet = 1 << 0;     ///< there is one, or was
  static constexpr std::uint64_t kHere = 1 << 1;    ///< the byte has come; it may lie beyond the tail
  static constexpr std::uint64_t kInline = 1 << 2;  ///< SO_OOBINLINE: it is read in its place
  static constexpr unsigned kByteShift = 8;

  std::uint64_t bits{};

  constexpr bool set() const { return (bits & kSet) != 0; }
  constexpr bool here() const { return (bits & kHere) != 0; }
  constexpr bool in_line() const { return (bits & kInline) != 0; }
  constexpr std::uint64_t position() const { return position_of(bits); }  ///< of the byte
  constexpr std::uint8_t byte() const { return static_cast<std::uint8_t>(bits >> kByteShift); }  ///< counts if here()
  static constexpr UrgentWord make(std::uint64_t position, bool here, bool in_line, std::uint8_t byte) {
    return {position << kPositionShift | std::uint64_t{byte} << kByteShift | (in_line ? kInline : 0) | (here ? kHere : 0) | kSet};
  }
  friend constexpr bool operator==(UrgentWord, UrgentWord) = default;
};

/// What the urgent word and Slot::rx_left_out mean for a reader at `head` with `unread` bytes before it.
struct UrgentView {
  bool any = false;            ///< there is or was an urgent byte
  bool known = false;          ///< the mark lies at the head or behind it
  std::uint64_t ahead = 0;     ///< bytes from the head (behind what is left out for good) to the urgent byte; if known
  std::size_t left_out = 0;    ///< unread bytes at the head that no reader gets
  std::size_t gone = 0;        ///< of those, the ones that were urgent before: no mark any more

  /// The next byte is the urgent one.
  constexpr bool at_mark() const { return known && ahead == 0; }
};
/// `left_out`: Slot::rx_left_out.
constexpr UrgentView view_urgent(UrgentWord urgent, std::uint64_t left_out, std::uint64_t head, std::uint64_t unread) {
  UrgentView view;
  if (!urgent.set()) return view;
  if ((left_out & 1) != 0 && position_of(left_out) == head && unread > 0) view.gone = 1;
  view.any = true;
  view.ahead = distance(head + view.gone, urgent.position());
  view.known = view.ahead <= kPositionMask / 2;
  const bool skipped = view.at_mark() && !urgent.in_line() && unread > view.gone;
  view.left_out = view.gone + (skipped ? 1 : 0);
  return view;
}

// ---------------------------------------------------------------------------------------------- the word V

/// V, the send word: how far the stack has consumed, whether a STALL is queued, and whether somebody sleeps on it.
/// Its low 32 bits (on this little-endian host the first four bytes) are the futex of blocking writers.
struct SendWord {
  static constexpr std::uint64_t kStalled = 1 << 0;
  static constexpr std::uint64_t kWaiters = 1 << 1;  ///< set by a writer before it sleeps, cleared by the stack with the wake-up

  std::uint64_t bits{};

  constexpr std::uint64_t head() const { return position_of(bits); }
  constexpr bool stalled() const { return (bits & kStalled) != 0; }
  constexpr bool waiters() const { return (bits & kWaiters) != 0; }
  constexpr SendWord with_head(std::uint64_t h) const {
    return {(h << kPositionShift) | (bits & ((std::uint64_t{1} << kPositionShift) - 1))};
  }
  constexpr SendWord with(std::uint64_t flag, bool on) const { return {on ? bits | flag : bits & ~flag}; }
  friend constexpr bool operator==(SendWord, SendWord) = default;
};
static_assert(std::endian::native == std::endian::little, "the futex of V is its low half");

/// The receive head and the send tail: a position and the epoch of the ring it belongs to. The stack raises the epoch when it
/// moves a ring, so that the CAS of whoever still works on the old memory fails.
struct PositionWord {
  std::uint64_t bits{};
  constexpr std::uint64_t position() const { return position_of(bits); }
  constexpr std::uint16_t epoch() const { return static_cast<std::uint16_t>(bits); }
  static constexpr PositionWord make(std::uint64_t position, std::uint16_t epoch) {
    return {(position << kPositionShift) | epoch};
  }
};

/// The writer lock (send_ring.hpp): owner | generation, which every taking raises.
inline constexpr unsigned kLockGenerationBits = 24;
constexpr bool lock_is_held(std::uint64_t lock) { return lock >> kLockGenerationBits != 0; }

/// Where a ring lies in the slot's own arena: page 32 bits | log2 of its size 16 bits | epoch 16 bits. All zero: no ring.
struct RingRef {
  std::uint64_t bits{};
  constexpr bool exists() const { return bits != 0; }
  constexpr std::size_t offset() const { return static_cast<std::size_t>(bits >> 32) * kPage; }
  constexpr std::size_t size() const { return std::size_t{1} << (bits >> 16 & 31); }
  constexpr std::uint16_t epoch() const { return static_cast<std::uint16_t>(bits); }
  /// `offset` a multiple of kPage below 2^44, `size` a power of two from kRingSizeMin to kRingSizeMax.
  static constexpr RingRef make(std::size_t offset, std::size_t size, std::uint16_t epoch) {
    return {(std::uint64_t{offset / kPage} << 32) | (static_cast<std::uint64_t>(std::countr_zero(size)) << 16) | epoch};
  }
};

inline constexpr std::size_t kRingSizeMin = kPage;
inline constexpr std::size_t kRingSizeMax = std::size_t{16} << 20;
/// The largest record of a datagram ring: header and a payload of 65,535 bytes, rounded up to kRecordAlign.
inline constexpr std::size_t kDatagramRecordMax = 65536 + 768;
/// Smallest ring that takes every datagram (a record never takes more than half of its ring).
inline constexpr std::size_t kDatagramRingSize = std::size_t{256} << 10;

// ---------------------------------------------------------------------------------------------- the slot

/// An address and a port as both sides read it. family: 0 none, AF_INET, AF_INET6; addr in network order (IPv4: the first
/// four bytes); port in host order.
struct SharedEndpoint {
  std::uint16_t family{};
  std::uint16_t port{};
  std::uint32_t scope{};
  std::uint8_t addr[16]{};
  friend bool operator==(const SharedEndpoint&, const SharedEndpoint&) = default;
};
static_assert(sizeof(SharedEndpoint) == 24);

/// Bits of Slot::status; written by the stack alone. Set after the data they follow was published and before the kernel state
/// of the descriptor changes, so a reader that loads the status *before* it finds the ring empty may believe it.
struct Status {
  static constexpr std::uint32_t attached = 1 << 0;      ///< the stack holds the other end
  static constexpr std::uint32_t connecting = 1 << 1;
  static constexpr std::uint32_t connected = 1 << 2;
  static constexpr std::uint32_t listening = 1 << 3;
  static constexpr std::uint32_t bound = 1 << 4;
  static constexpr std::uint32_t fin_received = 1 << 5;  ///< after the ring is empty: end of file
  static constexpr std::uint32_t shut_rd = 1 << 6;       ///< by the program
  static constexpr std::uint32_t shut_wr = 1 << 7;       ///< by the program
  static constexpr std::uint32_t reset = 1 << 8;         ///< refused, reset, timed out: no end is left; `error` says why
  static constexpr std::uint32_t closed = 1 << 9;        ///< the slot is being given back
};

/// Bits of Slot::kicks; set by the client before it rings the doorbell, taken (exchange 0) by the stack.
struct Kick {
  static constexpr std::uint32_t repair = 1 << 0;      ///< compare W with the tokens that are really queued
  static constexpr std::uint32_t recheck = 1 << 1;     ///< a low-water mark changed: decide readiness again
  static constexpr std::uint32_t closed = 1 << 3;      ///< the last descriptor is about to be closed, where that does not show
};

/// One socket. Lines are grouped by who writes them, so that the two sides do not take each other's lines more than needed.
/// The words `client` are the clients' own, shared by the processes that hold the socket (the stack clears them with a new socket, and takes
/// those that are named below as hints); they lie where clients write anyway. See client_word().
struct alignas(kCacheLine) Slot {
  // Stack and readers.
  std::atomic<std::uint64_t> rx_word;   ///< W, see ReceiveWord
  std::atomic<std::uint64_t> rx_ring;   ///< RingRef; stack
  std::atomic<std::uint64_t> rx_bell;   ///< stack: position << 16 | 1 asks for a doorbell once the head reaches it; 0: never
  std::atomic<std::uint32_t> rx_lowat;  ///< client: SO_RCVLOWAT; 0 counts as 1
  std::atomic<std::uint32_t> rx_strays; ///< readers: how many may still take a token byte without holding R (or died there)
  std::atomic<std::uint64_t> rx_urgent;    ///< U, see UrgentWord; stack
  std::atomic<std::uint64_t> rx_left_out;  ///< stack: position << 16 | 1, a byte that was urgent before
  std::atomic<std::uint64_t> rx_oob_taken; ///< readers: position << 16 | 1, the urgent byte that recv(MSG_OOB) has taken
  std::atomic<std::uint32_t> rx_oob_shown; ///< stack: bytes that it has sent out of band (POLLPRI, SIGURG), << 1; | 1: it is sending one
  std::atomic<std::uint32_t> rx_oob_swept; ///< readers: rx_oob_shown when nothing of them was left in the descriptor
  // Readers.
  alignas(kCacheLine) std::atomic<std::uint64_t> rx_head;  ///< PositionWord
  std::atomic<std::uint64_t> client[7];
  // Stack and writers.
  alignas(kCacheLine) std::atomic<std::uint64_t> tx_word;  ///< V, see SendWord
  std::atomic<std::uint64_t> tx_ring;                      ///< RingRef; stack
  std::atomic<std::uint32_t> tx_stalling;                  ///< writers: how many may still send a STALL (or died there)
  // Writers.
  alignas(kCacheLine) std::atomic<std::uint64_t> tx_tail;  ///< PositionWord
  std::atomic<std::uint64_t> tx_lock;                      ///< see WriterLock
  std::atomic<std::uint64_t> tx_urgent;                    ///< writer: position << 16 | 1, the byte before it is urgent; stack: 0
  std::atomic<std::uint64_t> tx_more;                      ///< writer: position << 16 | 1, more follows at once (MSG_MORE); stack: 0
  std::atomic<std::uint64_t> tx_client[4];
  // Rare.
  alignas(kCacheLine) std::atomic<std::uint32_t> status;  ///< Status; stack
  std::atomic<std::uint32_t> error;      ///< pending SO_ERROR, a Linux errno; stack stores, client exchanges with 0
  std::atomic<std::uint32_t> kicks;      ///< Kick; client sets, stack takes
  std::atomic<std::uint32_t> shard;      ///< whose doorbell to ring; stack. May change until connected: the old one forwards
  std::atomic<std::uint32_t> incarnation;///< stack: raised whenever the slot is given to another socket
  std::atomic<std::uint16_t> domain;     ///< AF_INET ...; stack, like the two below
  std::atomic<std::uint16_t> type;       ///< SOCK_STREAM, SOCK_DGRAM, SOCK_RAW
  std::atomic<std::uint32_t> protocol;
  std::atomic<std::uint32_t> mss;        ///< TCP: current segment size for hints; stack
  std::atomic<std::uint64_t> nonce;      ///< what HELLO and ATTACH carry; stack
  std::atomic<std::uint64_t> backlog;    ///< listeners: connections waiting << 32 | limit; stack
  std::atomic<std::uint64_t> tx_limit;   ///< TCP_NOTSENT_LOWAT: position << 16 | 1, how far the ring is to be filled; 0: no limit; stack
  std::atomic<std::uint32_t> tx_lowat;   ///< ... and the option's bytes; stack
  // Names: a seqlock written by the stack; words 0..2 local, 3..5 peer.
  alignas(kCacheLine) std::atomic<std::uint32_t> names_sequence;
  std::atomic<std::uint32_t> errors;  ///< entries of the error queue (IP_RECVERR); stack
  std::atomic<std::uint64_t> names[6];
};
static_assert(sizeof(Slot) == 384 && alignof(Slot) == 64);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

/// The clients' own words: the first few lie with what readers write, the others with what writers write.
inline constexpr std::size_t kClientWordsRx = std::extent_v<decltype(Slot::client)>;
inline constexpr std::size_t kClientWords = kClientWordsRx + std::extent_v<decltype(Slot::tx_client)>;
inline std::atomic<std::uint64_t>& client_word(Slot& slot, std::size_t which) {
  return which < kClientWordsRx ? slot.client[which] : slot.tx_client[which - kClientWordsRx];
}
/// client_word(): how many descriptors processes with the library hold.
inline constexpr std::size_t kHoldersWord = 0;
/// client_word(): not 0 once a second process has had the descriptor.
inline constexpr std::size_t kSharedWord = 1;
/// client_word(): not 0 once a reader may have taken bytes that are no tokens, so that the witness of StackEnd::send_witness()
/// proves nothing.
inline constexpr std::size_t kWitnessWord = 2;

/// Both names of a socket; an unknown one has family 0.
struct Names {
  SharedEndpoint local, peer;
};
/// Stack side; one writer.
void write_names(Slot& slot, const Names& names);
/// Client side. Bounded: after 10,000 failed tries (the stack died while writing) it answers what it saw last.
Names read_names(const Slot& slot);

// ---------------------------------------------------------------------------------------------- rules both sides share

/// The number of unread bytes from which a ring of `size` counts as readable; never more than half of the ring.
constexpr std::uint32_t effective_lowat(std::uint32_t raw, std::size_t size) {
  const std::size_t bound = size / 2 > 0 ? size / 2 : 1;
  return raw == 0 ? 1 : (raw < bound ? raw : static_cast<std::uint32_t>(bound));
}
/// A write that leaves less free bytes than this stalls the descriptor. Stream: a third of the ring, as the host's TCP, which
/// says writable from there on: programs poll and then write some KB to a blocking socket, counting on the room.
/// Datagrams: the largest record, at most half of the ring.
constexpr std::size_t stall_room(bool datagram, std::size_t size) {
  if (!datagram) return size / 3;
  return kDatagramRecordMax < size / 2 ? kDatagramRecordMax : size / 2;
}
/// The stack lifts the stall once this many bytes are free. Stream: half, so that a writer near the edge does not stall each time.
constexpr std::size_t unstall_room(bool datagram, std::size_t size) {
  if (!datagram) return size / 2;
  const std::size_t record = stall_room(true, size), third = size / 3;
  return record > third ? record : third;
}

/// TCP_NOTSENT_LOWAT as the kernel has it: not writable while the unsent bytes are half of it. `limit`: how far the ring may be filled, the
/// end of what was sent and `low_water` bytes more.
constexpr bool over_low_water(std::uint64_t tail, std::uint64_t limit, std::uint32_t low_water) {
  const std::uint64_t ahead = distance(tail, limit);
  return ahead > kPositionMask / 2 || 2 * (low_water - (ahead < low_water ? ahead : low_water)) >= low_water;
}

// ---------------------------------------------------------------------------------------------- the arena

/// First page of an arena. Written once by the daemon before the client sees it.
struct ArenaHeader {
  std::uint32_t magic, version;
  std::uint32_t arena_id;     ///< unique within the client
  std::uint32_t slot_count;
  std::uint32_t first_slot;   ///< the number of slot 0 within the client; the doorbell's bit
  std::uint32_t slot_offset;  ///< of slot 0, bytes from the start
  std::uint64_t size;         ///< of the whole memory file
  std::uint64_t ring_offset;  ///< rings lie from here to the end
  std::uint64_t client_id;
};

/// Memory is virtual until touched: size and slot count bound, they do not cost.
struct ArenaGeometry {
  std::size_t size = std::size_t{64} << 20;
  std::uint32_t slot_count = 256;
};

// ---------------------------------------------------------------------------------------------- the control page

inline constexpr std::uint32_t kClientSlotsMax = 64 * 64 * 64;

/// One shard's doorbell for one client. A set bit says "look at this slot". Levels: `bits` has one bit per slot, `groups` one per
/// word of `bits`, `summary` one per word of `groups`. See doorbell.hpp for the order of accesses and why no ring is lost.
struct alignas(kCacheLine) Doorbell {
  std::atomic<std::uint32_t> need_wake;  ///< odd: armed, the shard may be asleep. Stack arms, client disarms by CAS
  alignas(kCacheLine) std::atomic<std::uint64_t> summary;
  alignas(kCacheLine) std::atomic<std::uint64_t> groups[64];
  std::atomic<std::uint64_t> bits[64 * 64];
};

/// The control file: this header in its first page, then one Doorbell per shard, each at a multiple of kDoorbellStride.
struct ControlHeader {
  std::uint32_t magic, version;
  std::uint64_t client_id;
  std::uint32_t shard_count;
  std::atomic<std::uint32_t> spin_ns;  ///< how long a blocking call should spin before it sleeps; 0: do not; stack
  std::atomic<std::uint32_t> alive;    ///< 1 while the daemon serves this client; stack
  std::atomic<std::uint32_t> urgent;   ///< how many bytes were sent out of band (rx_oob_shown) on all sockets; stack
};

/// The status file: one for the whole daemon, which clients can map for reading only. alive[shard] is a robust futex of the
/// shard's thread: its id | FUTEX_WAITERS while it runs; when the thread ends in any way the kernel changes and wakes it.
/// network: changes with every request that changes addresses, routes or variables, and when a path turns out to take less.
struct StatusPage {
  std::uint32_t magic, version, shard_count;
  std::atomic<std::uint32_t> network;
  alignas(kCacheLine) std::atomic<std::uint32_t> alive[64];
};
inline constexpr std::uint32_t kStatusMagic = 0x53706f69;  // "iopS"
inline constexpr std::size_t kDoorbellStride = (sizeof(Doorbell) + kPage - 1) / kPage * kPage;
constexpr std::size_t control_size(std::uint32_t shards) { return kPage + shards * kDoorbellStride; }
inline Doorbell& doorbell_at(void* control, std::uint32_t shard) {
  return *reinterpret_cast<Doorbell*>(static_cast<std::byte*>(control) + kPage + shard * kDoorbellStride);
}
inline Slot& slot_at(void* arena, const ArenaHeader& header, std::uint32_t index) {
  return *reinterpret_cast<Slot*>(static_cast<std::byte*>(arena) + header.slot_offset + index * sizeof(Slot));
}

}  // namespace iopkt::ipc
