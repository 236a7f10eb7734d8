// devnp-tap: a TAP interface of the host is the other end of the wire. Checksums and segmentation are left to
// the kernel through the virtio-net header, so one system call moves up to 64 KB. Linux
// Documentation/networking/tuntap.rst.
//
// Everything that is done to the host hangs on the queue descriptors: when they close, even by SIGKILL, the
// interface is gone with its address. An interface that exists already (`ip tuntap add … user …`, no
// privilege needed then) is used as it is and left as it was.

#include <fcntl.h>
#include <iopkt/driver.h>
#include <iopkt/version.h>
#include <linux/if_tun.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <new>

#include "../support/frame_io.hpp"
#include "../support/host_if.hpp"
#include "../support/link_drops.hpp"
#include "../support/log.hpp"
#include "../support/mac.hpp"
#include "../support/netns.hpp"
#include "../support/steering.hpp"
#include "../support/vnet.hpp"

#ifndef TUN_F_USO4 /* Linux 6.2 */
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

namespace {

using namespace devnp;

constexpr std::uint32_t kMtuMin = 68, kMtuDefault = 1500;
constexpr std::uint32_t kMtuMax = 65535 - 14; /* the kernel's bound for TAP */
constexpr std::uint32_t kQueuesMax = 64;
/// After a large frame this many allocations are for large frames; each small frame takes one off.
constexpr unsigned kLargeCredit = 16;

enum Option { kHostip, kIfname, kNetns, kOffload, kQueues, kUp, kOptionCount };

constexpr iopkt_driver_option kOptions[kOptionCount] = {
    {"hostip", "address/length", "IPv4 address for the host's end, which is then brought up.",
     IOPKT_OPTION_TEXT, 0, 1, 18, nullptr},
    {"ifname", nullptr, "Name of the host's end; %d is replaced by the first free number.", IOPKT_OPTION_TEXT,
     0, 1, IFNAMSIZ - 1, "iop%d"},
    {"netns", nullptr, "Network namespace of the host's end: a path, or a name below /run/netns.",
     IOPKT_OPTION_TEXT, 0, 1, 500, nullptr},
    {"offload", nullptr, "Leave checksums and segmentation to the kernel, and take large frames from it.",
     IOPKT_OPTION_FLAG, 1, 0, 1, nullptr},
    {"queues", "queues", "Queues of the interface; 0: one for each shard of the stack.", IOPKT_OPTION_NUMBER,
     0, 0, kQueuesMax, nullptr},
    {"up", nullptr, "Bring the host's end up.", IOPKT_OPTION_FLAG, 1, 0, 1, nullptr},
};

struct Queue {
  UniqueFd fd;
  unsigned large_credit = 0;
  QueueCounters counters;
  std::atomic<std::uint64_t> taken{0}; /* frames, whatever became of them */
  std::unique_ptr<std::uint8_t[]>
      scratch; /* kFrameMax bytes: the tail of a larger frame, or a frame in many pieces */
};

struct Tap {
  const iopkt_host* host = nullptr;
  Log log;
  HostIf host_end;
  bool ours = false; /* created by us: its MTU and flags may be changed */
  bool offload = false, uso = false;
  std::uint32_t queue_count = 1;
  std::uint32_t receive_count = 1; /* 2: the second of one queue's is for openings */
  std::atomic<std::uint32_t> mtu{kMtuDefault}; /* the control thread sets it while queues are polled */
  std::uint8_t mac[6] = {};
  char description[96] = {};
  KnownPeers known;
  LinkDrops drops; /* the control thread's */
  Queue queues[kQueuesMax];
};

// ---- receive
// ----------------------------------------------------------------------------------------------------

/// Copies a frame that was longer than expected into one that holds it. Gives the first one back.
iopkt_frame* regrow(Tap& tap, Queue& q, iopkt_frame* small, std::uint32_t room, std::uint32_t len) {
  const iopkt_host& host = *tap.host;
  iopkt_frame* big = host.alloc(host.ctx, len);
  if (big != nullptr) {
    std::uint32_t at = 0;
    for (int i = 0; i < small->piece_count && at < room; ++i) {
      copy_in(big, at, small->piece[i].data, small->piece[i].capacity);
      at += small->piece[i].capacity;
    }
    copy_in(big, room, q.scratch.get(), len - room);
  } else {
    q.counters.rx_no_buffer.add();
  }
  host.release(host.ctx, small);
  return big;
}

enum class Read { frame, lost, nothing, broken };

/// One frame from the descriptor. `lost`: there was one and it is counted as lost.
Read read_frame(Tap& tap, Queue& q, iopkt_frame** out) {
  const iopkt_host& host = *tap.host;
  const std::uint32_t usual = tap.mtu.load(std::memory_order_relaxed) + 14 + 8;
  iopkt_frame* frame = q.large_credit > 0 ? host.alloc(host.ctx, kFrameMax) : nullptr;
  if (frame == nullptr) frame = host.alloc(host.ctx, usual);

  VnetHeader header{};
  std::size_t room = 0;
  iovec iov[kIovMax + 1];
  iov[0] = {&header, sizeof header};
  int count = frame != nullptr ? append_room(frame, iov, 1, &room) : 1;
  if (room < kFrameMax) iov[count++] = {q.scratch.get(), kFrameMax - room};

  ssize_t got;
  do got = ::readv(q.fd.get(), iov, count);
  while (got < 0 && errno == EINTR);
  if (got < 0) {
    const int error = errno;
    if (frame != nullptr) host.release(host.ctx, frame);
    if (error == EAGAIN || error == EWOULDBLOCK) return Read::nothing;
    tap.log.error("%s: read: %s", tap.host_end.name(), std::strerror(error));
    return Read::broken;
  }
  if (frame == nullptr) {
    q.counters.rx_no_buffer.add();
    return Read::lost;
  }
  if (got < static_cast<ssize_t>(sizeof header + 14)) {
    q.counters.rx_errors.add();
    host.release(host.ctx, frame);
    return Read::lost;
  }
  const auto len = static_cast<std::uint32_t>(got) - static_cast<std::uint32_t>(sizeof header);
  if (len > usual)
    q.large_credit = kLargeCredit;
  else if (q.large_credit > 0)
    --q.large_credit;
  if (len > room && (frame = regrow(tap, q, frame, static_cast<std::uint32_t>(room), len)) == nullptr)
    return Read::lost;
  set_length(frame, len);
  if (!vnet_to_frame(header, frame)) {
    q.counters.rx_errors.add();
    host.release(host.ctx, frame);
    return Read::lost;
  }
  *out = frame;
  return Read::frame;
}

int tap_receive(void* device, std::uint32_t queue, iopkt_frame** frames, std::uint32_t max) {
  Tap& tap = *static_cast<Tap*>(device);
  Queue& q = tap.queues[queue];
  int count = 0;
  std::uint32_t tries = 0;
  Read last = Read::frame;
  for (; tries < max; ++tries) {
    last = read_frame(tap, q, &frames[count]);
    if (last == Read::nothing || last == Read::broken) break;
    if (last == Read::frame) ++count;
  }
  q.taken.fetch_add(tries, std::memory_order_relaxed);
  return last == Read::broken && count == 0 ? -EIO : count;
}

// ---- transmit
// ---------------------------------------------------------------------------------------------------

int tap_transmit(void* device, std::uint32_t queue, iopkt_frame* const* frames, std::uint32_t count) {
  Tap& tap = *static_cast<Tap*>(device);
  Queue& q = tap.queues[queue];
  for (std::uint32_t i = 0; i < count; ++i) {
    VnetHeader header;
    iovec iov[kIovMax];
    iov[0] = {&header, sizeof header};
    const int entries = append_frame(frames[i], iov, 1, q.scratch.get());
    if (entries < 0 || !vnet_from_frame(frames[i], &header)) {
      q.counters.tx_errors.add();
      continue;
    }
    ssize_t put;
    do put = ::writev(q.fd.get(), iov, entries);
    while (put < 0 && errno == EINTR);
    if (put >= 0) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return static_cast<int>(i);
    // EIO: the host's end is down. ENOMEM, ENOBUFS: nothing would announce room. The rest: the kernel refuses
    // the frame.
    if (errno == EIO || errno == ENOMEM || errno == ENOBUFS)
      q.counters.tx_dropped.add();
    else
      q.counters.tx_errors.add();
  }
  return static_cast<int>(count);
}

// ---- the device's other calls
// -----------------------------------------------------------------------------------

/// The host sees a carrier exactly while our interface is up. Kernels before 5.0 cannot: nothing is lost by
/// that.
void set_carrier(Tap& tap, int on) { (void)::ioctl(tap.queues[0].fd.get(), TUNSETCARRIER, &on); }

int tap_start(void* device) {
  set_carrier(*static_cast<Tap*>(device), 1);
  return 0;
}

void tap_stop(void* device) { set_carrier(*static_cast<Tap*>(device), 0); }

int tap_descriptor(void* device, std::uint32_t queue, int) {
  return static_cast<Tap*>(device)->queues[queue].fd.get();
}

int tap_set_mac(void* device, const std::uint8_t mac[6]) {
  if (!is_station_address(mac)) return -EINVAL;
  std::memcpy(static_cast<Tap*>(device)->mac, mac,
              6); /* TAP hands over every frame: there is no filter to set */
  return 0;
}

int tap_set_mtu(void* device, std::uint32_t mtu) {
  Tap& tap = *static_cast<Tap*>(device);
  if (mtu < kMtuMin || mtu > kMtuMax) return -EINVAL;
  if (!tap.ours) return mtu == tap.mtu ? 0 : -EOPNOTSUPP;
  if (const int rc = tap.host_end.set_mtu(static_cast<int>(mtu)); rc != 0) return rc;
  tap.mtu = mtu;
  return 0;
}

int tap_set_promiscuous(void*, int) { return 0; }
int tap_set_multicast(void*, const std::uint8_t (*)[6], std::uint32_t) { return 0; }

void tap_credit(void* device, const std::uint8_t* address, std::uint32_t length, std::uint32_t credit) {
  static_cast<Tap*>(device)->known.set(address, length, credit);
}

void tap_statistics(void* device, iopkt_statistics* out) {
  Tap& tap = *static_cast<Tap*>(device);
  for (std::uint32_t i = 0; i < tap.receive_count; ++i) tap.queues[i].counters.add_to(out);
  const std::uint64_t dropped = tap.drops.count();
  out->rx_dropped += dropped;
  if (tap.receive_count == tap.queue_count) return;
  /* Of those that were to go to their queue the others came, or are in it: then some of what others lost may count as theirs. */
  const std::uint64_t taken = tap.queues[tap.queue_count].taken.load(std::memory_order_relaxed), put = tap.known.openings();
  out->rx_openings_dropped += std::min(dropped, put > taken ? put - taken : 0);
}

void tap_detach(void* device) {
  Tap* tap = static_cast<Tap*>(device);
  if (!tap->ours) set_carrier(*tap, 1);
  delete tap;
}

constexpr iopkt_device_ops kOps = {
    sizeof(iopkt_device_ops), tap_start,   tap_stop,    tap_receive,         tap_transmit,
    tap_descriptor,           tap_set_mac, tap_set_mtu, tap_set_promiscuous, tap_set_multicast,
    tap_statistics,           tap_detach,  nullptr,             tap_credit,
};

// ---- attach
// -----------------------------------------------------------------------------------------------------

int open_queue(Tap& tap, Queue& q, ifreq* request) {
  q.scratch.reset(new (std::nothrow) std::uint8_t[kFrameMax]);
  if (q.scratch == nullptr) return -ENOMEM;
  q.fd.reset(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!q.fd) {
    const int error = errno;
    tap.log.error("/dev/net/tun: %s%s", std::strerror(error),
                  error == EACCES || error == EPERM
                      ? " (needs root, or a readable node and ifname= of a TAP interface that is yours)"
                      : "");
    return -error;
  }
  return ::ioctl(q.fd.get(), TUNSETIFF, request) == 0 ? 0 : -errno;
}

/// What the kernel may hand to us. Every queue of an interface shares the setting.
int set_offload(Tap& tap) {
  const int fd = tap.queues[0].fd.get();
  if (!tap.offload) return ::ioctl(fd, TUNSETOFFLOAD, 0UL) == 0 ? 0 : -errno;
  constexpr unsigned long tcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
  tap.uso =
      ::ioctl(fd, TUNSETOFFLOAD, tcp | TUN_F_USO4 | TUN_F_USO6) == 0; /* the kernel wants both or none */
  if (tap.uso) return 0;
  return ::ioctl(fd, TUNSETOFFLOAD, tcp) == 0 ? 0 : -errno;
}

/// The program that puts the frames of support/openings.hpp into the second queue of two.
int load_program(Tap& tap, UniqueFd& program) {
  const int rc = tap.known.open();
  return rc != 0 ? rc : load_steering(program, 1, 0, tap.known, Credit::spend, Strangers::count);
}

/// A second queue for those. An interface that was there already, several queues,
/// which go by the flow, and a kernel that refuses the program do without.
void add_openings_queue(Tap& tap, const UniqueFd& steering, ifreq* request) {
  Queue& second = tap.queues[1];
  int fd = steering.get();
  if (open_queue(tap, second, request) == 0 && ::ioctl(second.fd.get(), TUNSETSTEERINGEBPF, &fd) == 0) {
    tap.receive_count = 2;
    return;
  }
  tap.log.info("%s: new connections share the queue of all others: %s", request->ifr_name, std::strerror(errno));
  second.fd.reset();
}

/// All queues in the namespace where the thread is now, and the control socket.
int open_interface(Tap& tap, const char* ifname) {
  tap.ours = ::if_nametoindex(ifname) == 0;
  ifreq request{};
  copy_name(request.ifr_name, ifname);
  UniqueFd steering;
  const bool steers = tap.ours && tap.queue_count == 1 && load_program(tap, steering) == 0;
  const bool many = tap.queue_count > 1 || steers;
  request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (many ? IFF_MULTI_QUEUE : 0));
  for (std::uint32_t i = 0; i < tap.queue_count; ++i) {
    const int rc = open_queue(tap, tap.queues[i], &request);
    if (rc == -EINVAL && i == 0 && !tap.ours) { /* it exists as the other kind: then with one queue */
      tap.queue_count = 1;
      request.ifr_flags = static_cast<short>(request.ifr_flags ^ IFF_MULTI_QUEUE);
      if (::ioctl(tap.queues[0].fd.get(), TUNSETIFF, &request) == 0) break;
    }
    if (rc != 0) {
      if (tap.queues[i].fd) tap.log.error("ifname=%s: queue %u: %s", ifname, i, std::strerror(-rc));
      return rc;
    }
    /* TUNSETIFF wrote the name that %d became: the other queues join it. */
  }
  tap.receive_count = tap.queue_count;
  if (steers) add_openings_queue(tap, steering, &request);
  if (const int rc = set_offload(tap); rc != 0) {
    tap.log.error("%s: offloads: %s", request.ifr_name, std::strerror(-rc));
    return rc;
  }
  int header_len = sizeof(VnetHeader);
  if (::ioctl(tap.queues[0].fd.get(), TUNSETVNETHDRSZ, &header_len) != 0) return -errno;
  int index = 0;
  int rc = tap.host_end.open(request.ifr_name);
  if (rc == 0) rc = tap.host_end.index(&index);
  return rc == 0 ? tap.drops.open(index) : rc;
}

