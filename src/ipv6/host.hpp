// The one Discovery there is: a host's (RFC 4861 section 6.3, RFC 4862), which answers for its addresses as routers do too.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ipv6/discovery.hpp"

namespace iopkt::ipv6 {

std::unique_ptr<Discovery> make_host(const DiscoveryConfig& config);

/// RFC 7217 section 5: the same on the same network, another on each. `conflicts`: how many before it were taken.
/// Never one of the reserved identifiers of RFC 5453.
wire::Ipv6Address stable_address(HashKey secret, const wire::Ipv6Address& prefix, std::string_view interface_name, std::uint32_t conflicts);

class Host final : public Discovery {
 public:
  explicit Host(const DiscoveryConfig& config) : config_(config), random_(config.seed) {}

  Expected<DiscoveryOutcome, packet::Drop> input(const DiscoveryContext& context, Bytes message) override;
  std::optional<DiscoveryMessage> solicit(const iface::Interface& out, const neigh::Key& key, bool unicast) const override;
  void neighbour_changed(const neigh::Key& key, bool reachable) override;
  void tables_changed(Instant now) override { wake(now); }
  Instant next_deadline() const override { return deadline_; }
  bool run(Instant now, const Tables& tables, DiscoveryOutcome& out) override;
  DiscoveryState state() const override;

 private:
  struct Router {
    wire::Ipv6Address address;
    wire::RouterPreference preference{};
    Instant until;
    bool reachable = true;
  };
  /// What a router said of a prefix last.
  struct Prefix {
    wire::NdPrefix said;
    Instant heard;
    bool fresh{};  ///< run() has not looked at it yet
    Instant until() const;
  };
  struct Redirect {
    wire::Ipv6Address destination, target;
    Instant until;
  };
  struct Server {
    wire::Ipv6Address address;
    Instant until;
  };
  /// Duplicate address detection of one address.
  struct Detection {
    wire::IpAddress address;
    std::uint32_t left{};  ///< solicitations to send
    Instant next;
    bool taken{};          ///< somebody else has it
  };
  struct Link {
    bool up{};
    std::uint32_t solicits_left{};
    Instant next_solicit{Instant::never()};
    std::uint32_t conflicts{};  ///< identifiers that were taken
    std::vector<Router> routers;
    std::vector<Prefix> prefixes;
    std::vector<Redirect> redirects;
    std::vector<Server> servers;
    std::vector<Detection> detections;
    std::optional<std::uint32_t> mtu;
    std::uint8_t hop_limit{};
    Instant next_complaint{};
  };

  void wake(Instant now) { deadline_ = std::min(deadline_, now); }

  // nd_input.cpp
  using Answer = Expected<DiscoveryOutcome, packet::Drop>;
  Answer solicited(const DiscoveryContext& context, const wire::NeighbourSolicitation& m, const wire::NdOptions& options);
  Answer advertised(const DiscoveryContext& context, const wire::NeighbourAdvertisement& m, const wire::NdOptions& options);
  Answer router_advertised(const DiscoveryContext& context, const wire::RouterAdvertisement& m, const wire::NdOptions& options);
  Answer redirected(const DiscoveryContext& context, const wire::NdRedirect& m, const wire::NdOptions& options);
  bool take_router(Link& link, const DiscoveryContext& context, const wire::RouterAdvertisement& m);
  bool take_prefixes(Link& link, const wire::NdOptions& options, Instant now);
  void take_servers(Link& link, const wire::NdOptions& options, Instant now);
  static bool may_complain(Link& link, Instant now);
  void found_taken(Link& link, const wire::IpAddress& address, Instant now);

  // host.cpp: one interface, in the order of run()
  bool run_link(Link& link, iface::Interface& interface, Instant now, DiscoveryOutcome& out);
  bool came_up(Link& link, iface::Interface& interface, Instant now);
  bool add_link_local(Link& link, iface::Interface& interface);
  bool detect(Link& link, iface::Interface& interface, Instant now, DiscoveryOutcome& out);
  bool end_taken(Link& link, iface::Interface& interface, const wire::IpAddress& address, DiscoveryOutcome& out);
  bool form_addresses(Link& link, iface::Interface& interface, Instant now);
  bool expire_addresses(iface::Interface& interface, Instant now);
  bool set_parameters(const Link& link, iface::Interface& interface);
  void solicit_routers(Link& link, const iface::Interface& interface, Instant now, DiscoveryOutcome& out);
  void forget_expired(Link& link, Instant now);
  std::vector<route::Route> wanted_routes() const;
  bool install_routes(std::span<route::Fib> fibs);
  bool install_routes(route::Fib& fib, std::span<const route::Route> wanted) const;
  Instant deadline_of(const Link& link) const;
  bool wants_detection(const iface::Interface& interface, std::uint32_t flags) const;

  DiscoveryConfig config_;
  Random random_;
  std::map<std::uint32_t, Link> links_;
  std::vector<route::Route> installed_;  // wanted by the last run, in every FIB
  Instant deadline_{Instant::never()};
};

}  // namespace iopkt::ipv6
