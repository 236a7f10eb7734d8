// What a stack is started with and cannot change later.
#pragma once

#include <cstdint>

#include "base/random.hpp"
#include "packet/pool.hpp"

namespace iopkt::ipv6 {
struct Inet6;
}

namespace iopkt::stack {

struct StackConfig {
  std::uint32_t shards = 1;               ///< 1..64
  bool dedicated_local = false;           ///< -D: all local flows belong to shard 0, which polls no device
  packet::PoolConfig pools;
  const ipv6::Inet6* inet6 = nullptr;     ///< ipv6::inet6(), which outlives the stack; null: there is IPv4 alone
  HashKey stable_secret;                  ///< of RFC 7217: the same after a restart, or addresses change with it
  HashKey key;                            ///< 128 random bits: flow hashes, ISNs, identifiers
  std::uint64_t seed = 1;                 ///< ephemeral ports, timers' jitter
  std::uint32_t somaxconn = 4096;         ///< cap of listen(2)'s backlog
  std::uint32_t half_open_max = 4096;     ///< per shard
  std::uint32_t time_wait_max = 1u << 20; ///< per shard
  std::uint32_t sockets_max = 1u << 20;   ///< per shard
  std::uint32_t ipid_reserved = 0;        ///< identifiers 0..X are never used
  std::uint32_t (*ms_of_day)() = nullptr; ///< Milliseconds since midnight UT, for timestamps of IP and ICMP; null: unknown
  bool reuseport_unicast = false;
  bool txprio_enabled = false;
};

}  // namespace iopkt::stack
