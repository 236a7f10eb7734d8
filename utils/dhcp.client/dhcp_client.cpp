// The loop: a UDP socket of the stack on one side, verbs of the stack on the other. The program runs with the socket library loaded
// (main.cpp sees to it), so that its socket is the stack's.
#include "utils/dhcp.client/dhcp_client.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "utils/common/files.hpp"

namespace iopkt::utils {
namespace {

constexpr int kNoInterface = 2, kNoServer = 3;
constexpr std::uint64_t kPollPauseSeconds = 2;
constexpr int kDatagramsPerTurn = 64;
constexpr std::int64_t kProbeLookMs = 100;  // between two looks at what has come of probing

Instant clock_now() {
  timespec t{};
  ::clock_gettime(CLOCK_BOOTTIME, &t);  // a lease runs out while the machine sleeps, too
  return {static_cast<std::int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec};
}

struct Interface {
  std::string name;
  wire::MacAddress mac;
};

/// An address of IPv4 that the interface has not given itself.
bool is_given(const Node& address) {
  return address.text_of("family") == "inet" && address.text_of("flag_names").find("autoconf") == std::string_view::npos;
}

/// The one that is named, or the first without an address; waits for it.
std::optional<Interface> find_interface(Stack& stack, const DhcpFlags& flags) {
  for (std::uint32_t poll = 0;; ++poll) {
    if (const auto answer = stack.ask("interface.list", {}))
      for (const Node& one : answer->list("interfaces")) {
        const auto mac = wire::MacAddress::parse(one.text_of("mac"));
        if (!mac || one.text_of("link_type") != "ethernet") continue;
        bool configured = false;
        for (const Node& address : one.list("addresses")) configured = configured || is_given(address);
        if (flags.interface.empty() ? !configured : one.text_of("name") == flags.interface)
          return Interface{std::string{one.text_of("name")}, *mac};
      }
    if (poll >= flags.polls) return std::nullopt;
    const timespec pause{.tv_sec = kPollPauseSeconds, .tv_nsec = 0};
    ::nanosleep(&pause, nullptr);
  }
}

/// Bound to the interface and the client's port. -1: errno says why.
int open_socket(const std::string& interface, std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  const int on = 1;
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_port = htons(port);
  const bool done = ::setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, interface.c_str(), static_cast<socklen_t>(interface.size() + 1)) == 0 &&
                    ::setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof on) == 0 &&
                    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
                    ::bind(fd, reinterpret_cast<const sockaddr*>(&any), sizeof any) == 0;
  if (done) return fd;
  const int error = errno;
  ::close(fd);
  errno = error;
  return -1;
}

