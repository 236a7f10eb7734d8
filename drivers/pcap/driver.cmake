needs_package(libpcap)