int configure_host_end(Tap& tap, const iopkt_generic_options& generic, bool up, const HostAddress* address) {
  const HostIf& end = tap.host_end;
  if (!tap.ours) {
    int mtu = 0;
    if (const int rc = end.mtu(&mtu); rc != 0) return rc;
    if (generic.mtu != 0 && generic.mtu != static_cast<std::uint32_t>(mtu)) {
      tap.log.error("mtu=%u: %s exists already and has %d; it is not changed", generic.mtu, end.name(), mtu);
      return -EINVAL;
    }
    tap.mtu = static_cast<std::uint32_t>(mtu);
    tap.log.notice("%s exists already: used as it is, it stays when the driver goes", end.name());
    return 0;
  }
  int rc = tap.mtu == kMtuDefault ? 0 : end.set_mtu(static_cast<int>(tap.mtu));
  if (rc != 0) {
    tap.log.error("%s: mtu=%u: %s", end.name(), tap.mtu.load(), std::strerror(-rc));
    return rc;
  }
  if (address != nullptr && (rc = end.set_address(*address)) != 0) {
    tap.log.error("%s: hostip=: %s", end.name(), std::strerror(-rc));
    return rc;
  }
  if ((up || address != nullptr) && (rc = end.set_up(true)) != 0) {
    tap.log.error("%s: cannot be brought up: %s", end.name(), std::strerror(-rc));
    return rc;
  }
  return 0;
}

