#include "utils/rtsol/rtsol.hpp"

int main(int argc, char** argv) {
  return iopkt::utils::run_command(
      "rtsol", [](auto& io, auto& stack, const auto& words) { return iopkt::utils::rtsol(io, stack, words); }, argc, argv);
}
