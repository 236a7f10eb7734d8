// The control connection ($prefix/dev/socket/config, SOCK_SEQPACKET): every request and answer is one row here.
//
// A message is a FrameHeader, the row's fixed part, a blob, and (answers only) a line for a person. Both ends are one machine
// and one release (hello refuses another), so numbers are in host order; all lengths are checked all the same. A request or
// answer that does not fit one message is split: all its messages but the last have kMore, the fixed part is in the first.
// Every request has a number that its answer repeats; answers come in the order of the requests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

#include "base/expected.hpp"
#include "ipc/layout.hpp"

namespace iopkt::ipc {

inline constexpr std::uint32_t kProtocolVersion = 4;  ///< pinned by test: whoever changes a message raises it
/// No message is longer. The daemon's own limit (recv_ctxt, told in hello's answer) may be less, and then holds for requests.
inline constexpr std::size_t kMessageMax = 65536;
inline constexpr std::size_t kMessageMin = 2048;
/// Bytes of the line for a person.
inline constexpr std::size_t kLineMax = 512;
/// Descriptors with one message: control file, status file, one event descriptor per shard; or one arena.
inline constexpr std::size_t kMessageFdsMax = 66;
inline constexpr std::uint32_t kShardsMax = 64;
/// A request that was split may have this much blob in all.
inline constexpr std::size_t kRequestBlobMax = std::size_t{1} << 20;

// ---------------------------------------------------------------------------------------------- fixed parts
// Only fixed-width numbers without padding. `slot` is slot_name(arena id, index). `reserved` is zero.

/// Nothing.
struct Empty {};

struct HelloRequest {
  std::uint32_t version;        ///< kProtocolVersion
  std::uint32_t flags;          ///< HelloFlag
  std::uint32_t parent_client;  ///< child of a fork: the client it belongs to; else 0
  std::uint32_t reserved;
  std::uint64_t parent_secret;  ///< that client's secret; the credentials must match, too
};
struct HelloFlag {
  static constexpr std::uint32_t utility = 1 << 0;  ///< only management: no control page, no slots
};
struct HelloAnswer {
  std::uint32_t version;
  std::uint32_t client_id;    ///< 0 for a utility
  std::uint64_t secret;       ///< for forked children
  std::uint32_t shard_count;
  std::uint32_t message_max;  ///< requests longer than this must be split
  std::uint64_t pid_namespace;  ///< inode of the daemon's pid namespace
};  // descriptors: control file, status file, then shard_count event descriptors. blob: the prefix

struct SlotOpenRequest {
  std::uint16_t domain, type;  ///< AF_INET ..., SOCK_STREAM ... without flags
  std::uint32_t protocol;
  std::uint64_t cookie;        ///< SO_COOKIE of the AF_UNIX socket that will be attached
};
/// A slot and what the client needs to use it. descriptors: its arena, if this connection has not been given it yet.
struct SlotAnswer {
  std::uint64_t slot;
  std::uint64_t nonce;        ///< for HELLO
  std::uint32_t incarnation;  ///< Slot::incarnation: tells whether a remembered slot is still the same socket
  std::uint32_t reserved;
};
struct ArenaRequest {
  std::uint32_t arena_id, reserved;
};  // answer: Empty and the descriptor
struct SlotRequest {
  std::uint64_t slot;
};
struct CloseRequest {
  std::uint64_t slot;
  std::uint32_t incarnation;  ///< Slot::incarnation of the socket meant: the slot may be another's by now, and stays as it is then
  std::uint32_t reserved;
};
struct AddressRequest {
  static constexpr std::uint32_t only_port = 1;  ///< bind: choose the port that a first datagram would choose; no blob is read
  static constexpr std::uint32_t fast_open = 2;  ///< connect: MSG_FASTOPEN
  /// connect, with fast_open: the call has no byte that the SYN could wait for. Alone: a SYN that waits does so no longer; no blob is read,
  /// and the answer is EINPROGRESS if there was one.
  static constexpr std::uint32_t no_data = 4;
  std::uint64_t slot;
  std::uint32_t flags;
  std::uint32_t reserved;
};  // blob: the sockaddr as the program gave it
struct CheckRequest {
  static constexpr std::uint32_t quiet = 1;  ///< no entry in the error queue
  static constexpr std::uint32_t extensions = 2;  ///< only whether the caller may ask for send_datagram: EPERM
  static constexpr std::uint32_t flow_label = 4;  ///< only whether the caller may send with the flow label `length`: EINVAL
  static constexpr std::uint32_t segment_shift = 16;  ///< the upper half: UDP_SEGMENT, 0: in one
  std::uint64_t slot;
  std::uint32_t flags;
  std::uint32_t length;  ///< of the datagram, bytes
};  // blob: the sockaddr as the program gave it
struct DatagramRequest {
  std::uint64_t slot;
};  // blob: RecordHeader, control_len bytes of ControlItems, the payload
struct ListenRequest {
  std::uint64_t slot;
  std::int32_t backlog;
  std::uint32_t flags;
};  // the descriptor is attached before; connections come through it (offer.hpp)
struct ShutdownRequest {
  std::uint64_t slot;
  std::uint32_t how;  ///< SHUT_RD 0, SHUT_WR 1, SHUT_RDWR 2
  std::uint32_t reserved;
};
struct OptionRequest {
  std::uint64_t slot;
  std::int32_t level, name;
  std::uint32_t capacity;  ///< getsockopt: the program's optlen
  std::uint32_t reserved;
};
struct IoctlRequest {
  std::uint64_t slot;  ///< kNoSlot: on no socket of ours
  std::uint64_t code;
  std::uint64_t capacity;  ///< bytes of answer that the program has room for, beyond the blob it sent (SIOCGIFCONF)
};  // blob: the program's struct; behind a struct rtentry IFNAMSIZ bytes, the name of its rt_dev (which is 0 in the struct)
inline constexpr std::uint64_t kNoSlot = ~std::uint64_t{0};
struct IoctlAnswer {
  std::int32_t result;  ///< what ioctl returns when the errno is 0
  std::uint32_t reserved;
};
inline constexpr std::size_t kErrorPayloadMax = 4096;  ///< more does not come back of a datagram
/// One entry of an error queue: struct sock_extended_err, whom the datagram was for, and the ICMP message that tells of it.
struct ErrorAnswer {
  std::uint32_t error, info;
  std::uint8_t origin, type, code;
  std::uint8_t ttl, tos;
  std::uint8_t reserved[3];
  std::uint32_t ifindex;
  std::uint16_t extension_at;            ///< RFC 4884: in the blob; 0: none are known
  std::uint8_t extension_bad, reserved2;
  std::int64_t timestamp_ns;             ///< since 1970; 0: not stamped
  SharedEndpoint to, offender, local;    ///< offender: family 0, an error of our own; local: to whom the message came
};  // blob: what came back of the datagram
struct AdoptRequest {
  std::uint64_t slot;   ///< from the AcceptHello
  std::uint64_t nonce;  ///< from the AcceptHello: proves that this process accepted it
};
struct LookupEntry {
  std::uint64_t cookie;
  std::uint64_t slot;  ///< kNoSlot: not ours
};  // lookup: request blob LookupEntry[] (slot ignored), answer blob LookupEntry[] in the same order
struct AttachBeginRequest {
  std::uint64_t cookie;
};
struct AttachBeginAnswer {
  std::uint64_t nonce;  ///< to send as ATTACH through the descriptor; then attach_finish with the same number
};
struct AttachFinishRequest {
  std::uint64_t nonce;
};
struct ModeRequest {
  std::uint64_t slot;
  std::uint32_t mode;  ///< Mode
  std::uint32_t reserved;
};

// ---------------------------------------------------------------------------------------------- the rows

// X(number, name, Request, Answer, blob of the request, blob of the answer, descriptors of the request, of the answer)
// Blobs: none, text (UTF-8 without NUL), bytes, records (records.hpp). Numbers are never reused.
#define IOPKT_IPC_MESSAGES(X)                                                  \
  X(1, hello, HelloRequest, HelloAnswer, none, text, 0, 66)                    \
  X(2, slot_open, SlotOpenRequest, SlotAnswer, none, none, 0, 1)               \
  X(3, arena, ArenaRequest, Empty, none, none, 0, 1)                           \
  X(4, bind, AddressRequest, Empty, bytes, none, 0, 0)                         \
  X(5, connect, AddressRequest, Empty, bytes, none, 0, 0)                      \
  X(6, listen, ListenRequest, Empty, none, none, 0, 0)                         \
  X(7, shutdown, ShutdownRequest, Empty, none, none, 0, 0)                     \
  X(8, close, CloseRequest, Empty, none, none, 0, 0)                           \
  X(9, getsockname, SlotRequest, Empty, none, bytes, 0, 0)                     \
  X(10, getpeername, SlotRequest, Empty, none, bytes, 0, 0)                    \
  X(11, setsockopt, OptionRequest, Empty, bytes, bytes, 0, 0)                  \
  X(12, getsockopt, OptionRequest, Empty, bytes, bytes, 0, 0)                  \
  X(13, ioctl, IoctlRequest, IoctlAnswer, bytes, bytes, 0, 0)                  \
  X(14, accept_adopt, AdoptRequest, SlotAnswer, none, none, 0, 1)              \
  X(15, lookup, Empty, Empty, bytes, bytes, 0, 0)                              \
  X(16, attach_begin, AttachBeginRequest, AttachBeginAnswer, none, none, 0, 0) \
  X(17, attach_finish, AttachFinishRequest, SlotAnswer, none, none, 0, 1)      \
  X(18, set_mode, ModeRequest, Empty, none, none, 0, 0)                        \
  X(19, sysctl_get, Empty, Empty, text, records, 0, 0)                         \
  X(20, sysctl_set, Empty, Empty, records, records, 0, 0)                      \
  X(21, sysctl_list, Empty, Empty, text, records, 0, 0)                        \
  X(22, manage, Empty, Empty, records, records, 1, 1)                          \
  X(23, check_destination, CheckRequest, Empty,   bytes, none, 0, 0)           \
  X(24, take_error, SlotRequest, ErrorAnswer, none, bytes, 0, 0)               \
  X(25, send_datagram, DatagramRequest, Empty, bytes, none, 0, 0)
// slot_open: a new socket; then connect() the AF_UNIX socket to the node and send HELLO.
// arena: the memory file of an arena that this process does not have (forked child, accepted socket).
// connect: 0 done (a stream: its SYN waits for the first bytes), EINPROGRESS: watch Slot::status and the descriptor. AF_UNSPEC dissolves a datagram
// association. close: the client knows of no descriptor any more. Believed where no end is left to show it;
// otherwise answered when the stack
//   has looked at the end, which others may hold (a child, a message on its way).
// check_destination: would a datagram to this address be refused? Sends nothing.
// send_datagram: one with extension headers or a source route, behind what the ring holds: a record there does not say who wrote it, and so
// has none. EPERM: without CAP_NET_RAW. EINVAL: a routing header, which is no matter of one datagram.
// take_error: the oldest entry of the error queue; EAGAIN: none. Slot::error is then the next one's, or 0.
// sysctl_get, sysctl_list: blob is a name or the beginning of names (whole words). sysctl_set: records name,
// value. Answer of all three: a list "variables" of groups {name, value, type, ...}, of sysctl_set {name,
// old, value, type}. manage: first record is text "verb"; the rest are its arguments. Answer: records. The
// verbs: src/control/verbs.cpp, "mount".

enum class MessageId : std::uint16_t {
#define IOPKT_ROW(number, name, ...) name = number,
  IOPKT_IPC_MESSAGES(IOPKT_ROW)
#undef IOPKT_ROW
};

enum class BlobKind : std::uint8_t { none, text, bytes, records };

struct MessageRow {
  MessageId id;
  std::string_view name;
  std::uint16_t request_size, answer_size;  ///< of the fixed parts
  BlobKind request_blob, answer_blob;
  std::uint8_t request_fds, answer_fds;  ///< most that may come along
};

/// The row of a number; nullptr: there is none.
const MessageRow* message_row(std::uint16_t id);
std::span<const MessageRow> message_rows();

template <MessageId Id>
struct MessageTypes;
#define IOPKT_ROW(number, name, Req, Ans, ...)   \
  template <>                                    \
  struct MessageTypes<MessageId::name> {         \
    using Request = Req;                         \
    using Answer = Ans;                          \
  };
IOPKT_IPC_MESSAGES(IOPKT_ROW)
#undef IOPKT_ROW

template <class Fixed>
constexpr std::size_t fixed_size() {
  static_assert(std::is_trivially_copyable_v<Fixed>);
  if constexpr (std::is_empty_v<Fixed>) {
    return 0;
  } else {
    static_assert(std::has_unique_object_representations_v<Fixed>, "no padding on the wire");
    return sizeof(Fixed);
  }
}

// ---------------------------------------------------------------------------------------------- frames

inline constexpr std::uint16_t kAnswer = 1 << 0;
inline constexpr std::uint16_t kMore = 1 << 1;          ///< another message of the same number follows
inline constexpr std::uint16_t kContinuation = 1 << 2;  ///< not the first message of its number: no fixed part

struct FrameHeader {
  std::uint32_t magic = kMagic;
  std::uint16_t id{};
  std::uint16_t flags{};
  std::uint32_t number{};     ///< of the request
  std::uint32_t error{};      ///< answers: 0 or a Linux errno, 1..4095. With an error the fixed part is left out
  std::uint32_t fixed_len{};
  std::uint32_t blob_len{};
  std::uint32_t line_len{};   ///< answers: for a person, at most kLineMax
  std::uint32_t reserved{};
  static constexpr std::uint32_t kMagic = 0x4d706f69;
};
static_assert(sizeof(FrameHeader) == 32);

/// One message, pointing into the bytes it was decoded from.
struct Frame {
  FrameHeader header;
  const MessageRow* row{};
  std::span<const std::byte> fixed, blob;
  std::string_view line;
  bool answer() const { return (header.flags & kAnswer) != 0; }
  bool more() const { return (header.flags & kMore) != 0; }
};

enum class FrameError : std::uint8_t {
  truncated,        ///< shorter than a header
  bad_magic,
  unknown_message,
  bad_flags,        ///< unknown flag, or reserved is not zero
  bad_length,       ///< the lengths do not add up to the message
  bad_fixed,        ///< the fixed part is not the row's
  unexpected_blob,  ///< the row has none
  bad_text,         ///< a text blob or line with a NUL
  unexpected_error, ///< a request with an errno or a line, or one above 4095
  too_many_fds,
};
std::string_view to_string(FrameError error);

/// Takes one message apart and checks it against its row. Never reads outside `message`; allocates nothing.
Expected<Frame, FrameError> decode_frame(std::span<const std::byte> message, std::size_t fds = 0);

/// Writes one message; returns its length, or 0 if it does not fit `out` or a part is not allowed by the row.
std::size_t encode_frame(std::span<std::byte> out, FrameHeader header, std::span<const std::byte> fixed,
                         std::span<const std::byte> blob = {}, std::string_view line = {});

/// The bytes of a fixed part.
template <class Fixed>
std::span<const std::byte> fixed_bytes(const Fixed& value) {
  return {reinterpret_cast<const std::byte*>(&value), fixed_size<Fixed>()};
}
/// The fixed part of a decoded frame. Precondition: decode_frame accepted it as a first message without error of the row that
/// has this type; otherwise false.
template <class Fixed>
[[nodiscard]] bool fixed_of(const Frame& frame, Fixed& out) {
  if (frame.fixed.size() != fixed_size<Fixed>()) return false;
  if (!frame.fixed.empty()) std::memcpy(static_cast<void*>(&out), frame.fixed.data(), frame.fixed.size());
  return true;
}

template <MessageId Id>
std::size_t encode_request(std::span<std::byte> out, std::uint32_t number,
                           const typename MessageTypes<Id>::Request& fixed, std::span<const std::byte> blob = {}) {
  return encode_frame(out, {.id = static_cast<std::uint16_t>(Id), .number = number}, fixed_bytes(fixed), blob);
}
template <MessageId Id>
std::size_t encode_answer(std::span<std::byte> out, std::uint32_t number,
                          const typename MessageTypes<Id>::Answer& fixed, std::span<const std::byte> blob = {}) {
  return encode_frame(out, {.id = static_cast<std::uint16_t>(Id), .flags = kAnswer, .number = number},
                      fixed_bytes(fixed), blob);
}
/// An answer that says no. `line` may be empty; cut at kLineMax.
std::size_t encode_refusal(std::span<std::byte> out, MessageId id, std::uint32_t number, int error,
                           std::string_view line = {});

// ---------------------------------------------------------------------------------------------- the channel

/// Sends one message with descriptors. 0 or an errno; restarts after EINTR. Non-blocking if the descriptor is: EAGAIN.
int send_message(int fd, std::span<const std::byte> message, std::span<const int> fds = {});

inline constexpr std::uint32_t kNoUser = ~std::uint32_t{0};
struct Received {
  std::size_t bytes{}, fds{};
  /// Who sent it, if `fd` has SO_PASSCRED (unix(7)): the process, and its real user and group at that moment.
  std::int32_t process = 0;
  std::uint32_t user = kNoUser, group = kNoUser;
};
/// Receives one message. `fds` gets the descriptors, close-on-exec; those beyond its room are closed and the message answers
/// EMSGSIZE, as one that does not fit `buffer`. 0 or an errno; ENOTCONN: the other side is gone. Restarts after EINTR.
int receive_message(int fd, std::span<std::byte> buffer, std::span<int> fds, Received& out, int flags = 0);

/// Sends a request, split into messages of at most `message_max` bytes if need be. `scratch` holds one message (at most kMessageMax
/// is used). 0 or an errno. `operations`, if given: how many messages were sent is added. `plain`: see call().
int send_split(int fd, std::span<std::byte> scratch, std::size_t message_max, FrameHeader header,
               std::span<const std::byte> fixed, std::span<const std::byte> blob, std::string_view line = {},
               std::span<const int> fds = {}, std::size_t* operations = nullptr, bool plain = false);

/// A blocking request and its answer on a connection that nobody else uses meanwhile (the caller holds its lock).
/// `scratch`: kMessageMax bytes or less. The answer's blob is copied to `blob_out`, as far as it fits. `plain`: no system calls but
/// read and write, unless the answer may bring descriptors; then a peer that is gone raises SIGPIPE.
struct CallResult {
  int transport{};         ///< not 0: the connection is unusable (errno); the rest is meaningless
  int error{};             ///< the answer's errno
  std::size_t blob_len{};  ///< of the whole blob; more than blob_out: it was cut
  std::size_t fds{};
  std::size_t line_len{};  ///< copied to `line_out`
};
CallResult call(int fd, std::span<std::byte> scratch, std::size_t message_max, MessageId id, std::uint32_t number,
                std::span<const std::byte> fixed, std::span<const std::byte> blob, std::span<std::byte> fixed_out,
                std::span<std::byte> blob_out, std::span<int> fds_out, std::span<char> line_out = {}, bool plain = false);

/// The same, typed.
template <MessageId Id>
CallResult call(int fd, std::span<std::byte> scratch, std::size_t message_max, std::uint32_t number,
                const typename MessageTypes<Id>::Request& request, std::span<const std::byte> blob,
                typename MessageTypes<Id>::Answer& answer, std::span<std::byte> blob_out = {},
                std::span<int> fds_out = {}, std::span<char> line_out = {}, bool plain = false) {
  return call(fd, scratch, message_max, Id, number, fixed_bytes(request), blob,
              std::span<std::byte>{reinterpret_cast<std::byte*>(&answer),
                                   fixed_size<typename MessageTypes<Id>::Answer>()},
              blob_out, fds_out, line_out, plain);
}

}  // namespace iopkt::ipc
