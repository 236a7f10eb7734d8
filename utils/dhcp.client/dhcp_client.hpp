// dhcp.client(8): gets an interface of a stack its address, routes and name servers by DHCP. QNX's.
#pragma once

#include "utils/common/command.hpp"
#include "utils/dhcp.client/machine.hpp"

namespace iopkt::utils {

inline constexpr char kDhcpUsage[] =
    "usage: dhcp.client [-abdnu] [-A conflicts] [-D ident] [-f file] [-h hostname] [-I polls] [-i interface] [-P port] [-p port]\n"
    "                   [-s server] [-t attempts]\n";

struct DhcpFlags {
  std::string interface;   ///< -i; empty: the first one without an address
  std::string hostname;    ///< -h
  std::string client_id;   ///< -D; empty: the hardware address
  std::string resolver = "/etc/resolv.conf";  ///< -f
  std::optional<wire::Ipv4Address> server;    ///< -s
  std::uint16_t client_port = 68, server_port = 67;  ///< -p, -P
  std::uint32_t attempts = 0, polls = 5;             ///< -t, -I
  std::uint32_t conflicts = 5;                       ///< -A; 0: no address is probed
  bool alias = false, unicast = false, debug = false, no_resolver = false, until_configured = false;
};

/// nullopt: told already.
std::optional<DhcpFlags> read_dhcp_flags(Io& io, const Words& words);
/// What the interface is to have now, and none of the routes any more that only `before` had (nullptr: there was no lease of this
/// address). False: it has not got the address; what fails is told already.
bool apply_lease(Io& io, Stack& stack, const std::string& interface, const DhcpFlags& flags, const dhcp::Lease& lease,
                 const dhcp::Lease* before = nullptr);
/// Gives the interface the address of a lease that nobody uses yet; the stack probes for it (RFC 5227). False: told already.
bool probe_lease(Io& io, Stack& stack, const std::string& interface, const DhcpFlags& flags, const dhcp::Lease& lease);
/// What has come of that. gone: somebody has taken it from the interface. unknown: the stack does not say; told already.
enum class Probed : std::uint8_t { waiting, free, taken, gone, unknown };
Probed probed(Io& io, Stack& stack, const std::string& interface, const dhcp::Lease& lease);
/// What to do with a lease that was granted: one of an address that is being probed says nothing of whether somebody else has it.
enum class Granted : std::uint8_t { probe, keep_probing, use };
Granted on_granted(const dhcp::Lease& lease, const std::optional<dhcp::Lease>& applied, const std::optional<dhcp::Lease>& probing, bool probes);
/// Takes it away again; what is gone already is no mistake.
void withdraw_lease(Stack& stack, const std::string& interface, const dhcp::Lease& lease);

/// The loop. Answers the exit status: 0, 1 a mistake, 2 no interface, 3 no server.
int dhcp_client(Io& io, Stack& stack, const Words& words);

}  // namespace iopkt::utils
