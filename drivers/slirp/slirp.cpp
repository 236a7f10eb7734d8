// devnp-slirp: outbound networking without any privilege. libslirp answers ARP and DHCP on a virtual network
// and turns the stack's TCP, UDP and ping into ordinary sockets of this process.
#include <iopkt/driver.h>
#include <iopkt/version.h>
#include <signal.h>

#include <cerrno>
#include <memory>
#include <new>

#include "../support/mac.hpp"
#include "engine.hpp"

namespace {

using namespace devnp;
using namespace devnp_slirp;

constexpr std::uint32_t kMtuMin = 68, kMtuDefault = 1500, kMtuMax = 65521; /* libslirp's own bounds */

enum Option { kDhcp, kDns, kGuest, kHost, kHostfwd, kLoopback, kNet, kQueue, kRestrict, kOptionCount };

constexpr iopkt_driver_option kOptions[kOptionCount] = {
    {"dhcp", nullptr, "Answer DHCP requests.", IOPKT_OPTION_FLAG, 1, 0, 1, nullptr},
    {"dns", "address", "Name server of the virtual network, which asks the host's; default: third of net=.",
     IOPKT_OPTION_TEXT, 0, 1, 15, nullptr},
    {"guest", "address", "Address that DHCP gives and hostfwd= means; default: 15th of net=.",
     IOPKT_OPTION_TEXT, 0, 1, 15, nullptr},
    {"host", "address", "Gateway, and with loopback the host's 127.0.0.1; default: second of net=.",
     IOPKT_OPTION_TEXT, 0, 1, 15, nullptr},
    {"hostfwd", nullptr,
     "Ports of the host that lead to the stack: tcp:[HOST]:PORT-[GUEST]:PORT, several with ; between.",
     IOPKT_OPTION_TEXT, 0, 1, 1000, nullptr},
    {"loopback", nullptr, "host= reaches what listens on the host's 127.0.0.1.", IOPKT_OPTION_FLAG, 1, 0, 1,
     nullptr},
    {"net", "network", "The virtual network.", IOPKT_OPTION_TEXT, 0, 1, 18, "10.0.2.0/24"},
    {"queue", "KB", "Frames on their way to the stack, rounded up to a power of two.", IOPKT_OPTION_NUMBER,
     4096, 256, 65536, nullptr},
    {"restrict", nullptr, "Nothing leaves the virtual network but through hostfwd=.", IOPKT_OPTION_FLAG, 0, 0,
     1, nullptr},
};

struct Device {
  const iopkt_host* host = nullptr;
  Log log;
  Engine engine;
  std::uint32_t mtu = kMtuDefault;
  std::uint8_t mac[6] = {};
  char description[96] = {};
  QueueCounters counters;
  std::unique_ptr<std::uint8_t[]> scratch; /* a frame in one piece */
};

/// Moves queued frames to the stack; answers the new count. Stops at an empty pool, having dropped one frame.
int drain(Device& d, iopkt_frame** frames, int count, int max) {
  FrameQueue& queue = d.engine.queue();
  while (count < max && !queue.empty()) {
    const std::uint32_t len = queue.front_len();
    iopkt_frame* frame = d.host->alloc(d.host->ctx, len);
    if (frame == nullptr) {
      d.counters.rx_no_buffer.add();
      queue.pop();
      continue;
    }
    set_length(frame, len);
    std::uint32_t at = 0;
    for (int i = 0; i < frame->piece_count && at < len; ++i) {
      queue.copy_front(at, frame->piece[i].data, frame->piece[i].len);
      at += frame->piece[i].len;
    }
    queue.pop();
    frames[count++] = frame;
  }
  return count;
}

// Without memory glib, below libslirp, ends the process: so do these two.
int slirp_receive(void* device, std::uint32_t, iopkt_frame** frames, std::uint32_t max) noexcept {
  Device& d = *static_cast<Device*>(device);
  const Engine::Lock lock;
  const int room = static_cast<int>(std::min(max, 4096u));
  int count = drain(d, frames, 0, room);
  d.engine.service();
  count = drain(d, frames, count, room);
  d.engine.settle();
  return count;
}

int slirp_transmit(void* device, std::uint32_t, iopkt_frame* const* frames, std::uint32_t count) noexcept {
  Device& d = *static_cast<Device*>(device);
  const Engine::Lock lock;
  for (std::uint32_t i = 0; i < count; ++i) {
    const iopkt_frame& f = *frames[i];
    if (f.len < 14 || f.len > d.mtu + 14 ||
        (f.flags & (IOPKT_CSUM_NEEDED | IOPKT_GSO_TCP4 | IOPKT_GSO_TCP6 | IOPKT_GSO_UDP)) != 0) {
      d.counters.tx_errors.add();
      continue;
    }
    const std::uint8_t* bytes = f.piece[0].data;
    if (f.piece[0].len != f.len) {
      copy_out(&f, 0, d.scratch.get(), f.len);
      bytes = d.scratch.get();
    }
    d.engine.input(bytes, f.len);
  }
  d.engine.settle();
  return static_cast<int>(count);
}

int slirp_start(void*) { return 0; }
void slirp_stop(void*) {}

int slirp_descriptor(void* device, std::uint32_t, int tx) {
  const Engine& engine = static_cast<Device*>(device)->engine;
  return tx != 0 ? engine.writable() : engine.descriptor();
}

int slirp_set_mac(void* device, const std::uint8_t mac[6]) {
  if (!is_station_address(mac)) return -EINVAL;
  std::memcpy(static_cast<Device*>(device)->mac, mac, 6); /* slirp learns it from ARP */
  return 0;
}

/// libslirp takes its MTU once, at the start: mtu= of the driver.
int slirp_set_mtu(void* device, std::uint32_t mtu) {
  return mtu == static_cast<Device*>(device)->mtu ? 0 : -EOPNOTSUPP;
}
int slirp_set_promiscuous(void*, int) { return 0; }
int slirp_set_multicast(void*, const std::uint8_t (*)[6], std::uint32_t) { return 0; }

void slirp_statistics(void* device, iopkt_statistics* out) {
  const Device& d = *static_cast<Device*>(device);
  d.counters.add_to(out);
  out->rx_dropped += d.engine.dropped();
}

void slirp_detach(void* device) {
  const Engine::Lock lock;
  delete static_cast<Device*>(device);
}

constexpr iopkt_device_ops kOps = {
    sizeof(iopkt_device_ops), slirp_start,   slirp_stop,    slirp_receive,         slirp_transmit,
    slirp_descriptor,         slirp_set_mac, slirp_set_mtu, slirp_set_promiscuous, slirp_set_multicast,
    slirp_statistics,         slirp_detach,  nullptr,
};

int read_settings(const Log& log, const iopkt_generic_options& generic, const iopkt_option_value* values,
                  Engine::Config* out) {
  if (generic.mac_given != 0 && !is_station_address(generic.mac)) {
    log.error("mac=%s: not the address of a station", MacText{generic.mac}.text);
    return -EINVAL;
  }
  if (generic.mtu != 0 && (generic.mtu < kMtuMin || generic.mtu > kMtuMax)) {
    log.error("mtu=%u: outside %u..%u", generic.mtu, kMtuMin, kMtuMax);
    return -EINVAL;
  }
  const char* wrong = parse_network(values[kNet].text, values[kHost].text, values[kDns].text,
                                    values[kGuest].text, &out->settings);
  if (wrong != nullptr) {
    log.error("%s", wrong);
    return -EINVAL;
  }
  const char *forwards = values[kHostfwd].text, *bad = nullptr;
  if (forwards != nullptr && !parse_forwards(forwards, &out->settings, &bad)) {
    log.error("hostfwd=: '%.60s': expected tcp:[HOST]:PORT-[GUEST]:PORT or udp:..., at most %zu", bad,
              kForwardMax);
    return -EINVAL;
  }
  out->mtu = generic.mtu != 0 ? generic.mtu : kMtuDefault;
  out->queue_bytes = 1024;
  while (out->queue_bytes < values[kQueue].number * 1024) out->queue_bytes *= 2;
  out->restricted = values[kRestrict].number != 0;
  out->loopback = values[kLoopback].number != 0;
  out->dhcp = values[kDhcp].number != 0;
  return 0;
}

int attach(Device& d, const Settings& s) {
  std::snprintf(d.description, sizeof d.description, "libslirp %s, gateway %u.%u.%u.%u",
                ::slirp_version_string(), s.host >> 24, s.host >> 16 & 255, s.host >> 8 & 255, s.host & 255);
  iopkt_device_info info{};
  info.size = sizeof info;
  info.device = &d;
  info.ops = &kOps;
  info.link_type = IOPKT_LINK_ETHERNET;
  info.prefix = "en";
  std::memcpy(info.mac, d.mac, 6);
  info.mtu = info.mtu_max = d.mtu;
  info.mtu_min = kMtuMin;
  info.rx_queues = info.tx_queues = 1;
  info.link_up = 1;
  info.description = d.description;
  iopkt_interface* interface = nullptr;
  return d.host->attach(d.host->ctx, &info, &interface);
}

int open_device(const iopkt_host* host, const iopkt_generic_options& generic,
                const iopkt_option_value* values, const Log& log) {
  Engine::Config config;
  if (const int rc = read_settings(log, generic, values, &config); rc != 0) return rc;
  struct sigaction pipe{};
  if (::sigaction(SIGPIPE, nullptr, &pipe) == 0 && pipe.sa_handler == SIG_DFL) {
    log.warning("SIGPIPE is not ignored: a peer that closes early can end this process");
  }
  const Engine::Lock lock;
  auto device = std::make_unique<Device>();
  device->host = host;
  device->log = log;
  device->mtu = config.mtu;
  device->scratch = std::make_unique<std::uint8_t[]>(kFrameMax);
  if (generic.mac_given != 0)
    std::memcpy(device->mac, generic.mac, 6);
  else if (const int rc = random_mac(device->mac); rc != 0)
    return rc;
  int rc = device->engine.start(config, log);
  if (rc == 0) rc = attach(*device, config.settings);
  if (rc != 0) return rc;
  log.info("%s, our address %s, mtu %u", device->description, MacText{device->mac}.text, device->mtu);
  device.release(); /* the stack's until detach */
  return 0;
}

int slirp_open(const iopkt_host* host, const iopkt_generic_options* generic,
               const iopkt_option_value* values) {
  const Log log{host, "devnp-slirp", generic->verbose};
  try {
    return open_device(host, *generic, values, log);
  } catch (const std::bad_alloc&) {
    log.error("no memory");
    return -ENOMEM;
  }
}

}  // namespace

extern "C" IOPKT_EXPORT const iopkt_driver iopkt_driver_entry = {
    IOPKT_DRIVER_ABI, sizeof(iopkt_driver),
    "slirp",          "Outbound networking without privileges, through libslirp.",
    IOPKT_VERSION,    kOptions,
    kOptionCount,     slirp_open,
};
