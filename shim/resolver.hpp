// DNS over the stack's own sockets. libc's resolver makes its sockets with calls that cannot be replaced, so
// that its questions would go out through the kernel: it is confined to files (/etc/hosts), and what it does
// not find there is asked here, with c-ares.
#pragma once

#include <netdb.h>
#include <netinet/in.h>

#include <cstddef>

namespace iopkt::shim {

/// The stack has IPv6: there are nodes for its sockets.
bool stack_has_inet6();

/// Confines libc's host lookups to /etc/hosts, unless INET is the kernel's.
void confine_libc_resolver();

inline constexpr std::size_t kAddressesMax = 64;
struct Found {
  struct Address {
    int family;      ///< AF_INET: the first four bytes; AF_INET6
    in6_addr value;
  } addresses[kAddressesMax];
  std::size_t count;
  char name[NI_MAXHOST];  ///< canonical
};

// Servers and search list are those of /etc/resolv.conf. Blocking; not async-signal-safe (nor are libc's).

enum class Names : char { dns = 'b', files = 'f' };  ///< c-ares's letters

/// Addresses of a name: of one family (A or AAAA), or with AF_UNSPEC of both, in the order of RFC 6724 section 6 by the addresses from
/// which the stack would go there (not its rule 3: whether such an address is deprecated). 0, or an EAI_ error.
int resolve_name(const char* name, int family, Found& out, Names where = Names::dns);
/// The name of an address of `family` (4 or 16 bytes in network order). 0, or an EAI_ error.
int resolve_address(const void* address, int family, Found& out);
/// One question and the raw answer, as res_query(3) and, with `search`, res_search(3): its length, or -1 and
/// h_errno.
int query(const char* name, int dns_class, int type, unsigned char* answer, int room, bool search);
/// A ready-made question, as res_send(3).
int send_query(const unsigned char* question, int length, unsigned char* answer, int room);

}  // namespace iopkt::shim
