// What this process shares with the stack: its control connection, and the memory that came over it.
//
// A *link* is one life of a stack as this process knows it: control page, doorbell descriptors, client
// number. When the stack is started again, the next socket() makes a new link; sockets of the old one stay as
// they were left, dead. A forked child keeps links and arenas (the memory is shared) and makes a control
// connection of its own when it needs one. A vfork child shares all memory with its parent but not the
// descriptors: it changes nothing here.
#pragma once

#include <signal.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "client/channel.hpp"
#include "ipc/arena.hpp"
#include "ipc/descriptor.hpp"
#include "ipc/layout.hpp"
#include "ipc/messages.hpp"
#include "shim/table.hpp"

namespace iopkt::shim {

struct Link {
  ipc::Mapping control;
  ipc::Mapping status;  ///< for reading only
  std::uint32_t client_id{};
  std::uint64_t secret{};
  std::uint32_t shard_count{};
  int event_fds[ipc::kShardsMax]{};

  /// The futex of one shard's life.
  const std::atomic<std::uint32_t>& life(std::uint32_t shard) const {
    return ipc::status_page(status).alive[shard < shard_count ? shard : 0];
  }
  /// False once the stack has ended, in whatever way.
  bool alive() const {
    return ipc::control_header(control).alive.load(std::memory_order_acquire) != 0 &&
           ipc::shard_alive(life(0));
  }
};

struct Arena {
  std::atomic<std::byte*> base;  ///< null: not used. The last member to be set
  std::size_t size{};
  Link* link{};
  std::uint32_t id{};
};

extern Arena g_arenas[Entry::kArenasMax];

/// What a call needs to know of the socket behind an entry. A plain value for one call.
struct Socket {
  ipc::Slot* slot;
  std::byte* arena;
  std::size_t arena_size;
  Link* link;
  std::uint64_t name;    ///< slot_name: what requests call it
  std::uint32_t number;  ///< the doorbell's bit
  bool datagram;

