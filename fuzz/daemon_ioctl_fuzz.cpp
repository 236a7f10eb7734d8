// ioctls of a client that change interfaces, routes or neighbours, one after the other in the same stack: each step is a byte that
// chooses the call, and as many bytes of argument as it takes. What is read out of them is asked of the stack.
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>

#include "control/interfaces.hpp"
#include "daemon/client_ioctl.hpp"
#include "fuzz/lone_stack.hpp"

namespace iopkt {  // not imported: <net/if.h> has an iface of its own
namespace {

constexpr std::array<std::uint64_t, 13> kCodes{SIOCSIFFLAGS,  SIOCSIFADDR, SIOCSIFDSTADDR, SIOCSIFBRDADDR, SIOCSIFNETMASK,
                                               SIOCSIFMETRIC, SIOCSIFMTU,  SIOCSIFHWADDR,  SIOCADDRT,      SIOCDELRT,
                                               SIOCSARP,      SIOCDARP,    0};

std::size_t size_of(std::uint64_t code) {
  if (code == SIOCADDRT || code == SIOCDELRT) return sizeof(rtentry) + IFNAMSIZ;
  return code == SIOCSARP || code == SIOCDARP ? sizeof(arpreq) : sizeof(ifreq);
}

void add_ethernet(stack::Stack& stack) {
  control::Network next = *stack.network();
  iface::Interface en0;
  en0.index = control::next_index(next);
  en0.name = "en0";
  en0.mac = wire::MacAddress{{2, 0, 0, 0, 0, 1}};
  en0.flags = iface::flag::broadcast | iface::flag::multicast | iface::flag::simplex;
  if (control::add_interface(next, en0) != control::Errno::ok) std::abort();
  stack.publish(std::move(next));
}

void play(std::span<const std::uint8_t> rest) {
  LoneStack alone;
  stack::Stack& stack = alone.stack;
  add_ethernet(stack);
  while (!rest.empty()) {
    const std::uint64_t code = kCodes[rest[0] % kCodes.size()];
    const auto argument = rest.subspan(1, std::min(rest.size() - 1, size_of(code)));
    rest = rest.subspan(1 + argument.size());
    stack.shard(0).begin({1'000'000});
    const auto change = daemon::read_change(code, as_bytes(argument.data(), argument.size()), *stack.network(), stack.shard(0).list_neighbours());
    if (change) {
      const auto outcome = alone.run(change->verb, true, change->arguments);
      // Whatever a client writes, what comes of it is a verb that the stack has, with arguments that it knows.
      if (outcome.error == control::Errno::opnotsupp || outcome.line.find("unknown argument") != std::string::npos) {
        if (outcome.line.find("link-level") == std::string::npos) std::abort();
      }
      if (stack.network()->interfaces.by_name("en0") == nullptr) std::abort();
    }
    stack.shard(0).finish();
  }
}

}  // namespace
}  // namespace iopkt

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  iopkt::play({data, size});
  return 0;
}
