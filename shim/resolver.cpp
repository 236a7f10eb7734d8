// DNS with c-ares. Its sockets are made with the functions that this library defines.
#include "shim/resolver.hpp"

#include <ares.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>

#include "client/paths.hpp"
#include "shim/process.hpp"

extern "C" int __nss_configure_lookup(const char* database, const char* services);

namespace iopkt::shim {

bool stack_has_inet6() {
  sockaddr_un node;
  return client::node_address(settings().prefix, ipc::kStreamNode6, node) != 0 && access(node.sun_path, F_OK) == 0;
}

void confine_libc_resolver() {
  if (!settings().kernel_inet) __nss_configure_lookup("hosts", "files");
}

namespace {

/// A channel for one lookup: state is not shared between threads, and /etc/resolv.conf is read anew.
class Channel {
 public:
  explicit Channel(Names where = Names::dns) {
    ares_options options{};
    char lookups[] = {static_cast<char>(where), 0};
    options.lookups = lookups;
    ready_ = ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS &&
             ares_init_options(&channel_, &options, ARES_OPT_LOOKUPS) == ARES_SUCCESS;
  }
  ~Channel() {
    if (ready_) ares_destroy(channel_);
  }
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  bool ready() const { return ready_; }
  ares_channel get() const { return channel_; }

