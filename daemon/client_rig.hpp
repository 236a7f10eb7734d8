// For tests and fuzzing: the clients' sides of a stack without threads, nodes and processes. Whoever drives it makes the turns, in
// virtual time, and is the programs.
#pragma once

#include <fcntl.h>
#include <sys/socket.h>

#include <map>
#include <memory>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "ipv6/inet6.hpp"
#include "base/assert.hpp"
#include "client_shard.hpp"
#include "control/interfaces.hpp"
#include "packet/pool.hpp"
#include "shard_thread.hpp"
#include "stack/stack.hpp"

namespace iopkt::daemon {

/// What came of a request.
struct Answered {
  bool done = false;
  int error = 0;
  std::vector<std::byte> fixed, blob;
  template <class Fixed>
  Fixed as() const {
    Fixed out{};
    if (fixed.size() == sizeof out) std::memcpy(&out, fixed.data(), sizeof out);
    return out;
  }
};
using AnsweredPtr = std::shared_ptr<Answered>;

class ClientRig {
 public:
  struct Options {
    std::uint32_t shards = 1;
    std::uint64_t descriptors = 65536;  ///< as RLIMIT_NOFILE
    Quota quota;
  };
  static constexpr wire::Ipv4Address kOwn{10, 0, 0, 1}, kPeer{10, 0, 0, 2};  ///< en0, and who is behind it

  explicit ClientRig(const Options& options)
      : options_(options), sources_(make_sides()), stack_(config(), pages_, sources_, log_) {
    common_.descriptors.set_limit(options.descriptors);
    // Names of accepted ends are the whole machine's.
    common_.node_folder = "/rig/" + std::to_string(::getpid());
    common_.network = [this] { return stack_.network(); };
    common_.complain = [](const std::string&) {};
    common_.end_client = [this](const std::shared_ptr<Client>& client) {
      threads_[0]->post([this, client] { end_client(client); });
    };
    for (std::uint32_t n = 0; n < options.shards; ++n) {
      threads_.push_back(std::make_unique<ShardThread>(stack_, n, ShardThread::Settings{.name = "rig"}, log_));
      IOPKT_ASSERT(threads_[n]->prepare());
      sides_[n]->bind(*threads_[n]);
      threads_[n]->set_clients(sides_[n].get());
    }
    add_interface();
  }
  ~ClientRig() {
    for (const auto& side : sides_) side->forget_all();
    threads_.clear();
  }
  ClientRig(const ClientRig&) = delete;
  ClientRig& operator=(const ClientRig&) = delete;

