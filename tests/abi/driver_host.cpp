// The stand-in for the stack, and frames to feed it with.
#include "driver_host.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace iopkt::abi_test {

DriverHost::DriverHost(const std::string& name) {
  const char* build = std::getenv("IOPKT_BUILD_DIR");
  const std::string path = std::string(build != nullptr ? build : ".") + "/lib/io-pkt/devnp-" + name + ".so";
  library_ = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library_ == nullptr) {
    log_ = ::dlerror();
    return;
  }
  driver_ = static_cast<const iopkt_driver*>(::dlsym(library_, IOPKT_DRIVER_SYMBOL));
  host_ = {IOPKT_DRIVER_ABI, sizeof host_, this, on_attach, on_alloc, on_release, on_link, on_log};
}

DriverHost::~DriverHost() {
  detach();
  if (library_ != nullptr) ::dlclose(library_);
}

void DriverHost::detach() {
  if (!attached()) return;
  info_.ops->detach(info_.device);
  info_ = {};
}

namespace {

bool parse_mac(const std::string& text, std::uint8_t mac[6]) {
  unsigned m[6];
  if (std::sscanf(text.c_str(), "%2x%2x%2x%2x%2x%2x", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5]) != 6)
    return false;
  for (int i = 0; i < 6; ++i) mac[i] = static_cast<std::uint8_t>(m[i]);
  return true;
}

int parse_option(const iopkt_driver& driver, const std::string& name, const std::string& text, bool has_text,
                 std::vector<iopkt_option_value>& values, std::vector<std::string>& texts) {
  for (std::uint32_t i = 0; i < driver.option_count; ++i) {
    const iopkt_driver_option& row = driver.options[i];
    if (name != row.name) continue;
    values[i].given = 1;
    if (row.kind == IOPKT_OPTION_TEXT) {
      const auto len = static_cast<std::int64_t>(text.size());
      if (len < row.min || len > row.max) return -ERANGE;
      texts[i] = text;
      values[i].text = texts[i].c_str();
    } else if (row.kind == IOPKT_OPTION_MAC) {
      if (!parse_mac(text, values[i].mac)) return -ERANGE;
    } else {
      values[i].number = has_text ? std::strtoll(text.c_str(), nullptr, 0) : 1;
      if (values[i].number < row.min || values[i].number > row.max) return -ERANGE;
    }
    return 0;
  }
  return -E2BIG;
}

}  // namespace

int DriverHost::open(const std::string& options, std::uint32_t rx_queues) {
  iopkt_generic_options generic{};
  generic.size = sizeof generic;
  generic.rx_queues = rx_queues;
  generic.verbose = 2;
  std::vector<iopkt_option_value> values(driver_->option_count);
  std::vector<std::string> texts(driver_->option_count);
  for (std::uint32_t i = 0; i < driver_->option_count; ++i) {
    values[i].number = driver_->options[i].initial;
    values[i].text = driver_->options[i].initial_text;
  }
  for (std::size_t at = 0; at < options.size();) {
    const std::size_t comma = std::min(options.find(',', at), options.size());
    const std::string one = options.substr(at, comma - at);
    at = comma + 1;
    const std::size_t equals = one.find('=');
    const std::string name = one.substr(0, equals);
    const std::string text = equals == std::string::npos ? "" : one.substr(equals + 1);
    if (name == "mtu")
      generic.mtu = static_cast<std::uint32_t>(std::strtoul(text.c_str(), nullptr, 0));
    else if (name == "mac")
      generic.mac_given = parse_mac(text, generic.mac);
    else if (const int rc = parse_option(*driver_, name, text, equals != std::string::npos, values, texts);
             rc != 0)
      return rc;
  }
  const int rc = driver_->open(&host_, &generic, values.data());
  if (rc != 0) detach();
  return rc;
}

int DriverHost::on_attach(void* ctx, const iopkt_device_info* info, iopkt_interface** out) {
  DriverHost& self = *static_cast<DriverHost*>(ctx);
  if (self.attach_answer != 0) return self.attach_answer;
  self.info_ = *info;
  self.prefix_ = info->prefix != nullptr ? info->prefix : self.driver_->name;
  *out = reinterpret_cast<iopkt_interface*>(&self);
  return 0;
}

iopkt_frame* DriverHost::on_alloc(void* ctx, std::uint32_t capacity) {
  DriverHost& self = *static_cast<DriverHost*>(ctx);
  if (self.pool_empty || capacity > self.alloc_max) return nullptr;
  auto* f = new PoolFrame;
  for (std::uint32_t room = 0; room < capacity; room += self.cluster) {
    f->clusters.emplace_back(new std::uint8_t[self.cluster]);
    f->pieces.push_back({f->clusters.back().get(), 0, self.cluster});
  }
  f->frame.piece = f->pieces.data();
  f->frame.piece_count = f->frame.piece_capacity = static_cast<std::uint16_t>(f->pieces.size());
  ++self.outstanding_;
  return &f->frame;
}

void DriverHost::on_release(void* ctx, iopkt_frame* frame) {
  --static_cast<DriverHost*>(ctx)->outstanding_;
  delete PoolFrame::of(frame);
}

void DriverHost::on_link(void* ctx, iopkt_interface*, int up, std::uint32_t) {
  static_cast<DriverHost*>(ctx)->link_ = up;
}

void DriverHost::on_log(void* ctx, int, const char* line) {
  std::string& log = static_cast<DriverHost*>(ctx)->log_;
  log += line;
  log += '\n';
}

