#include "tcp/isn.hpp"

#include <array>

namespace iopkt::tcp {

namespace {

std::uint64_t hash_of(HashKey secret, std::uint32_t use, const wire::Endpoint& local, const wire::Endpoint& remote) {
  std::array<std::byte, 4 + 2 * (4 + 16 + 4)> bytes{};
  std::size_t at = 0;
  const auto put = [&](std::uint32_t word) {
    store_be32(bytes, at, word);
    at += 4;
  };
  put(use);
  for (const wire::Endpoint* e : {&local, &remote}) {
    put(static_cast<std::uint32_t>(e->address.family()));
    for (const std::uint32_t word : e->address.words()) put(word);
    put(e->port.value);
  }
  return siphash24(secret, bytes);
}

}  // namespace

wire::SeqNum initial_sequence_number(HashKey secret, const wire::Endpoint& local, const wire::Endpoint& remote, Instant now) {
  const auto clock = static_cast<std::uint32_t>(static_cast<std::uint64_t>(now.ns) / 4000);
  return {clock + static_cast<std::uint32_t>(hash_of(secret, 1, local, remote))};
}

std::uint32_t timestamp_offset(HashKey secret, const wire::Endpoint& local, const wire::Endpoint& remote) {
  // Without ports, as Linux: a restarted client on another port still looks younger to a NAT's other side.
  return static_cast<std::uint32_t>(hash_of(secret, 2, {local.address, {}}, {remote.address, {}}));
}

}  // namespace iopkt::tcp
