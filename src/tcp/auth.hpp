// Signed segments: TCP-MD5 (RFC 2385) and TCP-AO (RFC 5925, with the algorithms of RFC 5926). Keys by peer, and MACs over a segment.
// Which key a connection uses when is stack/signatures.cpp's.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/bytes.hpp"
#include "wire/address.hpp"
#include "wire/tcp.hpp"

namespace iopkt::tcp {

enum class MacAlgorithm : std::uint8_t { md5, hmac_sha1, aes128_cmac };

/// Zeroes what was secret, for good.
void erase(void* at, std::size_t size);

template <class T>
struct ErasingAllocator {
  using value_type = T;
  ErasingAllocator() = default;
  template <class U>
  ErasingAllocator(const ErasingAllocator<U>&) {}
  T* allocate(std::size_t count) { return std::allocator<T>{}.allocate(count); }
  void deallocate(T* at, std::size_t count) {
    erase(at, count * sizeof(T));
    std::allocator<T>{}.deallocate(at, count);
  }
  friend bool operator==(const ErasingAllocator&, const ErasingAllocator&) { return true; }
};
/// Bytes that nobody finds in memory that is free again.
using Secret = std::vector<std::byte, ErasingAllocator<std::byte>>;

/// A key for peers. RFC 5925 calls it a Master Key Tuple; TCP-MD5 has neither identifiers nor the choice of a length.
struct Key {
  static constexpr std::size_t kLongest = 80;  ///< bytes of the secret

  MacAlgorithm algorithm{};
  wire::IpAddress peer;
  std::uint8_t prefix_len{};         ///< Of `peer` that count; all bits: one host.
  std::uint8_t send_id{}, receive_id{};
  std::uint8_t mac_len{12};          ///< TCP-AO: 4..16 bytes of the MAC are sent.
  bool without_options{};            ///< TCP-AO: the MAC covers no other option.
  Secret secret;

  bool is_md5() const { return algorithm == MacAlgorithm::md5; }
  bool fits(const wire::IpAddress& remote) const;
};

/// Whoever has a key has it together with all others: what one takes is taken once.
using KeyPtr = std::shared_ptr<const Key>;

/// The keys of a socket. Immutable once a socket has it: a change makes another one.
class KeyChain {
 public:
  static constexpr std::size_t kMost = 1024;

  const std::vector<KeyPtr>& keys() const { return keys_; }
  void set(std::vector<KeyPtr> keys);
  /// Those that `remote` can ever use; null: there are none.
  static std::shared_ptr<const KeyChain> narrowed(const std::shared_ptr<const KeyChain>& chain, const wire::IpAddress& remote);

  // At most a step for each length of prefix that the keys have, and the keys of one network; what they answer holds until set().

  /// TCP-MD5: that of the longest prefix.
  const Key* md5_for(const wire::IpAddress& remote) const;
  /// TCP-AO: by the identifier of our own segments; -1: the first.
  const Key* ao_to_send(const wire::IpAddress& remote, int send_id) const;
  /// By the identifier that the peer's segments have.
  const Key* ao_received(const wire::IpAddress& remote, int receive_id) const;
  /// Of all keys of that peer, whatever their kind, the most bytes that an option with the MAC of one takes; 0: there is none.
  std::size_t longest_option(const wire::IpAddress& remote) const;

 private:
  /// Keys of one kind, family and length of prefix: [begin, end) of by_network_.
  struct Span {
    bool md5;
    wire::IpFamily family;
    std::uint8_t prefix_len;
    std::uint32_t begin, end;
  };
  struct Place {
    wire::IpAddress network;
    std::uint32_t key;  ///< in keys_
  };
  /// The places of keys whose network `remote` is in, of one span.
  std::span<const Place> places(const Span& span, const wire::IpAddress& remote) const;
  template <class Fits>
  const Key* find(bool md5, const wire::IpAddress& remote, Fits fits) const;

  std::vector<KeyPtr> keys_;
  std::vector<Span> spans_;         // longer prefixes first
  std::vector<Place> by_network_;
};

/// A segment as its MAC sees it: `header` is the whole TCP header with its options; what is in the MAC's place and in the checksum's
/// does not matter.
struct SignedSegment {
  const wire::IpAddress& from;
  const wire::IpAddress& to;
  Bytes header;
  Bytes payload;
};

using Mac = std::array<std::byte, 16>;

// The library that these use may fail for want of memory: nullopt, and the segment is neither sent nor taken.

/// RFC 2385 section 2.0.
std::optional<Mac> md5_digest(const Key& key, const SignedSegment& segment);

/// RFC 5925 section 5.2: what a traffic key is derived from, as the sender of the segment sees it. The ISN that a first SYN does not know
/// is 0.
struct TrafficKeyContext {
  const wire::IpAddress& from;
  const wire::IpAddress& to;
  wire::Port from_port, to_port;
  wire::SeqNum from_isn, to_isn;
};
/// AES-128-CMAC uses 16 bytes of it.
struct TrafficKey : std::array<std::byte, 20> {
  TrafficKey() : array{} {}
  TrafficKey(const TrafficKey&) = default;
  TrafficKey& operator=(const TrafficKey&) = default;
  ~TrafficKey() { erase(data(), size()); }
};
std::optional<TrafficKey> traffic_key(const Key& key, const TrafficKeyContext& context);

/// Of a connection: each of its traffic keys is derived once, as long as the same key is used.
struct TrafficKeys {
  struct One {
    const Key* key{};  ///< null: nothing is known yet
    wire::SeqNum from_isn{}, to_isn{};
    TrafficKey value;
  };
  std::shared_ptr<const KeyChain> chain;  ///< to which the keys belong
  One out, in;
};

/// RFC 5925 section 5.1: the MAC; its first key.mac_len bytes are sent. `extension`: RFC 5925 section 6.2. The MAC's place in the header is
/// where its TCP-AO option is.
std::optional<Mac> ao_mac(const Key& key, const TrafficKey& traffic_key, std::uint32_t extension, const SignedSegment& segment);

/// In a time that does not depend on where they differ.
bool same_mac(Bytes a, Bytes b);

}  // namespace iopkt::tcp
