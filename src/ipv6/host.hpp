// The one Discovery there is: a host's (RFC 4861 section 6.3, RFC 4862), which answers for its addresses as routers do too.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "iface/detection.hpp"
#include "ipv6/discovery.hpp"
#include "route/dynamic.hpp"

namespace iopkt::ipv6 {

inline constexpr std::uint32_t kConflictsMax = 3;  ///< RFC 7217 section 6: IDGEN_RETRIES; RFC 8981 section 3.8: TEMP_IDGEN_RETRIES

inline Instant after(Instant now, std::uint32_t seconds) {
  return seconds == wire::kLifetimeForever ? Instant::never() : now + std::chrono::seconds{seconds};
}
inline bool is_link_local(const iface::InterfaceAddress& a) { return a.address.is_v6() && a.address.is_link_local(); }
/// Nobody has said yet that the address is his.
inline bool is_in_detection(const iface::InterfaceAddress& a) {
  return (a.flags & (iface::address_flag::tentative | iface::address_flag::optimistic)) != 0;
}
/// Good for messages that others learn from: RFC 4429 section 3.2 keeps optimistic ones out of them.
inline bool is_settled(const iface::InterfaceAddress& a) { return a.address.is_v6() && a.is_usable() && !is_in_detection(a); }

std::unique_ptr<Discovery> make_host(const DiscoveryConfig& config);

inline constexpr std::ptrdiff_t kTemporariesMax = 64;  ///< temporary addresses of an interface, old and new

/// RFC 7217 section 5: the same on the same network, another on each. `conflicts`: how many before it were taken.
/// `number`: what else makes it another one: of temporary addresses a number that nobody guesses (RFC 8981 section 3.3.2).
/// Never one of the reserved identifiers of RFC 5453.
wire::Ipv6Address stable_address(HashKey secret, const wire::Ipv6Address& prefix, std::string_view interface_name, std::uint32_t conflicts,
                                   std::uint64_t number = 0);

class Host final : public Discovery {
 public:
  explicit Host(const DiscoveryConfig& config) : config_(config), random_(config.seed) {}

  Expected<DiscoveryOutcome, packet::Drop> input(const DiscoveryContext& context, Bytes message) override;
  std::optional<DiscoveryMessage> solicit(const iface::Interface& out, const neigh::Key& key, bool unicast) const override;
  void neighbour_changed(const neigh::Key& key, bool reachable) override;
  void tables_changed(Instant now) override { tables_are_new_ = true, wake(now); }
  Instant next_deadline() const override { return deadline_; }
  bool run(Instant now, const Tables& tables, DiscoveryOutcome& out) override;
  bool solicit_again(std::uint32_t interface_index, Instant now) override;
  std::size_t forget(What what, Instant now) override;
  DiscoveryState state() const override;

 private:
  struct Router {
    wire::Ipv6Address address;
    wire::RouterPreference preference{};
    Instant until;
    bool managed{}, other{};
    bool reachable = true;
  };
  struct MoreSpecific {
    wire::Ipv6Address router;
    wire::IpPrefix prefix;
    wire::RouterPreference preference{};
    Instant until;
    bool reachable = true;
  };
  /// What a router said of a prefix last.
  struct Prefix {
    wire::NdPrefix said;
    Instant heard;
    bool fresh{};  ///< run() has not looked at it yet
    /// Of the address that run() has to form: what has been said of it since the first word, by RFC 4862 section 5.5.3 (d) and (e).
    struct Ends {
      Instant preferred, valid;
    };
    std::optional<Ends> to_form;
    Instant until() const;
    Instant preferred_until() const;
  };
  struct Redirect {
    wire::Ipv6Address destination, target;
    Instant until;
  };
  struct Server {
    wire::Ipv6Address address;
    Instant until;
  };
  struct Domain {
    std::string name;
    Instant until;
  };
  /// The ends of an address. Every advertisement moves them; the tables that all shards read follow when something else changes,
  /// too, and `seen` is what they say: other ends there are an operator's, and count.
  struct Lifetime {
    wire::IpAddress address;
    Instant preferred, valid;
    Instant seen_preferred, seen_valid;
    /// Of a temporary address, RFC 8981 section 3.4: no advertisement makes it live on beyond these.
    Instant preferred_most = Instant::never(), valid_most = Instant::never();
    bool succeeded{};  ///< another one is there, or was tried
  };
  struct Detection : iface::Detection {
    bool looped{}, told{};  ///< what we sent came back; and the operator knows
    std::vector<std::uint64_t> nonces;  ///< of what was sent
  };
  struct Link {
    bool up{};
    std::uint32_t solicits_left{};
    Instant next_solicit{Instant::never()};
    std::uint32_t conflicts{};  ///< identifiers that were taken
    std::uint32_t temporary_conflicts{};  ///< the same of temporary addresses, one after the other
    std::vector<Lifetime> lifetimes;
    std::uint64_t advertisements{};
    std::vector<Router> routers;
    std::vector<Prefix> prefixes;
    std::vector<MoreSpecific> routes;
    std::vector<Redirect> redirects;
    std::vector<Server> servers;
    std::vector<Domain> domains;
    std::vector<Detection> detections;
    std::optional<std::uint32_t> mtu;
    std::uint8_t hop_limit{};
    std::uint32_t base_reachable_ms{}, reachable_ms{}, retransmit_ms{};  ///< 0: not advertised
    Instant next_reachable{};  ///< when another reachable time is to be chosen
    Instant next_complaint{};
    Instant next_parameters{};  ///< when the interface may get others
    bool parameters_wait{};     ///< until then

