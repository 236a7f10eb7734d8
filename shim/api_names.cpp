// What programs call: names of hosts. /etc/hosts and numbers by libc, DNS by resolver.cpp.
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <resolv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shim/process.hpp"
#include "shim/real.hpp"
#include "shim/resolver.hpp"

using namespace iopkt::shim;

namespace {

bool by_libc() { return settings().kernel_inet; }

/// Addresses that no socket can be made for only make programs try.
void drop_inet6(addrinfo*& list) {
  char* canonical = nullptr;
  for (addrinfo** at = &list; *at != nullptr;) {
    addrinfo* item = *at;
    if (item->ai_family != AF_INET6) {
      at = &item->ai_next;
      continue;
    }
    *at = item->ai_next;
    item->ai_next = nullptr;
    if (item->ai_canonname != nullptr) {
      canonical = item->ai_canonname;
      item->ai_canonname = nullptr;
    }
    freeaddrinfo(item);
  }
  if (canonical == nullptr) return;
  if (list != nullptr && list->ai_canonname == nullptr) {
    list->ai_canonname = canonical;
  } else {
    free(canonical);
  }
}

/// Which family to ask the DNS for: addresses that no socket can be made for only make programs try.
int family_to_ask(int wanted) { return wanted == AF_UNSPEC && !stack_has_inet6() ? AF_INET : wanted; }

bool is_of(const addrinfo& item, const Found::Address& address) {
  if (item.ai_family != address.family) return false;
  if (item.ai_family == AF_INET) return memcmp(&reinterpret_cast<const sockaddr_in*>(item.ai_addr)->sin_addr, &address.value, sizeof(in_addr)) == 0;
  return memcmp(&reinterpret_cast<const sockaddr_in6*>(item.ai_addr)->sin6_addr, &address.value, sizeof(in6_addr)) == 0;
}

bool same_address(const addrinfo& a, const addrinfo& b) {
  return a.ai_addrlen == b.ai_addrlen && memcmp(a.ai_addr, b.ai_addr, a.ai_addrlen) == 0;
}

/// libc has sorted what /etc/hosts says by the kernel's routes: it is put into the stack's order. What is not found again stays behind.
void sort_from_files(const char* node, int family, addrinfo*& list) {
  const addrinfo* other = list;
  while (other != nullptr && same_address(*other, *list)) other = other->ai_next;
  Found found;
  if (other == nullptr || resolve_name(node, family, found, Names::files) != 0) return;
  char* const canonical = list->ai_canonname;
  list->ai_canonname = nullptr;
  addrinfo* sorted = nullptr;
  addrinfo** tail = &sorted;
  for (std::size_t i = 0; i < found.count; ++i) {
    for (addrinfo** at = &list; *at != nullptr;) {
      if (!is_of(**at, found.addresses[i])) {
        at = &(*at)->ai_next;
        continue;
      }
      *tail = *at;
      *at = (*at)->ai_next;
      tail = &(*tail)->ai_next;
    }
  }
  *tail = list;
  list = sorted;
  list->ai_canonname = canonical;
}

int addresses_from_dns(const char* node, const char* service, const addrinfo& hints, addrinfo** out) {
  Found found;
  int error = resolve_name(node, family_to_ask(hints.ai_family), found);
  // RFC 3493 section 6.1: of a host without IPv6 addresses the others, mapped.
  const bool mapped = (error == EAI_NODATA || error == EAI_NONAME) && hints.ai_family == AF_INET6 && (hints.ai_flags & AI_V4MAPPED) != 0;
  if (mapped) error = resolve_name(node, AF_INET, found);
  if (error != 0) return error;
  addrinfo numeric = hints;
  numeric.ai_flags = (hints.ai_flags & AI_NUMERICSERV) | AI_NUMERICHOST;
  *out = nullptr;
  addrinfo** tail = out;
  for (std::size_t i = 0; i < found.count; ++i) {
    char text[INET6_ADDRSTRLEN];
    numeric.ai_family = found.addresses[i].family;
    inet_ntop(numeric.ai_family, &found.addresses[i].value, text, sizeof text);
    if (mapped) {
      char v4[INET_ADDRSTRLEN];
      memcpy(v4, text, sizeof v4);
      snprintf(text, sizeof text, "::ffff:%s", v4);
      numeric.ai_family = AF_INET6;
    }
    error = real().getaddrinfo(text, service, &numeric, tail);
    if (error != 0) {
      *tail = nullptr;
      if (*out != nullptr) freeaddrinfo(*out);
      return error;
    }
    while (*tail != nullptr) tail = &(*tail)->ai_next;
  }
  if ((hints.ai_flags & AI_CANONNAME) != 0 && *out != nullptr) (*out)->ai_canonname = strdup(found.name);
  return 0;
}

bool may_ask_dns(int error) {
  return error == EAI_NONAME || error == EAI_NODATA || error == EAI_AGAIN || error == EAI_FAIL ||
         error == EAI_ADDRFAMILY;
}

int h_errno_of(int error) {
  switch (error) {
    case EAI_NONAME:
      return HOST_NOT_FOUND;
    case EAI_NODATA:
      return NO_DATA;
    case EAI_AGAIN:
      return TRY_AGAIN;
    default:
      return NO_RECOVERY;
  }
}

/// Lays a hostent out in a caller's buffer: addresses of `family`, the two lists, the name. ERANGE: it is too small.
int make_host(const Found& found, int family, hostent* host, char* buffer, std::size_t size) {
  const std::size_t each = family == AF_INET6 ? sizeof(in6_addr) : sizeof(in_addr);
  const std::size_t misaligned = reinterpret_cast<std::uintptr_t>(buffer) % alignof(char*);
  const std::size_t skip = misaligned == 0 ? 0 : alignof(char*) - misaligned;
  const std::size_t pointers = (found.count + 2) * sizeof(char*);
  const std::size_t addresses = found.count * each;
  const std::size_t name = strlen(found.name) + 1;
  if (size < skip + pointers + addresses + name) return ERANGE;
  char** list = reinterpret_cast<char**>(buffer + skip);
  char* at = buffer + skip + pointers;
  for (std::size_t i = 0; i < found.count; ++i, at += each) {
    memcpy(at, &found.addresses[i].value, each);
    list[i] = at;
  }
  list[found.count] = nullptr;
  list[found.count + 1] = nullptr;
  memcpy(at, found.name, name);
  host->h_name = at;
  host->h_aliases = &list[found.count + 1];
  host->h_addrtype = family;
  host->h_length = static_cast<int>(each);
  host->h_addr_list = list;
  return 0;
}

/// What the calls without a buffer of the caller's answer with.
struct Kept {
  hostent host;
  alignas(char*) char buffer[8192];
};
constinit Kept g_kept{};

hostent* keep(int error, hostent* result, int problem) {
  if (result != nullptr) return result;
  h_errno = error == ERANGE ? NETDB_INTERNAL : problem;
  return nullptr;
}

}  // namespace

