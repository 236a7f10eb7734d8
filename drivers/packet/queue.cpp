// One packet socket: its ring, its batches.
#include "queue.hpp"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <new>

#include "../support/openings.hpp"

#ifndef PACKET_IGNORE_OUTGOING /* Linux 4.20 */
#define PACKET_IGNORE_OUTGOING 23
#endif

namespace devnp_packet {

using namespace devnp;

namespace {

constexpr std::uint16_t kVlanEthertype = 0x8100;

template <class T>
int set(int socket, int level, int option, const T& value) {
  return ::setsockopt(socket, level, option, &value, sizeof value) == 0 ? 0 : -errno;
}

/// With CAP_NET_ADMIN above the host's limit, otherwise up to it.
void set_buffer(int socket, int forced, int plain, int bytes) {
  if (set(socket, SOL_SOCKET, forced, bytes) != 0) (void)set(socket, SOL_SOCKET, plain, bytes);
}

}  // namespace

// ---- start and end
// ----------------------------------------------------------------------------------------------

Queue::~Queue() {
  if (ring_ != nullptr) ::munmap(ring_, ring_len_);
}

int Queue::open(const QueueConfig& config, const char** step) {
  *step = "memory";
  scratch_.reset(new (std::nothrow) std::uint8_t[kFrameMax]);
  if (scratch_ == nullptr) return -ENOMEM;
  *step = "packet socket";
  socket_.reset(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket_) return -errno;
  const int fd = socket_.get();
  takes_ = config.takes;
  program_ = config.program;
  if (const int rc = accept_frames(false); rc != 0) return rc;

  tpacket_req ring{};
  ring.tp_frame_size = config.slot_len;
  ring.tp_frame_nr = config.slots;
  ring.tp_block_size = 64 * 1024; /* 64 slots at most are no block of less */
  ring.tp_block_nr = config.slots / (ring.tp_block_size / config.slot_len);
  const struct {
    const char* name;
    int rc;
  } steps[] = {
      {"TPACKET_V2", set(fd, SOL_PACKET, PACKET_VERSION, int{TPACKET_V2})},
      {"PACKET_VNET_HDR", set(fd, SOL_PACKET, PACKET_VNET_HDR, 1)},
      {"PACKET_COPY_THRESH", set(fd, SOL_PACKET, PACKET_COPY_THRESH, 1)},
      {"PACKET_QDISC_BYPASS", config.bypass ? set(fd, SOL_PACKET, PACKET_QDISC_BYPASS, 1) : 0},
      {"PACKET_RX_RING", set(fd, SOL_PACKET, PACKET_RX_RING, ring)},
  };
  for (const auto& s : steps) {
    *step = s.name;
    if (s.rc != 0) return s.rc;
  }
  (void)set(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING,
            1); /* older kernels: receive() looks at the packet's type */
  set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, config.socket_buffer);
  set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, config.socket_buffer);

  *step = "mmap of the ring";
  ring_len_ = std::size_t{ring.tp_block_size} * ring.tp_block_nr;
  void* at = ::mmap(nullptr, ring_len_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return -errno;
  ring_ = static_cast<std::uint8_t*>(at);
  (void)::madvise(at, ring_len_, MADV_DONTFORK);
  slots_ = config.slots;
  slot_len_ = config.slot_len;

  *step = "bind";
  sockaddr_ll ll{};
  ll.sll_family = AF_PACKET;
  ll.sll_protocol = htons(ETH_P_ALL);
  ll.sll_ifindex = config.index;
  return ::bind(fd, reinterpret_cast<const sockaddr*>(&ll), sizeof ll) == 0 ? 0 : -errno;
}

int Queue::join(int* group) {
  // Fragments stay what they are (no PACKET_FANOUT_FLAG_DEFRAG): the other group would see the pieces and this one the whole, and putting
  // them together is the stack's own.
  const unsigned mode = PACKET_FANOUT_HASH;
  const unsigned unique = *group < 0 ? unsigned{PACKET_FANOUT_FLAG_UNIQUEID} : 0u;
  const unsigned value = (*group < 0 ? 0u : static_cast<unsigned>(*group)) | (mode | unique) << 16;
  if (const int rc = set(socket_.get(), SOL_PACKET, PACKET_FANOUT, value); rc != 0) return rc;
  if (*group >= 0) return 0;
  unsigned got = 0;
  socklen_t len = sizeof got;
  if (::getsockopt(socket_.get(), SOL_PACKET, PACKET_FANOUT, &got, &len) != 0) return -errno;
  *group = static_cast<int>(got & 0xffffu);
  return 0;
}

