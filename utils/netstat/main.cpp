#include "utils/netstat/netstat.hpp"

int main(int argc, char** argv) {
  return iopkt::utils::run_command("netstat", iopkt::utils::netstat, argc, argv);
}
