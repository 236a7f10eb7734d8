// The process's control connection, links and arenas.
#include "shim/process.hpp"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>

#include "ipc/nodes.hpp"
#include "shim/confine.hpp"
#include "shim/exec.hpp"
#include "shim/fork.hpp"
#include "shim/native.hpp"

namespace iopkt::shim {

constinit Arena g_arenas[Entry::kArenasMax];

namespace {

constexpr std::size_t kLinksMax = 32;
constinit Link g_links[kLinksMax];
constinit std::size_t g_link_count = 0;                 ///< under the lock
constinit std::atomic<Link*> g_link{nullptr};           ///< the current one
constinit std::atomic<std::uint32_t> g_arena_end{0};    ///< one above the highest arena in use
constinit client::Channel g_channel;                    ///< under the lock
constinit client::Channel g_vfork_channel;              ///< under the lock
constinit std::atomic<bool> g_channel_fd_known{false};  ///< g_channel is open, for who does not hold the lock
alignas(64) constinit std::byte g_scratch[ipc::kMessageMax];  ///< under the lock

// ---------------------------------------------------------------------------------------------- the lock

constinit std::atomic<std::uint32_t> g_lock{0};  ///< 0 free, 1 held, 2 held and waited for

void futex(std::atomic<std::uint32_t>& word, int op, std::uint32_t value) {
  syscall(SYS_futex, &word, op | FUTEX_PRIVATE_FLAG, value, nullptr, nullptr, 0);
}
void lock() {
  std::uint32_t free = 0;
  if (g_lock.compare_exchange_strong(free, 1, std::memory_order_acquire)) return;
  while (g_lock.exchange(2, std::memory_order_acquire) != 0) futex(g_lock, FUTEX_WAIT, 2);
}
void unlock() {
  if (g_lock.exchange(0, std::memory_order_release) == 2) futex(g_lock, FUTEX_WAKE, 1);
}

// ---------------------------------------------------------------------------------------------- links

bool new_link(const client::Channel::Greeting& greeting) {
  if (g_link_count == kLinksMax) return false;
  Link& link = g_links[g_link_count];
  link.control = ipc::map_control(greeting.fds[0]);
  if (!link.control) return false;
  link.status = ipc::map_status(greeting.fds[1]);
  if (!link.status) {
    ipc::unmap(link.control);
    return false;
  }
  link.client_id = greeting.answer.client_id;
  link.secret = greeting.answer.secret;
  link.shard_count = greeting.answer.shard_count;
  for (std::uint32_t i = 0; i < link.shard_count; ++i) link.event_fds[i] = hide_fd(greeting.fds[2 + i]);
  native::close(greeting.fds[0]);
  native::close(greeting.fds[1]);
  remember_client(link.client_id, link.secret);
  ++g_link_count;
  g_link.store(&link, std::memory_order_release);
  return true;
}

void close_all(const client::Channel::Greeting& greeting) {
  for (std::size_t i = 0; i < greeting.fd_count; ++i) native::close(greeting.fds[i]);
}

void close_channel() {
  set_entry(g_channel.fd(), {});
  g_channel.close();
  g_channel_fd_known.store(false, std::memory_order_relaxed);
}

int adopt_channel_fd() {
  g_channel.moved_to(hide_fd(g_channel.fd()));
  g_channel_fd_known.store(true, std::memory_order_relaxed);
  return 0;
}

/// A forked child goes on as its parent's client, so that the sockets that it inherited stay usable.
bool join_parent(client::Channel& channel) {
  Link* link = g_link.load(std::memory_order_relaxed);
  if (link == nullptr || !link->alive()) return false;
  client::Channel::Greeting greeting;
  const client::Identity identity{.parent_client = link->client_id, .parent_secret = link->secret};
  if (channel.open(settings().prefix, identity, greeting) != 0) return false;
  close_all(greeting);  // the same that the parent got
  if (greeting.answer.client_id == link->client_id) return true;
  channel.close();
  return false;
}

/// The first connection of a program that another one has exec'ed: it belongs to the same client, if the
/// stack still knows it.
int open_as_heir_or_new(client::Channel::Greeting& greeting) {
  unsigned client = 0;
  unsigned long secret = 0;
  if (g_link_count == 0 && client_to_join(client, secret)) {
    const client::Identity heir{.parent_client = client, .parent_secret = secret};
    if (g_channel.open(settings().prefix, heir, greeting) == 0) return 0;
  }
  return g_channel.open(settings().prefix, {}, greeting);
}

int open_channel() {
  if (join_parent(g_channel)) return adopt_channel_fd();
  client::Channel::Greeting greeting;
  int error = open_as_heir_or_new(greeting);
  if (error == 0 && !new_link(greeting)) {
    error = ENFILE;
    close_all(greeting);
    g_channel.close();
  }
  if (error == 0) return adopt_channel_fd();

  static constinit std::atomic<bool> once{false};
  char where[160];
  snprintf(where, sizeof where, "%s%.*s: %s", settings().prefix, static_cast<int>(ipc::kSocketFolder.size()),
           ipc::kSocketFolder.data(), strerrordesc_np(error));
  say(once, "no stack to serve sockets (SOCK selects it) at ", where);
  if (error == ENOENT || error == ECONNREFUSED || error == ENOTDIR) return EAFNOSUPPORT;
  if (error == EACCES || error == EPERM || error == EMFILE || error == ENFILE || error == ENOMEM)
    return error;
  return ENETDOWN;
}

}  // namespace

// ---------------------------------------------------------------------------------------------- guards

NoSignals::NoSignals() {
  const std::uint64_t all = ~std::uint64_t{0};
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &saved_, sizeof saved_);
}
NoSignals::~NoSignals() { syscall(SYS_rt_sigprocmask, SIG_SETMASK, &saved_, nullptr, sizeof saved_); }