int Queue::accept_frames(bool on) {
  if (on) {
    (void)take_error(); /* binding while the interface was down left ENETDOWN for the first send */
    if (program_ >= 0) return set(socket_.get(), SOL_SOCKET, SO_ATTACH_BPF, program_);
    if (takes_ != Takes::everything) {
      auto filter = openings_filter(takes_ == Takes::openings);
      const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
      return set(socket_.get(), SOL_SOCKET, SO_ATTACH_FILTER, program);
    }
    const int rc = set(socket_.get(), SOL_SOCKET, SO_DETACH_FILTER, 0);
    return rc == -ENOENT ? 0 : rc; /* was on already */
  }
  sock_filter nothing[] = {{BPF_RET | BPF_K, 0, 0, 0}};
  const sock_fprog program{1, nothing};
  return set(socket_.get(), SOL_SOCKET, SO_ATTACH_FILTER, program);
}

std::uint32_t Queue::take_kernel_drops() {
  tpacket_stats stats{};
  socklen_t len = sizeof stats;
  return ::getsockopt(socket_.get(), SOL_PACKET, PACKET_STATISTICS, &stats, &len) == 0 ? stats.tp_drops : 0;
}

int Queue::take_error() {
  int error = 0;
  socklen_t len = sizeof error;
  return ::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &len) == 0 ? error : errno;
}

// ---- receive
// ----------------------------------------------------------------------------------------------------

struct Queue::Slot {
  tpacket2_hdr* header;
  std::uint8_t* start;

  std::uint32_t status() const { return __atomic_load_n(&header->tp_status, __ATOMIC_ACQUIRE); }
  void give_back() const { __atomic_store_n(&header->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE); }
  const std::uint8_t* frame() const { return start + header->tp_mac; }
  bool outgoing() const {
    sockaddr_ll from;
    std::memcpy(&from, start + TPACKET_ALIGN(sizeof(tpacket2_hdr)), sizeof from);
    return from.sll_pkttype == PACKET_OUTGOING;
  }
};

Queue::Slot Queue::slot() const {
  std::uint8_t* at = ring_ + std::size_t{head_ & (slots_ - 1)} * slot_len_;
  return {reinterpret_cast<tpacket2_hdr*>(at), at};
}

/// A frame that lies in its slot as a whole.
iopkt_frame* Queue::take_small(const iopkt_host& host, const Slot& slot) {
  const std::uint32_t len = slot.header->tp_len;
  iopkt_frame* frame = host.alloc(host.ctx, len);
  if (frame == nullptr) {
    counters_.rx_no_buffer.add();
    return nullptr;
  }
  copy_in(frame, 0, slot.frame(), len);
  set_length(frame, len);
  VnetHeader header;
  std::memcpy(&header, slot.frame() - sizeof header, sizeof header);
  if (vnet_to_frame(header, frame)) return frame;
  counters_.rx_errors.add();
  host.release(host.ctx, frame);
  return nullptr;
}

/// A frame that waits in the socket. It is taken from there in any case: the next large one is behind it.
iopkt_frame* Queue::take_large(const iopkt_host& host, const Slot& slot) {
  const std::uint32_t len = slot.header->tp_len;
  iopkt_frame* frame = len <= kFrameMax ? host.alloc(host.ctx, len) : nullptr;
  VnetHeader header{};
  std::size_t room = 0;
  iovec iov[kIovMax];
  iov[0] = {&header, sizeof header};
  const int count = frame != nullptr ? append_room(frame, iov, 1, &room) : 1;
  msghdr message{};
  message.msg_iov = iov;
  message.msg_iovlen = static_cast<std::size_t>(count);
  ssize_t got;
  do got = ::recvmsg(socket_.get(), &message, MSG_DONTWAIT);
  while (got < 0 && errno == EINTR);
  if (frame == nullptr) {
    (len <= kFrameMax ? counters_.rx_no_buffer : counters_.rx_errors).add();
    return nullptr;
  }
  if (got == static_cast<ssize_t>(sizeof header + len)) {
    set_length(frame, len);
    if (vnet_to_frame(header, frame)) return frame;
  }
  counters_.rx_errors.add();
  host.release(host.ctx, frame);
  return nullptr;
}

