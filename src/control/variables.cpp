#include "control/variables.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "control/handlers.hpp"

namespace iopkt::control {
namespace {

/// Variables of QNX whose feature is a later one: refused by name.
constexpr std::array<std::string_view, 5> kNotBuilt{"net.inet.ip.lowportmax", "net.inet.ip.lowportmin",
                                                    "qnx.kern.droproot",
                                                    "qnx.kern.nws.table", "qnx.kern.secpol"};

/// The one variable that is a word and may be set.
constexpr std::string_view kCongestionSelected = "net.inet.tcp.congctl.selected";

/// What two variables together may not be; empty: nothing wrong.
std::string_view contradiction(const stack::Settings& settings) {
  if (settings.ipv4.anonportmin > settings.ipv4.anonportmax)
    return "net.inet.ip.anonportmin would be above net.inet.ip.anonportmax";
  return {};
}

/// Variables of IPv6 are there when IPv6 is.
template <class Call>
void for_each_row(const stack::Settings& settings, bool with_ipv6, Call&& call) {
  const auto layer = [&](const auto& values) {
    using Values = std::remove_cvref_t<decltype(values)>;
    for (const auto& row : Values::table())
      call(row.name, row.unit, row.help, values.*row.member, row.initial, row.min, row.max);
  };
  layer(settings.ipv4);
  if (with_ipv6) layer(settings.ipv6);
  layer(settings.icmp);
  layer(settings.udp);
  layer(settings.neigh);
  for (const auto& row : tcp::kTunables)
    call(row.name, row.unit, row.help, settings.tcp.*row.field, row.initial, row.min, row.max);
}

void add_fixed(const Context& context, std::vector<Variable>& out) {
  const packet::PoolConfig& pools = context.stack.pools().config();
  const auto number = [&](std::string_view name, std::string_view unit, std::string_view help,
                          std::uint64_t value) {
    out.push_back({std::string(name), std::string(unit), std::string(help), std::to_string(value)});
  };
  const auto text = [&](std::string_view name, std::string_view help, std::string value) {
    out.push_back({std::string(name), "", std::string(help), std::move(value), false, false});
  };
  text("kern.clockrate", "Rate of the stack's clock.",
       "tick = 1000, tickadj = 1, hz = 1000, profhz = 1000, stathz = 1000");
  number("kern.hardclock_ticks", "ticks", "Ticks of the stack's clock since it started.",
         context.surroundings.hardclock_ticks());
  number("kern.mbuf.bytes_max", "bytes", "Most memory of all packet pools together.", pools.max_bytes);
  number("kern.mbuf.mblowat", "mbufs", "Mbufs kept in reserve.", 0);
  number("kern.mbuf.mclbytes", "bytes", "Size of a cluster (option mclbytes).", pools.mclbytes);
  number("kern.mbuf.mcllowat", "clusters", "Clusters kept in reserve.", 0);
  number("kern.mbuf.msize", "bytes", "Size of an mbuf.", packet::kMbufSize);
  number("kern.mbuf.nmbclusters", "clusters", "Most clusters that fit the packet pools.",
         pools.max_bytes / pools.mclbytes);
  number("kern.mbuf.num_pool_cache", "pools", "Shared pools that the shards are spread over (option).",
         pools.num_pool_cache);
  number("kern.mbuf.pagesize", "bytes", "Quantum of the packet pools (option pagesize).", pools.pagesize);
  number("kern.sbmax", "bytes", "Largest socket buffer.",
         context.stack.network()->settings.tcp.sendspace_max);
  number("kern.somaxconn", "connections", "Largest listen backlog (option somaxconn).",
         context.stack.config().somaxconn);
  number("net.inet.ip.ipid_reserved", "identifiers",
         "Identifiers 0 to this one are never used (option ipid_reserved).",
         context.stack.config().ipid_reserved);
  text("net.inet.tcp.congctl.available", "Congestion controls that there are (TCP_CONGESTION).",
       std::string(tcp::congestion_names()));
  text(kCongestionSelected, "Congestion control of new connections whose program and route name none.",
       std::string(context.stack.network()->settings.congestion->name()));
  out.back().writable = true;
  number("net.inet.udp.reuseport_unicast", "flag",
         "Unicast datagrams are copied to all sockets of a port (option).",
         context.stack.config().reuseport_unicast ? 1 : 0);
  for (Variable& own : context.surroundings.variables()) out.push_back(std::move(own));
  number("qnx.kern.shards", "shards", "Threads that own a part of the flows (option -t).",
         context.stack.shard_count());
}

bool is_below(std::string_view name, std::string_view prefix) {
  return name == prefix ||
         (name.size() > prefix.size() && name.starts_with(prefix) && name[prefix.size()] == '.');
}

/// sysctl's words for a name that does not exist.
std::string unknown_name(const std::vector<Variable>& all, std::string_view name) {
  constexpr std::array<std::string_view, 6> kLevels{"top", "second", "third", "fourth", "fifth", "sixth"};
  std::size_t begin = 0;
  for (const std::string_view level : kLevels) {
    const std::size_t end = std::min(name.find('.', begin), name.size());
    const std::string_view so_far = name.substr(0, end);
    if (std::ranges::none_of(all, [&](const Variable& v) { return is_below(v.name, so_far); }) ||
        end == name.size())
      return std::string(level) + " level name '" + std::string(name.substr(begin, end - begin)) + "' in '" +
             std::string(name) + "' is invalid";
    begin = end + 1;
  }
  return "name '" + std::string(name) + "' is invalid";
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) text.remove_prefix(2), base = 16;
  std::uint64_t value = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || fault != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Record describe(const Variable& v) {
  Record out;
  out.text("name", v.name).text("value", v.value).text("type", v.number ? "int" : "string");
  out.boolean("writable", v.writable);
  out.text("unit", v.unit).text("help", v.help);
  if (v.writable && v.number) out.number("initial", v.initial).number("minimum", v.minimum).number("maximum", v.maximum);
  return out;
}

}  // namespace

std::vector<Variable> list_variables(const Context& context) {
  std::vector<Variable> out;
  for_each_row(context.stack.network()->settings, context.stack.config().inet6 != nullptr,
               [&](std::string_view name, std::string_view unit, std::string_view help, std::uint32_t value,
                   std::uint32_t initial, std::uint32_t min, std::uint32_t max) {
                 out.push_back({std::string(name), std::string(unit), std::string(help),
                                std::to_string(value), true, true, initial, min, max});
               });
  add_fixed(context, out);
  std::ranges::sort(out, {}, &Variable::name);
  return out;
}

SetResult set_variable(Network& next, std::string_view name, std::string_view value) {
  stack::Settings& settings = next.settings;
  if (name == kCongestionSelected) {
    const tcp::CongestionControl* found = tcp::find_congestion(value);
    if (found == nullptr)
      return {Errno::inval, std::string(name) + ": " + std::string(value) + " is none of " + std::string(tcp::congestion_names())};
    settings.congestion = found;
    return {Errno::ok, {}};
  }
  const auto number = parse_number(value);
  SetResult result{Errno::esrch, {}};
  const auto try_row = [&](std::uint32_t& member, const auto& row) {
    if (row.name != name) return;
    if (!number || *number < row.min || *number > row.max) {
      result = {Errno::inval, std::string(name) + ": " + std::string(value) + " is not in " +
                                  std::to_string(row.min) + " to " + std::to_string(row.max)};
      return;
    }
    member = static_cast<std::uint32_t>(*number);
    result = {Errno::ok, {}};
  };
  const auto layer = [&](auto& values) {
    using Values = std::remove_cvref_t<decltype(values)>;
    for (const auto& row : Values::table()) try_row(values.*row.member, row);
  };
  layer(settings.ipv4);
  layer(settings.ipv6);
  layer(settings.icmp);
  layer(settings.udp);
  layer(settings.neigh);
  for (const auto& row : tcp::kTunables) try_row(settings.tcp.*row.field, row);
  return result;
}

Outcome sysctl_get(const Context& context, const Record& arguments) {
  const std::string_view name = arguments.text_of("name");
  const std::vector<Variable> all = list_variables(context);
  std::vector<Record> found;
  for (const Variable& v : all)
    if (name.empty() || is_below(v.name, name)) found.push_back(describe(v));
  if (found.empty() && std::ranges::find(kNotBuilt, name) != kNotBuilt.end())
    return refuse(Errno::opnotsupp, std::string(name) + ": not built yet");
  if (found.empty()) return refuse(Errno::noent, unknown_name(all, name));
  Outcome outcome;
  outcome.answer.list("variables", std::move(found));
  return outcome;
}

Outcome sysctl_set(const Context& context, const Record& arguments) {
  const std::string_view name = arguments.text_of("name"), value = arguments.text_of("value");
  if (std::ranges::find(kNotBuilt, name) != kNotBuilt.end())
    return refuse(Errno::opnotsupp, std::string(name) + ": not built yet");
  const std::vector<Variable> all = list_variables(context);
  const auto old = std::ranges::find(all, name, &Variable::name);
  if (old == all.end()) return refuse(Errno::noent, unknown_name(all, name));
  if (!old->writable) return refuse(Errno::perm, std::string(name) + ": read-only");
  Network next = *context.stack.network();
  SetResult set = set_variable(next, name, value);
  if (set.error != Errno::ok) return refuse(set.error, std::move(set.line));
  if (const std::string_view fault = contradiction(next.settings); !fault.empty())
    return refuse(Errno::inval, std::string(name) + ": " + std::string(value) + ": " + std::string(fault));
  Outcome outcome;
  Record changed = Record{}.text("name", name).text("old", old->value).text("type", old->number ? "int" : "string");
  changed.text("value", old->number ? std::to_string(parse_number(value).value_or(0))
                                     : std::string(next.settings.congestion->name()));
  std::vector<Record> list;
  list.push_back(std::move(changed));
  outcome.answer.list("variables", std::move(list));
  outcome.next = std::move(next);
  return outcome;
}

}  // namespace iopkt::control
