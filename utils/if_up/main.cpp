#include "utils/if_up/if_up.hpp"

int main(int argc, char** argv) {
  return iopkt::utils::run_command("if_up", iopkt::utils::if_up, argc, argv);
}
