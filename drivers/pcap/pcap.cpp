// devnp-pcap: a wire made of capture files. Frames of one file arrive with the recorded gaps, frames sent go
// into another, with nanosecond timestamps. Formats as far as libpcap reads them; draft-ietf-opsawg-pcap for
// what it writes.
#include <fcntl.h>
#include <iopkt/driver.h>
#include <iopkt/version.h>
#include <pcap/pcap.h>
#include <sys/stat.h>
#include <sys/timerfd.h>

#include <cerrno>
#include <cstdio>
#include <ctime>
#include <memory>
#include <new>

#include "../support/frame_io.hpp"
#include "../support/log.hpp"
#include "../support/mac.hpp"
#include "../support/unique_fd.hpp"
#include "speed.hpp"

namespace {

using namespace devnp;
using namespace devnp_pcap;

constexpr std::uint32_t kMtuMin = 68, kMtuDefault = 1500, kMtuMax = 65521;

enum Option { kLoop, kRead, kSnaplen, kSpeed, kWrite, kOptionCount };

constexpr iopkt_driver_option kOptions[kOptionCount] = {
    {"loop", "passes", "How often read= is played; 0: for ever.", IOPKT_OPTION_NUMBER, 1, 0, 0x7fffffff,
     nullptr},
    {"read", nullptr, "Capture file (pcap or pcapng, Ethernet) whose frames arrive.", IOPKT_OPTION_TEXT, 0, 1,
     1000, nullptr},
    {"snaplen", "bytes", "Bytes kept of each frame in write=.", IOPKT_OPTION_NUMBER, 262144, 64, 262144,
     nullptr},
    {"speed", "times", "How fast read= is played, 0.001..1000000, or burst: as fast as it is taken.",
     IOPKT_OPTION_TEXT, 0, 1, 11, "1"},
    {"write", nullptr, "Capture file for the frames sent; one that exists is replaced.", IOPKT_OPTION_TEXT, 0,
     1, 1000, nullptr},
};

std::int64_t monotonic_ns() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

struct PcapClose {
  void operator()(pcap_t* p) const { ::pcap_close(p); }
  void operator()(pcap_dumper_t* p) const { ::pcap_dump_close(p); }
};

/// Plays a file. The timer is readable from the moment that the next frame is due.
class Player {
 public:
  /// 0, or a negative errno after a line in the log.
  int open(const char* path, std::uint32_t speed_milli, std::uint32_t passes, const Log& log);
  void start();
  void stop();
  int receive(const iopkt_host& host, iopkt_frame** frames, std::uint32_t max, QueueCounters& counters);
  int descriptor() const { return timer_.get(); }

 private:
  int open_file();
  bool fetch();
  void end(const char* why);
  iopkt_frame* deliver(const iopkt_host& host, QueueCounters& counters) const;
  std::int64_t due_ns() const;
  void arm(std::int64_t at_ns);

