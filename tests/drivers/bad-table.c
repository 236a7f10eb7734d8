/* devnp-bad-table.so: an option row whose name every driver has already. */
#include <iopkt/driver.h>

static const iopkt_driver_option options[] = {{"mtu", "bytes", "Mine.", IOPKT_OPTION_NUMBER, 1, 0, 2, NULL}};

static int never(const iopkt_host* host, const iopkt_generic_options* generic,
                 const iopkt_option_value* values) {
  (void)host, (void)generic, (void)values;
  return 0;
}

IOPKT_EXPORT const iopkt_driver iopkt_driver_entry = {.abi = IOPKT_DRIVER_ABI,
                                                      .size = sizeof(iopkt_driver),
                                                      .name = "bad-table",
                                                      .options = options,
                                                      .option_count = 1,
                                                      .open = never};
