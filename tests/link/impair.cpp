// A path between two TAP interfaces that behaves as the simulator's links do (tests/support/link.hpp), in real time and with the
// same seeds: what one end sends comes out of the other later, in another order, twice, broken or never.
//
//   impair NETNS,NAME NETNS,NAME [WORD ...]
//
// NETNS is a file below /run/netns or a path, NAME the interface that is made there (down, without an address). Words, for both
// directions, or with "ab." or "ba." in front for one:
//   delay=MS loss=P duplicate=P reorder=P reorder_by=MS corrupt=P mark=P (ECT becomes CE)   P: 0..1
//   rate=MBIT queue=FRAMES lose_every=N mtu=BYTES
// and seed=N, which begins both anew, and hold=1: nothing comes out of either end until hold=0. "ready" is printed when the interfaces are there. Then each line of standard input is more
// words, answered with "ok" or what is wrong; "counts" is answered with what happened to frames. It ends with its standard input.
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <sstream>
#include <string>

#include "tests/support/link.hpp"

namespace {

using iopkt::Duration;
using iopkt::Instant;
using iopkt::sim::Frame;
using iopkt::sim::Link;
using iopkt::sim::LinkConfig;

constexpr std::size_t kLongest = 65536 + 18;

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "impair: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

Instant now() { return {std::chrono::nanoseconds{std::chrono::steady_clock::now().time_since_epoch()}.count()}; }

/// A TAP without any offload: each frame that comes out of it is one that a wire could carry, with its checksums.
int open_tap(const std::string& where) {
  const auto comma = where.find(',');
  if (comma == std::string::npos) errno = EINVAL, fail(where);
  const std::string space = where.substr(0, comma), name = where.substr(comma + 1);
  const int netns = open((space.find('/') == std::string::npos ? "/run/netns/" + space : space).c_str(), O_RDONLY | O_CLOEXEC);
  if (netns < 0 || setns(netns, CLONE_NEWNET) < 0) fail(space);
  close(netns);
  const int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) fail("/dev/net/tun");
  ifreq request{};
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  std::strncpy(request.ifr_name, name.c_str(), IFNAMSIZ - 1);
  if (ioctl(fd, TUNSETIFF, &request) < 0) fail(name);
  return fd;
}

/// One word into a configuration. False: there is no such word, or its value is none.
bool apply(LinkConfig& c, const std::string& name, double value) {
  if (!(value >= 0 && value <= 1e9)) return false;
  const auto ms = [&] { return Duration{static_cast<std::int64_t>(value * 1e6)}; };
  const auto chance = [&](double& to) { return to = value, value <= 1; };
  if (name == "loss") return chance(c.loss);
  if (name == "duplicate") return chance(c.duplicate);
  if (name == "reorder") return chance(c.reorder);
  if (name == "corrupt") return chance(c.corrupt);
  if (name == "mark") return chance(c.mark);
  if (name == "delay") c.delay = ms();
  else if (name == "reorder_by") c.reorder_by = ms();
  else if (name == "rate") c.rate_bps = static_cast<std::uint64_t>(value * 1e6);
  else if (name == "queue") c.queue = static_cast<std::size_t>(value);
  else if (name == "lose_every") c.lose_every = static_cast<std::uint64_t>(value);
  else if (name == "mtu") c.mtu = static_cast<std::size_t>(value);
  else return false;
  return true;
}

