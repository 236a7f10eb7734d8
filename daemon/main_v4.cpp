// io-pkt-v4-hc.
#include "application.hpp"
#include "stack_engine.hpp"

int main(int argc, char** argv) {
  return iopkt::daemon::run(iopkt::daemon::Variant::v4_hc, argc, argv, iopkt::daemon::make_stack_engine);
}