    Duration retransmit() const { return retransmit_ms != 0 ? Duration{std::chrono::milliseconds{retransmit_ms}} : Duration{1s}; }
  };

  /// Answers for anycast addresses that wait: others may be nearer (RFC 4861 section 7.2.7).
  struct Delayed {
    Instant at;
    DiscoveryMessage message;
  };
  static constexpr std::size_t kDelayedMax = 64;
  std::vector<Delayed> delayed_;
  void send_delayed(Instant now, DiscoveryOutcome& out);

  void wake(Instant now) { deadline_ = std::min(deadline_, now); }
  void wake_for_news(Instant now) { wake(news_.due(now)); }

  // nd_input.cpp
  using Answer = Expected<DiscoveryOutcome, packet::Drop>;
  Answer solicited(const DiscoveryContext& context, const wire::NeighbourSolicitation& m, const wire::NdOptions& options);
  Answer advertised(const DiscoveryContext& context, const wire::NeighbourAdvertisement& m, const wire::NdOptions& options);
  Answer router_advertised(const DiscoveryContext& context, const wire::RouterAdvertisement& m, const wire::NdOptions& options);
  Answer redirected(const DiscoveryContext& context, const wire::NdRedirect& m, const wire::NdOptions& options);
  bool forget_router(Link& link, const wire::Ipv6Address& router, Instant now);
  bool take_router(Link& link, const DiscoveryContext& context, const wire::RouterAdvertisement& m, const wire::NdRoute& way);
  void take_times(Link& link, const wire::RouterAdvertisement& m, Instant now);
  bool take_prefixes(Link& link, const DiscoveryContext& context, const wire::NdOptions& options);
  bool take_routes(Link& link, const DiscoveryContext& context, const wire::NdOptions& options);
  void take_servers(Link& link, const wire::NdOptions& options, Instant now);
  static bool may_complain(Link& link, Instant now);
  void found_taken(Link& link, const wire::IpAddress& address, Instant now);
  bool found_looped(Link& link, const wire::IpAddress& address, std::uint64_t nonce);

  // host.cpp, addresses.cpp, detection.cpp, routes.cpp: one interface, in the order of run()
  bool run_link(Link& link, iface::Interface& interface, Instant now, DiscoveryOutcome& out);
  bool run_up(Link& link, iface::Interface& interface, Instant now, DiscoveryOutcome& out);
  bool came_up(Link& link, iface::Interface& interface, Instant now);
  bool add_link_local(Link& link, iface::Interface& interface);
  std::uint32_t first_flags(const iface::Interface& interface, std::uint32_t flags) const;
  bool detect(Link& link, iface::Interface& interface, Instant now, DiscoveryOutcome& out);
  bool end_taken(Link& link, iface::Interface& interface, const wire::IpAddress& address, DiscoveryOutcome& out);
  void follow_operator(Link& link, const iface::Interface& interface);
  void write_lifetimes(Link& link, iface::Interface& interface);
  bool form_addresses(Link& link, iface::Interface& interface, Instant now);
  bool form_address(Link& link, iface::Interface& interface, const Prefix& prefix, Instant now);
  bool form_temporaries(Link& link, iface::Interface& interface, Instant now);
  bool form_temporary(Link& link, iface::Interface& interface, const Prefix& prefix, Instant now);
  static Instant renewed(Instant valid_now, Instant said, Instant now);
  static void age_address(Link& link, const iface::Interface& interface, Prefix& prefix, Instant now);
  Duration regenerate_advance(const Link& link) const;
  bool expire_addresses(Link& link, iface::Interface& interface, Instant now);
  bool set_parameters(Link& link, iface::Interface& interface, Instant now);
  void solicit_routers(Link& link, const iface::Interface& interface, Instant now, DiscoveryOutcome& out);
  void forget_expired(Link& link, Instant now);
  std::vector<route::Route> wanted_routes() const;
  bool install_routes(std::span<route::Fib> fibs);
  void leave_network(const iface::Interface& interface, const iface::InterfaceAddress& address);
  Instant deadline_of(const Link& link) const;

  DiscoveryConfig config_;
  Random random_;
  std::map<std::uint32_t, Link> links_;
  route::DynamicRoutes routes_;
  std::vector<route::Route> orphans_;    // to the networks of addresses whose time is over
  bool tables_are_new_ = true;           // the FIBs may not hold what was installed
  Instant deadline_{Instant::never()};
  route::NewsLimit news_;
};

}  // namespace iopkt::ipv6