  Log log_;
  const char* path_ = nullptr;
  char path_copy_[1001] = {};
  std::unique_ptr<pcap_t, PcapClose> file_;
  UniqueFd timer_;
  std::uint32_t speed_milli_ = 1000, passes_ = 1, pass_ = 0;
  bool ended_ = false, running_ = false, started_ = false;
  pcap_pkthdr* header_ = nullptr; /* the next frame, or null: none was fetched yet */
  const u_char* bytes_ = nullptr;
  std::int64_t begin_ns_ = 0, first_ts_ns_ = 0,
               stopped_ns_ = 0; /* of this pass; first_ts in the file's time */
  std::uint64_t frames_ = 0, pass_frames_ = 0;
};

std::int64_t time_of(const pcap_pkthdr& h) {
  return std::int64_t{h.ts.tv_sec} * 1'000'000'000 + h.ts.tv_usec; /* ns */
}

int check_regular(int fd, const char* option, const char* path, const Log& log) {
  struct stat s{};
  if (::fstat(fd, &s) != 0) return -errno;
  if (S_ISREG(s.st_mode)) return 0;
  log.error("%s=%s: not a regular file", option, path);
  return -EINVAL;
}

int Player::open_file() {
  UniqueFd fd{::open(path_, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (!fd) {
    const int error = errno;
    log_.error("read=%s: %s", path_, std::strerror(error));
    return -error;
  }
  if (const int rc = check_regular(fd.get(), "read", path_, log_); rc != 0) return rc;
  std::FILE* stream = ::fdopen(fd.get(), "r");
  if (stream == nullptr) return -errno;
  fd.release(); /* the stream's */
  char error[PCAP_ERRBUF_SIZE] = {};
  file_.reset(::pcap_fopen_offline_with_tstamp_precision(stream, PCAP_TSTAMP_PRECISION_NANO, error));
  if (file_ == nullptr) {
    std::fclose(stream);
    log_.error("read=%s: %s", path_, error);
    return -EINVAL;
  }
  if (const int type = ::pcap_datalink(file_.get()); type != DLT_EN10MB) {
    const char* name = ::pcap_datalink_val_to_name(type);
    log_.error("read=%s: link type %s (%d), not Ethernet", path_, name != nullptr ? name : "unknown", type);
    return -EINVAL;
  }
  return 0;
}

int Player::open(const char* path, std::uint32_t speed_milli, std::uint32_t passes, const Log& log) {
  log_ = log;
  speed_milli_ = speed_milli;
  passes_ = passes;
  timer_.reset(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer_) return -errno;
  if (path == nullptr) {
    ended_ = true;
    return 0;
  }
  std::snprintf(path_copy_, sizeof path_copy_, "%s", path); /* for the later passes */
  path_ = path_copy_;
  return open_file();
}

void Player::arm(std::int64_t at_ns) {
  itimerspec t{};
  if (at_ns >= 0) t.it_value = {at_ns / 1'000'000'000, at_ns % 1'000'000'000 + (at_ns == 0 ? 1 : 0)};
  (void)::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &t, nullptr);
}

void Player::start() {
  const std::int64_t now = monotonic_ns();
  if (running_) return;
  running_ = true;
  begin_ns_ = started_ ? begin_ns_ + (now - stopped_ns_) : now; /* a pause is no part of the recording */
  started_ = true;
  if (!ended_) arm(0);
}

void Player::stop() {
  if (!running_) return;
  running_ = false;
  stopped_ns_ = monotonic_ns();
  arm(-1);
}

void Player::end(const char* why) {
  ended_ = true;
  arm(-1);
  file_.reset();
  log_.info("read=%s: %s after %llu frames", path_, why, static_cast<unsigned long long>(frames_));
}

std::int64_t Player::due_ns() const {
  if (speed_milli_ == 0) return 0;
  const auto after =
      static_cast<double>(time_of(*header_) - first_ts_ns_); /* below 0 in a file that is not sorted */
  return begin_ns_ + (after > 0 ? static_cast<std::int64_t>(after * 1000.0 / speed_milli_) : 0);
}

/// Makes the next frame the current one; false at the end.
bool Player::fetch() {
  for (;;) {
    const int rc = ::pcap_next_ex(file_.get(), &header_, &bytes_);
    if (rc == 1) break;
    header_ = nullptr;
    if (rc != PCAP_ERROR_BREAK) {
      log_.error("read=%s: %s", path_, ::pcap_geterr(file_.get()));
      end("stopped");
      return false;
    }
    if (pass_frames_ == 0 || (passes_ != 0 && pass_ + 1 >= passes_)) {
      end("played");
      return false;
    }
    ++pass_;
    pass_frames_ = 0;
    begin_ns_ = monotonic_ns();
    if (open_file() != 0) {
      end("stopped");
      return false;
    }
  }
  if (pass_frames_++ == 0) first_ts_ns_ = time_of(*header_);
  ++frames_;
  return true;
}

iopkt_frame* Player::deliver(const iopkt_host& host, QueueCounters& counters) const {
  const std::uint32_t len = header_->caplen;
  if (len < 14 || len > kFrameMax ||
      len != header_->len) { /* cut off when it was recorded: not the frame that it was */
    counters.rx_errors.add();
    return nullptr;
  }
  iopkt_frame* frame = host.alloc(host.ctx, len);
  if (frame == nullptr) {
    counters.rx_no_buffer.add();
    return nullptr;
  }
  copy_in(frame, 0, bytes_, len);
  set_length(frame, len);
  return frame;
}

int Player::receive(const iopkt_host& host, iopkt_frame** frames, std::uint32_t max,
                    QueueCounters& counters) {
  int count = 0;
  if (!running_) return 0;
  for (std::uint32_t tries = 0; tries < max && !ended_; ++tries) {
    if (header_ == nullptr && !fetch()) break;
    const std::int64_t due = due_ns();
    if (due > monotonic_ns()) {
      arm(due);
      break;
    }
    iopkt_frame* frame = deliver(host, counters);
    header_ = nullptr;
    if (frame != nullptr) frames[count++] = frame;
  }
  return count;
}

/// Writes a file.
class Recorder {
 public:
  int open(const char* path, int snaplen, const Log& log);
  void record(const iopkt_frame& frame, QueueCounters& counters);
  void flush(QueueCounters& counters);

 private:
  Log log_;
  std::unique_ptr<pcap_t, PcapClose> format_;
  std::unique_ptr<pcap_dumper_t, PcapClose> file_;
  std::unique_ptr<std::uint8_t[]> scratch_;
  std::uint32_t snaplen_ = 0, unflushed_ = 0;
  bool failed_ = false;
};

int Recorder::open(const char* path, int snaplen, const Log& log) {
  log_ = log;
  if (path == nullptr) return 0;
  snaplen_ = static_cast<std::uint32_t>(snaplen);
  scratch_.reset(new (std::nothrow) std::uint8_t[kFrameMax]);
  format_.reset(::pcap_open_dead_with_tstamp_precision(DLT_EN10MB, snaplen, PCAP_TSTAMP_PRECISION_NANO));
  if (scratch_ == nullptr || format_ == nullptr) return -ENOMEM;
  UniqueFd fd{::open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644)};
  if (!fd) {
    const int error = errno;
    log.error("write=%s: %s", path, std::strerror(error));
    return -error;
  }
  if (const int rc = check_regular(fd.get(), "write", path, log); rc != 0) return rc;
  std::FILE* stream = ::ftruncate(fd.get(), 0) == 0 ? ::fdopen(fd.get(), "w") : nullptr;
  if (stream == nullptr) return -errno;
  fd.release(); /* the stream's */
  file_.reset(::pcap_dump_fopen(format_.get(), stream));
  if (file_ != nullptr && ::pcap_dump_flush(file_.get()) == 0) return 0;
  const int error = errno != 0 ? errno : EIO;
  if (file_ == nullptr) std::fclose(stream);
  log.error("write=%s: %s", path, std::strerror(error));
  return -error;
}

void Recorder::record(const iopkt_frame& frame, QueueCounters& counters) {
  if (file_ == nullptr) return; /* a wire that leads nowhere */
  constexpr std::uint32_t never_offered =
      IOPKT_CSUM_NEEDED | IOPKT_GSO_TCP4 | IOPKT_GSO_TCP6 | IOPKT_GSO_UDP | IOPKT_VLAN_VALID;
  if (frame.len < 14 || frame.len > kFrameMax || (frame.flags & never_offered) != 0) {
    counters.tx_errors.add();
    return;
  }
  if (failed_) {
    counters.tx_dropped.add();
    return;
  }
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  pcap_pkthdr h{};
  h.ts.tv_sec = now.tv_sec;
  h.ts.tv_usec = now.tv_nsec; /* the precision is nanoseconds */
  h.len = frame.len;
  h.caplen = copy_out(&frame, 0, scratch_.get(), std::min(frame.len, snaplen_));
  ::pcap_dump(reinterpret_cast<u_char*>(file_.get()), &h, scratch_.get());
  ++unflushed_;
}

/// After each burst, so that a killed stack leaves a readable file.
void Recorder::flush(QueueCounters& counters) {
  if (unflushed_ == 0) return;
  if (::pcap_dump_flush(file_.get()) != 0 || std::ferror(::pcap_dump_file(file_.get())) != 0) {
    log_.error("write=: %s: nothing more is recorded", std::strerror(errno));
    failed_ = true; /* what follows half a record could not be read */
    counters.tx_dropped.add(unflushed_);
  }
  unflushed_ = 0;
}

struct Device {
  const iopkt_host* host = nullptr;
  Player player;
  Recorder recorder;
  UniqueFd writable; /* transmit always has room: a descriptor that is always writable */
  std::uint32_t mtu = kMtuDefault;
  std::uint8_t mac[6] = {};
  char description[96] = {};
  QueueCounters counters;
};

Device& self(void* device) { return *static_cast<Device*>(device); }

int pcap_start(void* device) {
  self(device).player.start();
  return 0;
}

void pcap_stop(void* device) { self(device).player.stop(); }

int pcap_receive(void* device, std::uint32_t, iopkt_frame** frames, std::uint32_t max) {
  Device& d = self(device);
  return d.player.receive(*d.host, frames, max, d.counters);
}

int pcap_transmit(void* device, std::uint32_t, iopkt_frame* const* frames, std::uint32_t count) {
  Device& d = self(device);
  for (std::uint32_t i = 0; i < count; ++i) d.recorder.record(*frames[i], d.counters);
  d.recorder.flush(d.counters);
  return static_cast<int>(count);
}

int pcap_descriptor(void* device, std::uint32_t, int tx) {
  const Device& d = self(device);
  return tx != 0 ? d.writable.get() : d.player.descriptor();
}

int pcap_set_mac(void* device, const std::uint8_t mac[6]) {
  if (!is_station_address(mac)) return -EINVAL;
  std::memcpy(self(device).mac, mac, 6);
  return 0;
}

int pcap_set_mtu(void* device, std::uint32_t mtu) {
  if (mtu < kMtuMin || mtu > kMtuMax) return -EINVAL;
  self(device).mtu = mtu;
  return 0;
}

int pcap_set_promiscuous(void*, int) { return 0; }
int pcap_set_multicast(void*, const std::uint8_t (*)[6], std::uint32_t) { return 0; }
void pcap_statistics(void* device, iopkt_statistics* out) { self(device).counters.add_to(out); }
void pcap_detach(void* device) { delete static_cast<Device*>(device); }

constexpr iopkt_device_ops kOps = {
    sizeof(iopkt_device_ops), pcap_start,   pcap_stop,    pcap_receive,         pcap_transmit,
    pcap_descriptor,          pcap_set_mac, pcap_set_mtu, pcap_set_promiscuous, pcap_set_multicast,
    pcap_statistics,          pcap_detach,  nullptr,
};

int check_options(const Log& log, const iopkt_generic_options& generic, const iopkt_option_value* values,
                  std::uint32_t* speed) {
  if (values[kRead].text == nullptr && values[kWrite].text == nullptr) {
    log.error("read= or write= is needed");
    return -EINVAL;
  }
  if (!parse_speed(values[kSpeed].text, speed)) {
    log.error("speed=%s: neither burst nor a number 0.001..%u with at most three decimals",
              values[kSpeed].text, kSpeedMax);
    return -EINVAL;
  }
  if (generic.mac_given != 0 && !is_station_address(generic.mac)) {
    log.error("mac=%s: not the address of a station", MacText{generic.mac}.text);
    return -EINVAL;
  }
  if (generic.mtu != 0 && (generic.mtu < kMtuMin || generic.mtu > kMtuMax)) {
    log.error("mtu=%u: outside %u..%u", generic.mtu, kMtuMin, kMtuMax);
    return -EINVAL;
  }
  return 0;
}

int attach(Device& d, const iopkt_option_value* values) {
  std::snprintf(d.description, sizeof d.description, "capture files, %s%s%s",
                values[kRead].text != nullptr ? "read" : "",
                values[kRead].text != nullptr && values[kWrite].text != nullptr ? " and " : "",
                values[kWrite].text != nullptr ? "written" : "");
  iopkt_device_info info{};
  info.size = sizeof info;
  info.device = &d;
  info.ops = &kOps;
  info.link_type = IOPKT_LINK_ETHERNET;
  info.prefix = "en";
  std::memcpy(info.mac, d.mac, 6);
  info.mtu = d.mtu;
  info.mtu_min = kMtuMin;
  info.mtu_max = kMtuMax;
  info.rx_queues = info.tx_queues = 1;
  info.link_up = 1;
  info.description = d.description;
  iopkt_interface* interface = nullptr;
  return d.host->attach(d.host->ctx, &info, &interface);
}

int pcap_open(const iopkt_host* host, const iopkt_generic_options* generic,
              const iopkt_option_value* values) {
  const Log log{host, "devnp-pcap", generic->verbose};
  std::uint32_t speed = 0;
  if (const int rc = check_options(log, *generic, values, &speed); rc != 0) return rc;
  std::unique_ptr<Device> device{new (std::nothrow) Device};
  if (device == nullptr) return -ENOMEM;
  device->host = host;
  if (generic->mtu != 0) device->mtu = generic->mtu;
  if (generic->mac_given != 0)
    std::memcpy(device->mac, generic->mac, 6);
  else if (const int rc = random_mac(device->mac); rc != 0)
    return rc;
  device->writable.reset(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
  if (!device->writable) return -errno;
  // The file to read first: what is wrong with it must not cost the contents of the other.
  int rc =
      device->player.open(values[kRead].text, speed, static_cast<std::uint32_t>(values[kLoop].number), log);
  if (rc == 0)
    rc = device->recorder.open(values[kWrite].text, static_cast<int>(values[kSnaplen].number), log);
  if (rc == 0) rc = attach(*device, values);
  if (rc != 0) return rc;
  log.info("%s, our address %s, mtu %u", device->description, MacText{device->mac}.text, device->mtu);
  device.release(); /* the stack's until detach */
  return 0;
}

}  // namespace

extern "C" IOPKT_EXPORT const iopkt_driver iopkt_driver_entry = {
    IOPKT_DRIVER_ABI, sizeof(iopkt_driver),
    "pcap",           "A wire of capture files: replay and record.",
    IOPKT_VERSION,    kOptions,
    kOptionCount,     pcap_open,
};
