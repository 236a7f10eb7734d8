#include "utils/arp/arp.hpp"

int main(int argc, char** argv) { return iopkt::utils::run_command("arp", iopkt::utils::arp, argc, argv); }