int attach(Tap& tap) {
  std::snprintf(tap.description, sizeof tap.description, "host TAP %s, %u queue%s%s", tap.host_end.name(),
                tap.queue_count, tap.queue_count == 1 ? "" : "s", tap.offload ? ", offloads" : "");
  iopkt_device_info info{};
  info.size = sizeof info;
  info.device = &tap;
  info.ops = &kOps;
  info.link_type = IOPKT_LINK_ETHERNET;
  info.prefix = "en"; /* not "tap": ifconfig tap0 create needs that name */
  std::memcpy(info.mac, tap.mac, 6);
  info.mtu = tap.mtu;
  info.mtu_min = kMtuMin;
  info.mtu_max = tap.ours ? kMtuMax : info.mtu;
  if (tap.offload) {
    info.capabilities =
        IOPKT_CAP_CSUM_TX | IOPKT_CAP_CSUM_RX | IOPKT_CAP_TSO4 | IOPKT_CAP_TSO6 | IOPKT_CAP_LARGE_RX;
    if (tap.uso) info.capabilities |= IOPKT_CAP_USO;
  }
  info.rx_queues = tap.receive_count;
  info.tx_queues = tap.queue_count;
  info.openings_queues = tap.receive_count - tap.queue_count;
  info.link_up = 1;
  info.description = tap.description;
  iopkt_interface* interface = nullptr;
  return tap.host->attach(tap.host->ctx, &info, &interface);
}

