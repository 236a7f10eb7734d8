// Attached interfaces and the Network.
#include "interfaces_host.hpp"

#include <algorithm>
#include <cstring>

#include "base/assert.hpp"
#include "control/interfaces.hpp"
#include "packet/packet.hpp"

namespace iopkt::daemon {
namespace {

iface::Interface describe(const AttachedInterface& attached, std::uint32_t index) {
  namespace flag = iface::flag;
  const iopkt_device_info& info = attached.info;
  iface::Interface out;
  out.index = index;
  out.name = attached.name;
  out.mtu = info.mtu;
  out.mtu_min = info.mtu_min;
  out.mtu_max = info.mtu_max;
  out.capabilities = out.enabled_capabilities = info.capabilities;
  out.link_up = attached.link_up;
  out.speed_mbps = attached.speed_mbps;
  out.flags = flag::simplex | flag::multicast;  // up and running come with the first address, or by command
  if (info.link_type == IOPKT_LINK_ETHERNET) {
    out.link_type = iface::LinkType::ethernet;
    std::copy_n(info.mac, 6, out.mac.bytes.begin());
    out.flags |= flag::broadcast;
  } else {
    out.link_type = iface::LinkType::raw_ip;
    out.flags |= flag::point_to_point | flag::no_arp;
  }
  return out;
}

}  // namespace

InterfacesHost::InterfacesHost(stack::Stack& stack, LogSink& log, bool dedicated)
    : stack_(stack), log_(log), dedicated_(dedicated) {}

// ---------------------------------------------------------------------------------------------- what drivers call

iopkt_frame* InterfacesHost::alloc(std::uint32_t capacity) {
  packet::Cache* cache = ShardThread::current_cache();
  if (cache == nullptr || capacity == 0 || capacity > 65600) return nullptr;
  return packet::allocate(*cache, capacity).release();
}

void InterfacesHost::release(iopkt_frame* frame) {
  IOPKT_ASSERT(ShardThread::current_cache() != nullptr);
  if (frame != nullptr) packet::PacketPtr{static_cast<packet::Packet*>(frame)}.reset();
}

void InterfacesHost::link_state(AttachedInterface& interface) {
  const auto running = find(interface.name);
  if (!running || threads_.empty()) return;  // still attaching: take_up() reads it
  threads_[0]->post([this, running] {
    const iface::Interface* now = stack_.network()->interfaces.by_index(running->index);
    if (now == nullptr) return;
    iface::Interface next = *now;
    next.link_up = running->attached->link_up;
    next.speed_mbps = running->attached->speed_mbps;
    if (next.link_up == now->link_up && next.speed_mbps == now->speed_mbps) return;
    log_.write(LogLevel::notice, next.name + ": link " + (next.link_up ? "up" : "down"));
    stack::Network network = *stack_.network();
    network.interfaces = network.interfaces.with(std::move(next));
    stack_.publish(std::move(network));
  });
}

void InterfacesHost::log(LogLevel level, std::string_view line) { log_.write(level, line); }

bool InterfacesHost::name_taken(std::string_view name) {
  bool taken = false;
  on_shard0([&] { taken = stack_.network()->interfaces.by_name(name) != nullptr; });
  return taken;
}

// ---------------------------------------------------------------------------------------------- up and down

void InterfacesHost::on_shard0(Task task) {
  // Before the threads run nobody else looks at the Network.
  if (threads_.empty() || threads_[0]->is_current() || !threads_[0]->call([&] { task(); })) task();
}

bool InterfacesHost::take_up(AttachedInterface& attached) {
  auto running = std::make_shared<RunningInterface>();
  running->attached = &attached;
  const std::uint32_t pollers = stack_.shard_count() - (dedicated_ ? 1 : 0);
  running->shared = DeviceQueues::make_locks(attached.info, stack_.shard_count(), pollers, dedicated_);
  attached.engine = running.get();
  on_shard0([&] {
    stack::Network network = *stack_.network();
    running->index = control::next_index(network);
    if (running->index == 0) return;
    IOPKT_ASSERT(control::add_interface(network, describe(attached, running->index)) == control::Errno::ok);
    stack_.publish(std::move(network));
  });
  if (running->index == 0) {
    attached.engine = nullptr;
    return false;
  }
  const std::lock_guard guard{lock_};
  running_.push_back(std::move(running));
  return true;
}

void InterfacesHost::on_every_shard(const std::function<void(ShardThread&)>& call) {
  for (ShardThread* thread : threads_)
    if (!thread->call([&] { call(*thread); })) call(*thread);
}

int InterfacesHost::start(std::uint32_t index) {
  const auto running = by_index(index);
  if (!running) return 0;
  {
    const std::lock_guard guard{device_lock_};
    if (const int rc = running->attached->ops.start(running->attached->info.device); rc < 0) return -rc;
  }
  if (!std::exchange(running->polled, true)) on_every_shard([&](ShardThread& thread) { thread.devices().add(running); });
  return 0;
}

int InterfacesHost::stop(std::uint32_t index) {
  const auto running = by_index(index);
  if (!running) return 0;
  if (std::exchange(running->polled, false)) on_every_shard([&](ShardThread& thread) { thread.devices().remove(index); });
  const std::lock_guard guard{device_lock_};
  running->attached->ops.stop(running->attached->info.device);
  return 0;
}

AttachedInterface* InterfacesHost::give_back(std::uint32_t index) {
  const auto running = by_index(index);
  if (!running) return nullptr;
  stop(index);
  const std::lock_guard guard{lock_};
  std::erase(running_, running);
  running->attached->engine = nullptr;
  return running->attached;
}

void InterfacesHost::stop_all() {
  std::vector<std::shared_ptr<RunningInterface>> all;
  {
    const std::lock_guard guard{lock_};
    all = std::exchange(running_, {});
  }
  for (const auto& running : all) {
    for (ShardThread* thread : threads_) thread->devices().remove(running->index);
    running->attached->ops.stop(running->attached->info.device);
    running->attached->engine = nullptr;
  }
}

// ---------------------------------------------------------------------------------------------- a running device

std::shared_ptr<RunningInterface> InterfacesHost::find(std::string_view name) const {
  const std::lock_guard guard{lock_};
  for (const auto& running : running_)
    if (running->attached->name == name) return running;
  return nullptr;
}

std::shared_ptr<RunningInterface> InterfacesHost::by_index(std::uint32_t index) const {
  const std::lock_guard guard{lock_};
  for (const auto& running : running_)
    if (running->index == index) return running;
  return nullptr;
}

template <class Change>
int InterfacesHost::change(std::uint32_t index, Change call) {
  const auto running = by_index(index);
  if (!running) return 0;
  const std::lock_guard guard{device_lock_};
  const int rc = call(running->attached->ops, running->attached->info.device);
  return rc < 0 ? -rc : 0;
}

int InterfacesHost::set_mtu(std::uint32_t index, std::uint32_t mtu) {
  return change(index, [&](const iopkt_device_ops& ops, void* device) {
    return ops.set_mtu != nullptr ? ops.set_mtu(device, mtu) : -EOPNOTSUPP;
  });
}

int InterfacesHost::set_mac(std::uint32_t index, const std::uint8_t mac[6]) {
  return change(index, [&](const iopkt_device_ops& ops, void* device) {
    return ops.set_mac != nullptr ? ops.set_mac(device, mac) : -EOPNOTSUPP;
  });
}

int InterfacesHost::set_promiscuous(std::uint32_t index, bool on) {
  return change(index, [&](const iopkt_device_ops& ops, void* device) {
    return ops.set_promiscuous != nullptr ? ops.set_promiscuous(device, on ? 1 : 0) : -EOPNOTSUPP;
  });
}

int InterfacesHost::set_multicast(std::uint32_t index, const std::vector<wire::MacAddress>& macs) {
  static_assert(sizeof(wire::MacAddress) == 6);
  return change(index, [&](const iopkt_device_ops& ops, void* device) {
    const auto* list = reinterpret_cast<const std::uint8_t(*)[6]>(macs.data());
    return ops.set_multicast != nullptr ? ops.set_multicast(device, list, static_cast<std::uint32_t>(macs.size())) : -EOPNOTSUPP;
  });
}

bool InterfacesHost::statistics(std::uint32_t index, iopkt_statistics& out, std::string& driver, std::string& description) {
  const auto running = by_index(index);
  if (!running) return false;
  const std::lock_guard guard{device_lock_};
  out = {};
  out.size = sizeof out;
  if (running->attached->ops.statistics != nullptr)
    running->attached->ops.statistics(running->attached->info.device, &out);
  driver = running->attached->driver != nullptr ? running->attached->driver->record().name : "";
  description = running->attached->description;
  return true;
}

}  // namespace iopkt::daemon
