// The stack: its shards, what they share, and the one way to publish a new Network.
#pragma once

#include <memory>
#include <vector>

#include "base/log.hpp"
#include "packet/pool.hpp"
#include "socket/flow_labels.hpp"
#include "socket/port_table.hpp"
#include "stack/config.hpp"
#include "stack/key_accounts.hpp"
#include "stack/shard.hpp"

namespace iopkt::stack {

class Stack {
 public:
  /// One RingSource per shard; they and `pages` outlive the stack.
  Stack(const StackConfig& config, packet::PageSource& pages, std::span<RingSource* const> rings, LogSink& log);
  ~Stack();
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;

  const StackConfig& config() const { return config_; }
  std::uint32_t shard_count() const { return static_cast<std::uint32_t>(shards_.size()); }
  Shard& shard(std::uint32_t number) { return *shards_[number]; }
  packet::Pools& pools() { return pools_; }
  LogSink& log() { return log_; }

  /// The version that control published last. Shard 0's thread.
  const NetworkPtr& network() const { return network_; }
  /// Shard 0's thread. The others take it up at their next poll_inbox().
  void publish(Network next);

  socket::PortTable& tcp_ports() { return tcp_ports_; }
  const std::shared_ptr<KeyAccounts>& key_accounts() const { return key_accounts_; }
  socket::PortTable& udp_ports() { return udp_ports_; }
  socket::PortTable& udplite_ports() { return udplite_ports_; }
  socket::FlowLabels& flow_labels() { return flow_labels_; }

  /// Which shard a TCP flow, given by its symmetric hash, belongs to; which one a local UDP port.
  std::uint32_t shard_of_flow(std::uint32_t flow_hash) const;
  std::uint32_t shard_of_port(wire::Port port) const;

 private:
  StackConfig config_;
  LogSink& log_;
  packet::Pools pools_;
  std::shared_ptr<KeyAccounts> key_accounts_ = std::make_shared<KeyAccounts>();  // chains outlive us
  socket::PortTable tcp_ports_, udp_ports_, udplite_ports_;
  socket::FlowLabels flow_labels_;
  NetworkPtr network_;
  std::vector<std::unique_ptr<Shard>> shards_;
};

}  // namespace iopkt::stack