KeepErrno::KeepErrno() : saved_(errno) {}
KeepErrno::~KeepErrno() { errno = saved_; }

// ---------------------------------------------------------------------------------------------- sockets

Socket socket_of(Entry entry) {
  const Arena& arena = g_arenas[entry.arena()];
  std::byte* base = arena.base.load(std::memory_order_acquire);
  const auto& header = *reinterpret_cast<const ipc::ArenaHeader*>(base);
  return {.slot = &ipc::slot_at(base, header, entry.index()),
          .arena = base,
          .arena_size = arena.size,
          .link = arena.link,
          .name = ipc::slot_name(arena.id, entry.index()),
          .number = header.first_slot + entry.index(),
          .datagram = entry.datagram()};
}

int find_arena(const Link* link, std::uint32_t id) {
  const std::uint32_t end = g_arena_end.load(std::memory_order_acquire);
  // Newest first: that is where the last slot came from.
  for (std::uint32_t i = end; i-- > 0;) {
    const Arena& arena = g_arenas[i];
    if (arena.base.load(std::memory_order_acquire) != nullptr && arena.id == id && arena.link == link)
      return static_cast<int>(i);
  }
  return -1;
}

// ---------------------------------------------------------------------------------------------- requests

Request::Request() {
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state_);
  prepare_process();
  lock();
  own_ = in_vfork_child();
  if (own_) {
    error_ = join_parent(g_vfork_channel) ? 0 : ENETDOWN;
  } else if (!g_channel.is_open()) {
    error_ = open_channel();
  } else if (confined() && !link()->alive()) {
    // A plain call to nobody would raise SIGPIPE, and a filter may not let us open another.
    error_ = ENETDOWN;
  }
}

Request::~Request() {
  for (std::size_t i = 0; i < fd_count_; ++i)
    if (fds_[i] >= 0) native::close(fds_[i]);
  if (own_) g_vfork_channel.close();
  unlock();
  pthread_setcancelstate(cancel_state_, nullptr);
}

std::uint32_t urgent_count() {
  // What would have to be corrected may not be asked for.
  if (confined()) return 0;
  const Link* last = g_link.load(std::memory_order_acquire);
  std::uint32_t sum = 0;
  for (const Link* link = g_links; last != nullptr && link <= last; ++link)
    sum += ipc::control_header(link->control).urgent.load(std::memory_order_relaxed);
  return sum;
}

