// arp.*: the neighbour cache as arp(8) and, with family inet6, ndp(8) see it.
#include "control/handlers.hpp"

namespace iopkt::control {
namespace {

Record describe(const Network& network, const neigh::Entry& e, Instant now) {
  Record out;
  out.text("family", family_name(e.key.address.family()));
  out.address("address", address_text(network, e.key.address));
  if (!e.mac.is_zero()) out.text("mac", e.mac.to_string());
  const iface::Interface* over = network.interfaces.by_index(e.key.interface_index);
  out.text("interface", over != nullptr ? over->name : "");
  out.text("state", neigh::name(e.state));
  out.boolean("permanent", e.state == neigh::State::permanent && !e.temporary);
  out.boolean("published", e.published);
  out.boolean("proxy", e.proxy_only);
  if (e.expires && *e.expires > now)
    out.number("expires_s", static_cast<std::uint64_t>((*e.expires - now).count() / 1'000'000'000));
  return out;
}

/// The interface that argument "interface" names, for addresses that do not say theirs. 0: none.
std::uint32_t link_of(const Network& network, const Record& arguments) {
  const iface::Interface* over = named_interface(network, arguments, "interface");
  return over == nullptr ? 0 : over->index;
}

/// The one that is named, or the one on whose network the address is. Null: it has no ARP.
const iface::Interface* interface_of(const Network& network, const wire::IpAddress& address, const Record& arguments) {
  const iface::Interface* over = arguments.has("interface") ? named_interface(network, arguments, "interface")
                                 : address.zone() != 0      ? network.interfaces.by_index(address.zone())
                                                            : network.interfaces.find_connected(address);
  return over != nullptr && over->link_type == iface::LinkType::ethernet ? over : nullptr;
}

std::vector<neigh::Key> matching(const Context& context, const wire::IpAddress& address, const Record& arguments) {
  const iface::Interface* over = named_interface(*context.stack.network(), arguments, "interface");
  std::vector<neigh::Key> keys;
  for (const neigh::Entry& e : context.stack.shard(0).list_neighbours()) {
    if (e.key.address != address) continue;
    if (arguments.has("interface") && (over == nullptr || e.key.interface_index != over->index)) continue;
    if (arguments.number_of("proxy") == 0 || e.proxy_only) keys.push_back(e.key);
  }
  return keys;
}

}  // namespace

Outcome arp_list(const Context& context, const Record& arguments) {
  std::optional<wire::IpAddress> only;
  std::optional<wire::IpFamily> family = family_of(arguments);
  if (!family) return refuse(Errno::inval, "family: inet or inet6");
  const Network& network = *context.stack.network();
  if (const std::string_view text = arguments.text_of("address"); !text.empty()) {
    only = read_address(network, text, link_of(network, arguments));
    if (!only) return refuse(Errno::inval, std::string(text) + ": bad value");
    family = only->family();
  }
  Outcome outcome;
  std::vector<Record> list;
  const Instant now = context.stack.shard(0).time();
  for (const neigh::Entry& e : context.stack.shard(0).list_neighbours())
    if (only ? e.key.address == *only : e.key.address.family() == *family) list.push_back(describe(network, e, now));
  outcome.answer.list("neighbours", std::move(list));
  return outcome;
}

Outcome arp_set(const Context& context, const Record& arguments) {
  const std::string_view text = arguments.text_of("address"), mac_text = arguments.text_of("mac");
  const Network& network = *context.stack.network();
  const auto address = read_address(network, text, link_of(network, arguments));
  if (!address) return refuse(Errno::inval, std::string(text) + ": bad value");
  const auto mac = wire::MacAddress::parse(mac_text);
  if (!mac || mac->is_zero())
    return refuse(Errno::inval, "invalid Ethernet address '" + std::string(mac_text) + "'");
  const iface::Interface* over = interface_of(network, *address, arguments);
  if (over == nullptr)
    return refuse(Errno::netunreach, "cannot intuit interface index and type for " + std::string(text));
  const bool proxy = arguments.number_of("proxy") != 0;
  const Errno error =
      context.stack.shard(0).set_neighbour({over->index, address->with_zone(over->index)}, *mac,
                                           {.temporary = arguments.number_of("temporary") != 0,
                                            .published = arguments.number_of("published") != 0 || proxy,
                                            .proxy_only = proxy});
  if (error != Errno::ok) return refuse(error, "the neighbour table is full");
  return done();
}

Outcome arp_delete(const Context& context, const Record& arguments) {
  const std::string_view text = arguments.text_of("address");
  const Network& network = *context.stack.network();
  const auto address = read_address(network, text, link_of(network, arguments));
  if (!address) return refuse(Errno::inval, std::string(text) + ": bad value");
  const auto keys = matching(context, *address, arguments);
  if (keys.empty()) return refuse(Errno::esrch, "cannot locate " + std::string(text));
  for (const neigh::Key& key : keys) (void)context.stack.shard(0).erase_neighbour(key);
  return done();
}

Outcome arp_flush(const Context& context, const Record& arguments) {
  const auto family = family_of(arguments);
  if (!family) return refuse(Errno::inval, "family: inet or inet6");
  Outcome outcome;
  std::vector<Record> gone;
  for (const neigh::Entry& e : context.stack.shard(0).list_neighbours()) {
    if (e.key.address.family() != *family) continue;
    (void)context.stack.shard(0).erase_neighbour(e.key);
    gone.push_back(Record{}.address("address", address_text(*context.stack.network(), e.key.address)));
  }
  outcome.answer.list("deleted", std::move(gone));
  return outcome;
}

}  // namespace iopkt::control
