// SYNs that wait to be answered, and which peers have shown that they are there: a flood brings more SYNs than there is time for. What
// belongs to connections goes first. While they have something to do the others get answers at a bounded rate, else as many as a turn
// has time for, in the order in which they came; what finds no room is dropped. RFC 4987.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "base/random.hpp"
#include "base/time.hpp"
#include "packet/packet.hpp"
#include "stack/events.hpp"
#include "wire/address.hpp"

namespace iopkt::stack {

inline constexpr std::size_t kOpeningsPerTurn = 32;    ///< SYNs that a shard's turn answers
inline constexpr std::size_t kOpeningsWaiting = 1024;  ///< SYNs that wait on a shard; more are dropped
inline constexpr std::size_t kOpeningsAtOnce = 16;     ///< so many are waited for when there is a rate: answers go out together
/// For so long after a segment of a connection there is work to do for it: it may be the peer that is kept from its own.
inline constexpr Duration kConnectionsBusy = std::chrono::milliseconds{10};
/// A turn that takes longer was not ours alone: the machine had other things to do, and the time was nobody's to share.
inline constexpr Duration kTurnMost = std::chrono::microseconds{500};

/// How many may go on at a rate: as many as there was time for since the last ones, within a bound. Its time is that of the turns, so
/// that a shard which shares its processor with others gives openings the same share of what it gets.
class Pace {
 public:
  /// A turn begins.
  void tick(Instant now) {
    worked_ += std::clamp(now - last_, Duration::zero(), kTurnMost);
    last_ = std::max(last_, now);
  }
  /// `rate`: per second; 0: as many as they like.
  std::size_t available(std::uint32_t rate) const;
  void spend(std::uint32_t rate, std::size_t count);
  /// How long it takes until so many are available, at least. `count`: at most kOpeningsPerTurn.
  Duration until(std::uint32_t rate, std::size_t count) const;

 private:
  Instant last_{};
  Duration worked_{}, spent_{};
};

/// What peers may send beyond that. A completed handshake shows that its source is no forged one; it earns the answers to the next
/// SYNs, so that a peer that goes on completing them is never short, and one whose address is forged is no worse off than a stranger
/// once its credit is gone. IPv6: by networks of 64 bits. Bounded: a new peer takes the place of another that its hash falls on.
class PeerCredit {
 public:
  static constexpr std::uint16_t kPerHandshake = 2, kMost = 1024;

  explicit PeerCredit(HashKey key) : key_(key), entries_(kEntries) {}
  struct Earned {
    std::uint16_t credit = 0;  ///< what there is now
    std::optional<wire::IpAddress> displaced;  ///< who had credit and has none any more: of IPv6 the beginning of the network
  };
  Earned earn(const wire::IpAddress& peer);
  /// What was there before; 0: none.
  [[nodiscard]] std::uint16_t spend(const wire::IpAddress& peer);

 private:
  static constexpr std::size_t kEntries = 4096;
  /// Who it is; an IPv6 address without its interface identifier.
  struct Name {
    std::array<std::uint32_t, 2> words{};
    bool v4 = false;
    friend bool operator==(const Name&, const Name&) = default;
  };
  struct Entry {
    Name name;
    std::uint16_t credit = 0;
  };
  static Name name_of(const wire::IpAddress& peer) { return {{peer.words()[0], peer.words()[1]}, peer.is_v4()}; }
  static wire::IpAddress address_of(const Name& name);
  Entry& place_of(const Name& name);

  HashKey key_;
  std::vector<Entry> entries_;
};

struct Openings {
  struct Waiting {
    std::uint32_t interface_index;
    packet::PacketPtr packet;  ///< begins with its IP header
  };
  std::deque<Waiting> waiting;
  PeerCredit credit;
  Pace pace;
  Instant busy_until{};           ///< connections have work
  std::vector<CreditNews> news;  ///< of this turn
};

}  // namespace iopkt::stack
