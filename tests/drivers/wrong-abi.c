/* devnp-wrong-abi.so: built for a driver ABI that does not exist. */
#include <iopkt/driver.h>

static int never(const iopkt_host* host, const iopkt_generic_options* generic,
                 const iopkt_option_value* values) {
  (void)host, (void)generic, (void)values;
  return 0;
}

IOPKT_EXPORT const iopkt_driver iopkt_driver_entry = {
    .abi = 99, .size = sizeof(iopkt_driver), .name = "wrong-abi", .open = never};