  /// Works until nothing is asked any more; every callback has then been called.
  void run() {
    for (;;) {
      ares_socket_t sockets[ARES_GETSOCK_MAXNUM];
      const int bits = ares_getsock(channel_, sockets, ARES_GETSOCK_MAXNUM);
      pollfd wait[ARES_GETSOCK_MAXNUM];
      nfds_t count = 0;
      for (int i = 0; i < ARES_GETSOCK_MAXNUM; ++i) {
        const auto n = static_cast<unsigned>(i);
        const bool in = ARES_GETSOCK_READABLE(static_cast<unsigned>(bits), n) != 0;
        const bool out = ARES_GETSOCK_WRITABLE(static_cast<unsigned>(bits), n) != 0;
        if (!in && !out) continue;
        wait[count++] = {.fd = sockets[i],
                         .events = static_cast<short>((in ? POLLIN : 0) | (out ? POLLOUT : 0)),
                         .revents = 0};
      }
      timeval limit{};
      timeval* const left = ares_timeout(channel_, nullptr, &limit);
      if (count == 0 && left == nullptr) return;
      const int ms =
          left == nullptr ? -1 : static_cast<int>(left->tv_sec * 1000 + (left->tv_usec + 999) / 1000);
      const int ready = poll(wait, count, ms);
      if (ready < 0 && errno != EINTR) return;
      for (nfds_t i = 0; ready > 0 && i < count; ++i) {
        if (wait[i].revents == 0) continue;
        const bool in = (wait[i].revents & ~POLLOUT) != 0;
        ares_process_fd(channel_, in ? wait[i].fd : ARES_SOCKET_BAD,
                        (wait[i].revents & POLLOUT) != 0 ? wait[i].fd : ARES_SOCKET_BAD);
      }
      if (ready <= 0) ares_process_fd(channel_, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    }
  }

 private:
  ares_channel channel_{};
  bool ready_ = false;
};

int eai_of(int status) {
  switch (status) {
    case ARES_SUCCESS:
      return 0;
    case ARES_ENOTFOUND:
      return EAI_NONAME;
    case ARES_ENODATA:
      return EAI_NODATA;
    case ARES_EBADNAME:
      return EAI_NONAME;
    case ARES_ENOMEM:
      return EAI_MEMORY;
    case ARES_ETIMEOUT:
    case ARES_ECONNREFUSED:
    case ARES_ESERVFAIL:
      return EAI_AGAIN;
    default:
      return EAI_FAIL;
  }
}

struct Lookup {
  Found* out;
  int status;
};

void copy_name(Found& out, const char* name) {
  if (name == nullptr) return;
  strncpy(out.name, name, sizeof out.name - 1);
  out.name[sizeof out.name - 1] = 0;
}

void on_addresses(void* argument, int status, int, ares_addrinfo* result) {
  Lookup& lookup = *static_cast<Lookup*>(argument);
  lookup.status = status;
  if (status != ARES_SUCCESS) return;
  if (result->cnames != nullptr) copy_name(*lookup.out, result->cnames->name);
  for (const ares_addrinfo_node* node = result->nodes; node != nullptr; node = node->ai_next) {
    if (lookup.out->count == kAddressesMax) break;
    Found::Address address{.family = node->ai_family, .value = {}};
    if (node->ai_family == AF_INET) {
      memcpy(&address.value, &reinterpret_cast<const sockaddr_in*>(node->ai_addr)->sin_addr, sizeof(in_addr));
    } else if (node->ai_family == AF_INET6) {
      memcpy(&address.value, &reinterpret_cast<const sockaddr_in6*>(node->ai_addr)->sin6_addr, sizeof(in6_addr));
    } else {
      continue;
    }
    lookup.out->addresses[lookup.out->count++] = address;
  }
  ares_freeaddrinfo(result);
}

void on_host(void* argument, int status, int, hostent* host) {
  Lookup& lookup = *static_cast<Lookup*>(argument);
  lookup.status = status;
  if (status == ARES_SUCCESS) copy_name(*lookup.out, host->h_name);
}

struct Raw {
  unsigned char* answer;
  int room;
  int length;
  int status;
};

void on_raw(void* argument, int status, int, unsigned char* bytes, int length) {
  Raw& raw = *static_cast<Raw*>(argument);
  raw.status = status;
  if (bytes == nullptr) return;  // else also with NXDOMAIN, whose answer libc gives, too
  raw.length = length;
  memcpy(raw.answer, bytes, static_cast<std::size_t>(std::min(length, raw.room)));
}

int finish(const Raw& raw) {
  if (raw.status == ARES_SUCCESS) return raw.length;
  switch (eai_of(raw.status)) {
    case EAI_NONAME:
      h_errno = HOST_NOT_FOUND;
      break;
    case EAI_NODATA:
      h_errno = NO_DATA;
      break;
    case EAI_AGAIN:
      h_errno = TRY_AGAIN;
      break;
    default:
      h_errno = NO_RECOVERY;
      break;
  }
  return -1;
}

}  // namespace

int resolve_name(const char* name, int family, Found& out, Names where) {
  out.count = 0;
  copy_name(out, name);
  Channel channel{where};
  if (!channel.ready()) return EAI_FAIL;
  Lookup lookup{&out, ARES_ENOTFOUND};
  ares_addrinfo_hints hints{};
  hints.ai_family = family;
  // c-ares sorts by asking its own sockets, the stack's, for the source that each address would get (RFC 6724 section 6).
  hints.ai_flags = ARES_AI_CANONNAME;
  ares_getaddrinfo(channel.get(), name, nullptr, &hints, on_addresses, &lookup);
  channel.run();
  if (lookup.status == ARES_SUCCESS && out.count == 0) return EAI_NODATA;
  return eai_of(lookup.status);
}

int resolve_address(const void* address, int family, Found& out) {
  out.count = 0;
  Channel channel;
  if (!channel.ready()) return EAI_FAIL;
  Lookup lookup{&out, ARES_ENOTFOUND};
  ares_gethostbyaddr(channel.get(), address, family == AF_INET6 ? sizeof(in6_addr) : sizeof(in_addr), family, on_host,
                     &lookup);
  channel.run();
  return eai_of(lookup.status);
}

int query(const char* name, int dns_class, int type, unsigned char* answer, int room, bool search) {
  Raw raw{answer, room, 0, ARES_ESERVFAIL};
  Channel channel;
  if (channel.ready()) {
    (search ? ares_search : ares_query)(channel.get(), name, dns_class, type, on_raw, &raw);
    channel.run();
  }
  return finish(raw);
}

int send_query(const unsigned char* question, int length, unsigned char* answer, int room) {
  Raw raw{answer, room, 0, ARES_ESERVFAIL};
  Channel channel;
  if (channel.ready()) {
    ares_send(channel.get(), question, length, on_raw, &raw);
    channel.run();
  }
  // Any answer is an answer here; what it says is the caller's to read.
  return raw.length > 0 ? raw.length : finish(raw);
}

}  // namespace iopkt::shim