int Queue::receive(const iopkt_host& host, iopkt_frame** frames, std::uint32_t max) {
  int count = 0;
  for (std::uint32_t tries = 0; tries < max; ++tries) {
    const Slot s = slot();
    const std::uint32_t status = s.status();
    if ((status & TP_STATUS_USER) == 0) break;
    const tpacket2_hdr& h = *s.header;
    iopkt_frame* frame = nullptr;
    const bool foreign_tag = (status & TP_STATUS_VLAN_VALID) != 0 &&
                             (status & TP_STATUS_VLAN_TPID_VALID) != 0 && h.tp_vlan_tpid != kVlanEthertype;
    if ((status & TP_STATUS_COPY) != 0)
      frame = take_large(host, s);
    else if (s.outgoing())
      frame = nullptr; /* our own, on a kernel that shows them */
    else if (h.tp_snaplen != h.tp_len)
      counters_.rx_dropped.add(); /* too long for the slot, and the socket was full */
    else if (h.tp_len < 14)
      counters_.rx_errors.add();
    else
      frame = take_small(host, s);
    if (frame != nullptr && foreign_tag) { /* a service tag (IEEE 802.1ad) has no place in iopkt_frame */
      counters_.rx_errors.add();
      host.release(host.ctx, frame);
      frame = nullptr;
    }
    if (frame != nullptr) {
      frame->time_ns = std::uint64_t{h.tp_sec} * 1'000'000'000 + h.tp_nsec;
      frame->flags |= IOPKT_TIME_VALID;
      if ((status & TP_STATUS_VLAN_VALID) != 0) {
        frame->flags |= IOPKT_VLAN_VALID;
        frame->vlan_tci = h.tp_vlan_tci;
      }
      frames[count++] = frame;
    }
    s.give_back();
    ++head_;
  }
  return count;
}

// ---- transmit
// ---------------------------------------------------------------------------------------------------

/// Makes messages of the first frames that can be sent in one batch; answers how many. 0: the first cannot be
/// sent.
int Queue::gather(iopkt_frame* const* frames, std::uint32_t count) {
  int used = 0, n = 0;
  for (; n < kBatch && n < static_cast<int>(count) && used + kIovMax <= kBatchIov; ++n) {
    if ((frames[n]->flags & IOPKT_VLAN_VALID) != 0 || !vnet_from_frame(frames[n], &headers_[n])) return n;
    iovec* iov = iov_ + used;
    iov[0] = {&headers_[n], sizeof headers_[n]};
    const int entries = append_frame(frames[n], iov, 1, scratch_.get());
    if (entries < 0) return n;
    messages_[n].msg_hdr.msg_iov = iov;
    messages_[n].msg_hdr.msg_iovlen = static_cast<std::size_t>(entries);
    used += entries;
    if (entries == 2 && iov[1].iov_base == scratch_.get()) return n + 1; /* there is one scratch */
  }
  return n;
}

int Queue::transmit(iopkt_frame* const* frames, std::uint32_t count) {
  std::uint32_t done = 0;
  while (done < count) {
    const int batch = gather(frames + done, count - done);
    if (batch == 0) {
      counters_.tx_errors.add();
      ++done;
      continue;
    }
    const int sent = ::sendmmsg(socket_.get(), messages_, static_cast<unsigned>(batch), MSG_DONTWAIT);
    if (sent > 0) {
      done += static_cast<std::uint32_t>(sent);
      continue;
    }
    const int error = errno;
    if (error == EINTR) continue;
    if (error == EAGAIN || error == EWOULDBLOCK) return static_cast<int>(done);
    // The first frame of the batch failed. Down, gone or a full queue of the host: dropped; the rest:
    // refused.
    const bool dropped =
        error == ENOBUFS || error == ENOMEM || error == ENETDOWN || error == ENXIO || error == ENODEV;
    (dropped ? counters_.tx_dropped : counters_.tx_errors).add();
    ++done;
  }
  return static_cast<int>(count);
}

}  // namespace devnp_packet