namespace {

/// "fe80::1%en0" as "fe80::1%2": libc would ask the kernel for the interface's number. Null: there is no such interface.
const char* with_number(const char* node, char (&room)[NI_MAXHOST]) {
  const char* zone = node == nullptr ? nullptr : strchr(node, '%');
  if (zone == nullptr || zone[1] == 0 || strspn(zone + 1, "0123456789") == strlen(zone + 1)) return node;
  const unsigned index = if_nametoindex(zone + 1);
  const int written = snprintf(room, sizeof room, "%.*s%%%u", static_cast<int>(zone - node), node, index);
  return index == 0 || written >= static_cast<int>(sizeof room) ? nullptr : room;
}

/// getnameinfo() by number or from libc's files; behind the '%' it has the kernel's name of the number, or the number.
int name_by_libc(const sockaddr* address, socklen_t length, char* host, socklen_t host_size, char* service, socklen_t service_size,
                 int flags) {
  const int error = real().getnameinfo(address, length, host, host_size, service, service_size, flags);
  const bool scoped = error == 0 && host != nullptr && host_size != 0 && address->sa_family == AF_INET6;
  char* zone = scoped ? strchr(host, '%') : nullptr;
  char name[IF_NAMESIZE];
  if (zone == nullptr) return error;
  const unsigned scope = reinterpret_cast<const sockaddr_in6*>(address)->sin6_scope_id;
  if (if_indextoname(scope, name) == nullptr) snprintf(name, sizeof name, "%u", scope);
  if (strlen(name) >= host_size - static_cast<std::size_t>(zone + 1 - host)) return EAI_OVERFLOW;
  strcpy(zone + 1, name);
  return 0;
}

}  // namespace

