// route(8): shows and changes routes. BSD's syntax.
#pragma once

#include "utils/common/command.hpp"

namespace iopkt::utils {

int route(Io& io, Stack& stack, const Words& words);

/// What a destination word means.
struct Destination {
  std::string address;  ///< dotted quad; host bits clear for a network
  int length = 32;
  bool is_default() const { return length == 0; }
  bool is_host() const { return length == 32; }
};
enum class DestinationKind : std::uint8_t { guess, net, host };
/// "default", "128.32" (a host, or with net a network), "10.0.2.0/24"; a guess is a network when its local
/// part is zero.
std::optional<Destination> parse_destination(std::string_view word, DestinationKind kind);

/// `route get` as BSD prints it.
std::string show_route(const Node& route);

}  // namespace iopkt::utils
