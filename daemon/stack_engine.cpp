// Puts everything together, in the order in which it can be undone.
#include "stack_engine.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>

#include "client_shard.hpp"
#include "complaints.hpp"
#include "control_server.hpp"
#include "control_verbs.hpp"
#include "interfaces_host.hpp"
#include "ipc/descriptor.hpp"
#include "newest_filters.hpp"
#include "pages.hpp"
#include "privileges.hpp"
#include "shard_thread.hpp"
#include "stack/stack.hpp"

namespace iopkt::daemon {
namespace {

/// How long a shard looks for work before it sleeps. Waking a sleeper on another CPU costs about as much.
constexpr Duration kShardSpin = std::chrono::microseconds{20};
/// For devices to take the last resets.
constexpr Duration kEndAtMost = std::chrono::seconds{1};
/// How long a client's blocking call looks before it sleeps.
constexpr std::uint32_t kClientSpinNs = 20'000;

template <class T>
T random_value() {
  T out{};
  auto* at = reinterpret_cast<char*>(&out);
  for (std::size_t n = 0; n < sizeof out;) {
    const ssize_t got = ::getrandom(at + n, sizeof out - n, 0);
    if (got > 0) n += static_cast<std::size_t>(got);
  }
  return out;
}

/// RFC 7217: the same after a restart, another for each host and instance; without a name of the host, for this run alone.
HashKey stable_secret(std::uint32_t instance) {
  std::string text;
  std::ifstream("/etc/machine-id") >> text;
  if (text.empty()) return random_value<HashKey>();
  text += " io-pkt " + std::to_string(instance);
  const auto half = [&](std::uint64_t which) { return siphash24({0x696f2d706b74, which}, as_bytes(text.data(), text.size())); };
  return {half(0), half(1)};
}

std::uint32_t ms_of_day() {
  const auto since_1970 = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(since_1970).count() % 86'400'000);
}

stack::StackConfig config_of(const EngineContext& context, std::uint32_t shards) {
  const Options& options = context.options;
  const TcpipConfig& tcpip = options.tcpip;
  stack::StackConfig config;
  config.shards = shards;
  config.inet6 = context.inet6;
  config.ms_of_day = &ms_of_day;
  config.dedicated_local = options.dedicated_stack_thread;
  config.pools.pagesize = tcpip.pagesize;
  config.pools.mclbytes = tcpip.mclbytes;
  config.pools.mbuf_cache = tcpip.mbuf_cache;
  config.pools.pkt_cache = tcpip.pkt_cache;
  config.pools.mtag_cache = tcpip.mtag_cache;
  config.pools.num_pool_cache = tcpip.num_pool_cache;
  config.pools.caching = tcpip.cache != 0;
  config.pools.bigpage_strict = tcpip.bigpage_strict;
  config.key = random_value<HashKey>();
  config.stable_secret = stable_secret(options.instance);
  config.seed = random_value<std::uint64_t>();
  config.somaxconn = tcpip.somaxconn;
  config.ipid_reserved = tcpip.ipid_reserved;
  config.reuseport_unicast = tcpip.reuseport_unicast;
  return config;
}

/// What the verbs ask about the process.
class ProcessSurroundings final : public control::Surroundings {
 public:
  ProcessSurroundings(const EngineContext& context, InterfacesHost& interfaces) : context_(context), interfaces_(interfaces) {}

  void describe_device(const iface::Interface& interface, control::Record& out) const override {
    iopkt_statistics counts{};
    std::string driver, description;
    if (!interfaces_.statistics(interface.index, counts, driver, description)) return;
    out.text("driver", driver).text("description", description);
    control::Record device;
    device.number("rx_errors", counts.rx_errors).number("rx_dropped", counts.rx_dropped);
    device.number("tx_errors", counts.tx_errors).number("tx_dropped", counts.tx_dropped);
    device.number("rx_no_buffer", counts.rx_no_buffer).number("rx_openings_dropped", counts.rx_openings_dropped);
    out.group("device", std::move(device));
  }
  std::uint64_t hardclock_ticks() const override {
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - started_).count());
  }
  void describe_process(control::Record& out) const override {
    out.text("variant", program_name(context_.options.variant)).number("instance", context_.options.instance);
    out.text("prefix", context_.options.tcpip.prefix).number("pid", static_cast<std::uint64_t>(::getpid()));
    out.number("threads", context_.threads);
    if (add) add(out);
  }
  std::vector<control::Variable> variables() const override {
    return own_variables ? own_variables() : std::vector<control::Variable>{};
  }
  std::function<void(control::Record&)> add;  ///< what others have to say
  std::function<std::vector<control::Variable>()> own_variables;

 private:
  const EngineContext& context_;
  InterfacesHost& interfaces_;
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
};

