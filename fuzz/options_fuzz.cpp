// The option parser: any words give either options whose values hold their rows' promises, or one line of
// error.
#include <cstdint>
#include <string>
#include <vector>

#include "base/assert.hpp"
#include "daemon/option_tables.hpp"
#include "daemon/options.hpp"

using namespace iopkt::daemon;

namespace {

void check_accepted(const Options& options) {
  for (const CommandOption& option : command_options()) {
    if (!option.number || !options.was_given(option.row.name)) continue;
    const std::int64_t value = options.*option.number;
    IOPKT_ASSERT(option.row.built == Built::now);
    IOPKT_ASSERT(value >= option.row.min && value <= option.row.max);
  }
  for (const TcpipOption& option : tcpip_options()) {
    if (!options.was_given(option.row.name)) continue;
    IOPKT_ASSERT(option.row.built == Built::now);
    const bool cache = option.row.name.ends_with("_cache") && options.tcpip.cache == 0;
    if (!option.number || cache) continue;
    const std::int64_t value = options.tcpip.*option.number;
    IOPKT_ASSERT(value >= option.row.min && value <= option.row.max);
  }
  const TcpipConfig& tcpip = options.tcpip;
  IOPKT_ASSERT(tcpip.mclbytes <= tcpip.pagesize);
  IOPKT_ASSERT((tcpip.pagesize & (tcpip.pagesize - 1)) == 0 && (tcpip.mclbytes & (tcpip.mclbytes - 1)) == 0);
  IOPKT_ASSERT(tcpip.threads_min <= tcpip.threads_max);
  IOPKT_ASSERT(tcpip.prefix.empty() || (tcpip.prefix.front() == '/' && tcpip.prefix.back() != '/'));
  IOPKT_ASSERT(options.main_priority <= 99);
}

}  // namespace

// The first byte picks the variant; a newline ends a word; a NUL ends the line.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const Variant variant = data[0] & 1 ? Variant::v6_hc : Variant::v4_hc;
  std::vector<std::string> line(1);
  for (std::size_t i = 1; i < size && data[i] != 0; ++i) {
    if (data[i] == '\n')
      line.emplace_back();
    else
      line.back() += static_cast<char>(data[i]);
  }
  std::vector<const char*> words;
  for (const std::string& word : line) words.push_back(word.c_str());
  const auto options = parse_options(variant, words);
  if (!options) {
    IOPKT_ASSERT(!options.error().empty());
  } else if (options->action == Action::run) {
    check_accepted(*options);
  }
  return 0;
}
