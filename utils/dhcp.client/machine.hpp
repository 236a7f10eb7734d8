// A DHCP client's states and times: RFC 2131 section 4.4. No clock and no socket: messages and time go in, messages and leases come out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/random.hpp"
#include "base/time.hpp"
#include "wire/dhcp.hpp"

namespace iopkt::dhcp {

struct Settings {
  wire::MacAddress hardware;
  std::vector<std::byte> client_id;              ///< option 61; empty: not sent
  std::string hostname;                          ///< option 12; empty: not sent
  std::optional<wire::Ipv4Address> only_server;  ///< offers of others are passed over
  std::uint32_t attempts = 0;                    ///< rounds of discovery before giving up; 0: for ever
  std::uint32_t conflicts = 0;                   ///< declined addresses in a row before giving up; 0: for ever
  bool unicast = false;                          ///< answers need not be broadcasts, though there is no address yet
};

struct Lease {
  wire::Ipv4Address address, server;
  std::uint8_t prefix_length = 24;
  std::optional<wire::Ipv4Address> broadcast;
  std::vector<wire::Ipv4Address> routers, name_servers;
  std::vector<wire::DhcpMessage::ClasslessRoute> routes;  ///< RFC 3442: with these `routers` is not used; kRoutesMax
  std::string domain, hostname;
  std::uint16_t mtu = 0;  ///< 0: not said
  std::uint32_t seconds = 0, renew_s = 0, rebind_s = 0;
  friend bool operator==(const Lease&, const Lease&) = default;
};

enum class State : std::uint8_t { init, selecting, requesting, bound, renewing, rebinding, given_up };

class Machine {
 public:
  struct Out {
    std::vector<std::byte> message;
    wire::Ipv4Address to;  ///< 255.255.255.255, or the server
  };
  /// What came of a call.
  struct Result {
    std::vector<Out> send;
    std::optional<Lease> configure;  ///< the interface is to have this from now on
    bool unconfigure = false;        ///< the lease is gone (before `configure`, if both)
  };

  Machine(Settings settings, std::uint64_t seed) : settings_(std::move(settings)), random_(seed) {}

  Result start(Instant now);
  Result on_message(Bytes payload, Instant now);
  Result on_time(Instant now);
  /// Gives the lease back (RFC 2131 section 4.4.6); the machine is over.
  Result release(Instant now);
  /// Somebody else has the address (section 3.1 (5)): it is declined, and another is asked for after a pause.
  Result decline(Instant now);
  /// Nobody else has it.
  void accepted() { declined_ = 0; }

  Instant next_deadline() const { return at_; }
  State state() const { return state_; }
  /// Given up since too many addresses were others', not for want of a server.
  bool only_conflicts() const { return state_ == State::given_up && declined_ != 0; }
  const std::optional<Lease>& lease() const { return lease_; }

  static constexpr Duration kFirstWait = 4s, kLongestWait = 64s;  ///< section 4.1: doubling, with a second of chance either way
  static constexpr Duration kLeastWait = 60s;                     ///< section 4.4.5: between two tries to renew
  static constexpr Duration kPause = 10s;                         ///< after a declined address, section 3.1 (5)
  static constexpr unsigned kRequests = 4;                        ///< for one offer

 private:
  wire::DhcpMessage message(wire::DhcpType type, Instant now);
  void discover(Instant now, Result& out);
  void request_offer(Instant now, Result& out);
  void request_renewal(Instant now, Result& out);
  void restart(Instant now, Result& out);
  void refused(Instant now, Result& out);
  void bind(const wire::DhcpMessage& ack, Instant now, Result& out);
  void on_offer(const wire::DhcpMessage& offer, wire::Ipv4Address server, Instant now, Result& out);
  Instant retry_at(Instant now);

  Settings settings_;
  Random random_;
  State state_ = State::init;
  std::uint32_t xid_ = 0, rounds_ = 0;
  unsigned tries_ = 0;
  unsigned refusals_ = 0;  // since the last lease
  unsigned declined_ = 0;  // the same of addresses that were others'
  Duration wait_ = kFirstWait, pause_ = kFirstWait;
  Instant at_ = Instant::never(), began_{}, asked_{}, renew_at_{}, rebind_at_{}, end_at_{};
  wire::Ipv4Address offered_, server_;
  std::optional<Lease> lease_;
};

inline constexpr std::size_t kRoutesMax = 64;  ///< of a lease; more are passed over

/// What an acknowledgment grants. nullopt: no address, or no time.
std::optional<Lease> lease_of(const wire::DhcpMessage& ack, wire::Ipv4Address server);
/// The text of a resolver file; empty: the lease names no servers.
std::string resolver_text(const Lease& lease);

}  // namespace iopkt::dhcp
