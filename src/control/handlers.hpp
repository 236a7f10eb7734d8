// The handlers of the verbs, and what they share. Only the files of this folder see it.
#pragma once

#include "control/interfaces.hpp"
#include "control/verbs.hpp"
#include "stack/counters.hpp"
#include "stack/shard.hpp"
#include "stack/stack.hpp"

namespace iopkt::control {

Outcome refuse(Errno error, std::string line);
Outcome done();

/// The interface that argument `key` names; nullptr: there is none (see no_interface).
const iface::Interface* named_interface(const Network& network, const Record& arguments,
                                        std::string_view key = "name");
Outcome no_interface(std::string_view name);

/// "10.0.0.1", "2001:db8::1", "fe80::1%en0" or "fe80::1%2"; an address of a link without "%" is on `link`, if that is not 0. nullopt:
/// no address, or no such interface.
std::optional<wire::IpAddress> read_address(const Network& network, std::string_view text, std::uint32_t link = 0);
/// The same back: with the interface's name.
std::string address_text(const Network& network, const wire::IpAddress& address);
/// Argument "family": v4 without it. nullopt: another word than inet and inet6.
std::optional<wire::IpFamily> family_of(const Record& arguments);
std::string_view family_name(wire::IpFamily family);
/// What is refused of IPv6 where the stack has none; ok otherwise.
Outcome check_family(const stack::Stack& stack, wire::IpFamily family);

/// 0..15; inval otherwise. Default 0.
std::optional<std::uint8_t> fib_of(const Record& arguments);

// ---- describe.cpp
/// What all shards counted since the stack started.
iface::InterfaceCounters<std::uint64_t> count_interface(stack::Stack& stack, std::uint32_t index);
/// `discovery`: shard 0's, for the lifetimes of addresses.
Record describe_interface(const Context& context, const iface::Interface& interface, const ipv6::DiscoveryState& discovery);
Record describe_route(const Network& network, const route::Route& route, std::uint32_t fib);
std::string join(std::span<const std::string_view> words);
std::string flag_names(std::uint32_t flags);
/// Of an address of IPv6: "tentative,autoconf".
std::string address_flag_names(std::uint32_t flags);
/// Whole seconds from `now` on, 0 at least.
std::uint64_t seconds_until(Instant now, Instant end);
/// The IFCAP_* number and names (TSO4, TCP4CSUM_Tx ...) that ifconfig prints for IOPKT_CAP_* bits.
std::uint32_t capability_number(std::uint32_t capabilities);
std::string capability_names(std::uint32_t capabilities);
/// IOPKT_CAP_* bits that ifconfig's word (tcp4csum, tso4 ...) stands for; nullopt: no such word. 0: nothing
/// that a device does.
std::optional<std::uint32_t> capability_word(std::string_view word);

// ---- verbs_*.cpp
Outcome interface_list(const Context&, const Record&);
Outcome interface_set(const Context&, const Record&);
Outcome interface_zero(const Context&, const Record&);
Outcome interface_create(const Context&, const Record&);
Outcome interface_destroy(const Context&, const Record&);
Outcome interface_cloners(const Context&, const Record&);
Outcome address_add(const Context&, const Record&);
Outcome address_delete(const Context&, const Record&);
Outcome route_list(const Context&, const Record&);
Outcome route_get(const Context&, const Record&);
Outcome route_add(const Context&, const Record&);
Outcome route_change(const Context&, const Record&);
Outcome route_delete(const Context&, const Record&);
Outcome route_flush(const Context&, const Record&);
Outcome arp_list(const Context&, const Record&);
Outcome arp_set(const Context&, const Record&);
Outcome arp_delete(const Context&, const Record&);
Outcome arp_flush(const Context&, const Record&);
Outcome discovery_list(const Context&, const Record&);
Outcome discovery_solicit(const Context&, const Record&);
Outcome discovery_forget(const Context&, const Record&);
Outcome sysctl_get(const Context&, const Record&);
Outcome sysctl_set(const Context&, const Record&);
Outcome statistics(const Context&, const Record&);
Outcome buffers(const Context&, const Record&);
Outcome sockets(const Context&, const Record&);
Outcome snapshot(const Context&, const Record&);
Outcome group_list(const Context&, const Record&);
Outcome info(const Context&, const Record&);

}  // namespace iopkt::control
