// Packets and times in the notation of scripts, so that what was seen stands beside what was said.
#include <cstdio>

#include "tests/script/syntax.hpp"

namespace iopkt::script {
namespace {

std::string text(const Range& r) {
  return std::to_string(r.begin) + ":" + std::to_string(r.end) + "(" + std::to_string(r.length) + ")";
}

/// Empty: it is no such option.
std::string accecn_text(const std::vector<std::uint8_t>& raw) {
  if (raw.size() < 5 || raw.size() > 11 || raw.size() % 3 != 2 || raw[1] != raw.size() || (raw[0] != 172 && raw[0] != 174)) return "";
  const char* const names[] = {raw[0] == 174 ? "e1b" : "e0b", "ceb", raw[0] == 174 ? "e0b" : "e1b"};
  std::string out = "ECN";
  for (std::size_t i = 2; i < raw.size(); i += 3)
    out += std::string(" ") + names[i / 3] + " " + std::to_string(raw[i] << 16 | raw[i + 1] << 8 | raw[i + 2]);
  return out;
}

std::string text(const Piece& p) {
  return "piece " + std::to_string(p.begin) + ":" + std::to_string(p.end) + (p.more ? "+" : "") + (p.id != 1 ? " id " + std::to_string(p.id) : "");
}

/// With a blank before each byte.
std::string hex(const std::vector<std::uint8_t>& bytes) {
  std::string out;
  char two[4];
  for (const std::uint8_t byte : bytes) std::snprintf(two, sizeof two, " %02x", byte), out += two;
  return out;
}

std::string text(const TcpOption& o) {
  using Kind = TcpOption::Kind;
  switch (o.kind) {
    case Kind::end: return "eol";
    case Kind::nop: return "nop";
    case Kind::mss: return "mss " + std::to_string(o.value);
    case Kind::sack_permitted: return "sackOK";
    case Kind::window_scale: return "wscale " + std::to_string(o.value);
    case Kind::timestamps: return "TS val " + std::to_string(o.value) + " ecr " + std::to_string(o.echo);
    case Kind::sack: {
      std::string out = "sack";
      for (const auto& [left, right] : o.blocks) out += " " + std::to_string(left) + ":" + std::to_string(right);
      return out;
    }
    case Kind::raw: {
      std::string out = "hex";
      char two[4];
      if (o.raw.size() >= 2 && o.raw[0] == 34 && o.raw[1] == o.raw.size()) {
        out = o.raw.size() == 2 ? "FO" : "FO ";
        for (std::size_t i = 2; i < o.raw.size(); ++i) std::snprintf(two, sizeof two, "%02x", o.raw[i]), out += two;
        return out;
      }
      if (const std::string accecn = accecn_text(o.raw); !accecn.empty()) return accecn;
      return out + hex(o.raw);
    }
  }
  return "?";
}

std::string brackets(const Packet& p) {
  static constexpr const char* kEcn[] = {"noecn", "ect1", "ect0", "ce"};
  std::string out;
  const auto add = [&](const std::string& word) { out += (out.empty() ? "[" : ", ") + word; };
  const std::string flow = p.ports ? std::to_string(p.ports->to) + ">" + std::to_string(p.ports->from) + " " : "";
  if (p.quoted_tcp) return "[" + flow + text(*p.quoted_tcp) + "] ";
  if (p.quoted_udp) return "[udp " + flow + "(" + std::to_string(*p.quoted_udp) + ")] ";
  if (p.ecn) add(kEcn[*p.ecn & 3]);
  if (p.tos) add("tos " + std::to_string(*p.tos));
  if (p.ttl) add("ttl " + std::to_string(*p.ttl));
  if (p.dont_fragment) add(*p.dont_fragment ? "df" : "nodf");
  if (p.from) add("from " + p.from->to_string());
  if (p.to) add("to " + p.to->to_string());
  for (std::size_t i = 0; i <= p.extensions.size(); ++i) {
    if (p.piece && p.piece->behind == i) add(text(*p.piece));
    if (i < p.extensions.size()) add("ext " + std::to_string(p.extensions[i].type) + hex(p.extensions[i].bytes));
  }
  if (!p.ip_options.empty()) add("options" + hex(p.ip_options));
  if (p.bad_checksum) add("badsum");
  if (p.no_checksum) add("nosum");
  if (p.cut != 0) add("cut " + std::to_string(p.cut));
  if (p.lost != 0) add("lost " + std::to_string(p.lost));
  if (p.data_offset) add("doff " + std::to_string(*p.data_offset));
  if (p.payload_at != 0) add("at " + std::to_string(p.payload_at));
  return out.empty() ? "" : out + "] ";
}

std::string tcp(const Packet& p) {
  static constexpr char kLetters[] = "FSRP.UEWA";
  std::string out;
  for (int bit = 0; bit < 9; ++bit)
    if ((p.flags & 1u << bit) != 0 && bit != 4) out += kLetters[bit];
  if ((p.flags & 16) != 0) out += '.';
  if (out.empty()) out = "-";
  out += " " + text(p.seq);
  if (p.ack) out += " ack " + std::to_string(*p.ack);
  if (p.window) out += " win " + std::to_string(*p.window);
  if (p.urgent) out += " urg " + std::to_string(*p.urgent);
  if (p.any_options) return out + " <...>";
  if (p.options.empty()) return out;
  out += " <";
  for (std::size_t i = 0; i < p.options.size(); ++i) out += (i == 0 ? "" : ",") + text(p.options[i]);
  return out + ">";
}

std::string icmp(const Packet& p) {
  const std::string kind = p.icmpv6 ? "icmpv6 " : "icmp ";
  std::string out = kind + "type " + std::to_string(p.icmp_type) + " code " + std::to_string(p.icmp_code);
  for (const IcmpName& row : icmp_names())
    if (row.v6 == p.icmpv6 && row.type_number == p.icmp_type && row.code_number == p.icmp_code)
      out = kind + std::string(row.type) + (row.code.empty() ? "" : " ") + std::string(row.code);
  if (p.mtu) out += (p.icmp_type == (p.icmpv6 ? 4 : 12) ? " pointer " : " mtu ") + std::to_string(*p.mtu);
  if (p.length != 0) out += " (" + std::to_string(p.length) + ")";
  return out;
}

}  // namespace

std::string to_string(const Packet& p) {
  std::string out = brackets(p);
  const std::string ports = p.ports ? std::to_string(p.ports->from) + ">" + std::to_string(p.ports->to) + " " : "";
  switch (p.kind) {
    case Packet::Kind::tcp: return out + ports + tcp(p);
    case Packet::Kind::udp: return out + "udp " + ports + "(" + std::to_string(p.length) + ")";
    case Packet::Kind::icmp: return out + icmp(p);
    case Packet::Kind::other: return out + "proto " + std::to_string(p.protocol) + " (" + std::to_string(p.length) + ")";
  }
  return out;
}

std::string to_string(Duration time) {
  char out[32];
  std::snprintf(out, sizeof out, "%.6f", static_cast<double>(time.count()) / 1e9);
  return out;
}

}  // namespace iopkt::script
