#include "utils/sysctl/sysctl.hpp"

int main(int argc, char** argv) {
  return iopkt::utils::run_command("sysctl", iopkt::utils::sysctl, argc, argv);
}
