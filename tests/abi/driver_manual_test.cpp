// docs/man/devnp-*.8: the options of each page are the rows of the driver's table. IOPKT_UPDATE_MAN=1 writes
// them there.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "driver_host.hpp"

namespace iopkt::abi_test {
namespace {

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '-' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string row_text(const iopkt_driver_option& row) {
  std::string out = ".TP\n.B " + escaped(row.name);
  if (row.kind == IOPKT_OPTION_NUMBER || row.kind == IOPKT_OPTION_TEXT || row.kind == IOPKT_OPTION_MAC) {
    out += std::string{"=\\fI"} +
           (row.unit != nullptr            ? row.unit
            : row.kind == IOPKT_OPTION_MAC ? "address"
                                           : "text") +
           "\\fP";
  }
  out += "\n" + escaped(row.help) + "\n";
  switch (row.kind) {
    case IOPKT_OPTION_NUMBER:
      out += "Allowed: " + std::to_string(row.min) + ".." + std::to_string(row.max) +
             ". Default: " + std::to_string(row.initial) + ".\n";
      break;
    case IOPKT_OPTION_FLAG:
      out += std::string{"Default: "} + (row.initial != 0 ? "on" : "off") + ".\n";
      break;
    case IOPKT_OPTION_TEXT:
      if (row.initial_text != nullptr) out += "Default: " + escaped(row.initial_text) + ".\n";
      break;
    case IOPKT_OPTION_MAC:
      break;
  }
  return out;
}

TEST(DriverManual, ListsTheRowsOfTheTable) {
  const char* source = std::getenv("IOPKT_SOURCE_DIR");
  ASSERT_NE(source, nullptr);
  const std::string begin = ".\\\" The rows below are printed from the driver's table.\n",
                    end = ".\\\" END\n";
  for (const char* name : {"packet", "pcap", "slirp", "tap"}) {
    SCOPED_TRACE(name);
    const DriverHost host{name};
    if (host.driver() == nullptr) continue; /* not in this build */
    std::string rows;
    for (std::uint32_t i = 0; i < host.driver()->option_count; ++i)
      rows += row_text(host.driver()->options[i]);

    const std::string path = std::string(source) + "/docs/man/devnp-" + name + ".8";
    std::stringstream file;
    file << std::ifstream{path}.rdbuf();
    const std::string page = file.str();
    const std::size_t from = page.find(begin), to = page.find(end);
    ASSERT_TRUE(from != std::string::npos && to != std::string::npos && from < to) << path;
    const std::size_t first = from + begin.size();
    if (std::getenv("IOPKT_UPDATE_MAN") != nullptr) {
      std::ofstream{path} << page.substr(0, first) << rows << page.substr(to);
      continue;
    }
    EXPECT_EQ(page.substr(first, to - first), rows) << "IOPKT_UPDATE_MAN=1 brings the page up to date";
  }
}

}  // namespace
}  // namespace iopkt::abi_test
