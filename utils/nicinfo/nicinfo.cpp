#include "utils/nicinfo/nicinfo.hpp"

#include <array>

#include "wire/address.hpp"

namespace iopkt::utils {
namespace {

constexpr char kUsage[] = "usage: nicinfo [--json] [interface ...]\n";
constexpr std::size_t kColumn = 44;  ///< of the blank before a value, from the label on
constexpr std::uint64_t kEthernetHeader = 14;

std::string row(std::string_view label, const std::string& value) {
  std::string out = "  " + std::string(label) + " ";
  while (out.size() < kColumn + 2) out += '.';
  return out + " " + value + "\n";
}

/// "000102 C510D4"
std::string node_id(std::string_view text) {
  const auto mac = wire::MacAddress::parse(text);
  if (!mac) return std::string(text);
  const auto& b = mac->bytes;
  return format("%02X%02X%02X %02X%02X%02X", b[0], b[1], b[2], b[3], b[4], b[5]);
}

/// ifconfig's names of what is enabled, as nicinfo writes them.
std::string checksums(std::string_view enabled, std::string_view direction) {
  std::string out;
  for (const std::string_view name : {"TCP4CSUM", "UDP4CSUM", "TCP6CSUM", "UDP6CSUM"}) {
    if (enabled.find(std::string(name) + "_" + std::string(direction)) == enabled.npos) continue;
    out += (out.empty() ? "" : ", ") + std::string(name.substr(0, 3)) + "v" + name[3];
  }
  return out.empty() ? "None" : out;
}

struct CounterLabel {
  std::string_view label, key;
};
constexpr std::array kSent{CounterLabel{"Packets Transmitted OK", "tx.packets"},
                           CounterLabel{"Bytes Transmitted OK", "tx.bytes"},
                           CounterLabel{"Broadcast Packets Transmitted OK", "tx.broadcasts"},
                           CounterLabel{"Multicast Packets Transmitted OK", "tx.multicasts"},
                           CounterLabel{"Packets Dropped on Transmit", "tx.dropped"},
                           CounterLabel{"Errors on Transmit", "tx.errors"}};
constexpr std::array kReceived{CounterLabel{"Packets Received OK", "rx.packets"},
                               CounterLabel{"Bytes Received OK", "rx.bytes"},
                               CounterLabel{"Broadcast Packets Received OK", "rx.broadcasts"},
                               CounterLabel{"Multicast Packets Received OK", "rx.multicasts"},
                               CounterLabel{"Packets Dropped on Receive", "rx.dropped"},
                               CounterLabel{"Errors on Receive", "rx.errors"}};
constexpr std::array kDevice{
    CounterLabel{"Device Receive Errors", "rx_errors"}, CounterLabel{"Device Receive Drops", "rx_dropped"},
    CounterLabel{"Connection Requests Among These", "rx_openings_dropped"}, CounterLabel{"Memory Allocation Failures on Receive", "rx_no_buffer"},
    CounterLabel{"Device Transmit Errors", "tx_errors"}, CounterLabel{"Device Transmit Drops", "tx_dropped"}};

template <class Labels>
std::string rows(const Node& counters, const Labels& labels) {
  std::string out;
  for (const CounterLabel& one : labels)
    if (counters.has(one.key)) out += row(one.label, std::to_string(counters.number_of(one.key)));
  return out;
}

}  // namespace

std::string show_nic(const Node& i) {
  std::string out = std::string(i.text_of("name")) + ":\n";
  const Node* device = i.find("device");
  if (!i.text_of("description").empty()) out += "  " + std::string(i.text_of("description")) + "\n\n";
  const auto mac = i.text_of("mac");
  const std::uint64_t header = mac.empty() ? 0 : kEthernetHeader;
  if (!mac.empty())
    out += row("Physical Node ID", node_id(mac)) + row("Current Physical Node ID", node_id(mac));
  const std::uint64_t speed = i.number_of("speed_mbps");
  out += row(
      "Current Operation Rate",
      speed == 0 ? "Unknown" : format("%llu.00 Mb/s full-duplex", static_cast<unsigned long long>(speed)));
  if (!i.text_of("driver").empty())
    out += row("Active Interface Type", "devnp-" + std::string(i.text_of("driver")) + ".so");
  out += row("Link", i.number_of("carrier") != 0 ? "Up" : "Down");
  const std::string frame = std::to_string(i.number_of("mtu") + header);
  out += row("Maximum Transmittable data Unit", frame) + row("Maximum Receivable data Unit", frame);
  out += row("Receive Checksumming Enabled", checksums(i.text_of("enabled_names"), "Rx"));
  out += row("Transmit Checksumming Enabled", checksums(i.text_of("enabled_names"), "Tx"));
  constexpr std::uint64_t kPromiscuous = 0x100, kMulticast = 0x8000;
  out += row("Promiscuous Mode", (i.number_of("flags") & kPromiscuous) != 0 ? "On" : "Off");
  out += row("Multicast Support", (i.number_of("flags") & kMulticast) != 0 ? "Enabled" : "Disabled");
  const auto add_group = [&](const std::string& group) {
    if (!group.empty()) out += "\n" + group;
  };
  if (const Node* counters = i.find("counters")) {
    add_group(rows(*counters, kSent));
    add_group(rows(*counters, kReceived));
  }
  if (device != nullptr) add_group(rows(*device, kDevice));
  return out;
}

int nicinfo(Io& io, Stack& stack, const Words& words) {
  if (helped(io, kUsage, words)) return 0;
  Options options{words, "", ""};
  if (options.next() != 0) {
    io.error(options.fault());
    io.complain(kUsage);
    return 1;
  }
  const Words names = options.rest();
  Node answer;
  if (!asked(io, stack, "interface.list", {}, answer)) return 1;
  std::string text;
  int status = 0;
  Node chosen;
  Node& list = chosen.add_list("interfaces");
  const auto show = [&](const Node& one) {
    text += (text.empty() ? "" : "\n") + show_nic(one);
    list.inner.push_back(one);
  };
  for (const std::string& name : names) {
    bool found = false;
    for (const Node& one : answer.list("interfaces"))
      if (one.text_of("name") == name) show(one), found = true;
    if (!found) status = io.error("interface " + name + " does not exist");
  }
  if (names.empty())
    for (const Node& one : answer.list("interfaces"))
      if (one.text_of("link_type") != "loopback") show(one);
  io.print(io.json ? to_json(chosen) : text);
  return status;
}

}  // namespace iopkt::utils
