/* devnp-no-entry.so: a shared object, but no driver. */
#include <iopkt/driver.h>

IOPKT_EXPORT extern const int something_else;
const int something_else = 1;