IOPKT_EXPORT int getaddrinfo(const char* __restrict node, const char* __restrict service,
                             const addrinfo* __restrict hints, addrinfo** __restrict out) {
  if (by_libc()) return real().getaddrinfo(node, service, hints, out);
  addrinfo own{};
  if (hints != nullptr) own = *hints;
  // Without hints: AI_V4MAPPED | AI_ADDRCONFIG, of which the second would ask about the kernel's interfaces.
  if (hints == nullptr) own.ai_flags = AI_V4MAPPED;
  own.ai_flags &= ~AI_ADDRCONFIG;
  char room[NI_MAXHOST];
  const char* const given = node;
  if ((node = with_number(given, room)) == nullptr && given != nullptr) return EAI_NONAME;
  const int error = real().getaddrinfo(node, service, &own, out);
  if (error == 0) {
    if (own.ai_family == AF_UNSPEC && !settings().kernel_inet6 && !stack_has_inet6()) {
      addrinfo* list = *out;
      bool any_inet = false;
      for (const addrinfo* item = list; item != nullptr; item = item->ai_next)
        any_inet |= item->ai_family == AF_INET;
      if (any_inet) drop_inet6(list);
      *out = list;
    }
    if (node != nullptr && (own.ai_flags & AI_NUMERICHOST) == 0) sort_from_files(node, own.ai_family, *out);
    return 0;
  }
  const bool asks_for_inet = own.ai_family == AF_UNSPEC || own.ai_family == AF_INET || own.ai_family == AF_INET6;
  if (node == nullptr || (own.ai_flags & AI_NUMERICHOST) != 0 || !asks_for_inet || !may_ask_dns(error))
    return error;
  return addresses_from_dns(node, service, own, out);
}

IOPKT_EXPORT int getnameinfo(const sockaddr* __restrict address, socklen_t length, char* __restrict host,
                             socklen_t host_size, char* __restrict service, socklen_t service_size,
                             int flags) {
  if (by_libc() || host == nullptr || host_size == 0 || (flags & NI_NUMERICHOST) != 0 || address == nullptr ||
      (address->sa_family != AF_INET && address->sa_family != AF_INET6) ||
      length < (address->sa_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6))) {
    return by_libc() || address == nullptr ? real().getnameinfo(address, length, host, host_size, service, service_size, flags)
                                           : name_by_libc(address, length, host, host_size, service, service_size, flags);
  }
  const int by_file =
      real().getnameinfo(address, length, host, host_size, service, service_size, flags | NI_NAMEREQD);
  if (by_file != EAI_NONAME && by_file != EAI_AGAIN && by_file != EAI_FAIL) return by_file;
  const void* value = address->sa_family == AF_INET ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in*>(address)->sin_addr)
                                                    : &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr;
  Found found;
  if (resolve_address(value, address->sa_family, found) != 0)
    return (flags & NI_NAMEREQD) != 0 ? EAI_NONAME
                                      : name_by_libc(address, length, host, host_size, service, service_size, flags | NI_NUMERICHOST);
  if (strlen(found.name) >= host_size) return EAI_OVERFLOW;
  strcpy(host, found.name);
  if (service == nullptr || service_size == 0) return 0;
  return real().getnameinfo(address, length, nullptr, 0, service, service_size, flags & ~NI_NAMEREQD);
}

