#include <netdb.h>

#include <algorithm>

#include "utils/netstat/netstat.hpp"
#include "wire/ip_prefix.hpp"

namespace iopkt::utils {
namespace {

using Count = unsigned long long;

std::string port_name(std::uint64_t port, std::string_view protocol, bool numeric) {
  if (port == 0) return "*";
  if (!numeric) {
    const servent* entry =
        ::getservbyport(htons(static_cast<std::uint16_t>(port)), std::string(protocol).c_str());
    if (entry != nullptr) return entry->s_name;
  }
  return std::to_string(port);
}

std::string end_name(const Node& socket, const std::string& end, const NetstatFlags& flags) {
  const std::string_view address = socket.text_of(end);
  const std::string host =
      address == "0.0.0.0" || address == "::" || address.empty() ? "*" : std::string(address);
  return host + "." + port_name(socket.number_of(end + "_port"), socket.text_of("protocol"), flags.numeric);
}

std::string state_name(std::string_view state) {
  std::string out{state};
  std::replace(out.begin(), out.end(), '-', '_');
  return out == "SYN_RECEIVED" ? "SYN_RCVD" : out;
}

std::string cut(std::string text, std::size_t width, bool wide) {
  if (!wide && text.size() > width) text.resize(width);
  return text;
}

bool is_server(const Node& socket) {
  return socket.text_of("state") == "LISTEN" || socket.number_of("remote_port") == 0;
}

struct InterfaceLine {
  std::string network, address;
};

std::string interface_row(const Node& i, const InterfaceLine& what, const NetstatFlags& f) {
  const Node* counters = i.find("counters");
  const auto value = [&](const char* key) {
    return static_cast<Count>(counters == nullptr ? 0 : counters->number_of(key));
  };
  const bool up = (i.number_of("flags") & 1) != 0;
  std::string out =
      format("%-5s %-5llu %-13s %-17s", (std::string(i.text_of("name")) + (up ? "" : "*")).c_str(),
             static_cast<Count>(i.number_of("mtu")), cut(what.network, 13, f.wide).c_str(),
             cut(what.address, 17, f.wide).c_str());
  if (f.bytes)
    out += format(" %10llu %10llu", value("rx.bytes"), value("tx.bytes"));
  else
    out += format(" %8llu %5llu %8llu %5llu %5d", value("rx.packets"), value("rx.errors"),
                  value("tx.packets"), value("tx.errors"), 0);
  if (f.drops) out += format(" %5llu", value("rx.dropped") + value("tx.dropped"));
  return out + "\n";
}

std::string lower_first(std::string_view sentence) {
  std::string out{sentence};
  while (!out.empty() && out.back() == '.') out.pop_back();
  // "Received." becomes "received" and "A reset" "a reset", but "ACKs sent" and "ICMP errors" stay.
  if (out.size() > 1 && out[0] >= 'A' && out[0] <= 'Z' && ((out[1] >= 'a' && out[1] <= 'z') || out[1] == ' '))
    out[0] = static_cast<char>(out[0] - 'A' + 'a');
  return out;
}

struct Sums {
  Count packets_in = 0, errors_in = 0, packets_out = 0, errors_out = 0, bytes_in = 0, bytes_out = 0,
        drops = 0;
};

Sums sum_of(const Node& answer, std::string_view only) {
  Sums s;
  for (const Node& i : answer.list("interfaces")) {
    const Node* c = i.find("counters");
    if (c == nullptr || (!only.empty() && i.text_of("name") != only)) continue;
    s.packets_in += c->number_of("rx.packets");
    s.errors_in += c->number_of("rx.errors");
    s.packets_out += c->number_of("tx.packets");
    s.errors_out += c->number_of("tx.errors");
    s.bytes_in += c->number_of("rx.bytes");
    s.bytes_out += c->number_of("tx.bytes");
    s.drops += c->number_of("rx.dropped") + c->number_of("tx.dropped");
  }
  return s;
}

std::string rate_columns(const Sums& now, const Sums& before, const NetstatFlags& f) {
  std::string out;
  if (f.bytes)
    out = format("%10llu %10llu", now.bytes_in - before.bytes_in, now.bytes_out - before.bytes_out);
  else
    out = format("%8llu %5llu %8llu %5llu %5d", now.packets_in - before.packets_in,
                 now.errors_in - before.errors_in, now.packets_out - before.packets_out,
                 now.errors_out - before.errors_out, 0);
  if (f.drops) out += format(" %5llu", now.drops - before.drops);
  return out;
}

}  // namespace

namespace {
std::string show_sockets_of(const Node& answer, const NetstatFlags& f, std::string_view family) {
  std::string out;
  const bool inet6 = family == "inet6";
  for (const Node& s : answer.list("sockets")) {
    if (s.text_of("family") != family) continue;
    if (!f.all && is_server(s)) continue;
    if (!f.protocol.empty() && s.text_of("protocol") != f.protocol) continue;
    if (f.addresses)
      out += format("%-12s ", format("%llx.%llx", static_cast<Count>(s.number_of("shard")),
                                     static_cast<Count>(s.number_of("id")))
                                  .c_str());
    out += format("%-5s %6llu %6llu  %-22s %-22s %s", (std::string(s.text_of("protocol")) + (inet6 ? "6" : "")).c_str(),
                  static_cast<Count>(s.number_of("receive_queue")),
                  static_cast<Count>(s.number_of("send_queue")),
                  cut(end_name(s, "local", f), 22, f.wide).c_str(),
                  cut(end_name(s, "remote", f), 22, f.wide).c_str(), state_name(s.text_of("state")).c_str());
    while (out.back() == ' ') out.pop_back();
    out += "\n";
  }
  if (out.empty()) return {};
  std::string heading = std::string("Active Internet") + (inet6 ? "6" : "") + " connections" + (f.all ? " (including servers)" : "") + "\n";
  if (f.addresses) heading += format("%-12s ", "PCB");
  return heading +
         format("%-5s %6s %6s  %-22s %-22s %s\n", "Proto", "Recv-Q", "Send-Q", "Local Address",
                "Foreign Address", "State") +
         out;
}
}  // namespace

std::string show_sockets(const Node& answer, const NetstatFlags& f) {
  std::string out;
  for (const char* family : {"inet", "inet6"})
    if (f.family.empty() || f.family == family) out += show_sockets_of(answer, f, family);
  return out;
}

std::string show_interfaces(const Node& answer, const NetstatFlags& f) {
  std::string out = format("%-5s %-5s %-13s %-17s", "Name", "Mtu", "Network", "Address");
  out += f.bytes ? format(" %10s %10s", "Ibytes", "Obytes")
                 : format(" %8s %5s %8s %5s %5s", "Ipkts", "Ierrs", "Opkts", "Oerrs", "Colls");
  out += f.drops ? format(" %5s\n", "Drops") : "\n";
  for (const Node& i : answer.list("interfaces")) {
    if (!f.interface.empty() && i.text_of("name") != f.interface) continue;
    out += interface_row(i, {"<Link>", std::string(i.text_of("mac"))}, f);
    for (const Node& a : i.list("addresses")) {
      if (!f.family.empty() && a.text_of("family") != f.family) continue;
      const auto [plain, zone] = wire::split_zone(a.text_of("address"));
      const auto address = wire::IpAddress::parse(plain);
      const std::uint64_t length = a.number_of("prefix_length");
      std::string network{a.text_of("address")};
      if (address && length <= address->bit_length()) {
        network = wire::network_of(*address, static_cast<std::uint8_t>(length)).to_string();
        network = network_name(network + (zone.empty() ? "" : "%" + std::string(zone)), length);
      }
      out += interface_row(i, {network, std::string(a.text_of("address"))}, f);
    }
  }
  return out;
}

std::string show_statistics(const Node& answer, const NetstatFlags& f) {
  std::string out;
  for (const Node& protocol : answer.list("protocols")) {
    // Those of IPv6 have a 6 at their end; what serves both families is counted once, for both.
    const std::string_view name = protocol.text_of("protocol");
    if ((f.family == "inet" && name.ends_with('6')) || (f.family == "inet6" && (name == "ip" || name == "icmp" || name == "arp"))) continue;
    std::string lines;
    for (const Node& row : protocol.list("counters")) {
      const std::uint64_t value = row.number_of("value");
      if (value == 0 && f.statistics > 1) continue;
      lines += "\t" + counted(value, row.text_of("unit")) + ": " + lower_first(row.text_of("help"));
      lines += f.verbose ? " [" + std::string(row.text_of("name")) + "]\n" : "\n";
    }
    for (const Node& row : protocol.list("drops")) {
      const std::uint64_t value = row.number_of("value");
      if (value == 0 && f.statistics > 1) continue;
      lines += "\t" + counted(value, "packets") + " dropped: " + lower_first(row.text_of("help")) + " [" +
               std::string(row.text_of("name")) + "]";
      const auto source = row.text_of("source");
      lines += f.verbose && !source.empty() ? " (" + std::string(source) + ")\n" : "\n";
    }
    if (!lines.empty()) out += std::string(protocol.text_of("protocol")) + ":\n" + lines;
  }
  return out;
}

std::string show_buffers(const Node& answer) {
  std::string out;
  Count bytes = 0, used = 0, denied = 0;
  const auto pool = [&](const char* key, const char* what) {
    const Node* p = answer.find(key);
    if (p == nullptr) return;
    const auto value = [&](const char* name) { return static_cast<Count>(p->number_of(name)); };
    out += format("%llu %s in use:\n", value("in_use"), what);
    out += format("\t%llu allocated of %llu bytes each, in %llu quanta of %llu bytes\n", value("total"),
                  value("object_bytes"), value("quanta"), value("quantum_bytes"));
    out += format("\t%llu requests, %llu served by caches (%llu refills, %llu spills), %llu denied\n",
                  value("requests"), value("cache_hits"), value("cache_refills"), value("cache_spills"),
                  value("failures"));
    bytes += value("quanta") * value("quantum_bytes");
    used += value("in_use") * value("object_bytes");
    denied += value("failures");
  };
  pool("mbufs", "mbufs");
  pool("clusters", "mapped pages (clusters)");
  pool("tags", "tags");
  const auto of = [&](const char* name) { return static_cast<Count>(answer.number_of(name)); };
  out += format("%llu caches, of %llu mbufs, %llu packets and %llu tags each, over %llu shared pools\n", of("caches"),
                of("mbuf_cache"), of("pkt_cache"), of("mtag_cache"), of("num_pool_cache"));
  out +=
      format("%llu Kbytes allocated to network (%llu%% in use), at most %llu Kbytes\n", bytes / 1024,
             bytes == 0 ? 0 : used * 100 / bytes, of("bytes_max") / 1024);
  out += counted(denied, "requests") + " for memory denied\n";
  return out;
}

std::string show_rate_heading(const NetstatFlags& f) {
  const char* columns = f.bytes ? "  in bytes  out bytes" : " packets  errs  packets  errs colls";
  const std::string name = f.interface.empty() ? "" : f.interface;
  std::string out;
  if (!name.empty()) {
    out += format(f.bytes ? "%-21s %-21s\n" : "%-35s %-35s\n",
                  format("    %s in, %s out", name.c_str(), name.c_str()).c_str(), "    total in, total out");
    out.erase(out.find_last_not_of(" \n") + 1);
    out += "\n" + std::string(columns) + (f.drops ? " drops" : "") + " " + columns +
           (f.drops ? " drops" : "") + "\n";
    return out;
  }
  return std::string(columns) + (f.drops ? " drops" : "") + "\n";
}

std::string show_rate(const Node& now, const Node* before, const NetstatFlags& f) {
  const auto columns = [&](std::string_view only) {
    return rate_columns(sum_of(now, only), before == nullptr ? Sums{} : sum_of(*before, only), f);
  };
  if (f.interface.empty()) return columns({}) + "\n";
  return columns(f.interface) + " " + columns({}) + "\n";
}

std::string show_groups(const Node& answer) {
  std::string out = format("%-9s %-23s %-7s %7s  %s\n", "Interface", "Group", "Mode", "Sockets", "Sources");
  const Node* groups = answer.find("groups");
  if (groups == nullptr) return out;
  for (const Node& one : groups->inner) {
    std::string sources;
    if (const Node* list = one.find("sources"))
      for (const Node& source : list->inner) sources += (sources.empty() ? "" : " ") + std::string(source.text_of("address"));
    if (sources.empty()) sources = "-";
    out += format("%-9s %-23s %-7s %7llu  %s\n", std::string(one.text_of("interface")).c_str(), std::string(one.text_of("group")).c_str(),
                  std::string(one.text_of("mode")).c_str(), static_cast<Count>(one.number_of("sockets")), sources.c_str());
  }
  return out;
}

}  // namespace iopkt::utils
