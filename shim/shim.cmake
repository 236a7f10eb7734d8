# The fortified inline wrappers of libc's headers would redefine what this library defines.
list(APPEND options -U_FORTIFY_SOURCE -fno-exceptions -fno-rtti -Wno-missing-declarations)
