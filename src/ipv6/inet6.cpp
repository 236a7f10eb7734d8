#include "ipv6/inet6.hpp"

#include "ipv6/host.hpp"

namespace iopkt::ipv6 {

const Inet6& inet6() {
  static constexpr Inet6 kTable{.input = input,
                                .add_header = add_header,
                                .add_extensions = add_extensions,
                                .fragment = fragment,
                                .make_discovery = make_host,
                                .mld_input = mld_input,
                                .mld_messages = mld_messages};
  return kTable;
}

}  // namespace iopkt::ipv6