  std::uint32_t status() const { return slot->status.load(std::memory_order_acquire); }
  std::uint32_t shard() const { return slot->shard.load(std::memory_order_relaxed); }
  const std::atomic<std::uint32_t>& life() const { return link->life(shard()); }
  /// False once nobody will ever answer on this socket: its shard, or the whole stack, has ended.
  bool alive() const { return ipc::shard_alive(life()); }
  ipc::ProgramEnd end(int fd, ipc::Calls calls = ipc::Calls::all) const {
    return {fd, *slot, link->control.base, link->event_fds, number, calls};
  }
};
/// The socket of an entry that is ours().
Socket socket_of(Entry entry);

/// Words of a slot that only clients use (ipc::client_word()): agreed between the processes that share a socket.
struct ClientWord {
  /// Descriptors in processes with this library; may be too high after a kill or an exec.
  static constexpr std::size_t holders = ipc::kHoldersWord;
  static constexpr std::size_t shared = ipc::kSharedWord;  ///< not 0 once a second process has had it
  static constexpr std::size_t hints = 3;          ///< Hint
  static constexpr std::size_t receive_limit = 4;  ///< SO_RCVTIMEO in microseconds; 0: none
  static constexpr std::size_t wishes = 5;         ///< Wish
  // Of those who send:
  static constexpr std::size_t send_limit = ipc::kClientWordsRx;  ///< SO_SNDTIMEO
  static constexpr std::size_t rules = send_limit + 1;  ///< raised by what changes where a datagram may go: options, bind, connect
  static constexpr std::size_t segment = rules + 1;     ///< UDP_SEGMENT
};
struct Hint {
  static constexpr std::uint64_t connect_unconfirmed =
      1 << 0;                                           ///< EINPROGRESS was answered, the outcome not yet
  static constexpr std::uint64_t timestamp = 1 << 1;    ///< SO_TIMESTAMP: struct timeval
  static constexpr std::uint64_t timestampns = 1 << 2;  ///< SO_TIMESTAMPNS: struct timespec
  static constexpr std::uint64_t linger = 1 << 3;       ///< close() waits; seconds in bits 32..63
  static constexpr std::uint64_t want_gro = 1 << 4;     ///< UDP_GRO
  static constexpr std::uint64_t connect_refused =
      1 << 5;  ///< the outcome of a connect was told: the next one starts anew
  static constexpr std::uint64_t want_pktinfo = 1 << 6;  ///< IP_PKTINFO
  static constexpr std::uint64_t want_ttl = 1 << 7;      ///< IP_RECVTTL
  static constexpr std::uint64_t want_tos = 1 << 8;      ///< IP_RECVTOS
  static constexpr std::uint64_t nonblocking = 1 << 9;   ///< O_NONBLOCK, as last set
  static constexpr std::uint64_t want_origdst = 1 << 10; ///< IP_RECVORIGDSTADDR
  static constexpr std::uint64_t want_ovfl = 1 << 11;    ///< SO_RXQ_OVFL
  static constexpr std::uint64_t want_options = 1 << 12;         ///< IP_RECVOPTS
  static constexpr std::uint64_t want_return_options = 1 << 13;  ///< IP_RETOPTS
  static constexpr std::uint64_t syn_held = 1 << 14;  ///< the SYN waited for data when connect() returned
  static constexpr std::uint64_t want_pktinfo6 = 1 << 16;   ///< IPV6_RECVPKTINFO
  static constexpr std::uint64_t want_hop_limit = 1 << 17;  ///< IPV6_RECVHOPLIMIT
  static constexpr std::uint64_t want_class = 1 << 18;      ///< IPV6_RECVTCLASS
  static constexpr std::uint64_t want_origdst6 = 1 << 19;   ///< IPV6_RECVORIGDSTADDR
  static constexpr std::uint64_t error_queue = 1 << 20;  ///< IP_RECVERR
  static constexpr std::uint64_t dont_fragment = 1 << 21;  ///< IP_MTU_DISCOVER: what is too long is refused
  static constexpr std::uint64_t header_included = 1 << 22;  ///< IP_HDRINCL: the same
  static constexpr std::uint64_t cork = 1 << 23;  ///< UDP_CORK
  static constexpr std::uint64_t error_queue6 = 1 << 24;    ///< IPV6_RECVERR
  static constexpr std::uint64_t dont_fragment6 = 1 << 25;  ///< IPV6_MTU_DISCOVER: as dont_fragment
  static constexpr std::uint64_t dont_cut6 = 1 << 26;       ///< IPV6_DONTFRAG
  static constexpr std::uint64_t sized_send = 1 << 28, sized_receive = 1 << 29;  ///< SO_SNDBUF, SO_RCVBUF: else the stack chooses
};
/// What recvmsg() gives with a datagram of IPv6 beside what Hint says: RFC 3542 sections 7 to 9, and as RFC 2292 had it.
struct Wish {
  static constexpr std::uint64_t hop_options = 1 << 0, routing = 1 << 1, destination_options = 1 << 2, flow_info = 1 << 3;
  static constexpr std::uint64_t send_flow_info = 1 << 9;  ///< IPV6_FLOWINFO_SEND
  static constexpr std::uint64_t old_packet_info = 1 << 4, old_hop_limit = 1 << 5, old_hop_options = 1 << 6, old_routing = 1 << 7,
                                 old_destination_options = 1 << 8;
};
inline std::atomic<std::uint64_t>& client_word(const Socket& s, std::size_t which) {
  return ipc::client_word(*s.slot, which);
}

// ---------------------------------------------------------------------------------------------- signals and
// locks

/// Blocks every signal while it lives, so that a handler never meets a lock of its own thread.
class NoSignals {
 public:
  NoSignals();
  ~NoSignals();
  NoSignals(const NoSignals&) = delete;
  NoSignals& operator=(const NoSignals&) = delete;

 private:
  std::uint64_t saved_;
};

/// Keeps errno as it was.
class KeepErrno {
 public:
  KeepErrno();
  ~KeepErrno();
  KeepErrno(const KeepErrno&) = delete;
  KeepErrno& operator=(const KeepErrno&) = delete;