IOPKT_EXPORT int gethostbyname2_r(const char* __restrict name, int family, hostent* __restrict host,
                                  char* __restrict buffer, size_t size, hostent** __restrict result,
                                  int* __restrict problem) {
  const int error = real().gethostbyname2_r(name, family, host, buffer, size, result, problem);
  if (by_libc() || (family != AF_INET && family != AF_INET6) || *result != nullptr || error == ERANGE) return error;
  Found found;
  if (const int failed = resolve_name(name, family, found); failed != 0) {
    *problem = h_errno_of(failed);
    return 0;
  }
  const int made = make_host(found, family, host, buffer, size);
  if (made == 0) *result = host;
  if (made != 0) *problem = NETDB_INTERNAL;
  return made;
}
IOPKT_EXPORT int gethostbyname_r(const char* __restrict name, hostent* __restrict host,
                                 char* __restrict buffer, size_t size, hostent** __restrict result,
                                 int* __restrict problem) {
  return gethostbyname2_r(name, AF_INET, host, buffer, size, result, problem);
}
IOPKT_EXPORT int gethostbyaddr_r(const void* __restrict address, socklen_t length, int family,
                                 hostent* __restrict host, char* __restrict buffer, size_t size,
                                 hostent** __restrict result, int* __restrict problem) {
  const int error = real().gethostbyaddr_r(address, length, family, host, buffer, size, result, problem);
  const bool known = (family == AF_INET && length == sizeof(in_addr)) || (family == AF_INET6 && length == sizeof(in6_addr));
  if (by_libc() || !known || *result != nullptr || error == ERANGE) return error;
  Found found;
  if (const int failed = resolve_address(address, family, found); failed != 0) {
    *problem = h_errno_of(failed);
    return 0;
  }
  found.addresses[0].family = family;
  memcpy(&found.addresses[0].value, address, length);
  found.count = 1;
  const int made = make_host(found, family, host, buffer, size);
  if (made == 0) *result = host;
  return made;
}

IOPKT_EXPORT hostent* gethostbyname2(const char* name, int family) {
  hostent* result = nullptr;
  int problem = 0;
  const int error =
      gethostbyname2_r(name, family, &g_kept.host, g_kept.buffer, sizeof g_kept.buffer, &result, &problem);
  return keep(error, result, problem);
}
IOPKT_EXPORT hostent* gethostbyname(const char* name) { return gethostbyname2(name, AF_INET); }
IOPKT_EXPORT hostent* gethostbyaddr(const void* address, socklen_t length, int family) {
  hostent* result = nullptr;
  int problem = 0;
  const int error = gethostbyaddr_r(address, length, family, &g_kept.host, g_kept.buffer,
                                    sizeof g_kept.buffer, &result, &problem);
  return keep(error, result, problem);
}

// ---------------------------------------------------------------------------------------------- res_query
// and its kin The headers rename these to names with two underscores; programs built against older ones use
// those without.

#undef res_query
#undef res_search
#undef res_send
#undef res_nquery
#undef res_nsearch
#undef res_nsend

#define IOPKT_QUERY(name, search)                                                                         \
  IOPKT_EXPORT int name(const char* question, int dns_class, int type, unsigned char* answer, int room) { \
    return query(question, dns_class, type, answer, room, search);                                        \
  }                                                                                                       \
  IOPKT_EXPORT int __##name(const char* question, int dns_class, int type, unsigned char* answer,         \
                            int room) {                                                                   \
    return query(question, dns_class, type, answer, room, search);                                        \
  }
IOPKT_QUERY(res_query, false)
IOPKT_QUERY(res_search, true)
#define IOPKT_STATE_QUERY(name, search)                                                                      \
  IOPKT_EXPORT int name(res_state, const char* question, int dns_class, int type, unsigned char* answer,     \
                        int room) {                                                                          \
    return query(question, dns_class, type, answer, room, search);                                           \
  }                                                                                                          \
  IOPKT_EXPORT int __##name(res_state, const char* question, int dns_class, int type, unsigned char* answer, \
                            int room) {                                                                      \
    return query(question, dns_class, type, answer, room, search);                                           \
  }
IOPKT_STATE_QUERY(res_nquery, false)
IOPKT_STATE_QUERY(res_nsearch, true)
IOPKT_EXPORT int res_send(const unsigned char* question, int length, unsigned char* answer, int room) {
  return send_query(question, length, answer, room);
}
IOPKT_EXPORT int __res_send(const unsigned char* question, int length, unsigned char* answer, int room) {
  return send_query(question, length, answer, room);
}
IOPKT_EXPORT int res_nsend(res_state, const unsigned char* question, int length, unsigned char* answer,
                           int room) {
  return send_query(question, length, answer, room);
}
IOPKT_EXPORT int __res_nsend(res_state, const unsigned char* question, int length, unsigned char* answer,
                             int room) {
  return send_query(question, length, answer, room);
}
