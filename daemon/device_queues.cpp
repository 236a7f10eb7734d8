// Bursts from and to the drivers' queues.
#include "device_queues.hpp"

#include <sys/epoll.h>

#include <array>
#include <cstring>
#include <string>

#include "packet/packet.hpp"

namespace iopkt::daemon {
namespace {

constexpr std::uint32_t kBurst = 64;
constexpr unsigned kBurstsPerTurn = 4;  ///< of one queue; then the others, the clients and the timers have their turn
constexpr Duration kBlindPoll = std::chrono::milliseconds{1};  ///< a queue without a descriptor

std::unique_lock<std::mutex> hold(const RunningInterface& interface, std::uint32_t queue) {
  return queue < interface.shared.size() && interface.shared[queue] ? std::unique_lock{*interface.shared[queue]}
                                                                    : std::unique_lock<std::mutex>{};
}

}  // namespace

struct DeviceQueues::Queue final : PollHandler {
  std::shared_ptr<RunningInterface> interface;
  std::uint32_t number = 0;
  WatchId watch = 0;
  bool hot = true;    ///< the descriptor was readable, or the last call gave frames
  bool blind = false; ///< no descriptor
  bool openings = false;  ///< brings SYNs alone
  bool held = false;      ///< they are left in it for now, and its descriptor is not watched
  void ready(std::uint32_t) override { hot = true; }
};

struct DeviceQueues::Sender final : PollHandler {
  std::shared_ptr<RunningInterface> interface;
  std::uint32_t queue = 0;
  Fd fd;  ///< a duplicate of the transmit descriptor: the same file may be in this epoll set for receiving
  WatchId watch = 0;
  bool blocked = false, retry = false;
  void ready(std::uint32_t) override { retry = true; }
};

DeviceQueues::DeviceQueues(stack::Shard& shard, Poller& poller, LogSink& log, std::uint32_t position, std::uint32_t pollers,
                           bool polls)
    : shard_(shard), poller_(poller), log_(log), position_(position), pollers_(pollers), polls_(polls) {}

DeviceQueues::~DeviceQueues() {
  for (const auto& queue : queues_) poller_.remove(queue->watch);
  for (const auto& sender : senders_)
    if (sender) poller_.remove(sender->watch);
}

std::vector<std::unique_ptr<std::mutex>> DeviceQueues::make_locks(const iopkt_device_info& info, std::uint32_t shards,
                                                                  std::uint32_t pollers, bool dedicated) {
  const std::uint32_t most = std::max(info.rx_queues, info.tx_queues);
  std::vector<std::uint64_t> users(most, 0);  // bit per shard
  const std::uint32_t first = dedicated ? 1 : 0;
  for (std::uint32_t q = 0; q < info.rx_queues; ++q) users[q] |= std::uint64_t{1} << (first + q % pollers);
  for (std::uint32_t s = 0; s < shards; ++s)
    users[(s < first ? 0 : s - first) % info.tx_queues] |= std::uint64_t{1} << s;
  std::vector<std::unique_ptr<std::mutex>> locks(most);
  for (std::uint32_t q = 0; q < most; ++q)
    if ((users[q] & (users[q] - 1)) != 0) locks[q] = std::make_unique<std::mutex>();
  return locks;
}

void DeviceQueues::add(const std::shared_ptr<RunningInterface>& interface) {
  const AttachedInterface& attached = *interface->attached;
  const auto& info = attached.info;
  for (std::uint32_t q = position_; polls_ && q < info.rx_queues; q += pollers_) {
    auto queue = std::make_unique<Queue>();
    queue->interface = interface;
    queue->number = q;
    const int fd = attached.ops.descriptor(info.device, q, 0);
    queue->openings = q >= info.rx_queues - info.openings_queues;
    if (fd >= 0) queue->watch = poller_.add(fd, EPOLLIN, *queue);
    queue->blind = queue->watch == 0;
    queues_.push_back(std::move(queue));
  }
  auto sender = std::make_unique<Sender>();
  sender->interface = interface;
  sender->queue = (polls_ ? position_ : 0) % info.tx_queues;
  if (interface->index >= senders_.size()) senders_.resize(interface->index + 1);
  senders_[interface->index] = std::move(sender);
}

void DeviceQueues::remove(std::uint32_t index) {
  std::erase_if(queues_, [&](const std::unique_ptr<Queue>& queue) {
    if (queue->interface->index != index) return false;
    poller_.remove(queue->watch);
    return true;
  });
  if (index < senders_.size() && senders_[index]) {
    poller_.remove(senders_[index]->watch);
    senders_[index].reset();
  }
}

void DeviceQueues::fail(RunningInterface& interface, const char* call, int error) {
  if (interface.failed.exchange(true)) return;
  log_.write(LogLevel::error, interface.attached->name + ": the device has failed (" + call + ": " +
                                  std::strerror(error) + "); it is not used any more");
}

bool DeviceQueues::receive_from(Queue& queue, std::uint32_t max) {
  RunningInterface& interface = *queue.interface;
  if (interface.failed) {
    poller_.remove(std::exchange(queue.watch, 0));
    return queue.hot = queue.blind = false;
  }
  std::array<iopkt_frame*, kBurst> frames;
  int n = 0;
  {
    const auto held = hold(interface, queue.number);
    n = interface.attached->ops.receive(interface.attached->info.device, queue.number, frames.data(), max);
  }
  if (n <= 0 || n > static_cast<int>(max)) {
    if (n != 0) fail(interface, "receive", n < 0 ? -n : ERANGE);
    return queue.hot = false;
  }
  packet::Burst burst;
  burst.reserve(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) {
    packet::PacketPtr packet{static_cast<packet::Packet*>(frames[static_cast<std::size_t>(i)])};
    if (packet->accept_received()) {
      burst.push_back(std::move(packet));
    } else {
      shard_.count_drop(packet::Drop::driver_broken_frame);
    }
  }
  if (!burst.empty()) shard_.receive(interface.index, std::move(burst));
  return queue.hot = true;
}

bool DeviceQueues::receive() {
  bool any = false;
  hungry_ = false;
  for (const auto& queue : queues_) {
    if ((!queue->hot && !queue->blind) || queue->openings) continue;
    unsigned bursts = 0;
    while (bursts < kBurstsPerTurn && receive_from(*queue, kBurst)) ++bursts;
    any = any || bursts != 0;
    hungry_ = hungry_ || bursts == kBurstsPerTurn;
  }
  for (const auto& queue : queues_)
    if (queue->openings && (queue->hot || queue->blind) && receive_openings(*queue)) any = true;
  return any;
}

bool DeviceQueues::receive_openings(Queue& queue) {
  const auto wanted = static_cast<std::uint32_t>(std::min<std::size_t>(shard_.openings_wanted(), kBurst));
  if (queue.held != (wanted == 0)) {
    queue.held = wanted == 0;
    if (queue.watch != 0) poller_.change(queue.watch, queue.held ? 0u : std::uint32_t{EPOLLIN});
  }
  if (wanted == 0) return false;
  const bool any = receive_from(queue, wanted);
  hungry_ = hungry_ || any;
  return any;
}

void DeviceQueues::tell_credit() {
  const std::vector<stack::CreditNews> news = shard_.take_credit_news();
  if (news.empty()) return;
  for (const auto& sender : senders_) {
    if (!sender || sender->interface->failed) continue;
    const AttachedInterface& attached = *sender->interface->attached;
    if (attached.ops.credit == nullptr) continue;
    for (const stack::CreditNews& one : news) {
      std::array<std::byte, 16> address{};
      const std::uint32_t length = one.peer.is_v4() ? 4 : 16;
      if (one.peer.is_v4()) wire::store_ipv4(address, 0, one.peer.v4());
      else wire::store_ipv6(address, 0, one.peer.v6());
      attached.ops.credit(attached.info.device, reinterpret_cast<const std::uint8_t*>(address.data()), length, one.credit);
    }
  }
}

bool DeviceQueues::drop_all(packet::Burst& burst) {
  for (std::size_t i = 0; i < burst.size(); ++i) shard_.count_drop(packet::Drop::link_down);
  burst.clear();
  return false;
}

bool DeviceQueues::send_to(Sender& sender) {
  RunningInterface& interface = *sender.interface;
  packet::Burst burst = shard_.take_transmit(interface.index);
  if (interface.failed) return drop_all(burst);
  if (burst.empty()) return false;
  std::size_t done = 0;
  if (!sender.blocked || sender.retry) {
    const auto held = hold(interface, sender.queue);
    while (done < burst.size()) {
      std::array<iopkt_frame*, kBurst> frames;
      const auto count = static_cast<std::uint32_t>(std::min<std::size_t>(kBurst, burst.size() - done));
      for (std::uint32_t i = 0; i < count; ++i) frames[i] = burst[done + i].get();
      const int n = interface.attached->ops.transmit(interface.attached->info.device, sender.queue, frames.data(), count);
      if (n < 0 || n > static_cast<int>(count)) {
        fail(interface, "transmit", n < 0 ? -n : ERANGE);
        return drop_all(burst);
      }
      done += static_cast<std::size_t>(n);
      if (n < static_cast<int>(count)) break;
    }
  }
  sender.retry = false;
  const bool blocked = done < burst.size();
  if (blocked) {
    burst.erase(burst.begin(), burst.begin() + static_cast<std::ptrdiff_t>(done));
    shard_.untransmitted(interface.index, std::move(burst));
  }
  if (blocked && sender.watch == 0) {
    // The descriptor is duplicated, because epoll takes one file once and the queue's own is in for receiving.
    const int fd = interface.attached->ops.descriptor(interface.attached->info.device, sender.queue, 1);
    if (fd >= 0) sender.fd.reset(::dup(fd));
    if (sender.fd) sender.watch = poller_.add(sender.fd.get(), EPOLLOUT, sender);
  } else if (!blocked && sender.watch != 0) {
    poller_.remove(std::exchange(sender.watch, 0));
    sender.fd.reset();
  }
  sender.blocked = blocked && sender.watch != 0;
  sender.retry = blocked && sender.watch == 0;  // nothing will tell us: try at the next turn
  return done != 0;
}

bool DeviceQueues::transmit() {
  bool any = false;
  const std::span<const std::uint32_t> pending = shard_.transmit_pending();
  const std::vector<std::uint32_t> indices{pending.begin(), pending.end()};
  for (const std::uint32_t index : indices) {
    if (index < senders_.size() && senders_[index]) {
      any = send_to(*senders_[index]) || any;
    } else {
      // Its device was stopped or is gone; the Network that says so is on its way.
      packet::Burst burst = shard_.take_transmit(index);
      drop_all(burst);
    }
  }
  for (const auto& sender : senders_)
    if (sender && sender->retry) any = send_to(*sender) || any;
  return any;
}

Duration DeviceQueues::longest_sleep() const {
  Duration least = Duration::max();
  for (const auto& queue : queues_) {
    if (queue->blind) least = std::min(least, kBlindPoll);
    if (queue->held) least = std::min(least, std::max(shard_.openings_due() - shard_.time(), Duration::zero()));
    const AttachedInterface& attached = *queue->interface->attached;
    if (attached.ops.timeout_ms == nullptr || queue->interface->failed) continue;
    if (const int ms = attached.ops.timeout_ms(attached.info.device, queue->number); ms >= 0) {
      least = std::min<Duration>(least, std::chrono::milliseconds{ms});
      queue->hot = true;  // it is called when the time has come, whatever the descriptor says
    }
  }
  for (const auto& sender : senders_)
    if (sender && sender->retry) least = std::min(least, kBlindPoll);
  return least;
}

}  // namespace iopkt::daemon