class StackEngine final : public Engine {
 public:
  explicit StackEngine(const EngineContext& context);
  ~StackEngine() override { stop(); }

  DriverHost& driver_host() override { return interfaces_; }
  Expected<void, StartFault> start(Plugins& plugins) override;
  int run(int end) override;
  void stop() override;

 private:
  static std::vector<std::unique_ptr<ClientShard>> make_clients(ClientsCommon& common, std::uint32_t shards);
  static std::vector<stack::RingSource*> sources(const std::vector<std::unique_ptr<ClientShard>>& clients);
  Expected<void, StartFault> make_threads();
  void run_main();
  void on_main(Task task);
  /// What the clients' side has to know of the settings.
  void adopt(const stack::Network& network);
  void describe(control::Record& out) const;
  std::vector<control::Variable> functional_variables() const;

  const EngineContext context_;
  const bool dedicated_;
  const std::uint32_t shards_;
  Complaints complaints_;
  MappedPages pages_;
  ClientsCommon common_;
  std::vector<std::unique_ptr<ClientShard>> clients_;
  std::vector<stack::RingSource*> sources_;
  stack::Stack stack_;
  InterfacesHost interfaces_;
  ProcessSurroundings surroundings_;
  Mailbox main_;
  NewestFilters filters_;
  Fd main_event_, status_fd_;
  ipc::Mapping status_;
  std::vector<std::unique_ptr<ShardThread>> threads_;
  std::unique_ptr<VerbRunner> verbs_;
  std::unique_ptr<ControlServer> server_;
  bool stopped_ = false;
};

std::vector<std::unique_ptr<ClientShard>> StackEngine::make_clients(ClientsCommon& common, std::uint32_t shards) {
  std::vector<std::unique_ptr<ClientShard>> out;
  for (std::uint32_t i = 0; i < shards; ++i) {
    out.push_back(std::make_unique<ClientShard>(common, i, random_value<HashKey>()));
    common.shards.push_back(out.back().get());
  }
  return out;
}

std::vector<stack::RingSource*> StackEngine::sources(const std::vector<std::unique_ptr<ClientShard>>& clients) {
  std::vector<stack::RingSource*> out;
  for (const auto& client : clients) out.push_back(client.get());
  return out;
}

StackEngine::StackEngine(const EngineContext& context)
    : context_(context),
      dedicated_(context.options.dedicated_stack_thread),
      shards_(std::min(context.threads + (dedicated_ ? 1u : 0u), 64u)),
      complaints_(context.log),
      clients_(make_clients(common_, shards_)),
      sources_(sources(clients_)),
      stack_(config_of(context, shards_), pages_, sources_, context.log),
      interfaces_(stack_, context.log, dedicated_),
      surroundings_(context_, interfaces_) {
  if (const TcpipConfig& tcpip = context.options.tcpip; tcpip.forward || tcpip.forward6) {
    stack::Network network = *stack_.network();
    network.settings.ipv4.forwarding = tcpip.forward;
    network.settings.ipv6.forwarding = tcpip.forward6;
    stack_.publish(std::move(network));
  }
  common_.descriptors.set_limit(descriptor_limit());
  common_.complain = [this](std::string line) { complaints_.write(std::move(line)); };
  common_.network = [this] { return stack_.network(); };
  common_.judge_anew = [this] {
    const_cast<ipc::StatusPage&>(ipc::status_page(status_)).network.fetch_add(1, std::memory_order_release);
  };
  common_.end_client = [this](const std::shared_ptr<Client>& client) {
    threads_[0]->post([this, client] { server_->end_client(client); });
  };
}

