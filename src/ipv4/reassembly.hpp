// Putting fragments together with bounded memory, one machine for both families: RFC 791 3.2, RFC 8200 4.5, RFC 815 (what is
// missing), RFC 1122 3.3.2 (timeout), RFC 5722 (overlap ends a datagram; applied to IPv4 too), RFC 3168 5.3 (ECN). A family's
// atomic fragments (RFC 6946) never come here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/hash_map.hpp"
#include "base/time.hpp"
#include "ipv4/counters.hpp"
#include "ipv4/tunables.hpp"
#include "packet/drops.hpp"
#include "packet/packet.hpp"
#include "wire/ip_header.hpp"

namespace iopkt::ipv4 {

/// A packet that died inside; its owner counts it.
struct Dead {
  packet::PacketPtr packet;
  packet::Drop why{};
};

class Reassembly {
 public:
  /// All three outlive this. Tunables may change between calls.
  Reassembly(const Ipv4Tunables& tunables, Ipv4Counters<Counter>& counters, HashKey secret)
      : tunables_(tunables), counters_(counters), datagrams_(16, SipHash{secret}) {}

  struct Done {
    wire::IpHeader header;     ///< Of the first fragment, its bytes made those of the whole
    packet::PacketPtr packet;  ///< The payload, without IP header; network_len is the first fragment's
  };

  /// Adds one fragment: `packet` begins with its IP header, as input() left it, fragment.header_len bytes; what follows is
  /// its payload. Takes it in any case.
  /// @param header  Its bytes are those that the whole will have: of IPv6 without the fragment header.
  /// @param now   Never earlier than in the call before.
  /// @param dead  Gets what was dropped: the fragment itself (ip_bad_fragment: a length that 8 does not
  /// divide although
  ///              more follow, an end above 65535 bytes or beyond the last fragment; ip_fragment_duplicate:
  ///              an exact copy; no_buffer), the whole datagram (ip_fragment_overlap: later fragments of it
  ///              as well, until its time is over; ip_bad_fragment: ECN marks that contradict;
  ///              ip_fragment_limit: over maxfragsperpacket), or the oldest other datagrams
  ///              (ip_fragment_limit).
  /// @return The whole datagram once nothing is missing.
  /// @cost O(log fragments of the datagram), no copying of payload beyond 256 bytes.
  std::optional<Done> insert(const wire::IpHeader& header, const wire::IpFragment& fragment, packet::PacketPtr packet,
                             Instant now, std::vector<Dead>& dead);

  /// A datagram whose time is over. Every packet of it dies with ip_fragment_timeout. Time exceeded is sent
  /// only if `first` is there: the header of the fragment with offset 0, whose payload packets.front() is; its bytes are those that
  /// came, of IPv6 with the fragment header, to be quoted.
  struct Expired {
    std::optional<wire::IpHeader> first;
    packet::Burst packets;  ///< Without IP headers
  };
  Instant next_deadline() const { return order_.empty() ? Instant::never() : order_.front().since + std::chrono::seconds{tunables_.frag_ttl_s}; }
  void run(Instant now, std::vector<Expired>& out);

  std::size_t datagrams() const { return order_.size(); }
  std::size_t bytes() const { return bytes_; }

 private:
  struct Key {
    wire::IpAddress src, dst;
    std::uint32_t id, protocol;  // of IPv6 the identification alone counts (RFC 8200 4.5)
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct Fragment {
    std::uint32_t begin, end;  // payload bytes
    packet::PacketPtr packet;
  };
  struct Datagram {
    Key key;
    Instant since;
    std::vector<Fragment> fragments;  // sorted, disjoint
    std::optional<wire::IpHeader> first;
    wire::HeaderBytes first_sent;  // as it came: `first` has the bytes of the whole
    std::uint32_t total = 0;  // 0: the last fragment is not here
    std::uint32_t have = 0;
    std::size_t bytes = 0;
    bool any_ce = false, any_not_ect = false;
    bool given_up = false;  // keeps nothing; stands to refuse what still comes
  };
  using List = std::list<Datagram>;  // oldest first: all live equally long

  List::iterator find_or_create(const Key& key, Instant now, std::vector<Dead>& dead);
  bool fits(const Datagram& datagram, std::uint32_t begin, std::uint32_t end, bool more) const;
  void give_up(Datagram& datagram, packet::Drop why, std::vector<Dead>& dead);
  void erase(List::iterator at);
  std::optional<Done> complete(List::iterator at, std::vector<Dead>& dead);

  const Ipv4Tunables& tunables_;
  Ipv4Counters<Counter>& counters_;
  List order_;
  std::unordered_map<Key, List::iterator, SipHash> datagrams_;
  std::size_t bytes_ = 0;
};

}  // namespace iopkt::ipv4