class Path {
 public:
  /// Each word of a line. Returns what is wrong, or nothing.
  std::optional<std::string> words(const std::string& line) {
    std::istringstream in(line);
    bool anew = false;
    for (std::string word; in >> word;) {
      const auto equals = word.find('=');
      std::string name = word.substr(0, equals);
      double value = -1;
      if (equals != std::string::npos) std::from_chars(word.data() + equals + 1, word.data() + word.size(), value);
      if (name == "seed" && value >= 0) {
        seed_ = static_cast<std::uint64_t>(value), anew = true;
        continue;
      }
      if (name == "hold" && value >= 0) {
        held_ = value != 0;
        continue;
      }
      const bool ab = !name.starts_with("ba."), ba = !name.starts_with("ab.");
      if (ab != ba) name.erase(0, 3);
      if ((ab && !apply(configs_[0], name, value)) || (ba && !apply(configs_[1], name, value))) return "not a word: " + word;
    }
    for (std::size_t i = 0; i < 2; ++i) {
      if (anew) links_[i].emplace(configs_[i], seed_ * 2 + i);
      else links_[i]->change(configs_[i]);
    }
    return std::nullopt;
  }
  std::string counts() const {
    std::ostringstream out;
    for (std::size_t i = 0; i < 2; ++i) {
      const Link::Counts& c = links_[i]->counts();
      out << (i == 0 ? "ab" : " ba") << " in=" << c.in << " out=" << c.out << " full=" << c.queue_full << " lost=" << c.lost
          << " too_long=" << c.too_long << " duplicated=" << c.duplicated << " reordered=" << c.reordered << " marked=" << c.marked
          << " corrupted=" << c.corrupted;
    }
    return out.str();
  }
  Link& operator[](std::size_t i) { return *links_[i]; }
  bool held() const { return held_; }

 private:
  std::uint64_t seed_ = 1;
  bool held_ = false;
  std::array<LinkConfig, 2> configs_{LinkConfig{.delay = {}}, LinkConfig{.delay = {}}};
  std::array<std::optional<Link>, 2> links_{Link{LinkConfig{}, 2}, Link{LinkConfig{}, 3}};
};

/// All frames that wait at one end, into the link; not so many that the other direction starves.
void read_frames(int fd, Link& link) {
  static std::array<std::byte, kLongest> buffer;
  for (int i = 0; i < 64; ++i) {
    const ssize_t n = read(fd, buffer.data(), buffer.size());
    if (n <= 0) return;
    link.put(now(), Frame{buffer.begin(), buffer.begin() + n});
  }
}

void write_frames(int fd, Link& link) {
  // A frame that the interface does not take (it is down) is lost, as on a wire.
  while (auto frame = link.take(now())) static_cast<void>(!write(fd, frame->data(), frame->size()));
}

/// False: standard input has ended.
bool obey(Path& path, std::string& unread) {
  char text[4096];
  const ssize_t n = read(STDIN_FILENO, text, sizeof text);
  if (n <= 0) return false;
  unread.append(text, static_cast<std::size_t>(n));
  for (std::size_t end; (end = unread.find('\n')) != std::string::npos; unread.erase(0, end + 1)) {
    const std::string line = unread.substr(0, end);
    const std::string answer = line == "counts" ? path.counts() : path.words(line).value_or("ok");
    std::printf("%s\n", answer.c_str());
    std::fflush(stdout);
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return std::fprintf(stderr, "usage: impair NETNS,NAME NETNS,NAME [WORD ...]\n"), 2;
  Path path;
  std::string words = "seed=1";
  for (int i = 3; i < argc; ++i) words += std::string(" ") + argv[i];
  if (const auto wrong = path.words(words)) return std::fprintf(stderr, "impair: %s\n", wrong->c_str()), 2;
  prctl(PR_SET_TIMERSLACK, 1);
  const std::array<int, 2> ends{open_tap(argv[1]), open_tap(argv[2])};
  std::printf("ready\n");
  std::fflush(stdout);
  std::string unread;
  for (;;) {
    const Instant next = path.held() ? Instant::never() : std::min(path[0].next(), path[1].next());
    const std::int64_t left = std::max<std::int64_t>(0, next.is_never() ? 1'000'000'000 : next.ns - now().ns);
    const timespec wait{left / 1'000'000'000, left % 1'000'000'000};
    std::array<pollfd, 3> fds{pollfd{ends[0], POLLIN, 0}, pollfd{ends[1], POLLIN, 0}, pollfd{STDIN_FILENO, POLLIN, 0}};
    if (ppoll(fds.data(), fds.size(), &wait, nullptr) < 0 && errno != EINTR) fail("ppoll");
    if (fds[2].revents != 0 && !obey(path, unread)) return 0;
    for (std::size_t i = 0; i < 2; ++i) read_frames(ends[i], path[i]);
    for (std::size_t i = 0; i < 2 && !path.held(); ++i) write_frames(ends[1 - i], path[i]);
  }
}
