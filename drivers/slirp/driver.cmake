needs_package(slirp)