class Client {
 public:
  Client(Io& io, Stack& stack, DhcpFlags flags, Interface interface)
      : io_(io), stack_(stack), flags_(std::move(flags)), interface_(std::move(interface)) {}
  ~Client() {
    for (const int fd : {socket_, signals_})
      if (fd >= 0) ::close(fd);
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  int run() {
    if (!prepare()) return 1;
    dhcp::Machine machine{settings(), seed()};
    handle(machine.start(clock_now()));
    while (machine.state() != dhcp::State::given_up) {
      pollfd waiting[2] = {{.fd = socket_, .events = POLLIN, .revents = 0}, {.fd = signals_, .events = POLLIN, .revents = 0}};
      const Duration left = machine.next_deadline() - clock_now();
      const auto ms = std::min<std::int64_t>(std::max<std::int64_t>(left / 1ms + 1, 0), probing_ ? kProbeLookMs : 3'600'000);
      if (::poll(waiting, 2, static_cast<int>(ms)) < 0 && errno != EINTR) return io_.error(std::string{"poll: "} + std::strerror(errno));
      if ((waiting[1].revents & POLLIN) != 0) return end(machine);
      // Only a stack that has ended hangs up; there is nothing to give back, and nobody to give it to.
      if ((waiting[0].revents & POLLHUP) != 0) return io_.error("the stack has ended");
      if ((waiting[0].revents & (POLLIN | POLLERR)) != 0) take(machine);
      handle(machine.on_time(clock_now()));
      if (probing_ && !look(machine)) return 1;
    }
    if (machine.only_conflicts()) return io_.error("other stations have what the server offers");
    return io_.error("no server has answered"), kNoServer;
  }

 private:
  bool prepare() {
    Node up, none;
    up.add_text("name", interface_.name);
    up.add_boolean("up", true);
    if (!asked(io_, stack_, "interface.set", up, none)) return false;
    sigset_t set;
    ::sigemptyset(&set);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGPWR}) ::sigaddset(&set, signal);
    ::sigprocmask(SIG_BLOCK, &set, nullptr);
    signals_ = ::signalfd(-1, &set, SFD_CLOEXEC);
    socket_ = open_socket(interface_.name, flags_.client_port);
    if (signals_ >= 0 && socket_ >= 0) return true;
    return (void)io_.error(interface_.name + ": " + std::strerror(errno)), false;
  }

  dhcp::Settings settings() const {
    dhcp::Settings s{.hardware = interface_.mac, .client_id = {}, .hostname = flags_.hostname, .only_server = flags_.server,
                     .attempts = flags_.attempts, .conflicts = flags_.conflicts, .unicast = flags_.unicast};
    // RFC 2132 section 9.14: the type of what follows, 0 where it is no hardware address.
    s.client_id.push_back(std::byte{flags_.client_id.empty() ? std::uint8_t{1} : std::uint8_t{0}});
    if (flags_.client_id.empty())
      for (const std::uint8_t one : interface_.mac.bytes) s.client_id.push_back(std::byte{one});
    for (const char one : flags_.client_id) s.client_id.push_back(static_cast<std::byte>(one));
    return s;
  }

  static std::uint64_t seed() {
    std::uint64_t out = 0;
    if (::getrandom(&out, sizeof out, 0) != sizeof out) out = static_cast<std::uint64_t>(clock_now().ns);
    return out;
  }

  void say(const std::string& line) {
    if (!flags_.debug) return;
    io_.complain(io_.command() + ": " + line + "\n");
    io_.flush();
  }

  void send(const dhcp::Machine::Out& out) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(flags_.server_port);
    to.sin_addr.s_addr = htonl(out.to.value);
    if (::sendto(socket_, out.message.data(), out.message.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to) < 0)
      say("to " + out.to.to_string() + ": " + std::strerror(errno));
  }

  void take(dhcp::Machine& machine) {
    std::byte room[2048];
    // Whoever floods the port keeps neither the times nor a signal waiting.
    for (int n = 0; n < kDatagramsPerTurn; ++n) {
      const ssize_t length = ::recv(socket_, room, sizeof room, MSG_DONTWAIT);
      if (length < 0) return;
      handle(machine.on_message({room, static_cast<std::size_t>(length)}, clock_now()));
    }
  }

  void handle(const dhcp::Machine::Result& result) {
    // A release goes while the address is still there.
    for (const auto& one : result.send) send(one);
    if (result.unconfigure && applied_) {
      say("the lease of " + applied_->address.to_string() + " is over");
      withdraw_lease(stack_, interface_.name, *applied_);
      applied_.reset();
    }
    if (result.unconfigure && probing_) {
      withdraw_lease(stack_, interface_.name, *probing_);
      probing_.reset();
    }
    if (!result.configure) return;
    say("leased " + result.configure->address.to_string() + " from " + result.configure->server.to_string() + " for " +
        std::to_string(result.configure->seconds) + " s");
    const Granted granted = on_granted(*result.configure, applied_, probing_, flags_.conflicts != 0);
    if (granted == Granted::use) return use(*result.configure);
    // RFC 2131 section 4.4.1: whether somebody else has it is found out first.
    if (granted == Granted::keep_probing || probe_lease(io_, stack_, interface_.name, flags_, *result.configure)) probing_ = result.configure;
    io_.flush();
  }

  void use(const dhcp::Lease& lease) {
    const dhcp::Lease* before = applied_ ? &*applied_ : nullptr;
    if (apply_lease(io_, stack_, interface_.name, flags_, lease, before)) applied_ = lease;
    io_.flush();
    if (!flags_.no_resolver) write_resolver(dhcp::resolver_text(lease));
    if (flags_.until_configured) go_to_background();
  }

  /// False: nothing can be found out any more, and the lease is given back.
  bool look(dhcp::Machine& machine) {
    const Probed state = probed(io_, stack_, interface_.name, *probing_);
    if (state == Probed::waiting) return true;
    if (state == Probed::unknown) return handle(machine.release(clock_now())), false;
    if (state == Probed::taken) {
      say("another station has " + probing_->address.to_string());
      return handle(machine.decline(clock_now())), true;
    }
    const dhcp::Lease lease = *std::exchange(probing_, std::nullopt);
    machine.accepted();
    if (state == Probed::free) use(lease);
    return true;
  }

  void write_resolver(const std::string& text) {
    if (text.empty()) return;
    if (!replace_file(flags_.resolver, text, ".dhcp")) (void)io_.error(flags_.resolver + ": " + std::strerror(errno));
    io_.flush();
  }

  /// -u: whoever waits for us goes on.
  void go_to_background() {
    flags_.until_configured = false;
    io_.flush();
    const pid_t child = ::fork();
    if (child > 0) ::_exit(0);
    if (child == 0) ::setsid();
  }

  int end(dhcp::Machine& machine) {
    signalfd_siginfo which{};
    if (::read(signals_, &which, sizeof which) != sizeof which) return 1;
    if (which.ssi_signo == SIGPWR) return 0;  // the lease stays
    handle(machine.release(clock_now()));
    return 0;
  }

  Io& io_;
  Stack& stack_;
  DhcpFlags flags_;
  const Interface interface_;
  int socket_ = -1, signals_ = -1;
  std::optional<dhcp::Lease> applied_;
  std::optional<dhcp::Lease> probing_;  ///< the stack asks whether somebody else has its address
};

}  // namespace

int dhcp_client(Io& io, Stack& stack, const Words& words) {
  if (helped(io, kDhcpUsage, words)) return 0;
  auto flags = read_dhcp_flags(io, words);
  if (!flags) return 1;
  auto interface = find_interface(stack, *flags);
  if (!interface) return io.error(flags->interface.empty() ? "no interface without an address" : flags->interface + ": no such interface"), kNoInterface;
  return Client{io, stack, std::move(*flags), std::move(*interface)}.run();
}

}  // namespace iopkt::utils