int check_options(const Log& log, const iopkt_generic_options& generic, const iopkt_option_value* values,
                  HostAddress* address) {
  if (generic.mac_given != 0 && !is_station_address(generic.mac)) {
    log.error("mac=%s: not the address of a station", MacText{generic.mac}.text);
    return -EINVAL;
  }
  if (generic.mtu != 0 && (generic.mtu < kMtuMin || generic.mtu > kMtuMax)) {
    log.error("mtu=%u: outside %u..%u", generic.mtu, kMtuMin, kMtuMax);
    return -EINVAL;
  }
  const char* hostip = values[kHostip].text;
  if (hostip != nullptr && !parse_host_address(hostip, address)) {
    log.error("hostip=%s: not an IPv4 address with a prefix length, such as 192.168.7.1/24", hostip);
    return -EINVAL;
  }
  return 0;
}

int tap_open(const iopkt_host* host, const iopkt_generic_options* generic, const iopkt_option_value* values) {
  const Log log{host, "devnp-tap", generic->verbose};
  HostAddress address;
  if (const int rc = check_options(log, *generic, values, &address); rc != 0) return rc;

  std::unique_ptr<Tap> tap{new (std::nothrow) Tap};
  if (tap == nullptr) return -ENOMEM;
  tap->host = host;
  tap->log = log;
  tap->offload = values[kOffload].number != 0;
  const std::uint32_t wanted =
      values[kQueues].number != 0 ? static_cast<std::uint32_t>(values[kQueues].number) : generic->rx_queues;
  tap->queue_count = wanted == 0 ? 1 : std::min(wanted, kQueuesMax);
  if (generic->mtu != 0) tap->mtu = generic->mtu;
  if (generic->mac_given != 0)
    std::memcpy(tap->mac, generic->mac, 6);
  else if (const int rc = random_mac(tap->mac); rc != 0)
    return rc;

  NetnsVisit visit;
  int rc = visit.enter(values[kNetns].text);
  if (rc != 0) {
    log.error("netns=%s: %s", values[kNetns].text, std::strerror(-rc));
    return rc;
  }
  rc = open_interface(*tap, values[kIfname].text);
  if (!visit.leave()) {
    log.error("netns=%s: cannot come back from it", values[kNetns].text);
    return -EPERM;
  }
  const bool has_address = values[kHostip].text != nullptr;
  if (rc == 0 && has_address && !tap->ours) {
    log.error("hostip=: %s exists already; give it its address yourself, or another ifname=",
              tap->host_end.name());
    rc = -EEXIST;
  }
  if (rc == 0)
    rc = configure_host_end(*tap, *generic, values[kUp].number != 0, has_address ? &address : nullptr);
  if (rc == 0) rc = attach(*tap);
  if (rc != 0) return rc;
  log.info("%s, our address %s, mtu %u", tap->description, MacText{tap->mac}.text, tap->mtu.load());
  tap.release(); /* the stack's until detach */
  return 0;
}

}  // namespace

extern "C" IOPKT_EXPORT const iopkt_driver iopkt_driver_entry = {
    IOPKT_DRIVER_ABI,
    sizeof(iopkt_driver),
    "tap",
    "Ethernet to the host through a TAP interface.",
    IOPKT_VERSION,
    kOptions,
    kOptionCount,
    tap_open,
};
