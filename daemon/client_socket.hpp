// One socket of a client, as its shard's thread sees it: slot, rings, the descriptor's other end, and how far each has come.
//
// A socket lives from slot_open (or from the connection that a listener got) until all of these have happened, in any order:
//   released     the stack does not know it any more
//   client_done  the program's last descriptor is closed, or it said so, or the client is over
// Only then may its slot and its rings be given to another.
#pragma once

#include <bit>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "base/box.hpp"
#include "client.hpp"
#include "fd.hpp"
#include "ipc/datagram_ring.hpp"
#include "ipc/doorbell.hpp"
#include "ipc/descriptor.hpp"
#include "ipc/messages.hpp"
#include "ipc/receive_ring.hpp"
#include "ipc/send_ring.hpp"
#include "ipc/stream_end.hpp"
#include "poller.hpp"
#include "stack/shard.hpp"

namespace iopkt::daemon {

class ClientShard;
struct ShardClient;

struct ClientSocket final : PollHandler {
  ClientSocket(ShardClient& its_client, Arena& its_arena, std::uint32_t slot_index) : owner(its_client), arena(its_arena), index(slot_index) {}
  ClientSocket(const ClientSocket&) = delete;
  ClientSocket& operator=(const ClientSocket&) = delete;
  ~ClientSocket() { drop_charge(); }

  ShardClient& owner;
  Arena& arena;  ///< one of the owner's
  std::uint64_t cookie = 0;         ///< ours, for the stack
  std::uint64_t nonce = 0;          ///< the slot's, from private memory
  std::uint64_t program_cookie = 0; ///< SO_COOKIE of the program's end; 0: not known
  const std::uint32_t index;
  stack::SocketId id;
  std::uint32_t protocol = 0;
  std::uint16_t domain = 0, type = 0;
  bool datagram = false;

  bool charged = false;  ///< `fd` is counted, from the beginning on: whoever has a socket can attach it
  Fd fd;                 ///< the stack's end; none before the attachment and after a reset
  WatchId watch = 0;
  ipc::StackEnd end;
  ipc::ReceiveRingProducer receive;
  ipc::SendRingConsumer send;
  /// Part of the arena's ring memory.
  struct Block {
    Block() = default;
    /// As RingAllocator::take() gives it.
    Block(std::size_t offset, std::size_t size)
        : page(static_cast<std::uint32_t>(offset / ipc::kPage)), order(static_cast<std::uint8_t>(std::countr_zero(size))) {}
    std::uint32_t page = 0;
    std::uint8_t order = 0;  ///< of its size; 0: there is none
    bool grown = false;      ///< by itself: counted apart
    std::size_t offset() const { return std::size_t{page} * ipc::kPage; }
    std::size_t size() const { return order == 0 ? 0 : std::size_t{1} << order; }
  };
  Block receive_block, send_block;
  std::uint64_t send_tail = 0, receive_head = 0;  ///< 64-bit positions that the stack was told

  /// The data goes through the descriptor itself; the rings are the stack's buffers.
  struct Stream {
    ipc::StreamEnd end;
    std::uint64_t tail = 0;                     ///< how far the receive ring is filled
    bool shut = false, closed = false;          ///< the program will write no more; has closed its last descriptor
    bool aborted = false;                       ///< and left data unread
    bool waits = false;                         ///< the program has to read before more can be given
  };
  /// A datagram whose parts are still coming (MSG_MORE): the first part's header says where it goes.
  struct Parts {
    ipc::RecordHeader header;
    std::vector<std::byte> control, payload;
  };
  /// The error queue (IP_RECVERR), oldest first; none while it is empty.
  struct QueuedError {
    ipc::ErrorAnswer what;
    std::vector<std::byte> payload;
  };
  struct Errors {
    std::deque<QueuedError> queue;
    std::size_t bytes = 0;
  };
  /// What few sockets have.
  struct Seldom {
    std::unique_ptr<Stream> stream;
    std::unique_ptr<Parts> parts;
    std::unique_ptr<Errors> errors;
    Block left_block;                  ///< the send ring's place before, while send.old_place_in_use()
    Fd witness_pipe;                   ///< after a reset, or a FIN: hangs up with the program's last descriptor
    WatchId witness_pipe_watch = 0;
    DescriptorCharge witness_charge;   ///< of the pipe, while the end is there as well
    std::uint64_t rest_mark = 0;       ///< the sum of all positions when look_at_resting() last came by
    std::uint32_t lost_datagrams = 0;  ///< that found the receive ring full
  };
  Box<Seldom> seldom;
  Stream* stream() const { return seldom ? seldom->stream.get() : nullptr; }  ///< null: there are rings
  Parts* parts() const { return seldom ? seldom->parts.get() : nullptr; }
  Errors* errors() const { return seldom ? seldom->errors.get() : nullptr; }
  bool has_left_block() const { return seldom && seldom->left_block.size() != 0; }
  bool has_witness_pipe() const { return seldom && seldom->witness_pipe; }

  std::uint32_t status = 0;        ///< what Slot::status shows, from private memory
  std::uint32_t error = 0;         ///< errno to be shown once there is an end to show it on
  std::uint8_t moves = 0;          ///< of the rings to other memory
  bool rest_listed = false;
  bool released = false, client_done = false, close_called = false;
  bool failed = false;             ///< no end is left, or will be
  bool fin = false, fin_shown = false;
  bool program_shut_write = false; ///< the program said so
  bool witness_byte = false;       ///< see leave_witness_byte()
  bool listened = false;           ///< a listener that the program has shut
  bool hung_up = false;            ///< without a witness: a HUP came that may have been the second half of two shutdowns
  bool flush_listed = false, send_blocked = false;

  CountedPtr<ListenerEntry> listener;  ///< a listening socket's own
  CountedPtr<ListenerEntry> parent;    ///< of a connection that no accept() took yet

  ipc::Slot& slot() const { return arena.slot(index); }
  std::uint32_t slot_number() const { return arena.first_slot + index; }
  std::uint64_t name() const { return ipc::slot_name(arena.id, index); }
  bool attached() const { return static_cast<bool>(fd); }
  void set_status(std::uint32_t set, std::uint32_t clear = 0) {
    status = (status & ~clear) | set;
    slot().status.store(status, std::memory_order_release);
  }
  void drop_charge();
  void ready(std::uint32_t events) override;
};
static_assert(sizeof(ClientSocket) <= 312, "what a socket costs here, beside its slot and what the stack has of it");

/// One client as one shard sees it.
struct ShardClient final : PollHandler {
  ShardClient(ClientShard& shard_side, std::shared_ptr<Client> its_client) : side(shard_side), client(std::move(its_client)) {}
  ClientShard& side;
  const std::shared_ptr<Client> client;
  ipc::Doorbell* bell = nullptr;
  ipc::DoorbellArmer armer;
  WatchId watch = 0;
  bool armed = true;   ///< as make_control leaves it
  bool ended = false;
  std::vector<std::shared_ptr<Arena>> arenas;  ///< of this shard, by first_slot
  std::size_t socket_count = 0;
  /// The next collect() finds what was rung. Who wrote may have disarmed the bell after that was collected: arm it anew.
  void ready(std::uint32_t) override { armed = false; }
};

}  // namespace iopkt::daemon
