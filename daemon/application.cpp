// The process from its command line to its exit status.
//
// Order: words, background, log, limits, locks, driver objects and their options, devices, engine, nodes and
// record, "ready". It is undone in the reverse order.
#include "application.hpp"

#include <iopkt/version.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "background.hpp"
#include "crash.hpp"
#include "fd.hpp"
#include "privileges.hpp"

#if IOPKT_HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

namespace iopkt::daemon {
namespace {

constexpr std::uint32_t kThreadsMax = 64;

void notify(const char* state) {
#if IOPKT_HAVE_SYSTEMD
  ::sd_notify(0, state);
#else
  static_cast<void>(state);
#endif
}

void print(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

/// Signals that end the process in order arrive at a descriptor; from now on in every thread that is made.
class EndSignals {
 public:
  EndSignals() {
    ::sigemptyset(&set_);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&set_, signal);
    ::pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
    fd_.reset(::signalfd(-1, &set_, SFD_CLOEXEC | SFD_NONBLOCK));
  }
  int descriptor() const { return fd_.get(); }

  /// What arrived, for the log; null: nothing. A second signal ends the process at once.
  const char* take() {
    signalfd_siginfo info{};
    if (::read(fd_.get(), &info, sizeof info) != sizeof info) return nullptr;
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) ::signal(signal, SIG_DFL);
    ::pthread_sigmask(SIG_UNBLOCK, &set_, nullptr);
    return ::sigabbrev_np(static_cast<int>(info.ssi_signo));
  }

 private:
  sigset_t set_{};
  Fd fd_;
};

/// For what is loaded only to be asked about its options.
class NoHost final : public DriverHost {
  iopkt_frame* alloc(std::uint32_t) override { return nullptr; }
  void release(iopkt_frame*) override {}
  void link_state(AttachedInterface&) override {}
  void log(LogLevel, std::string_view) override {}
  bool name_taken(std::string_view) override { return false; }
};

/// --help; with -d also that driver's own options. The exit status.
int print_help(const Options& options) {
  print(help_text(options.variant));
  NoHost host;
  Plugins plugins{host, {.path = driver_path(), .load_stack = std::size_t{1} << 20, .rx_queues = 1}};
  for (const DriverRequest& request : options.drivers) {
    const auto driver = plugins.prepare({request.driver, {}});
    if (!driver) {
      std::fprintf(stderr, "%s: %s\n", std::string{program_name(options.variant)}.c_str(),
                   driver.error().line.c_str());
      return StartFault::kBadCommand;
    }
    print(driver_options_help((*driver)->record()));
  }
  return 0;
}

class Application {
 public:
  Application(Options options, EngineFactory make_engine, const ipv6::Inet6* inet6)
      : options_(std::move(options)), make_engine_(make_engine), inet6_(inet6) {}

  int run() {
    const bool foreground = options_.foreground || ::getenv("NOTIFY_SOCKET") != nullptr;
    if (!foreground && !background_.enter()) {
      report({StartFault::kFailed, std::string{"fork: "} + std::strerror(errno)});
      return StartFault::kFailed;
    }
    log_.emplace(foreground ? Log::Target::standard_error : Log::Target::system,
                 "io-pkt" + std::to_string(options_.instance));
    const auto served = serve();
    if (served) return *served;
    report(served.error());
    log_->write_system(LogLevel::error, served.error().line);
    return served.error().status;
  }

 private:
  void report(const StartFault& fault) const {
    std::fprintf(stderr, "%s: %s\n", std::string{program_name(options_.variant)}.c_str(), fault.line.c_str());
  }