Link* Request::link() const { return g_link.load(std::memory_order_relaxed); }
client::Channel& Request::channel() { return own_ ? g_vfork_channel : g_channel; }
std::span<std::byte> Request::scratch() { return g_scratch; }

int Request::finish(const ipc::CallResult& result) {
  fd_count_ = result.fds < std::size(fds_) ? result.fds : std::size(fds_);
  if (result.transport != 0) {
    if (own_) {
      g_vfork_channel.close();
    } else {
      close_channel();
    }
    return ENETDOWN;
  }
  return result.error;
}

int Request::map_arena(std::uint32_t id) {
  const std::uint32_t end = g_arena_end.load(std::memory_order_relaxed);
  if (end == Entry::kArenasMax) return ENFILE;
  if (fd_count_ == 0) {
    ipc::Empty empty;
    if (const int error = call<ipc::MessageId::arena>({.arena_id = id, .reserved = 0}, empty); error != 0)
      return error;
    if (fd_count_ == 0) return EPROTO;
  }
  const ipc::Mapping mapping = ipc::map_arena(fds_[0]);
  native::close(fds_[0]);
  fd_count_ = 0;
  if (!mapping) return errno == ENOMEM ? ENOMEM : EPROTO;
  Arena& arena = g_arenas[end];
  arena.size = mapping.size;
  arena.link = link();
  arena.id = id;
  arena.base.store(mapping.base, std::memory_order_release);
  g_arena_end.store(end + 1, std::memory_order_release);
  return 0;
}

int Request::entry_from(const ipc::SlotAnswer& answer, bool datagram, Entry& out) {
  const std::uint32_t id = ipc::arena_of(answer.slot);
  const std::uint32_t index = ipc::index_of(answer.slot);
  int arena = find_arena(link(), id);
  if (arena < 0) {
    if (const int error = map_arena(id); error != 0) return error;
    arena = find_arena(link(), id);
  }
  const auto& header =
      *reinterpret_cast<const ipc::ArenaHeader*>(g_arenas[arena].base.load(std::memory_order_relaxed));
  if (index >= header.slot_count || index >= Entry::kArenaSlotsMax) return EPROTO;
  out =
      Entry::make(static_cast<std::uint32_t>(arena), index, Entry::kOurs | (datagram ? Entry::kDatagram : 0));
  return 0;
}

// ---------------------------------------------------------------------------------------------- fork

void lock_for_fork() { lock(); }
void unlock_after_fork_in_parent() { unlock(); }
void restart_after_fork_in_child() {
  g_lock.store(0, std::memory_order_relaxed);
  if (!g_channel.is_open()) return;
  // The parent's connection: answers on it are the parent's.
  set_entry(g_channel.fd(), {});
  native::close(g_channel.fd());
  g_channel.forget();
  g_channel_fd_known.store(false, std::memory_order_relaxed);
}

void speak_plainly() {
  const NoSignals no_signals;
  lock();
  g_channel.use_plain_calls();
  unlock();
}

bool has_connection() { return g_channel_fd_known.load(std::memory_order_relaxed); }

bool has_stack() {
  const Link* link = g_link.load(std::memory_order_acquire);
  return link != nullptr && link->alive();
}

void connect_before_losing_rights() {
  if (g_link.load(std::memory_order_acquire) == nullptr) return;
  const KeepErrno keep;
  const Request request;
}

// ---------------------------------------------------------------------------------------------- the rest

int hide_fd(int fd) {
  rlimit limit{};
  long from = 64;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    // Below 1024: a higher number would make the kernel grow the process's descriptor table for it.
    from = static_cast<long>(limit.rlim_cur < 1024 ? limit.rlim_cur : 1024) - 40;
  }
  const int moved = from > fd ? native::fcntl(fd, F_DUPFD_CLOEXEC, from) : -1;
  if (moved >= 0) {
    native::close(fd);
    fd = moved;
  }
  set_entry(fd, Entry::make(0, 0, Entry::kHidden));
  return fd;
}

