# The fortified inline wrappers of libc's headers would redefine what this library defines.
list(APPEND options -U_FORTIFY_SOURCE -fno-exceptions -fno-rtti -Wno-missing-declarations)

# DNS. As an archive: a shared one would be loaded into every program, and its sockets have to be made through this library.
find_library(IOPKT_CARES_ARCHIVE libcares.a)
if(NOT IOPKT_CARES_ARCHIVE)
  message(FATAL_ERROR "c-ares is missing: scripts/setup installs it (libc-ares-dev)")
endif()
list(APPEND libs ${IOPKT_CARES_ARCHIVE})