  /// From the locks to the end; what it makes goes in the reverse order.
  Expected<int, StartFault> serve() {
    EndSignals signals;
    prepare_process();
    if (options_.no_io_privilege)
      if (auto given_up = give_up_hardware_io(); !given_up) return unexpected(std::move(given_up.error()));
    if (auto seeded = check_random_source(); !seeded) return unexpected(std::move(seeded.error()));
    if (options_.tcpip.smmu == "on")
      if (auto protected_memory = check_iommu(); !protected_memory) return unexpected(std::move(protected_memory.error()));
    auto instance = Instance::claim(options_);
    if (!instance) return unexpected(std::move(instance.error()));

    const EngineContext context{options_, threads(), *log_, **instance, inet6_};
    const std::unique_ptr<Engine> engine = make_engine_(context);
    Plugins plugins{engine->driver_host(), plugin_settings(context.threads)};
    if (auto opened = open_drivers(plugins); !opened) return unexpected(std::move(opened.error()));
    auto up = engine->start(plugins);
    if (up) up = (*instance)->publish();
    if (!up) {
      engine->stop();
      return unexpected(std::move(up.error()));
    }
    announce(plugins);
    const int status = engine->run(signals.descriptor());
    const char* signal = signals.take();
    notify("STOPPING=1");
    log_->write(LogLevel::notice, signal ? std::string{"ending: SIG"} + signal : std::string{"ending"});
    engine->stop();
    return status;
  }

  void prepare_process() {
    if (!options_.no_sigsegv_handler) install_crash_handler();
    name_thread("io-pkt.main");
    raise_descriptor_limit();
    for (const std::string& note : options_.notes) log_->write(LogLevel::notice, note);
    if (options_.was_given("-P")) take_priority(*log_, options_.main_priority, "-P");
  }

  std::uint32_t threads() {
    const std::uint32_t cpus = usable_cpus();
    if (options_.threads == 0) return std::min(cpus, kThreadsMax);
    if (options_.threads > cpus)
      log_->write(LogLevel::notice, "option -t " + std::to_string(options_.threads) +
                                        ": more threads than the " + std::to_string(cpus) +
                                        " CPUs that may be used");
    return options_.threads;
  }

  PluginSettings plugin_settings(std::uint32_t threads) const {
    const TcpipConfig& tcpip = options_.tcpip;
    return {.path = driver_path(),
            .load_stack = tcpip.bigstack ? tcpip.bigstack : tcpip.stacksize,
            .rx_queues = threads};
  }

  /// All objects are found and all options read before the first device is touched.
  Expected<void, StartFault> open_drivers(Plugins& plugins) {
    std::vector<std::unique_ptr<Driver>> prepared;
    for (const DriverRequest& request : options_.drivers) {
      auto driver = plugins.prepare(request);
      if (!driver) return unexpected(StartFault{StartFault::kBadCommand, std::move(driver.error().line)});
      prepared.push_back(std::move(*driver));
    }
    for (auto& driver : prepared)
      if (auto opened = plugins.open(std::move(driver)); !opened) {
        // driver.h: an option whose value makes no sense.
        const bool bad = opened.error().error == EINVAL;
        return unexpected(
            StartFault{bad ? StartFault::kBadCommand : StartFault::kFailed, std::move(opened.error().line)});
      }
    return {};
  }

  void announce(const Plugins& plugins) {
    std::string line = "up: " + std::string{program_name(options_.variant)} + " " IOPKT_VERSION ", prefix ";
    line += options_.tcpip.prefix.empty() ? "/" : options_.tcpip.prefix;
    for (const AttachedInterface* interface : plugins.interfaces()) line += ", " + interface->name;
    log_->write(LogLevel::notice, line);
    log_->quiet_standard_error();
    background_.ready();
    notify("READY=1\nSTATUS=up");
  }

  Options options_;
  EngineFactory make_engine_;
  const ipv6::Inet6* inet6_;
  Background background_;
  std::optional<Log> log_;
};

}  // namespace

int run(Variant variant, int argc, const char* const* argv, EngineFactory make_engine, const ipv6::Inet6* inet6) {
  const std::span words{argv, static_cast<std::size_t>(argc)};
  auto options = parse_options(variant, words.subspan(words.empty() ? 0 : 1));
  if (!options) {
    std::fprintf(stderr, "%s: %s\n", std::string{program_name(variant)}.c_str(), options.error().c_str());
    return StartFault::kBadCommand;
  }
  int status = 0;
  switch (options->action) {
    case Action::show_help:
      status = print_help(*options);
      break;
    case Action::show_manual:
      print(manual_page(variant));
      break;
    case Action::show_version:
      print(std::string{program_name(variant)} + " " IOPKT_VERSION "\n");
      break;
    case Action::run:
      return Application{std::move(*options), make_engine, inet6}.run();
  }
  return std::fflush(stdout) == 0 ? status : StartFault::kFailed;
}

}  // namespace iopkt::daemon
