// Host interfaces for tests, made and unmade without another program.
#pragma once

#include <net/if.h>

#include <string>

namespace iopkt::abi_test {

/// A veth pair in the thread's namespace, both ends down. False: the kernel refuses.
bool make_veth(const std::string& a, const std::string& b);
bool delete_link(const std::string& name);
bool set_link_up(const std::string& name, bool up);
bool set_link_address(const std::string& name, const char* address);
/// IFF_* flags, 0 without such an interface.
int link_flags(const std::string& name);
bool set_link_mtu(const std::string& name, int mtu);
int link_mtu(const std::string& name);

}  // namespace iopkt::abi_test