  // ---- time
  /// One turn of every shard. True: another one may find more.
  bool turn(Duration passed = std::chrono::microseconds{50}) {
    now_ = now_ + passed;
    bool more = false;
    for (const auto& thread : threads_) more = thread->turn(now_) || more;
    return more;
  }
  /// One turn of one shard: the others are slow.
  void turn_of(std::uint32_t shard) {
    now_ = now_ + std::chrono::microseconds{50};
    threads_[shard]->turn(now_);
  }
  /// Turns until nobody has anything left to do but wait.
  void settle() {
    for (int n = 0; turn(); ++n) IOPKT_ASSERT(n < 100'000);
  }
  /// Turns until nothing is left, from deadline to deadline. False: something is left for ever.
  bool run_out() {
    for (int n = 0; n < 20'000; ++n) {
      const bool more = turn();
      if (at_rest()) return true;
      if (more) continue;
      Instant next = now_ + std::chrono::seconds{10};
      for (std::uint32_t i = 0; i < options_.shards; ++i) next = std::min(next, stack_.shard(i).next_deadline());
      for (const auto& side : sides_)
        if (side->longest_sleep() < std::chrono::seconds{10}) next = std::min(next, now_ + side->longest_sleep());
      now_ = std::max(now_, next);
    }
    return false;
  }
  bool at_rest() { return left().empty(); }
  /// What is not given back yet, in words; empty: nothing.
  std::string left() {
    std::string out;
    const auto say = [&](const char* what, std::size_t n) {
      if (n != 0) out += std::to_string(n) + " " + what + " ";
    };
    say("packets", packets_held());
    say("requests", open_requests_);
    say("listeners", common_.listeners.all().size());
    say("charged descriptors", common_.descriptors.used());
    for (const auto& side : sides_) say("client sockets", side->socket_count());
    for (std::uint32_t n = 0; n < options_.shards; ++n) say("sockets", stack_.shard(n).socket_count());
    say("clients", static_cast<std::size_t>(std::ranges::count_if(clients_, [](const auto& client) { return !client.expired(); })));
    return out;
  }
  std::size_t packets_held() { return stack_.pools().in_use(packet::Kind::mbuf) + stack_.pools().in_use(packet::Kind::cluster); }

  // ---- clients
  /// A program says hello; it holds a control connection until leave(). Null: refused.
  std::shared_ptr<Client> greet(const Credential& who, std::uint64_t secret = 1) {
    auto share = common_.descriptors.share(who.user, who.privileged);
    DescriptorCharge charge;
    if (!charge.take(share, 1 + options_.shards)) return nullptr;
    auto client = Client::make(++last_client_, secret, who, options_.shards, 0, options_.quota);
    if (!client) return nullptr;
    client->share = std::move(share);
    client->charge = std::move(charge);
    client->holders = client->connections = 1;
    clients_.push_back(client);
    return client;
  }
  /// One control connection is closed.
  void leave(const std::shared_ptr<Client>& client) {
    if (client->connections.fetch_sub(1) == 1)
      for (std::uint32_t n = 0; n < options_.shards; ++n)
        threads_[n]->post([side = sides_[n].get(), client] { side->end_hung_up(client); });
    if (client->holders.fetch_sub(1) == 1) common_.end_client(client);
  }
  /// On its way to the shard that ControlServer would choose; `opener`: that of a new socket.
  AnsweredPtr ask(const std::shared_ptr<Client>& client, ipc::MessageId id, std::span<const std::byte> fixed,
                  std::span<const std::byte> blob = {}, std::uint32_t opener = 0) {
    auto answered = std::make_shared<Answered>();
    ipc::Frame frame;
    frame.row = ipc::message_row(static_cast<std::uint16_t>(id));
    frame.header.number = ++last_request_;
    frame.fixed = fixed;
    auto request = std::make_unique<Request>(std::make_shared<Sink>(*this, answered), client, client->credential, frame,
                                             std::vector<std::byte>{blob.begin(), blob.end()}, std::vector<Fd>{});
    ++open_requests_;
    std::uint32_t shard = id == ipc::MessageId::slot_open ? opener % options_.shards : 0;
    const bool everywhere = id == ipc::MessageId::slot_open || id == ipc::MessageId::lookup || id == ipc::MessageId::attach_begin ||
                            id == ipc::MessageId::attach_finish;
    if (!everywhere) {
      std::uint64_t slot = 0;
      const auto arena = request->first_word(slot) ? client->arena(ipc::arena_of(slot)) : nullptr;
      if (!arena) return request->refuse(EBADF), answered;
      shard = arena->shard;
    }
    threads_[shard]->post([side = sides_[shard].get(), request = std::move(request)]() mutable { side->handle(std::move(request)); });
    return answered;
  }
  template <ipc::MessageId Id>
  AnsweredPtr ask(const std::shared_ptr<Client>& client, const typename ipc::MessageTypes<Id>::Request& request,
                  std::span<const std::byte> blob = {}, std::uint32_t opener = 0) {
    return ask(client, Id, ipc::fixed_bytes(request), blob, opener);
  }
  /// Connects an end to the node of its kind and says HELLO; the program's end. Nobody attaches it if the HELLO is wrong.
  Fd attach(const std::shared_ptr<Client>& client, const ipc::Unit& hello, bool stream) {
    int ends[2];
    if (::socketpair(AF_UNIX, (stream ? SOCK_STREAM : SOCK_SEQPACKET) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) return Fd{};
    Fd ours{ends[0]}, program{ends[1]};
    ipc::set_minimum_buffer(program.get());
    if (::send(program.get(), &hello, sizeof hello, MSG_NOSIGNAL) != static_cast<ssize_t>(sizeof hello)) return Fd{};
    const auto arena = client->arena(ipc::arena_of(hello.slot));
    if (!arena) return program;
    threads_[arena->shard]->post([side = sides_[arena->shard].get(), client, hello, fd = std::move(ours), stream]() mutable {
      side->attach(client, hello, std::move(fd), stream);
    });
    return program;
  }
  /// A frame arrives at en0.
  void receive(std::span<const std::byte> frame) {
    threads_[0]->post([this, bytes = std::vector<std::byte>{frame.begin(), frame.end()}] {
      stack::Shard& shard = stack_.shard(0);
      packet::PacketPtr packet = packet::allocate_header(shard.cache());
      if (!packet || !packet->append(bytes)) return;
      packet::Burst burst;
      burst.push_back(std::move(packet));
      shard.receive(interface_, std::move(burst));
    });
  }
  /// As before a sleep.
  void arm() {
    for (const auto& side : sides_) static_cast<void>(side->arm());
  }

  ClientsCommon& common() { return common_; }
  stack::Stack& stack() { return stack_; }
  ClientShard& side(std::uint32_t n) { return *sides_[n]; }
  std::uint32_t shards() const { return options_.shards; }
  std::size_t open_requests() const { return open_requests_; }

 private:
  struct Sink final : AnswerSink {
    Sink(ClientRig& its_rig, AnsweredPtr where) : rig(its_rig), to(std::move(where)) {}
    void answer(ipc::MessageId, std::uint32_t, int error, std::span<const std::byte> fixed, std::span<const std::byte> blob,
                std::string_view, std::span<const int>) override {
      IOPKT_ASSERT(!to->done);
      to->error = error;
      to->fixed.assign(fixed.begin(), fixed.end());
      to->blob.assign(blob.begin(), blob.end());
    }
    bool knows_arena(std::uint32_t) const override { return false; }
    void learned_arena(std::uint32_t) override {}
    void done() override {
      IOPKT_ASSERT(!std::exchange(to->done, true));
      --rig.open_requests_;
    }
    ClientRig& rig;
    const AnsweredPtr to;
  };
  struct NoLog final : LogSink {
    void write(LogLevel, std::string_view) override {}
  };

  std::vector<stack::RingSource*> make_sides() {
    std::vector<stack::RingSource*> out;
    for (std::uint32_t n = 0; n < options_.shards; ++n) {
      sides_.push_back(std::make_unique<ClientShard>(common_, n, HashKey{n, 7}));
      common_.shards.push_back(sides_.back().get());
      out.push_back(sides_.back().get());
    }
    return out;
  }
  stack::StackConfig config() const {
    stack::StackConfig out;
    out.shards = options_.shards;
    out.inet6 = &ipv6::inet6();
    out.key = {1, 2};
    return out;
  }
  void add_interface() {
    stack::Network network = *stack_.network();
    iface::Interface en;
    en.index = interface_ = control::next_index(network);
    en.name = "en0";
    en.mac = {{2, 0, 0, 0, 0, 1}};
    en.flags = iface::flag::up | iface::flag::running | iface::flag::broadcast | iface::flag::simplex | iface::flag::multicast;
    IOPKT_ASSERT(control::add_interface(network, en) == socket::Errno::ok);
    IOPKT_ASSERT(control::add_address(network, interface_, {.address = kOwn, .prefix_length = 24}) == socket::Errno::ok);
    stack_.publish(std::move(network));
    stack_.shard(0).begin(now_);
    IOPKT_ASSERT(stack_.shard(0).set_neighbour({interface_, kPeer}, {{2, 0, 0, 0, 0, 2}}, {}) == socket::Errno::ok);
    turn();
  }
  void end_client(const std::shared_ptr<Client>& client) {
    if (client->holders.load() > 0 || client->dead.exchange(true)) return;
    client->tell_dead();
    for (std::uint32_t n = 0; n < options_.shards; ++n)
      threads_[n]->post([side = sides_[n].get(), client] { side->end(client); });
  }

  const Options options_;
  NoLog log_;
  packet::HeapPages pages_;
  ClientsCommon common_;
  std::vector<std::unique_ptr<ClientShard>> sides_;
  std::vector<stack::RingSource*> sources_;
  stack::Stack stack_;
  std::vector<std::unique_ptr<ShardThread>> threads_;
  std::vector<std::weak_ptr<Client>> clients_;
  std::uint32_t interface_ = 0, last_client_ = 0, last_request_ = 0;
  std::size_t open_requests_ = 0;
  Instant now_{1'000'000'000};
};

}  // namespace iopkt::daemon