bool move_hidden(int fd) {
  const NoSignals no_signals;
  lock();
  const int moved = native::fcntl(fd, F_DUPFD_CLOEXEC, fd + 1);
  if (moved >= 0) {
    set_entry(moved, Entry::make(0, 0, Entry::kHidden));
    if (g_channel.fd() == fd) g_channel.moved_to(moved);
    // A thread that reads the old number at this moment rings a descriptor that is still the same: it is
    // closed last.
    for (Link& link : g_links)
      for (std::uint32_t i = 0; i < link.shard_count; ++i)
        if (link.event_fds[i] == fd) link.event_fds[i] = moved;
    set_entry(fd, {});
    native::close(fd);
  }
  unlock();
  return moved >= 0;
}

namespace {

bool names(const char* list, std::string_view word) {
  std::string_view rest{list};
  while (!rest.empty()) {
    const std::size_t comma = rest.find(',');
    if (rest.substr(0, comma) == word) return true;
    if (comma == std::string_view::npos) return false;
    rest.remove_prefix(comma + 1);
  }
  return false;
}

Settings read_settings() {
  Settings s{};
  const char* quiet = getenv("IOPKT_QUIET");
  s.quiet = quiet != nullptr && *quiet != 0 && strcmp(quiet, "0") != 0;
  if (const char* kernel = getenv("IOPKT_KERNEL")) {
    s.kernel_inet = names(kernel, "inet");
    s.kernel_inet6 = names(kernel, "inet6");
    s.kernel_packet = names(kernel, "packet");
    s.kernel_netlink = names(kernel, "netlink");
  }
  s.preloaded = names_library(getenv("LD_PRELOAD"));
  // The program may change its working directory; SOCK keeps its meaning.
  prefix_from(getenv("SOCK"), s.prefix);
  return s;
}

}  // namespace

void prefix_from(const char* sock, Prefix& out) {
  memset(out, 0, sizeof out);
  if (sock == nullptr || *sock == 0) return;
  char cwd[PATH_MAX] = "";
  if (*sock != '/' && getcwd(cwd, sizeof cwd - 1) != nullptr) strcat(cwd, "/");
  // What does not fit is too long for a node's address anyway, and stays too long.
  if (strlen(cwd) + strlen(sock) < sizeof out) {
    strcat(strcat(out, cwd), sock);
  } else {
    memset(out, 'x', sizeof out - 1);
  }
  for (std::size_t n = strlen(out); n > 0 && out[n - 1] == '/'; --n) out[n - 1] = 0;
}

bool names_library(const char* preload) {
  Dl_info self{};
  if (preload == nullptr || dladdr(reinterpret_cast<const void*>(&names_library), &self) == 0 ||
      self.dli_fname == nullptr)
    return false;
  const auto file_of = [](std::string_view path) { return path.substr(path.rfind('/') + 1); };
  const std::string_view own = file_of(self.dli_fname);
  std::string_view rest{preload};
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find_first_of(": "), rest.size());
    if (file_of(rest.substr(0, end)) == own) return true;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return false;
}

const Settings& settings() {
  // Read by the constructor, before there are threads; until then by whoever comes first.
  static constinit Settings kept{};
  static constinit std::atomic<bool> ready{false};
  if (!ready.load(std::memory_order_acquire)) {
    kept = read_settings();
    ready.store(true, std::memory_order_release);
  }
  return kept;
}

void say(std::atomic<bool>& once, std::string_view what, std::string_view detail) {
  if (settings().quiet || once.exchange(true)) return;
  if (entry_of(STDERR_FILENO).ours())
    return;  // standard error is a connection: our line would be in its data
  const KeepErrno keep;
  static constexpr std::string_view kWho = "libiopkt-socket: ";
  const std::string_view parts[] = {kWho, what, detail, "\n"};
  char line[512];
  std::size_t n = 0;
  for (const std::string_view part : parts) n += part.copy(line + n, sizeof line - n);
  // Nothing can be done if standard error takes no line.
  if (native::write(STDERR_FILENO, line, n) < 0) return;
}

}  // namespace iopkt::shim
