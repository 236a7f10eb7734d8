// interface.*, address.*: what ifconfig asks. BSD ifconfig(8).
#include <algorithm>
#include <array>
#include <charconv>

#include "control/handlers.hpp"

namespace iopkt::control {
namespace {

namespace iflag = iface::flag;

struct FlagArgument {
  std::string_view key;
  std::uint32_t bit;
  bool inverted;
};
constexpr std::array kFlagArguments{
    FlagArgument{"debug", iflag::debug, false}, FlagArgument{"arp", iflag::no_arp, true},
    FlagArgument{"link0", iflag::link0, false}, FlagArgument{"link1", iflag::link1, false},
    FlagArgument{"link2", iflag::link2, false},
};

/// What `ifconfig NAMEn create` will make one day.
constexpr std::array<std::string_view, 11> kNotBuilt{"agr",   "bridge", "carp", "gif", "gre", "ppp",
                                                     "pppoe", "sl",     "tap",  "tun", "vlan"};

void set_up(iface::Interface& i, bool up, std::vector<DeviceStep>& steps) {
  const bool was = i.is_up();
  const std::uint32_t bits = iflag::up | iflag::running;
  i.flags = up ? i.flags | bits : i.flags & ~bits;
  if (was == up || i.is_loopback()) return;
  steps.push_back(
      {.kind = up ? DeviceStep::Kind::start : DeviceStep::Kind::stop, .interface_index = i.index});
}

Outcome set_capability(iface::Interface& i, std::string_view word, bool on) {
  const auto bits = capability_word(word);
  if (!bits) return refuse(Errno::inval, std::string(word) + ": no such capability");
  if (*bits == 0) {
    Outcome outcome;
    outcome.line =
        std::string(word) + ": IP header checksums are always computed by the stack; nothing to switch";
    return outcome;
  }
  if (on && (i.capabilities & *bits) == 0)
    return refuse(Errno::opnotsupp, i.name + ": the device has no " + std::string(word));
  const std::uint32_t usable = *bits & i.capabilities;
  i.enabled_capabilities = on ? i.enabled_capabilities | usable : i.enabled_capabilities & ~*bits;
  // A device that cuts segments has to write their checksums, too.
  constexpr std::uint32_t kNeedChecksum = IOPKT_CAP_TSO4 | IOPKT_CAP_TSO6 | IOPKT_CAP_USO;
  if (on && (usable & kNeedChecksum) != 0) i.enabled_capabilities |= i.capabilities & IOPKT_CAP_CSUM_TX;
  if (!on && (*bits & IOPKT_CAP_CSUM_TX) != 0) i.enabled_capabilities &= ~kNeedChecksum;
  return done();
}

Outcome set_mac(iface::Interface& i, std::string_view text, std::vector<DeviceStep>& steps) {
  const auto mac = wire::MacAddress::parse(text);
  if (!mac || mac->is_multicast() || mac->is_zero())
    return refuse(Errno::inval, std::string(text) + ": bad link-level address");
  if (i.link_type != iface::LinkType::ethernet)
    return refuse(Errno::opnotsupp, i.name + " has no link-level address");
  i.mac = *mac;
  steps.push_back({.kind = DeviceStep::Kind::set_mac, .interface_index = i.index, .mac = *mac});
  return done();
}

Outcome set_mtu(iface::Interface& i, std::uint64_t mtu, std::vector<DeviceStep>& steps) {
  if (mtu < i.mtu_min || mtu > i.mtu_max)
    return refuse(Errno::inval, "mtu " + std::to_string(mtu) + ": " + i.name + " takes " +
                                    std::to_string(i.mtu_min) + " to " + std::to_string(i.mtu_max));
  i.mtu = static_cast<std::uint32_t>(mtu);
  if (!i.is_loopback())
    steps.push_back({.kind = DeviceStep::Kind::set_mtu, .interface_index = i.index, .mtu = i.mtu});
  return done();
}

Outcome apply_settings(iface::Interface& i, const Record& arguments, std::vector<DeviceStep>& steps) {
  std::string remark;
  for (const Field& field : arguments.fields()) {
    Outcome one;
    if (field.key == "up") set_up(i, field.number != 0, steps);
    if (field.key == "mtu") one = set_mtu(i, field.number, steps);
    if (field.key == "mac") one = set_mac(i, field.text, steps);
    if (field.key == "metric") i.metric = static_cast<std::uint32_t>(field.number);
    if (field.key == "capability_on") one = set_capability(i, field.text, true);
    if (field.key == "capability_off") one = set_capability(i, field.text, false);
    if (field.key == "autoip") {
      if (field.number != 0 && i.link_type != iface::LinkType::ethernet) return refuse(Errno::opnotsupp, i.name + ": no link-local addresses of inet");
      i.autoip = field.number != 0;
    }
    if (field.key == "fib") {
      if (field.number >= route::kFibCount) return refuse(Errno::inval, "fib: 0 to 15");
      i.fib = static_cast<std::uint32_t>(field.number);
    }
    for (const FlagArgument& row : kFlagArguments) {
      if (field.key != row.key) continue;
      const bool set = (field.number != 0) != row.inverted;
      i.flags = set ? i.flags | row.bit : i.flags & ~row.bit;
    }
    if (one.error != Errno::ok) return one;
    if (!one.line.empty()) remark = one.line;
  }
  Outcome outcome;
  outcome.line = remark;
  return outcome;
}

/// "lo12" -> "lo", 12. False: not a name and a number.
bool split_name(std::string_view name, std::string_view& prefix, std::uint32_t& unit) {
  const std::size_t digits = name.find_first_of("0123456789");
  if (digits == 0 || digits == name.npos || name.size() > 15) return false;
  prefix = name.substr(0, digits);
  const auto [end, fault] = std::from_chars(name.data() + digits, name.data() + name.size(), unit);
  return fault == std::errc{} && end == name.data() + name.size();
}

Outcome publish(Network next, Errno error, std::string line, std::vector<DeviceStep> steps = {}) {
  if (error != Errno::ok) return refuse(error, std::move(line));
  Outcome outcome;
  outcome.next = std::move(next);
  outcome.steps = std::move(steps);
  return outcome;
}

std::optional<std::uint8_t> prefix_length_of(const Record& arguments, bool& bad) {
  bad = false;
  if (const std::string_view mask = arguments.text_of("netmask"); !mask.empty()) {
    const auto parsed = wire::Ipv4Address::parse_bsd(mask);
    const auto length = parsed ? wire::Ipv4Prefix::length_of(*parsed) : std::nullopt;
    bad = !length;
    return length;
  }
  if (!arguments.has("prefix_length")) return std::nullopt;
  const std::uint64_t length = arguments.number_of("prefix_length");
  bad = length > 128;
  return static_cast<std::uint8_t>(std::min<std::uint64_t>(length, 255));
}

}  // namespace

Outcome interface_list(const Context& context, const Record& arguments) {
  const Network& network = *context.stack.network();
  const std::string_view only = arguments.text_of("name");
  if (!only.empty() && network.interfaces.by_name(only) == nullptr) return no_interface(only);
  const ipv6::DiscoveryState discovery = context.stack.shard(0).discovery_state();
  std::vector<Record> list;
  for (const auto& i : network.interfaces.all())
    if (only.empty() || i->name == only) list.push_back(describe_interface(context, *i, discovery));
  Outcome outcome;
  outcome.answer.list("interfaces", std::move(list));
  return outcome;
}

/// Answers what interface.list would, and begins to count anew: nothing that comes meanwhile is lost.
Outcome interface_zero(const Context& context, const Record& arguments) {
  const std::string_view only = arguments.text_of("name");
  Network next = *context.stack.network();
  for (const auto& interface : context.stack.network()->interfaces.all()) {
    if (!only.empty() && interface->name != only) continue;
    iface::Interface changed = *interface;
    changed.zero = count_interface(context.stack, changed.index);
    next.interfaces = next.interfaces.with(std::move(changed));
  }
  Outcome outcome = interface_list(context, arguments);
  if (outcome.error == Errno::ok) outcome.next = std::move(next);
  return outcome;
}

Outcome interface_set(const Context& context, const Record& arguments) {
  const Network& network = *context.stack.network();
  const iface::Interface* old = named_interface(network, arguments);
  if (old == nullptr) return no_interface(arguments.text_of("name"));
  iface::Interface changed = *old;
  std::vector<DeviceStep> steps;
  Outcome applied = apply_settings(changed, arguments, steps);
  if (applied.error != Errno::ok) return applied;
  Network next = network;
  const Errno error = change_interface(next, changed);
  Outcome outcome = publish(std::move(next), error, "cannot change " + changed.name, std::move(steps));
  if (outcome.line.empty()) outcome.line = applied.line;
  return outcome;
}

Outcome interface_cloners(const Context&, const Record&) {
  Outcome outcome;
  std::vector<Record> names;
  names.push_back(Record{}.text("name", "lo"));
  outcome.answer.list("cloners", std::move(names));
  return outcome;
}

Outcome interface_create(const Context& context, const Record& arguments) {
  const std::string_view name = arguments.text_of("name");
  std::string_view prefix;
  std::uint32_t unit = 0;
  if (!split_name(name, prefix, unit))
    return refuse(Errno::inval, std::string(name) + ": not an interface name");
  if (std::ranges::find(kNotBuilt, prefix) != kNotBuilt.end())
    return refuse(Errno::opnotsupp, std::string(prefix) + " interfaces are not built yet");
  if (prefix != "lo")
    return refuse(Errno::inval, "interface " + std::string(name) + " cannot be created; see ifconfig -C");
  Network next = *context.stack.network();
  iface::Interface lo = *next.interfaces.by_name("lo0");
  lo.index = next_index(next);
  if (lo.index == 0) return refuse(Errno::nfile, "too many interfaces");
  lo.name = std::string(name);
  lo.addresses.clear();
  lo.fib = lo.metric = 0;
  lo.zero = count_interface(context.stack, lo.index);
  lo.flags = iflag::loopback | iflag::multicast;
  const Errno error = add_interface(next, std::move(lo));
  return publish(std::move(next), error, "interface " + std::string(name) + " already exists");
}

Outcome interface_destroy(const Context& context, const Record& arguments) {
  const iface::Interface* old = named_interface(*context.stack.network(), arguments);
  if (old == nullptr) return no_interface(arguments.text_of("name"));
  if (old->name == "lo0") return refuse(Errno::inval, "lo0 cannot be destroyed");
  std::vector<DeviceStep> steps;
  if (!old->is_loopback())
    steps.push_back({.kind = DeviceStep::Kind::destroy, .interface_index = old->index});
  Network next = *context.stack.network();
  const Errno error = remove_interface(next, old->index);
  return publish(std::move(next), error, "cannot destroy " + old->name, std::move(steps));
}

namespace {

/// The words of ifconfig for an address: tentative; of IPv6 anycast, deprecated; pltime, vltime in seconds, all ones without an end.
Outcome read_state(const Context& context, const Record& arguments, AddressRequest& request) {
  namespace aflag = iface::address_flag;
  constexpr std::uint32_t kSettable = aflag::anycast | aflag::deprecated | aflag::tentative;
  const auto bits = [&](std::string_view key, std::uint32_t& out) {
    for (std::string_view words = arguments.text_of(key); !words.empty();) {
      const std::string_view word = words.substr(0, words.find(','));
      words.remove_prefix(std::min(word.size() + 1, words.size()));
      const auto row = std::ranges::find(iface::kAddressFlagNames, word, &iface::FlagName::name);
      if (row == std::end(iface::kAddressFlagNames) || (row->bit & kSettable) == 0) return false;
      out |= row->bit;
    }
    return true;
  };
  if (!bits("flags_on", request.flags) || !bits("flags_off", request.flags_off)) return refuse(Errno::inval, "no such state of an address");
  const bool says = ((request.flags | request.flags_off) & ~aflag::tentative) != 0 || arguments.has("pltime") || arguments.has("vltime");
  if (says && request.address.is_v4()) return refuse(Errno::inval, "only an address of inet6 has that state");
  const auto end = [&](std::string_view key) -> std::optional<Instant> {
    if (!arguments.has(key)) return std::nullopt;
    const std::uint64_t seconds = arguments.number_of(key);
    if (seconds >= wire::kLifetimeForever) return Instant::never();
    return context.stack.shard(0).time() + std::chrono::seconds{static_cast<std::int64_t>(seconds)};
  };
  request.preferred_until = end("pltime");
  request.valid_until = end("vltime");
  if (request.preferred_until && request.valid_until && *request.preferred_until > *request.valid_until)
    return refuse(Errno::inval, "pltime is above vltime");
  return done();
}

}  // namespace

Outcome address_add(const Context& context, const Record& arguments) {
  const Network& network = *context.stack.network();
  const iface::Interface* old = named_interface(network, arguments);
  if (old == nullptr) return no_interface(arguments.text_of("name"));
  const std::string_view text = arguments.text_of("address");
  const auto address = read_address(network, text, old->index);
  if (!address) return refuse(Errno::inval, std::string(text) + ": bad value");
  if (Outcome lacks = check_family(context.stack, address->family()); lacks.error != Errno::ok) return lacks;
  if (address->zone() != 0 && address->zone() != old->index)
    return refuse(Errno::inval, std::string(text) + ": not an address for " + old->name);
  // BSD: an address of inet6 never takes the place of another.
  AddressRequest request{.address = *address, .alias = address->is_v6() || arguments.number_of("alias") != 0};
  bool bad = false;
  request.prefix_length = prefix_length_of(arguments, bad);
  if (bad || (request.prefix_length && *request.prefix_length > address->bit_length()))
    return refuse(Errno::inval, "bad netmask or prefix length");
  if (const std::string_view b = arguments.text_of("broadcast"); !b.empty()) {
    request.broadcast = wire::Ipv4Address::parse_strict(b);
    if (!request.broadcast) return refuse(Errno::inval, std::string(b) + ": bad broadcast address");
  }
  if (const std::string_view p = arguments.text_of("peer"); !p.empty()) {
    request.peer = read_address(network, p, old->index);
    if (!request.peer || request.peer->family() != address->family()) return refuse(Errno::inval, std::string(p) + ": bad destination address");
  }
  if (Outcome bad_state = read_state(context, arguments, request); bad_state.error != Errno::ok) return bad_state;
  // Without a mask the address keeps the one it has.
  if (const iface::InterfaceAddress* same = old->find(*address); same != nullptr && !request.prefix_length)
    request.prefix_length = same->prefix_length;
  Network next = network;
  const Errno error = add_address(next, old->index, request);
  if (error != Errno::ok) return refuse(error, std::string(text) + ": not an address for " + old->name);
  iface::Interface changed = *next.interfaces.by_index(old->index);
  std::vector<DeviceStep> steps;
  if (!old->is_up() && changed.is_up()) {
    changed.flags = old->flags;
    if (arguments.number_of("keep_flags") == 0) set_up(changed, true, steps);
    (void)change_interface(next, changed);
  }
  return publish(std::move(next), Errno::ok, {}, std::move(steps));
}

Outcome address_delete(const Context& context, const Record& arguments) {
  const iface::Interface* old = named_interface(*context.stack.network(), arguments);
  if (old == nullptr) return no_interface(arguments.text_of("name"));
  std::optional<wire::IpAddress> address;
  if (const std::string_view text = arguments.text_of("address"); !text.empty()) {
    address = read_address(*context.stack.network(), text, old->index);
    if (!address) return refuse(Errno::inval, std::string(text) + ": bad value");
  } else if (arguments.text_of("family") == "inet6") {
    return refuse(Errno::inval, "an address of inet6 has to be named");
  }
  Network next = *context.stack.network();
  const Errno error = remove_address(next, old->index, address);
  return publish(std::move(next), error, old->name + " has no such address");
}

}  // namespace iopkt::control
