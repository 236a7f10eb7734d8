// Memory for rings: taken, moved, grown with what a connection needs, and given back when it rests.
#include <algorithm>
#include <bit>

#include "client_shard.hpp"

namespace iopkt::daemon {
namespace {

constexpr Duration kTrimDelay = std::chrono::seconds{1};
/// A connection whose rings have grown and that does nothing for so long gives the memory back.
constexpr Duration kRest = std::chrono::seconds{2};
/// An epoch of a ring belongs to one socket of its slot: show_rings() leaves 64 to each, a few of them for SO_SNDBUF.
constexpr unsigned kMovesMost = 48;
/// Once so many are used up a ring that has grown stays as it is.
constexpr unsigned kShrinkMovesMost = 32;

std::size_t ring_size_for(std::size_t bytes) { return std::bit_ceil(std::clamp(bytes, ipc::kRingSizeMin, ipc::kRingSizeMax)); }

}  // namespace

// ---------------------------------------------------------------------------------------------- blocks

ClientSocket::Block ClientShard::take_block(ClientSocket& socket, std::size_t size) {
  Client& owner = *socket.owner.client;
  if (!owner.ring_bytes.take(size, owner.quota.ring_bytes)) return {};
  const auto offset = socket.arena.rings.take(size);
  if (offset) return {*offset, size};
  owner.ring_bytes.give(size);
  return {};
}

/// A block for a ring of `than` bytes that grows by itself to at most `wanted`. What sockets need to be opened at all goes first: half
/// of the arena; and a connection takes no more than a quarter of what is left for all.
ClientSocket::Block ClientShard::take_grown_block(ClientSocket& socket, std::size_t wanted, std::size_t than) {
  Client& owner = *socket.owner.client;
  Arena& arena = socket.arena;
  const std::size_t left = arena.rings.capacity() / 2 - std::min(arena.grown, arena.rings.capacity() / 2);
  const std::size_t size = std::min(ring_size_for(wanted), std::bit_floor(left / 4));
  if (wanted == 0 || size <= than || !owner.grown_bytes.take(size, owner.quota.grown_bytes)) return {};
  ClientSocket::Block block = take_block(socket, size);
  if (block.size() == 0) {
    owner.grown_bytes.give(size);
    return {};
  }
  block.grown = true;
  arena.grown += size;
  list_for_rest(socket);
  return block;
}

void ClientShard::give_block(ClientSocket& socket, ClientSocket::Block& block) {
  const ClientSocket::Block given = std::exchange(block, {});
  if (given.size() == 0) return;
  socket.arena.rings.give(given.offset(), given.size());
  trim_at_ = thread_->now() + kTrimDelay;
  Client& owner = *socket.owner.client;
  owner.ring_bytes.give(given.size());
  if (!given.grown) return;
  owner.grown_bytes.give(given.size());
  socket.arena.grown -= given.size();
}

bool ClientShard::give_rings(ClientSocket& socket, std::size_t send_bytes, std::size_t receive_bytes) {
  const auto take = [&](ClientSocket::Block& block, std::size_t size) {
    if (block.size() == size) return true;
    const ClientSocket::Block taken = take_block(socket, size);
    if (taken.size() == 0) return false;
    give_block(socket, block);
    block = taken;
    return true;
  };
  return take(socket.send_block, ring_size_for(send_bytes)) && take(socket.receive_block, ring_size_for(receive_bytes));
}

// ---------------------------------------------------------------------------------------------- moving

/// False: writers or readers may use the rings, but not from other memory now.
bool ClientShard::may_move_rings(ClientSocket& socket) {
  if (socket.datagram || socket.failed || socket.released || socket.close_called || socket.send.size() == 0) return false;
  if (socket.receive.mode() != ipc::Mode::ring) return false;  // a buffer of the stack's
  if (socket.has_left_block() && !socket.send.old_place_in_use()) give_block(socket, socket.seldom->left_block);
  return true;
}

/// Takes `fresh` as the send ring, or gives it back: more is queued than fits, a writer is still copying to the place before.
bool ClientShard::move_send_ring(ClientSocket& socket, ClientSocket::Block fresh) {
  std::byte* base = socket.arena.base() + fresh.offset();
  const auto epoch = static_cast<std::uint16_t>(socket.send.epoch() + 1);
  // A move that fails has copied, too: a client that lets all of them fail has no more of them.
  ++socket.moves;
  if (socket.has_left_block() || !socket.send.move_ring(base, ipc::RingRef::make(fresh.offset(), fresh.size(), epoch))) {
    give_block(socket, fresh);
    return false;
  }
  // It knows of no more than the ring holds.
  static_cast<void>(stack().move_send_ring(socket.id, {base, static_cast<std::uint32_t>(fresh.size())}));
  ClientSocket::Block left = std::exchange(socket.send_block, fresh);
  if (socket.send.old_place_in_use()) socket.seldom.make().left_block = left;
  else give_block(socket, left);
  // There may be room now for a writer that waits.
  socket.send.consume_to(socket.send.head(), socket.end);
  return true;
}

/// SO_SNDBUF of a connection takes effect at once, as in the kernel. Where it cannot (no memory, more is queued than fits, a writer
/// is still copying to the place before) the ring stays as it is: the size is a wish.
void ClientShard::resize_send_ring(ClientSocket& socket) {
  if (!may_move_rings(socket)) return;
  const std::size_t size = ring_size_for(ring_size(socket, true));
  if (size == socket.send.size() || socket.has_left_block() || socket.moves >= kMovesMost) return;
  if (const ClientSocket::Block fresh = take_block(socket, size); fresh.size() != 0) move_send_ring(socket, fresh);
}

void ClientShard::grow_receive_ring(ClientSocket& socket, std::size_t wanted) {
  // What has arrived has to be the program's before, so that it is copied.
  if ((stack().receive_tail(socket.id) & ipc::kPositionMask) != socket.receive.tail()) return;
  const ClientSocket::Block fresh = take_grown_block(socket, wanted, socket.receive.size());
  if (fresh.size() == 0) return;
  const std::size_t size = fresh.size();
  std::byte* base = socket.arena.base() + fresh.offset();
  const auto epoch = static_cast<std::uint16_t>(socket.receive.epoch() + 1);
  // What the program can read is copied here, what came out of order by the stack. Readers that are still copying from the old
  // place lose their claim; what they read there is the same client's.
  ClientSocket::Block old = std::exchange(socket.receive_block, fresh);
  ++socket.moves;
  if (!socket.receive.move_ring(base, ipc::RingRef::make(fresh.offset(), size, epoch))) {
    std::swap(old, socket.receive_block);
  } else {
    static_cast<void>(stack().move_receive_ring(socket.id, {base, static_cast<std::uint32_t>(size)}));
  }
  give_block(socket, old);
}

/// Larger rings would help. Where there is no memory for them they stay as they are.
void ClientShard::grow_rings(ClientSocket& socket) {
  if (!may_move_rings(socket) || socket.moves >= kMovesMost) return;
  const stack::RingSizes wanted = stack().wanted_rings(socket.id);
  grow_receive_ring(socket, wanted.receive);
  if (socket.has_left_block()) return;
  if (const ClientSocket::Block fresh = take_grown_block(socket, wanted.send, socket.send.size()); fresh.size() != 0)
    move_send_ring(socket, fresh);
}

// ---------------------------------------------------------------------------------------------- resting

void ClientShard::list_for_rest(ClientSocket& socket) {
  if (!std::exchange(socket.rest_listed, true)) resting_.push_back(socket.cookie);
}

/// The send ring goes back to its first size. The receive ring cannot, for its window was offered; it keeps its place and gives its
/// pages back.
void ClientShard::rest(ClientSocket& socket) {
  if (socket.receive_block.grown && socket.receive.unread() == 0 && stack().receive_beyond(socket.id) == 0)
    ipc::punch_hole(socket.arena.fd(), socket.receive_block.offset(), socket.receive_block.size());
  if (!socket.send_block.grown || socket.send.queued() != 0 || socket.has_left_block() || socket.moves >= kShrinkMovesMost) return;
  if (const ClientSocket::Block fresh = take_block(socket, ring_size_for(common_.send_space.load())); fresh.size() != 0)
    move_send_ring(socket, fresh);
}

/// Looks at those whose rings have grown, once in a while.
void ClientShard::look_at_resting() {
  if (resting_.empty() || thread_->now() < rest_at_) return;
  rest_at_ = thread_->now() + kRest;
  std::erase_if(resting_, [&](std::uint64_t cookie) {
    ClientSocket* socket = by_cookie(cookie);
    if (socket == nullptr) return true;
    const std::uint64_t moved = socket->send_tail + socket->receive_head + stack().receive_tail(socket->id) + stack().send_head(socket->id);
    const bool quiet = std::exchange(socket->seldom.make().rest_mark, moved) == moved;
    if (!quiet) return false;
    socket->rest_listed = false;
    if (may_move_rings(*socket)) rest(*socket);
    return true;
  });
}

}  // namespace iopkt::daemon
