// DNS over the stack's own sockets. libc's resolver makes its sockets with calls that cannot be replaced, so
// that its questions would go out through the kernel: it is confined to files (/etc/hosts), and what it does
// not find there is asked here, with c-ares.
#pragma once

#include <netdb.h>
#include <netinet/in.h>

#include <cstddef>

namespace iopkt::shim {

/// Confines libc's host lookups to /etc/hosts, unless INET is the kernel's.
void confine_libc_resolver();

inline constexpr std::size_t kAddressesMax = 64;
struct Found {
  in_addr addresses[kAddressesMax];
  std::size_t count;
  char name[NI_MAXHOST];  ///< canonical
};

// Servers and search list are those of /etc/resolv.conf. Blocking; not async-signal-safe (nor are libc's).

/// IPv4 addresses of a name. 0, or an EAI_ error.
int resolve_name(const char* name, Found& out);
/// The name of an address. 0, or an EAI_ error.
int resolve_address(in_addr address, Found& out);
/// One question and the raw answer, as res_query(3) and, with `search`, res_search(3): its length, or -1 and
/// h_errno.
int query(const char* name, int dns_class, int type, unsigned char* answer, int room, bool search);
/// A ready-made question, as res_send(3).
int send_query(const unsigned char* question, int length, unsigned char* answer, int room);

}  // namespace iopkt::shim
