// route(8): shows and changes routes. BSD's syntax.
#pragma once

#include "utils/common/command.hpp"

namespace iopkt::utils {

int route(Io& io, Stack& stack, const Words& words);

/// What a destination word means.
struct Destination {
  std::string address;  ///< dotted quad, or an address of inet6 as the stack reads it; host bits clear for a network
  int length = 32;
  bool inet6 = false;
  bool is_default() const { return length == 0; }
  bool is_host() const { return length == (inet6 ? 128 : 32); }
};
enum class DestinationKind : std::uint8_t { guess, net, host };
/// "default", "128.32" (a host, or with net a network), "10.0.2.0/24"; a guess is a network when its local
/// part is zero.
std::optional<Destination> parse_destination(std::string_view word, DestinationKind kind);
/// The same with -inet6: "default", "2001:db8::/32", "fe80::1%en0"; without a length it is a host, or with net a network of 64 bits.
std::optional<Destination> parse_destination6(std::string_view word, DestinationKind kind);
/// An address of inet6 with its host bits cleared. `address` is one that parse_destination6() answered; length 0..128.
std::string network_of6(const std::string& address, int length);

/// `route get` as BSD prints it.
std::string show_route(const Node& route);

}  // namespace iopkt::utils
