#include "utils/ifconfig/ifconfig.hpp"

int main(int argc, char** argv) {
  return iopkt::utils::run_command("ifconfig", iopkt::utils::ifconfig, argc, argv);
}
