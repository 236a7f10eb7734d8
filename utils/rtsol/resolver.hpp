// Name servers and search domains of router advertisements in a resolver's file: RFC 8106 sections 5.3.1 and 6.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "utils/common/command.hpp"

namespace iopkt::utils {

struct Advertised {
  static constexpr std::size_t kMost = 16;  ///< of each kind, whatever the stack has
  std::vector<std::string> servers, domains;
  std::optional<std::uint64_t> next_s;  ///< seconds to when one of them is over; none: never
};

/// What discovery.list answers of these interfaces. What is no address and no name is left out: it came from the network.
Advertised advertised_of(const Node& answer, const Words& interfaces);

/// The text of a resolver's file with the advertised part behind what others wrote, who come first (RFC 8106 section 5.3.1); without that
/// part where nothing is advertised. `before`: as it is, with or without such a part.
std::string resolver_with(std::string_view before, const Advertised& advertised);

/// Keeps the file so until `ended()`, and then takes the part out again. `pause` passes that many milliseconds, or less. A status.
using Ended = bool (*)();
int keep_resolver(Io& io, Stack& stack, const Words& interfaces, const std::string& file, void (*pause)(unsigned ms), Ended ended);

}  // namespace iopkt::utils
