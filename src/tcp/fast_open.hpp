// TCP Fast Open: the server's cookies, and what a client remembers of servers. RFC 7413 section 4.1. What a connection makes of it is
// in connection.hpp: Connection::open_fast() and OpenConfig::fast_open.
#pragma once

#include <cstdint>
#include <list>
#include <unordered_map>

#include "base/hash_map.hpp"
#include "base/time.hpp"
#include "wire/address.hpp"
#include "wire/tcp.hpp"

namespace iopkt::tcp {

inline constexpr std::size_t kFastOpenKeyLen = 16;  ///< TCP_FASTOPEN_KEY has one or two of them

/// 16 bytes of TCP_FASTOPEN_KEY, in the order of the host's, so that hosts and stacks behind one address can share a key.
HashKey fast_open_key(Bytes bytes);
/// The key of a stack whose programs chose none.
HashKey default_fast_open_key(HashKey secret);

/// RFC 7413 section 4.1.2: the cookie of a client, 8 bytes. Equal to the host's for the same key.
wire::FastOpenCookie fast_open_cookie(HashKey key, const wire::IpAddress& server, const wire::IpAddress& client);

/// The client's side, RFC 7413 section 4.1.3: by server; bounded, the entry that was learned first makes room.
class FastOpenCache {
 public:
  static constexpr std::size_t kMost = 1024;
  static constexpr Duration kLongestPause = std::chrono::hours(24);

  explicit FastOpenCache(HashKey secret) : entries_(16, SipHash{secret}) {}

  struct Known {
    wire::FastOpenCookie cookie;  ///< empty: ask for one
    std::uint16_t mss{};          ///< what the server named then
    bool paused{};                ///< it did harm: a plain SYN for now
  };
  Known find(const wire::IpAddress& local, const wire::IpAddress& server, Instant now) const;
  /// A SYN,ACK brought a cookie.
  void learn(const wire::IpAddress& local, const wire::IpAddress& server, const wire::FastOpenCookie& cookie, std::uint16_t mss);
  /// A SYN with the option got no answer, one without did: no more of them for `pause`, and twice as long after each further loss
  /// (RFC 7413 section 4.1.3.1, "negative responses"). The cookie is forgotten.
  void lost(const wire::IpAddress& local, const wire::IpAddress& server, Duration pause, Instant now);

  std::size_t size() const { return order_.size(); }

 private:
  struct Entry {
    wire::IpAddress server, local;
    wire::FastOpenCookie cookie;
    std::uint16_t mss{};
    std::uint8_t losses{};
    Instant paused_until{};
  };
  Entry& entry(const wire::IpAddress& local, const wire::IpAddress& server);

  std::list<Entry> order_;  // oldest first
  std::unordered_map<wire::IpAddress, std::list<Entry>::iterator, SipHash> entries_;
};

}  // namespace iopkt::tcp
