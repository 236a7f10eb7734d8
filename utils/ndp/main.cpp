#include "utils/ndp/ndp.hpp"

int main(int argc, char** argv) { return iopkt::utils::run_command("ndp", iopkt::utils::ndp, argc, argv); }
