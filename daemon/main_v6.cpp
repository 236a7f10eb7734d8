// io-pkt-v6-hc: the same with IPv6.
#include "application.hpp"
#include "ipv6/inet6.hpp"
#include "stack_engine.hpp"

int main(int argc, char** argv) {
  return iopkt::daemon::run(iopkt::daemon::Variant::v6_hc, argc, argv, iopkt::daemon::make_stack_engine,
                            &iopkt::ipv6::inet6());
}