std::vector<Frame> DriverHost::receive(std::uint32_t queue, std::uint32_t max) {
  std::vector<iopkt_frame*> raw(max);
  const int n = info_.ops->receive(info_.device, queue, raw.data(), max);
  std::vector<Frame> out;
  for (int i = 0; i < n; ++i) {
    Frame f;
    const iopkt_frame& in = *raw[static_cast<std::size_t>(i)];
    std::uint32_t sum = 0;
    bool ended = false, gap = false;
    for (int p = 0; p < in.piece_count; ++p) {
      gap |= ended && in.piece[p].len != 0;
      ended |= in.piece[p].len < in.piece[p].capacity;
      sum += in.piece[p].len;
      f.bytes.insert(f.bytes.end(), in.piece[p].data, in.piece[p].data + in.piece[p].len);
    }
    if (gap || sum != in.len) std::abort(); /* the contract of iopkt_host.alloc */
    f.meta = in;
    f.meta.piece = nullptr;
    out.push_back(std::move(f));
    on_release(this, raw[static_cast<std::size_t>(i)]);
  }
  return out;
}

int DriverHost::transmit(const std::vector<Frame>& frames, std::uint32_t queue, std::uint32_t piece) {
  std::vector<std::unique_ptr<PoolFrame>> owned;
  std::vector<iopkt_frame*> raw;
  for (const Frame& f : frames) {
    auto p = std::make_unique<PoolFrame>();
    p->frame = f.meta;
    for (std::size_t at = 0; at < f.bytes.size(); at += piece) {
      const auto n = static_cast<std::uint32_t>(std::min<std::size_t>(piece, f.bytes.size() - at));
      p->clusters.emplace_back(new std::uint8_t[n]);
      std::memcpy(p->clusters.back().get(), f.bytes.data() + at, n);
      p->pieces.push_back({p->clusters.back().get(), n, n});
    }
    p->frame.piece = p->pieces.data();
    p->frame.piece_count = p->frame.piece_capacity = static_cast<std::uint16_t>(p->pieces.size());
    p->frame.len = static_cast<std::uint32_t>(f.bytes.size());
    raw.push_back(&p->frame);
    owned.push_back(std::move(p));
  }
  return info_.ops->transmit(info_.device, queue, raw.data(), static_cast<std::uint32_t>(raw.size()));
}

bool DriverHost::wait_readable(int wait_ms, std::uint32_t queue) {
  pollfd p{info_.ops->descriptor(info_.device, queue, 0), POLLIN, 0};
  return ::poll(&p, 1, wait_ms) == 1;
}

iopkt_statistics DriverHost::statistics() const {
  iopkt_statistics s{};
  s.size = sizeof s;
  info_.ops->statistics(info_.device, &s);
  return s;
}

namespace {

std::uint32_t add_bytes(std::uint32_t sum, const std::uint8_t* p, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) sum += (i & 1) != 0 ? p[i] : static_cast<std::uint32_t>(p[i] << 8);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

std::uint32_t pseudo(const Bytes& f, std::size_t len) {
  const std::uint32_t sum = add_bytes(0, f.data() + 26, 8) + f[23] + static_cast<std::uint32_t>(len);
  return add_bytes(0, nullptr, 0) + (sum & 0xffff) + (sum >> 16);
}

}  // namespace

Bytes ip_frame(const std::uint8_t dst[6], const std::uint8_t src[6], int protocol, std::size_t payload) {
  const std::size_t header = protocol == 6 ? 20 : 8, total = 20 + header + payload;
  Bytes f(14 + total);
  std::copy_n(dst, 6, f.begin());
  std::copy_n(src, 6, f.begin() + 6);
  const auto put16 = [&f](std::size_t at, std::size_t v) {
    f[at] = static_cast<std::uint8_t>(v >> 8);
    f[at + 1] = static_cast<std::uint8_t>(v);
  };
  put16(12, 0x0800);
  f[14] = 0x45;
  put16(16, total);
  f[22] = 64;
  f[23] = static_cast<std::uint8_t>(protocol);
  const std::uint8_t addresses[8] = {10, 9, 0, 2, 10, 9, 0, 1};
  std::memcpy(f.data() + 26, addresses, 8);
  put16(24, ~add_bytes(0, f.data() + 14, 20) & 0xffff);
  put16(34, 4000);
  put16(36, 4001);
  if (protocol == 6) {
    f[46] = 5 << 4;
    f[47] = 0x10;
    put16(48, 1000);
    put16(50, pseudo(f, total - 20));
  } else {
    put16(38, total - 20);
    put16(40, pseudo(f, total - 20));
  }
  for (std::size_t i = 0; i < payload; ++i)
    f[14 + 20 + header + i] = static_cast<std::uint8_t>(i * 7 + i / 251);
  return f;
}

std::uint16_t transport_sum(const Bytes& f) {
  const std::size_t ip_total = static_cast<std::size_t>(f[16] << 8 | f[17]);
  std::uint32_t sum = pseudo(f, ip_total - 20) + add_bytes(0, f.data() + 34, ip_total - 20);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(sum);
}

bool private_netns() {
  if (::unshare(CLONE_NEWNET) != 0) return false;
  // New interfaces would announce themselves by IPv6, at any moment and among the frames that a test counts.
  const int quiet = ::open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC);
  if (quiet >= 0) {
    EXPECT_EQ(::write(quiet, "1", 1), 1);
    ::close(quiet);
  }
  const int s = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq r{};
  std::memcpy(r.ifr_name, "lo", 3);
  r.ifr_flags = IFF_UP;
  const bool up = ::ioctl(s, SIOCSIFFLAGS, &r) == 0;
  ::close(s);
  return up;
}

}  // namespace iopkt::abi_test
