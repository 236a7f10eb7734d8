// Neighbour discovery in words, for traces.
#include "wire/nd.hpp"

namespace iopkt::wire {
namespace {

struct NdWords {
  std::string operator()(const RouterSolicitation&) const { return "router-solicitation"; }
  std::string operator()(const RouterAdvertisement& m) const {
    return "router-advertisement lifetime=" + std::to_string(m.lifetime_s);
  }
  std::string operator()(const NeighbourSolicitation& m) const { return "who-has " + m.target.to_string(); }
  std::string operator()(const NeighbourAdvertisement& m) const {
    return "neighbour " + m.target.to_string() + " [" + (m.router ? "R" : "") + (m.solicited ? "S" : "") + (m.override_ ? "O" : "") + "]";
  }
  std::string operator()(const NdRedirect& m) const { return "redirect " + m.destination.to_string() + " to " + m.target.to_string(); }
};

}  // namespace

std::string describe(const NdMessage& m) {
  std::string out = std::visit(NdWords{}, m.body);
  if (m.options.source_link) out += " from " + m.options.source_link->to_string();
  if (m.options.target_link) out += " is-at " + m.options.target_link->to_string();
  if (m.options.mtu) out += " mtu=" + std::to_string(*m.options.mtu);
  for (const NdPrefix& p : m.options.prefixes)
    out += " prefix " + p.prefix.to_string() + "/" + std::to_string(p.length) + (p.on_link ? " L" : "") + (p.autonomous ? " A" : "");
  for (const NdRoute& r : m.options.routes) out += " route " + r.prefix.to_string() + "/" + std::to_string(r.length);
  for (const NdServer& s : m.options.dns_servers) out += " dns " + s.address.to_string();
  for (const NdDomain& d : m.options.dns_domains) out += " search " + d.name;
  return out;
}

}  // namespace iopkt::wire
