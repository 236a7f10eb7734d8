#include "utils/mount/mount.hpp"

#include <algorithm>

namespace iopkt::utils {

std::optional<std::uint32_t> stack_type(std::string_view type) {
  if (type == "io-net" || type == "tcpip" || type == "io-pkt") return 0;
  if (!type.starts_with("io-pkt")) return std::nullopt;
  const auto number = parse_number(type.substr(6), UINT32_MAX);
  if (!number || type.substr(6).starts_with("0x")) return std::nullopt;
  return static_cast<std::uint32_t>(*number);
}

MountRequest read_mount(const Words& words) {
  MountRequest out;
  Words files;
  std::string type;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    const bool takes = word.starts_with("-T") || word.starts_with("-o");
    if (!takes) {
      files.push_back(word);
      continue;
    }
    std::string value = word.substr(2);
    if (value.empty() && i + 1 < words.size()) value = words[++i];
    if (word[1] == 'T')
      type = value;
    else
      out.options += (out.options.empty() ? "" : ",") + value;
  }
  const auto instance = stack_type(type);
  if (!instance) return out;
  out.ours = true;
  out.instance = *instance;
  out.help = std::find(files.begin(), files.end(), "--help") != files.end();
  const auto option = std::find_if(files.begin(), files.end(),
                                   [](const std::string& f) { return f.starts_with("-") && f.size() > 1; });
  if (option != files.end()) out.fault = "unknown option " + *option;
  if (out.fault.empty() && files.size() != 1)
    out.fault = files.empty() ? "no driver named" : "one driver at a time";
  if (out.fault.empty()) out.driver = files[0];
  return out;
}

}  // namespace iopkt::utils