Expected<void, StartFault> StackEngine::make_threads() {
  const auto fault = [](const char* what) {
    return unexpected(StartFault{StartFault::kFailed, std::string{what} + ": " + std::strerror(errno)});
  };
  main_event_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  status_fd_.reset(ipc::make_status(shards_, status_));
  if (!main_event_ || !status_fd_) return fault("start");
  const TcpipConfig& tcpip = context_.options.tcpip;
  const std::uint32_t first = dedicated_ ? 1 : 0;
  for (std::uint32_t i = 0; i < shards_; ++i) {
    const bool resource_manager = dedicated_ && i == 0;
    ShardThread::Settings settings;
    settings.name = resource_manager ? "io-pkt.resmgr" : "io-pkt." + std::to_string(i - first);
    settings.spin = kShardSpin;
    settings.position = resource_manager ? 0 : i - first;
    settings.pollers = shards_ - first;
    settings.polls = !resource_manager;
    // A shard receives and runs its timers: the higher of what was asked for either. The resource manager only times.
    const Options& options = context_.options;
    std::uint32_t priority = options.was_given("timer_pulse_prio") ? tcpip.timer_pulse_prio : 0;
    if (!resource_manager && (options.was_given("rx_prio") || options.was_given("rx_pulse_prio")))
      priority = std::max(priority, tcpip.rx_prio);
    settings.priority = static_cast<int>(priority);
    settings.alive = &const_cast<ipc::StatusPage&>(ipc::status_page(status_)).alive[i];
    auto thread = std::make_unique<ShardThread>(stack_, i, std::move(settings), context_.log);
    if (!thread->prepare()) return fault("a shard's thread");
    clients_[i]->bind(*thread);
    thread->set_clients(clients_[i].get());
    threads_.push_back(std::move(thread));
  }
  return {};
}

Expected<void, StartFault> StackEngine::start(Plugins& plugins) {
  if (!ipc::check_units().all())
    return unexpected(StartFault{StartFault::kFailed, "this kernel's AF_UNIX sockets do not behave as clients need them"});
  if (auto made = make_threads(); !made) return made;
  std::vector<ShardThread*> threads;
  for (const auto& thread : threads_) threads.push_back(thread.get());
  interfaces_.set_threads(threads);
  const TcpipConfig& tcpip = context_.options.tcpip;
  verbs_ = std::make_unique<VerbRunner>(
      VerbRunner::Parts{stack_, interfaces_, threads, plugins, surroundings_, [this](const stack::Network& network) { adopt(network); },
                        [this](Task task) { on_main(std::move(task)); }, tcpip.stacksize},
      FunctionalConnections::Limits{.least = tcpip.threads_min, .increment = tcpip.threads_incr, .most = tcpip.threads_max},
      common_.complain);
  ControlServer::Settings settings;
  settings.reply_bytes = std::size_t{tcpip.reply_ctxt} * packet::kMbufSize;
  settings.receive_bytes = std::clamp<std::size_t>(tcpip.recv_ctxt, ipc::kMessageMin, ipc::kMessageMax);
  settings.spin_ns = kClientSpinNs;
  settings.prefix = tcpip.prefix;
  settings.dedicated = dedicated_;
  settings.inet6 = context_.inet6 != nullptr;
  settings.key = random_value<HashKey>();
  server_ = std::make_unique<ControlServer>(common_, status_fd_.get(), threads, *verbs_, std::move(settings), context_.log);
  threads_[0]->set_on_filter([this](std::uint32_t index, std::vector<wire::MacAddress> macs) {
    if (!filters_.put(index, std::move(macs))) return;
    on_main([this, index] {
      if (const int error = interfaces_.set_multicast(index, filters_.take(index)); error != 0 && error != EOPNOTSUPP)
        context_.log.write(LogLevel::warning, "interface " + std::to_string(index) + ": multicast filter: " + std::strerror(error));
    });
  });
  surroundings_.add = [this](control::Record& out) { describe(out); };
  surroundings_.own_variables = [this] { return functional_variables(); };
  for (AttachedInterface* attached : plugins.interfaces())
    if (!interfaces_.take_up(*attached)) return unexpected(StartFault{.line = attached->name + ": too many interfaces"});
  if (auto listening = server_->listen(context_.instance); !listening) return listening;
  for (const auto& thread : threads_) thread->start(threads);
  return {};
}

void StackEngine::adopt(const stack::Network& network) {
  common_.send_space = network.settings.tcp.sendspace;
  common_.receive_space = network.settings.tcp.recvspace;
  common_.judge_anew();
}

std::vector<control::Variable> StackEngine::functional_variables() const {
  const FunctionalConnections::Statistics& f = verbs_->functional().statistics();
  const auto row = [](std::string name, std::string help, std::uint64_t value) {
    return control::Variable{"qnx.kern.functional." + std::move(name), "connections", std::move(help), std::to_string(value)};
  };
  return {row("exhausted", "Times that all functional connections were in service (threads_max).", f.exhausted),
          row("in_service", "Functional connections in service: requests that change the stack.", f.in_service),
          row("made", "Functional connections there are (threads_min, threads_incr).", f.made),
          row("most_in_service", "Most functional connections that were in service at once.", f.most_in_service),
          row("served", "Requests that functional connections have served.", f.served),
          row("waited", "Requests that had to wait for a functional connection.", f.waited)};
}

