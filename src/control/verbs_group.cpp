// group.list: who listens to which multicast group, as netstat -g shows it.
#include "control/handlers.hpp"

namespace iopkt::control {

Outcome group_list(const Context& context, const Record&) {
  const stack::NetworkPtr network = context.stack.network();
  std::vector<Record> list;
  // 224.0.0.1 is listened to everywhere, and not in the table.
  for (const group::Table::Row& row : context.stack.shard(0).list_groups()) {
    Record& out = list.emplace_back();
    const iface::Interface* in = network->interfaces.by_index(row.key.interface_index);
    out.text("interface", in != nullptr ? in->name : "").address("group", row.key.group.to_string());
    out.text("mode", row.filter.exclude ? "exclude" : "include").number("sockets", row.listeners);
    std::vector<Record> sources;
    for (const wire::IpAddress& source : row.filter.sources) sources.emplace_back().address("address", source.to_string());
    out.list("sources", std::move(sources));
  }
  Outcome outcome;
  outcome.answer.list("groups", std::move(list));
  return outcome;
}

}  // namespace iopkt::control
