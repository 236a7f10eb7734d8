// devnp-packet: an interface that the host has, through packet sockets. The host keeps it; what is changed at
// it (up, MTU, promiscuous) is undone when the driver goes, also when the stack is killed: see guardian.hpp.
#include <iopkt/driver.h>
#include <iopkt/version.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/utsname.h>

#include <linux/if_packet.h>

#include <cstdio>
#include <memory>
#include <new>

#include "../support/host_if.hpp"
#include "../support/mac.hpp"
#include "../support/netns.hpp"
#include "../support/steering.hpp"
#include "claim.hpp"
#include "guardian.hpp"
#include "link_watch.hpp"
#include "queue.hpp"

namespace {

using namespace devnp;
using namespace devnp_packet;

constexpr std::uint32_t kMtuMin = 68, kMtuMax = 65535, kQueuesMax = 64, kMulticastMax = 64;
constexpr std::uint32_t kReceiveQueuesMax = 64; /* the ABI's */
/// So many empty calls in a row are followed by a look at the link: while the stack polls it costs little,
/// and after a wake-up by the link it comes soon.
constexpr std::uint32_t kLookEvery = 16;
constexpr std::uint32_t kOpeningSlot = 512;

enum Option { kBuffer, kBypass, kIf, kNetns, kQueues, kRing, kShare, kUp, kOptionCount };

constexpr iopkt_driver_option kOptions[kOptionCount] = {
    {"buffer", "KB",
     "Socket buffer of each queue and direction, for frames above a ring slot and for sending.",
     IOPKT_OPTION_NUMBER, 8192, 64, 262144, nullptr},
    {"bypass", nullptr, "Send past the host's queueing discipline: faster, drops when the device is busy.",
     IOPKT_OPTION_FLAG, 0, 0, 1, nullptr},
    {"if", nullptr, "The host's interface. Needed.", IOPKT_OPTION_TEXT, 0, 1, IFNAMSIZ - 1, nullptr},
    {"netns", nullptr, "Network namespace of the interface: a path, or a name below /run/netns.",
     IOPKT_OPTION_TEXT, 0, 1, 500, nullptr},
    {"queues", "queues", "Packet sockets that share the frames by flow; 0: one for each shard of the stack.",
     IOPKT_OPTION_NUMBER, 0, 0, kQueuesMax, nullptr},
    {"ring", "slots", "Receive ring of each queue, rounded up to a power of two.", IOPKT_OPTION_NUMBER, 1024,
     64, 65536, nullptr},
    {"share", nullptr,
     "Take the interface although the host's kernel has an IPv4 address on it and answers too.",
     IOPKT_OPTION_FLAG, 0, 0, 1, nullptr},
    {"up", nullptr, "Bring the interface up while it is used.", IOPKT_OPTION_FLAG, 1, 0, 1, nullptr},
};

struct Device {
  const iopkt_host* host = nullptr;
  iopkt_interface* interface = nullptr;
  Log log;
  HostIf interface_of_host;
  Guardian guardian;
  LinkWatch link;
  UniqueFd claim; /* of the station address at this interface */
  UniqueFd epoll; /* queue 0 waits for its socket and for the link */
  int index = 0;
  bool gone = false, promiscuous_for_mac = false, promiscuous_asked = false;
  int link_up = -1;
  std::uint32_t queue_count = 1, mtu = 1500, multicast_count = 0;
  std::uint32_t receive_count = 1; /* with a second queue behind each, where there is room: for openings */
  std::uint64_t kernel_drops = 0, openings_drops = 0; /* the control thread's */
  bool all_multicast = false;
  std::uint8_t mac[6] = {}, host_mac[6] = {}, multicast[kMulticastMax][6] = {};
  char description[96] = {};
  KnownPeers known;
  UniqueFd takes_openings, takes_others; /* the programs that share frames among queues, where the host takes such */
  std::unique_ptr<Queue[]> queues;
};

// ---- data path
// --------------------------------------------------------------------------------------------------

std::uint32_t speed_of(const Device& d) {
  ethtool_cmd command{};
  command.cmd = ETHTOOL_GSET;
  ifreq r{};
  copy_name(r.ifr_name, d.interface_of_host.name());
  r.ifr_data = reinterpret_cast<char*>(&command);
  if (::ioctl(d.interface_of_host.control(), SIOCETHTOOL, &r) != 0) return 0;
  const std::uint32_t speed = ethtool_cmd_speed(&command);
  return speed == static_cast<std::uint32_t>(SPEED_UNKNOWN) ? 0 : speed;
}

bool is_running(const Device& d) {
  short flags = 0;
  return d.interface_of_host.flags(&flags) == 0 && (flags & IFF_UP) != 0 && (flags & IFF_RUNNING) != 0;
}

/// Hears what the link did; only queue 0's thread calls it.
void look_at_link(Device& d) {
  bool lost = false;
  LinkWatch::News news = d.link.read(&lost);
  if (lost) news = is_running(d) ? LinkWatch::News::up : LinkWatch::News::down;
  (void)d.queues[0].take_error(); /* ENETDOWN would keep the descriptor readable */
  if (news == LinkWatch::News::none || d.gone) return;
  d.gone = news == LinkWatch::News::gone;
  const int up = news == LinkWatch::News::up ? 1 : 0;
  if (up == d.link_up) return;
  d.link_up = up;
  d.log.info("%s: link is %s", d.interface_of_host.name(), d.gone ? "gone" : up != 0 ? "up" : "down");
  d.host->link_state(d.host->ctx, d.interface, up, up != 0 ? speed_of(d) : 0);
}

int packet_receive(void* device, std::uint32_t queue, iopkt_frame** frames, std::uint32_t max) {
  Device& d = *static_cast<Device*>(device);
  Queue& q = d.queues[queue];
  const int count = q.receive(*d.host, frames, max);
  if (queue != 0) {
    if (count == 0 && q.empty_call() % kLookEvery == 0) (void)q.take_error();
    return count;
  }
  if (count == 0 && q.empty_call() % kLookEvery == 0) look_at_link(d);
  return count == 0 && d.gone ? -ENODEV : count;
}

int packet_transmit(void* device, std::uint32_t queue, iopkt_frame* const* frames, std::uint32_t count) {
  return static_cast<Device*>(device)->queues[queue].transmit(frames, count);
}

int packet_descriptor(void* device, std::uint32_t queue, int tx) {
  const Device& d = *static_cast<Device*>(device);
  return queue == 0 && tx == 0 ? d.epoll.get() : d.queues[queue].descriptor();
}

// ---- control
// ----------------------------------------------------------------------------------------------------

int packet_start(void* device) {
  Device& d = *static_cast<Device*>(device);
  for (std::uint32_t i = 0; i < d.receive_count; ++i) {
    if (const int rc = d.queues[i].accept_frames(true); rc != 0) return rc;
  }
  return 0;
}

void packet_stop(void* device) {
  Device& d = *static_cast<Device*>(device);
  for (std::uint32_t i = 0; i < d.receive_count; ++i) (void)d.queues[i].accept_frames(false);
}

int membership(Device& d, bool add, unsigned short kind, const std::uint8_t* mac) {
  packet_mreq m{};
  m.mr_ifindex = d.index;
  m.mr_type = kind;
  if (mac != nullptr) {
    m.mr_alen = 6;
    std::memcpy(m.mr_address, mac, 6);
  }
  const int option = add ? PACKET_ADD_MEMBERSHIP : PACKET_DROP_MEMBERSHIP;
  return ::setsockopt(d.queues[0].descriptor(), SOL_PACKET, option, &m, sizeof m) == 0 ? 0 : -errno;
}

int set_promiscuous(Device& d, bool for_mac, bool asked) {
  const bool was = d.promiscuous_for_mac || d.promiscuous_asked, wanted = for_mac || asked;
  if (was != wanted) {
    if (const int rc = membership(d, wanted, PACKET_MR_PROMISC, nullptr); rc != 0) return rc;
  }
  d.promiscuous_for_mac = for_mac;
  d.promiscuous_asked = asked;
  return 0;
}

int packet_set_mac(void* device, const std::uint8_t mac[6]) {
  Device& d = *static_cast<Device*>(device);
  if (!is_station_address(mac)) return -EINVAL;
  const bool foreign = std::memcmp(mac, d.host_mac, 6) != 0;
  if (const int rc = set_promiscuous(d, foreign, d.promiscuous_asked); rc != 0) return rc;
  std::memcpy(d.mac, mac, 6);
  return 0;
}

int packet_set_promiscuous(void* device, int on) {
  Device& d = *static_cast<Device*>(device);
  return set_promiscuous(d, d.promiscuous_for_mac, on != 0);
}

int packet_set_multicast(void* device, const std::uint8_t (*macs)[6], std::uint32_t count) {
  Device& d = *static_cast<Device*>(device);
  // The new groups come first: one that is in both lists is never missing (memberships are counted).
  const bool all = count > kMulticastMax;
  if (all && !d.all_multicast) {
    if (const int rc = membership(d, true, PACKET_MR_ALLMULTI, nullptr); rc != 0) return rc;
  }
  const std::uint32_t adding = all ? 0 : count;
  for (std::uint32_t i = 0; i < adding; ++i) {
    const int rc = membership(d, true, PACKET_MR_MULTICAST, macs[i]);
    if (rc == 0) continue;
    while (i-- > 0) (void)membership(d, false, PACKET_MR_MULTICAST, macs[i]);
    return rc;
  }
  for (std::uint32_t i = 0; i < d.multicast_count; ++i)
    (void)membership(d, false, PACKET_MR_MULTICAST, d.multicast[i]);
  if (!all && d.all_multicast) (void)membership(d, false, PACKET_MR_ALLMULTI, nullptr);
  if (adding != 0) std::memcpy(d.multicast, macs, adding * std::size_t{6});
  d.multicast_count = adding;
  d.all_multicast = all;
  return 0;
}

int packet_set_mtu(void* device, std::uint32_t mtu) {
  Device& d = *static_cast<Device*>(device);
  if (mtu < kMtuMin || mtu > kMtuMax) return -EINVAL;
  if (mtu == d.mtu) return 0;
  if (const int rc = d.guardian.before(Guardian::Change::mtu, d.interface_of_host); rc != 0) return rc;
  if (const int rc = d.interface_of_host.set_mtu(static_cast<int>(mtu)); rc != 0) return rc;
  d.mtu = mtu;
  return 0;
}

void packet_credit(void* device, const std::uint8_t* address, std::uint32_t length, std::uint32_t credit) {
  static_cast<Device*>(device)->known.set(address, length, credit);
}

void packet_statistics(void* device, iopkt_statistics* out) {
  Device& d = *static_cast<Device*>(device);
  for (std::uint32_t i = 0; i < d.receive_count; ++i) {
    d.queues[i].counters().add_to(out);
    const std::uint32_t drops = d.queues[i].take_kernel_drops();
    d.kernel_drops += drops;
    if (i >= d.queue_count) d.openings_drops += drops;
  }
  out->rx_dropped += d.kernel_drops;
  out->rx_openings_dropped += d.openings_drops;
}

void packet_detach(void* device) { delete static_cast<Device*>(device); }

constexpr iopkt_device_ops kOps = {
    sizeof(iopkt_device_ops), packet_start,   packet_stop,    packet_receive,         packet_transmit,
    packet_descriptor,        packet_set_mac, packet_set_mtu, packet_set_promiscuous, packet_set_multicast,
    packet_statistics,        packet_detach,  nullptr,        packet_credit,
};

// ---- attach
// -----------------------------------------------------------------------------------------------------

/// Is this an interface that can be taken?
int examine(Device& d, bool share) {
  const HostIf& host = d.interface_of_host;
  const char* name = host.name();
  int type = 0, mtu = 0;
  in_addr address{};
  int rc = host.index(&d.index);
  if (rc == 0) rc = host.hardware(d.host_mac, &type);
  if (rc == 0) rc = host.mtu(&mtu);
  if (rc != 0) {
    d.log.error("if=%s: %s", name, std::strerror(-rc));
    return rc;
  }
  if (type != ARPHRD_ETHER) {
    d.log.error("if=%s: not an Ethernet interface (hardware type %d)", name, type);
    return -EINVAL;
  }
  if (host.address(&address) == 0) {
    char text[INET_ADDRSTRLEN] = {};
    ::inet_ntop(AF_INET, &address, text, sizeof text);
    if (!share) {
      d.log.error(
          "if=%s: the host's kernel has the address %s there and would answer our peers too; remove it, or "
          "say share",
          name, text);
      return -EADDRINUSE;
    }
    d.log.warning("%s: the host's kernel has the address %s there and sees every frame too", name, text);
  }
  if (mtu < static_cast<int>(kMtuMin) || mtu > static_cast<int>(kMtuMax)) {
    d.log.error("if=%s: its MTU %d is outside %u..%u", name, mtu, kMtuMin, kMtuMax);
    return -EINVAL;
  }
  d.mtu = static_cast<std::uint32_t>(mtu);
  d.guardian.remember(d.index, mtu);
  return 0;
}

/// The host would forward what is meant for us: it looks at the station address first.
void warn_of_forwarding(const Device& d) {
  if (std::memcmp(d.mac, d.host_mac, 6) != 0) return;
  char path[96];
  std::snprintf(path, sizeof path, "/proc/sys/net/ipv4/conf/%s/forwarding", d.interface_of_host.name());
  std::FILE* file = std::fopen(path, "re");
  if (file == nullptr) return;
  if (std::fgetc(file) == '1') {
    d.log.warning(
        "%s: the host's kernel forwards what arrives here and may answer for us; a mac= of our own keeps it "
        "out",
        d.interface_of_host.name());
  }
  std::fclose(file);
}

int claim(Device& d, const iopkt_generic_options& generic) {
  const std::uint8_t* mac = generic.mac_given != 0 ? generic.mac : d.host_mac;
  const int rc = claim_station(d.index, mac, d.claim);
  if (rc == -EADDRINUSE) {
    d.log.error("if=%s: another stack answers for %s there; a mac= of its own lets both in",
                d.interface_of_host.name(), MacText{mac}.text);
  } else if (rc != 0) {
    d.log.error("if=%s: %s", d.interface_of_host.name(), std::strerror(-rc));
  }
  return rc;
}

/// Without these the kernel's classic filters do the same, which know nobody. The kernel asks the socket that was opened last first: that
/// is the one for openings, and the other takes and counts what it left. Where processors meet at a station's last one, a SYN may come
/// twice or not at all.
void load_programs(Device& d) {
  int rc = d.known.open();
  if (rc == 0) rc = load_steering(d.takes_openings, -1, 0, d.known, Credit::look);
  if (rc == 0) rc = load_steering(d.takes_others, 0, -1, d.known, Credit::spend);
  if (rc == 0) return;
  d.takes_openings.reset();
  d.takes_others.reset();
  d.log.info("%s: in a flood of SYNs those of stations that are known wait with all others: %s", d.interface_of_host.name(),
             std::strerror(-rc));
}

int open_queues(Device& d, const iopkt_option_value* values) {
  QueueConfig config;
  config.index = d.index;
  config.slots = 64;
  while (config.slots < values[kRing].number) config.slots *= 2;
  while (config.slot_len < d.mtu + 256 && config.slot_len < 16384)
    config.slot_len *= 2; /* 256: ring header, tags */
  config.socket_buffer = static_cast<int>(values[kBuffer].number) * 1024;
  config.bypass = values[kBypass].number != 0;
  QueueConfig openings = config;
  // A SYN is short, and while the stack's thread does not run a flood goes on.
  openings.slot_len = kOpeningSlot;
  openings.slots = config.slots * (config.slot_len / kOpeningSlot);
  openings.takes = Takes::openings;
  if (d.receive_count > d.queue_count) {
    config.takes = Takes::all_others;
    load_programs(d);
    openings.program = d.takes_openings.get();
    config.program = d.takes_others.get();
  }
  int group = -1, openings_group = -1;
  for (std::uint32_t i = 0; i < d.receive_count; ++i) {
    const char* step = "";
    const bool second = i >= d.queue_count;
    int rc = d.queues[i].open(second ? openings : config, &step);
    if (rc == 0 && d.queue_count > 1) {
      step = "PACKET_FANOUT";
      rc = d.queues[i].join(second ? &openings_group : &group);
    }
    if (rc == 0) continue;
    d.log.error("if=%s: queue %u: %s: %s%s", d.interface_of_host.name(), i, step, std::strerror(-rc),
                rc == -EPERM ? " (needs CAP_NET_RAW)" : "");
    return rc;
  }
  return 0;
}

int open_waiting(Device& d) {
  if (const int rc = d.link.open(d.index); rc != 0) return rc;
  d.epoll.reset(::epoll_create1(EPOLL_CLOEXEC));
  if (!d.epoll) return -errno;
  for (const int fd : {d.queues[0].descriptor(), d.link.descriptor()}) {
    epoll_event e{EPOLLIN, {.fd = fd}};
    if (::epoll_ctl(d.epoll.get(), EPOLL_CTL_ADD, fd, &e) != 0) return -errno;
  }
  return 0;
}

/// What changes the host comes last, so that an error before it leaves the host alone.
int change_interface(Device& d, const iopkt_generic_options& generic, bool up) {
  const char* name = d.interface_of_host.name();
  short flags = 0;
  int rc = 0;
  if (generic.mac_given != 0 && (rc = packet_set_mac(&d, generic.mac)) != 0) {
    d.log.error("%s: promiscuous, for mac=: %s", name, std::strerror(-rc));
    return rc;
  }
  if (generic.mtu != 0 && (rc = packet_set_mtu(&d, generic.mtu)) != 0) {
    d.log.error("%s: mtu=%u: %s", name, generic.mtu, std::strerror(-rc));
    return rc;
  }
  if ((rc = d.interface_of_host.flags(&flags)) != 0) return rc;
  if (up && (flags & IFF_UP) == 0) {
    rc = d.guardian.before(Guardian::Change::up, d.interface_of_host);
    if (rc == 0) rc = d.interface_of_host.set_up(true);
    if (rc != 0) d.log.error("%s: cannot be brought up: %s", name, std::strerror(-rc));
  }
  return rc;
}

/// UDP segmentation through the virtio-net header came with Linux 6.2.
bool kernel_has_uso() {
  utsname u{};
  int major = 0, minor = 0;
  return ::uname(&u) == 0 && std::sscanf(u.release, "%d.%d", &major, &minor) == 2 &&
         (major > 6 || (major == 6 && minor >= 2));
}

int attach(Device& d) {
  std::snprintf(d.description, sizeof d.description, "host interface %s, %u queue%s",
                d.interface_of_host.name(), d.queue_count, d.queue_count == 1 ? "" : "s");
  iopkt_device_info info{};
  info.size = sizeof info;
  info.device = &d;
  info.ops = &kOps;
  info.link_type = IOPKT_LINK_ETHERNET;
  info.prefix = "en";
  std::memcpy(info.mac, d.mac, 6);
  info.mtu = d.mtu;
  info.mtu_min = kMtuMin;
  info.mtu_max = kMtuMax; /* the device's own bound shows when the MTU is set */
  info.capabilities =
      IOPKT_CAP_CSUM_TX | IOPKT_CAP_CSUM_RX | IOPKT_CAP_TSO4 | IOPKT_CAP_TSO6 | IOPKT_CAP_LARGE_RX;
  if (kernel_has_uso()) info.capabilities |= IOPKT_CAP_USO;
  info.rx_queues = d.receive_count;
  info.tx_queues = d.queue_count;
  info.openings_queues = d.receive_count - d.queue_count;
  info.link_up = d.link_up = is_running(d) ? 1 : 0;
  info.speed_mbps = info.link_up != 0 ? speed_of(d) : 0;
  info.description = d.description;
  return d.host->attach(d.host->ctx, &info, &d.interface);
}

int set_up(Device& d, const iopkt_generic_options& generic, const iopkt_option_value* values) {
  int rc = d.interface_of_host.open(values[kIf].text);
  if (rc == 0) rc = examine(d, values[kShare].number != 0);
  if (rc == 0) rc = claim(d, generic);
  if (rc == 0) rc = open_queues(d, values);
  if (rc == 0) rc = open_waiting(d);
  if (rc != 0) return rc;
  std::memcpy(d.mac, d.host_mac, 6);
  rc = change_interface(d, generic, values[kUp].number != 0);
  if (rc == 0) warn_of_forwarding(d);
  return rc;
}

int packet_open(const iopkt_host* host, const iopkt_generic_options* generic,
                const iopkt_option_value* values) {
  const Log log{host, "devnp-packet", generic->verbose};
  if (values[kIf].text == nullptr) {
    log.error("if= is needed: the name of a host interface");
    return -EINVAL;
  }
  if (generic->mac_given != 0 && !is_station_address(generic->mac)) {
    log.error("mac=%s: not the address of a station", MacText{generic->mac}.text);
    return -EINVAL;
  }
  if (generic->mtu != 0 && (generic->mtu < kMtuMin || generic->mtu > kMtuMax)) {
    log.error("mtu=%u: outside %u..%u", generic->mtu, kMtuMin, kMtuMax);
    return -EINVAL;
  }
  std::unique_ptr<Device> device{new (std::nothrow) Device};
  if (device == nullptr) return -ENOMEM;
  device->host = host;
  device->log = log;
  const std::uint32_t wanted =
      values[kQueues].number != 0 ? static_cast<std::uint32_t>(values[kQueues].number) : generic->rx_queues;
  device->queue_count = wanted == 0 ? 1 : std::min(wanted, kQueuesMax);
  device->receive_count = device->queue_count <= kReceiveQueuesMax / 2 ? device->queue_count * 2 : device->queue_count;
  device->queues.reset(new (std::nothrow) Queue[device->receive_count]);
  if (device->queues == nullptr) return -ENOMEM;

  NetnsVisit visit;
  int rc = visit.enter(values[kNetns].text);
  if (rc != 0) {
    log.error("netns=%s: %s", values[kNetns].text, std::strerror(-rc));
    return rc;
  }
  rc = set_up(*device, *generic, values);
  if (!visit.leave()) {
    log.error("netns=%s: cannot come back from it", values[kNetns].text);
    return -EPERM;
  }
  if (rc == 0) rc = attach(*device);
  if (rc != 0) return rc;
  log.info("%s, our address %s, mtu %u", device->description, MacText{device->mac}.text, device->mtu);
  device.release(); /* the stack's until detach */
  return 0;
}

}  // namespace

extern "C" IOPKT_EXPORT const iopkt_driver iopkt_driver_entry = {
    IOPKT_DRIVER_ABI, sizeof(iopkt_driver),
    "packet",         "An Ethernet interface of the host, through packet sockets.",
    IOPKT_VERSION,    kOptions,
    kOptionCount,     packet_open,
};
