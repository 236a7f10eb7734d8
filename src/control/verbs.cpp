// The table of verbs.
#include "control/verbs.hpp"

#include <algorithm>
#include <array>

#include "control/handlers.hpp"

namespace iopkt::control {
namespace {

// Sorted by name.
constexpr std::array kVerbs{
    VerbRow{"address.add", true, false, true, "name address prefix_length netmask broadcast peer alias keep_flags flags_on flags_off pltime vltime",
            address_add},
    VerbRow{"address.delete", true, false, false, "name address family", address_delete},
    VerbRow{"arp.delete", true, false, false, "address proxy interface", arp_delete},
    VerbRow{"arp.flush", true, false, false, "family", arp_flush},
    VerbRow{"arp.list", false, false, false, "address family interface", arp_list},
    VerbRow{"arp.set", true, false, false, "address mac temporary published proxy interface", arp_set},
    VerbRow{"buffers", false, false, false, "", buffers},
    VerbRow{"discovery.forget", true, false, false, "what", discovery_forget},
    VerbRow{"discovery.list", false, false, false, "name", discovery_list},
    VerbRow{"discovery.solicit", true, false, false, "name", discovery_solicit},
    VerbRow{"group.list", false, false, false, "", group_list},
    VerbRow{"info", false, false, false, "", info},
    VerbRow{"interface.cloners", false, false, false, "", interface_cloners},
    VerbRow{"interface.create", true, false, false, "name", interface_create},
    VerbRow{"interface.destroy", true, false, true, "name", interface_destroy},
    VerbRow{"interface.list", false, false, false, "name", interface_list},
    VerbRow{"interface.set", true, false, true,
            "name up arp autoip debug link0 link1 link2 mtu metric mac fib capability_on capability_off",
            interface_set},
    VerbRow{"interface.zero", true, false, false, "name", interface_zero},
    VerbRow{"route.add", true, false, false,
            "destination prefix_length gateway interface mtu source fib reject blackhole proto1 proto2 congestion",
            route_add},
    VerbRow{"route.change", true, false, false,
            "destination prefix_length gateway interface mtu source fib reject blackhole proto1 proto2 congestion",
            route_change},
    VerbRow{"route.delete", true, false, false, "destination prefix_length gateway interface fib",
            route_delete},
    VerbRow{"route.flush", true, false, false, "fib family", route_flush},
    VerbRow{"route.get", false, false, false, "destination prefix_length fib interface", route_get},
    VerbRow{"route.list", false, false, false, "fib", route_list},
    VerbRow{"snapshot", false, true, false, "", snapshot},
    VerbRow{"sockets", false, true, false, "", sockets},
    VerbRow{"statistics", false, false, false, "protocol", statistics},
    VerbRow{"sysctl.get", false, false, false, "name", sysctl_get},
    VerbRow{"sysctl.set", true, false, false, "name value", sysctl_set},
};
static_assert(std::ranges::is_sorted(kVerbs, {}, &VerbRow::name));

bool is_listed(std::string_view word, std::string_view list) {
  while (!list.empty()) {
    const std::size_t blank = std::min(list.find(' '), list.size());
    if (list.substr(0, blank) == word) return true;
    list.remove_prefix(std::min(blank + 1, list.size()));
  }
  return false;
}

}  // namespace

Outcome refuse(Errno error, std::string line) {
  Outcome outcome;
  outcome.error = error;
  outcome.line = std::move(line);
  return outcome;
}

Outcome done() { return {}; }

const iface::Interface* named_interface(const Network& network, const Record& arguments,
                                        std::string_view key) {
  return network.interfaces.by_name(arguments.text_of(key));
}

Outcome no_interface(std::string_view name) {
  return refuse(Errno::nxio, "interface " + std::string(name) + " does not exist");
}

std::optional<std::uint8_t> fib_of(const Record& arguments) {
  const std::uint64_t fib = arguments.number_of("fib");
  if (fib >= route::kFibCount) return std::nullopt;
  return static_cast<std::uint8_t>(fib);
}

std::span<const VerbRow> verb_rows() { return kVerbs; }

const VerbRow* find_verb(std::string_view name) {
  const auto at = std::ranges::lower_bound(kVerbs, name, {}, &VerbRow::name);
  return at != kVerbs.end() && at->name == name ? &*at : nullptr;
}

Outcome run(const Context& context, std::string_view verb, const Record& arguments) {
  const VerbRow* row = find_verb(verb);
  if (row == nullptr) return refuse(Errno::opnotsupp, "this stack has no verb " + std::string(verb));
  if (row->changes && !context.privileged) return refuse(Errno::perm, "Operation not permitted");
  for (const Field& field : arguments.fields())
    if (!is_listed(field.key, row->arguments))
      return refuse(Errno::inval, std::string(verb) + ": unknown argument " + field.key);
  Outcome outcome = row->handler(context, arguments);
  if (outcome.error == Errno::ok && !outcome.line.empty()) outcome.answer.text("remark", outcome.line);
  return outcome;
}

void decide_again(const Context& context, std::string_view verb, const Record& arguments, Outcome& outcome) {
  // A Network on its way still has the version that it was copied from.
  if (!outcome.next || outcome.next->version == context.stack.network()->version) return;
  outcome = run(context, verb, arguments);
  outcome.steps.clear();
}

ShardPart collect(const stack::Shard& shard) {
  ShardPart part;
  shard.list_sockets(part.sockets);
  return part;
}

Outcome run_here(stack::Stack& stack, const Surroundings& surroundings, bool privileged,
                 std::string_view verb, const Record& arguments) {
  std::vector<ShardPart> parts;
  const VerbRow* row = find_verb(verb);
  if (row != nullptr && row->gathers)
    for (std::uint32_t n = 0; n < stack.shard_count(); ++n) parts.push_back(collect(stack.shard(n)));
  Outcome outcome = run({stack, surroundings, privileged, parts}, verb, arguments);
  if (outcome.next) {
    stack.publish(std::move(*outcome.next));
    outcome.next.reset();
  }
  return outcome;
}

}  // namespace iopkt::control
