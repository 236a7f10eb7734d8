#include "utils/nicinfo/nicinfo.hpp"

int main(int argc, char** argv) {
  return iopkt::utils::run_command("nicinfo", iopkt::utils::nicinfo, argc, argv);
}