void StackEngine::describe(control::Record& out) const {
  const FunctionalConnections::Statistics& f = verbs_->functional().statistics();
  control::Record functional;
  functional.number("made", f.made).number("in_service", f.in_service).number("waiting", f.waiting);
  functional.number("most_in_service", f.most_in_service).number("served", f.served).number("waited", f.waited);
  functional.number("exhausted", f.exhausted);
  out.group("functional_connections", std::move(functional));
  const ControlServer::Statistics& s = server_->statistics();
  control::Record requests;
  requests.number("connections", s.connections).number("refused_connections", s.refused_connections);
  requests.number("requests", s.requests).number("split_requests", s.split_requests).number("bad_messages", s.bad_messages);
  requests.number("replies", s.replies).number("reply_operations", s.reply_operations);
  requests.number("attaches", s.attaches).number("bad_attaches", s.bad_attaches);
  out.group("requests", std::move(requests));
  control::Record descriptors;
  descriptors.number("most", common_.descriptors.most()).number("used", common_.descriptors.used());
  out.group("descriptors", std::move(descriptors));
  std::vector<control::Record> clients;
  for (const ControlServer::Listed& client : server_->list_clients()) {
    control::Record& record = clients.emplace_back();
    record.number("id", client.id).number("pid", static_cast<std::uint64_t>(client.credential.pid));
    record.number("user", client.credential.user).number("sockets", client.sockets).number("arenas", client.arenas);
    record.number("ring_bytes", client.ring_bytes);
  }
  out.list("clients", std::move(clients));
  std::vector<control::Record> shards;
  for (const auto& thread : threads_)
    shards.emplace_back().number("shard", thread->number()).number("turns", thread->turns()).number("sleeps", thread->sleeps());
  out.list("shards", std::move(shards));
}

void StackEngine::on_main(Task task) {
  main_.post(std::move(task));
  const std::uint64_t one = 1;
  while (::write(main_event_.get(), &one, sizeof one) < 0 && errno == EINTR) {
  }
}

void StackEngine::run_main() {
  std::uint64_t count = 0;
  while (::read(main_event_.get(), &count, sizeof count) < 0 && errno == EINTR) {
  }
  for (Task& task : main_.take()) task();
}

int StackEngine::run(int end) {
  pollfd watched[2] = {{.fd = end, .events = POLLIN, .revents = 0}, {.fd = main_event_.get(), .events = POLLIN, .revents = 0}};
  for (;;) {
    if (::poll(watched, 2, -1) < 0 && errno != EINTR) return StartFault::kFailed;
    if ((watched[1].revents & POLLIN) != 0) run_main();
    if ((watched[0].revents & POLLIN) != 0) return 0;
  }
}

void StackEngine::stop() {
  if (std::exchange(stopped_, true)) return;
  // Programs see their sockets reset and peers theirs; what that makes is still sent, unless a device takes nothing.
  if (server_ && !threads_.empty()) threads_[0]->call([this] { server_->stop(); });
  for (const auto& thread : threads_)
    for (bool more = true; more;)
      if (!thread->call([this, &thread, &more] { more = clients_[thread->number()]->end_some(); })) break;
  const auto latest = std::chrono::steady_clock::now() + kEndAtMost;
  for (const auto& thread : threads_)
    for (bool more = true; more && std::chrono::steady_clock::now() < latest;)
      if (!thread->call([&thread, &more] { more = thread->shard().output_waits(); })) break;
  for (const auto& thread : threads_) thread->stop();
  if (server_) server_->stop();
  interfaces_.stop_all();
  // Requests that are left are refused on connections of the server.
  verbs_.reset();
  static_cast<void>(main_.take());
  server_.reset();
  // The clients' sides watch descriptors of the threads' pollers; the stack's packets may lie in both.
  for (const auto& client : clients_) client->forget_all();
  threads_.clear();
  ipc::unmap(status_);
}

}  // namespace

std::unique_ptr<Engine> make_stack_engine(const EngineContext& context) { return std::make_unique<StackEngine>(context); }

}  // namespace iopkt::daemon
