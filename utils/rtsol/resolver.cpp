#include "utils/rtsol/resolver.hpp"

#include <string.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <span>
#include <sstream>

#include "utils/common/files.hpp"
#include "wire/address.hpp"

namespace iopkt::utils {
namespace {

constexpr std::string_view kBegin = "# begin: from router advertisements, kept by rtsol\n", kEnd = "# end: from router advertisements\n";
constexpr unsigned kLookMs = 10'000, kLeastMs = 500;
constexpr std::size_t kFileMax = 64 << 10;

bool is_domain(std::string_view name) {
  const auto good = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'; };
  return !name.empty() && name.size() <= 253 && name.front() != '.' && name.front() != '-' && std::ranges::all_of(name, good);
}

/// An address, with the interface behind it where it is of a link.
bool is_server(std::string_view text) {
  const std::size_t zone = text.find('%');
  if (zone != std::string_view::npos && !is_domain(text.substr(zone + 1))) return false;
  const auto address = wire::IpAddress::parse(text.substr(0, zone));
  return address && address->is_v6() && !address->is_unspecified() && !address->is_multicast();
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const std::size_t length = std::min(text.find('\n'), text.size() - 1) + 1;
    out.push_back(text.substr(0, length));
    text.remove_prefix(length);
  }
  return out;
}

std::vector<std::string> words_of(std::string_view line) {
  std::istringstream in{std::string{line}};
  std::vector<std::string> out;
  for (std::string word; in >> word;) out.push_back(word);
  return out;
}

/// How many lines from a begin line on are ours. If somebody took its end line away, those that look like what is written here; what
/// follows is somebody else's.
std::size_t part_of(std::span<const std::string_view> lines) {
  const auto rest = lines.subspan(1);
  const auto end = std::ranges::find_if(rest, [](std::string_view line) { return line == kEnd || line == kBegin; });
  if (end != rest.end() && *end == kEnd) return static_cast<std::size_t>(end - rest.begin()) + 2;
  std::size_t count = 1;
  for (const std::string_view line : rest) {
    const auto words = words_of(line);
    if (words.size() != 2 || words[0] != "nameserver" || !is_server(words[1])) break;
    ++count;
  }
  return count + (count < lines.size() && lines[count].starts_with("search ") ? 1 : 0);
}

std::optional<std::string> read_file(const std::string& path) {
  std::ifstream in{path, std::ios::binary};
  if (!in) return errno == ENOENT ? std::optional<std::string>{""} : std::nullopt;
  std::string text(kFileMax + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (text.size() > kFileMax) return errno = EFBIG, std::nullopt;
  return text;
}

/// False: told.
bool bring_up_to_date(Io& io, const std::string& file, const Advertised& advertised) {
  const auto before = read_file(file);
  const std::string after = before ? resolver_with(*before, advertised) : "";
  if (before && (*before == after || replace_file(file, after, ".rtsol"))) return true;
  (void)io.error(file + ": " + ::strerror(errno));
  io.flush();
  return false;
}

}  // namespace

Advertised advertised_of(const Node& answer, const Words& interfaces) {
  Advertised out;
  const auto take = [&](std::string_view list, std::string_view field, bool (*good)(std::string_view), std::vector<std::string>& into) {
    for (const Node& one : answer.list(list)) {
      if (std::ranges::find(interfaces, one.text_of("interface")) == interfaces.end()) continue;
      const std::string text{one.text_of(field)};
      if (!good(text) || into.size() == Advertised::kMost || std::ranges::find(into, text) != into.end()) continue;
      into.push_back(text);
      if (one.has("expires_s")) out.next_s = std::min(out.next_s.value_or(UINT64_MAX), one.number_of("expires_s"));
    }
  };
  take("dns_servers", "address", is_server, out.servers);
  take("dns_domains", "domain", is_domain, out.domains);
  return out;
}

std::string resolver_with(std::string_view before, const Advertised& advertised) {
  std::string out;
  std::vector<std::string> servers, domains;
  const auto lines = lines_of(before);
  for (std::size_t i = 0; i < lines.size();) {
    if (lines[i] == kBegin) {
      i += part_of(std::span{lines}.subspan(i));
      continue;
    }
    const std::string_view line = lines[i++];
    out += line;
    const auto words = words_of(line);
    if (words.size() >= 2 && words[0] == "nameserver") servers.push_back(words[1]);
    // The last such line counts, and ours will be the last.
    if (words.size() >= 2 && (words[0] == "search" || words[0] == "domain")) domains.assign(words.begin() + 1, words.end());
  }
  if (!out.empty() && out.back() != '\n') out += '\n';
  std::string part;
  for (const std::string& server : advertised.servers)
    if (std::ranges::find(servers, server) == servers.end()) part += "nameserver " + server + '\n';
  const std::size_t known = domains.size();
  for (const std::string& domain : advertised.domains)
    if (std::ranges::find(domains, domain) == domains.end()) domains.push_back(domain);
  if (domains.size() != known) {
    part += "search";
    for (const std::string& domain : domains) part += ' ' + domain;
    part += '\n';
  }
  if (!part.empty()) out.append(kBegin).append(part).append(kEnd);
  return out;
}

int keep_resolver(Io& io, Stack& stack, const Words& interfaces, const std::string& file, void (*pause)(unsigned ms), Ended ended) {
  int status = 0;
  while (!ended()) {
    Node answer;
    if (!asked(io, stack, "discovery.list", {}, answer)) {
      status = 1;
      break;
    }
    const Advertised advertised = advertised_of(answer, interfaces);
    if (!bring_up_to_date(io, file, advertised)) return 1;
    const std::uint64_t next_ms = advertised.next_s ? *advertised.next_s * 1000 : kLookMs;
    pause(static_cast<unsigned>(std::clamp<std::uint64_t>(next_ms, kLeastMs, kLookMs)));
  }
  // What was advertised to this stack says nothing once nobody listens for its end.
  return bring_up_to_date(io, file, {}) ? status : 1;
}

}  // namespace iopkt::utils
