#include "utils/route/route.hpp"

int main(int argc, char** argv) {
  return iopkt::utils::run_command("route", iopkt::utils::route, argc, argv);
}