 private:
  int saved_;
};

/// True in the child of vfork() (or clone(CLONE_VM) without CLONE_FILES), whose descriptors are not those of
/// the tables here. One system call.
bool in_vfork_child();

// ---------------------------------------------------------------------------------------------- requests

/// The control connection with its lock held and signals blocked. Opens it when there is none.
class Request {
 public:
  Request();
  ~Request();
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  /// 0, or the errno of what a socket call should fail with when there is no stack: EAFNOSUPPORT (none runs
  /// there), EACCES, ENETDOWN. A line on standard error has said why, once per process.
  int error() const { return error_; }
  Link* link() const;

  /// One request on the open connection; 0 or an errno (the answer's; ENETDOWN when the stack went away).
  template <ipc::MessageId Id>
  int call(const typename ipc::MessageTypes<Id>::Request& request,
           typename ipc::MessageTypes<Id>::Answer& answer, std::span<const std::byte> blob = {},
           std::span<std::byte> blob_out = {}, std::size_t* blob_len = nullptr) {
    if (error_ != 0) return error_;
    fd_count_ = 0;
    const ipc::CallResult r =
        channel().call<Id>(scratch(), request, answer, blob, blob_out, std::span<int>{fds_, std::size(fds_)});
    if (blob_len != nullptr) *blob_len = r.blob_len;
    return finish(r);
  }
  /// Turns a SlotAnswer of the last call, and the arena that may have come with it, into an entry. ENFILE,
  /// ENOMEM, EPROTO.
  int entry_from(const ipc::SlotAnswer& answer, bool datagram, Entry& out);

 private:
  client::Channel& channel();
  static std::span<std::byte> scratch();
  int finish(const ipc::CallResult& result);
  int map_arena(std::uint32_t id);

  NoSignals no_signals_;
  int cancel_state_ = 0;
  int error_ = 0;
  bool own_ = false;  ///< a vfork child's connection, for this one request: it may have closed its parent's
                      ///< descriptor
  int fds_[2] = {-1, -1};
  std::size_t fd_count_ = 0;
};

/// The index of a mapped arena of the current or any other link; -1: not mapped here.
int find_arena(const Link* link, std::uint32_t id);

/// How often the stack has sent a byte out of band (Slot::rx_oob_shown) to any socket of this client, about; 0: never, or the
/// process is confined.
std::uint32_t urgent_count();

/// True while the stack that this process's sockets belong to is alive.
bool has_stack();

/// Settings of the environment, read once.
struct Settings {
  bool preloaded;    ///< LD_PRELOAD named this library: a program without that variable will not have it
  bool quiet;        ///< IOPKT_QUIET
  bool kernel_inet;  ///< IOPKT_KERNEL names inet, and so on
  bool kernel_inet6;
  bool kernel_packet;
  bool kernel_netlink;
  char prefix[128];  ///< of prefix_from(SOCK)
};
const Settings& settings();
using Prefix = char[128];
/// What a value of SOCK (null: not set) means: absolute, without slashes at its end.
void prefix_from(const char* sock, Prefix& out);
/// True if a value of LD_PRELOAD (null: not set) names this library.
bool names_library(const char* preload);

/// One line on standard error, "libiopkt-socket: ...", unless IOPKT_QUIET. Each `once` flag lets one line
/// through per process.
void say(std::atomic<bool>& once, std::string_view what, std::string_view detail = {});

/// The control connection goes on without system calls that a filter may not let through (seccomp).
void speak_plainly();
/// True if this process (not its parent) has a control connection.
bool has_connection();

/// Before the process gives up rights that reaching the control node may need (setuid, chroot): makes sure there
/// is a connection.
void connect_before_losing_rights();

/// Moves a descriptor of this library out of the program's way (a high number, close-on-exec) and hides it.
/// The new number.
int hide_fd(int fd);
/// The program wants the number of a hidden descriptor: moves it elsewhere. False: no number is free.
bool move_hidden(int fd);

}  // namespace iopkt::shim
