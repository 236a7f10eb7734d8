// A driver's option list (from the command line or a mount request): any text gives either values that hold their rows' promises, or
// one line of error.
#include <cstdint>
#include <string_view>

#include "base/assert.hpp"
#include "daemon/driver_options.hpp"

using namespace iopkt::daemon;

namespace {

enum { kNumber, kText, kFlag, kMac, kRows };
constexpr iopkt_driver_option kTable[kRows] = {
    {"speed", "bit/s", "A number.", IOPKT_OPTION_NUMBER, 5, -10, 1'000'000'000'000, nullptr},
    {"text", "", "A text.", IOPKT_OPTION_TEXT, 0, 2, 9, "none"},
    {"flag", "", "A flag.", IOPKT_OPTION_FLAG, 0, 0, 1, nullptr},
    {"station", "", "An address.", IOPKT_OPTION_MAC, 0, 0, 0, nullptr},
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  iopkt_driver driver{};
  driver.abi = IOPKT_DRIVER_ABI;
  driver.size = sizeof driver;
  driver.name = "fuzz";
  driver.help = "Has a row of each kind.";
  driver.options = kTable;
  driver.option_count = kRows;
  const auto options = parse_driver_options(driver, {reinterpret_cast<const char*>(data), size});
  if (!options) {
    IOPKT_ASSERT(!options.error().empty());
    return 0;
  }
  IOPKT_ASSERT(options->values.size() == kRows);
  IOPKT_ASSERT(options->values[kNumber].number >= kTable[kNumber].min && options->values[kNumber].number <= kTable[kNumber].max);
  IOPKT_ASSERT(options->values[kFlag].number == 0 || options->values[kFlag].number == 1);
  const std::string_view text{options->values[kText].text};
  IOPKT_ASSERT(text.size() >= 2 && text.size() <= 9);
  IOPKT_ASSERT(options->generic.mtu == 0 || (options->generic.mtu >= 68 && options->generic.mtu <= 65535));
  return 0;
}
