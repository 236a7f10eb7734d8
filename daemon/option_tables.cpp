// The rows themselves. A default, a bound or a help text stands here and nowhere else.
#include "option_tables.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <climits>

namespace iopkt::daemon {
namespace {

constexpr std::int64_t kInstanceMax = 65535;
constexpr std::int64_t kListMax =
    65536;  // entries in a cache or a set of contexts: far above any use, below any overflow
constexpr std::int64_t kStackMax = std::int64_t{64} << 20;

constexpr std::array kCommandOptions{
    CommandOption{
        {.name = "-D",
         .help = "Run client requests and the protocol layer (everything above layer 2) on one dedicated "
                 "thread. The -t threads keep layer 2."},
        {},
        &Options::dedicated_stack_thread},
    CommandOption{
        {.name = "-d",
         .argument = Argument::text,
         .value_name = "driver [options]",
         .help = "Start a driver. \"devnp-\" and \".so\" may be left out; a full path is taken as it is. "
                 "The next word, unless it begins with '-', is the comma-separated list of the driver's "
                 "options. May be repeated."}},
    CommandOption{
        {.name = "-I",
         .help = "Take no hardware I/O privilege: CAP_SYS_RAWIO is given up before any driver is loaded; a "
                 "driver that needs it cannot start."},
        {},
        &Options::no_io_privilege},
    CommandOption{
        {.name = "-i",
         .argument = Argument::number,
         .value_name = "instance",
         .max = kInstanceMax,
         .help = "Number of this stack. It serves mount requests of type io-pktN; number 0 also answers to "
                 "io-pkt. A second process with the same number is refused."},
        &Options::instance},
    CommandOption{
        {.name = "-P",
         .argument = Argument::number,
         .value_name = "priority",
         .initial = 21,
         .min = 1,
         .max = 255,
         .help = "Priority of the main thread: SCHED_RR when this option is given and the system permits it, "
                 "else the default scheduler and one log line. Above 99 means 99."},
        &Options::main_priority},
    CommandOption{
        {.name = "-p",
         .argument = Argument::text,
         .value_name = "protocol [options]",
         .help = "Start a protocol, or pass options to one. The next word, unless it begins with '-', is "
                 "its comma-separated list of options; lists for the same protocol add up and a later "
                 "value wins. TCP/IP is always there."}},
    CommandOption{
        {.name = "-q",
         .argument = Argument::number,
         .value_name = "interval",
         .unit = "seconds",
         .min = 1,
         .max = 5,
         .default_text = "off",
         .built = Built::later,
         .help = "Quiesce watchdog: panic when quiesce_all is not followed by unquiesce_all in time."},
        &Options::quiesce_watchdog_s},
    CommandOption{{.name = "-r",
                   .argument = Argument::number,
                   .value_name = "priority",
                   .initial = 22,
                   .min = 1,
                   .max = 63,
                   .built = Built::later,
                   .help = "Priority of the watchdog thread; it should be above all others."},
                  &Options::watchdog_priority},
    CommandOption{
        {.name = "-S",
         .help = "Install no SIGSEGV handler. By default the drivers are stopped and the interfaces "
                 "restored before the core is written."},
        {},
        &Options::no_sigsegv_handler},
    CommandOption{
        {.name = "-t",
         .argument = Argument::number,
         .value_name = "threads",
         .unit = "threads",
         .min = 1,
         .max = 64,
         .default_text = "one per CPU",
         .help = "Packet-processing threads. More than there are CPUs is allowed, with a log line."},
        &Options::threads},
    CommandOption{{.name = "-U",
                   .argument = Argument::text,
                   .value_name = "string",
                   .accepts = is_drop_user,
                   .allowed = "uid[:gid[,sup_gid]*] or user_name[,sup_gid]*",
                   .default_text = "99:99,120",
                   .built = Built::later,
                   .help = "User and groups to become when told to stop running as root (sysctl "
                           "qnx.kern.droproot)."},
                  {},
                  {},
                  &Options::drop_user},
    CommandOption{
        {.name = "-u",
         .argument = Argument::text,
         .value_name = "string",
         .accepts = is_node_access,
         .allowed =
             "type,uid:gid,mode with an octal mode and type one of all, bpf, crypto, pf, socket, tap, tun",
         .help = "Owner and mode of the nodes of one type. May be repeated; a later one overrides. "
                 "Types that have no node yet (all but all and socket) are refused."}},
    CommandOption{
        {.name = "-w",
         .argument = Argument::number,
         .value_name = "interval",
         .unit = "seconds",
         .min = 1,
         .max = 5,
         .default_text = "off",
         .built = Built::later,
         .help =
             "Watchdog: panic when the stack's clock, or one of its threads, stands still for this long."},
        &Options::watchdog_s},
    CommandOption{
        {.name = "--foreground",
         .help = "Stay in the foreground and log to standard error. By default the process goes to the "
                 "background once everything is up and logs to the system. A service manager that sets "
                 "NOTIFY_SOCKET implies this option."},
        {},
        &Options::foreground},
    CommandOption{
        {.name = "--help",
         .also = {"-h"},
         .help = "Print every option with its range and default. Behind -d driver also the driver's own."}},
    CommandOption{{.name = "--man", .help = "Print the manual page in man(7) format."}},
    CommandOption{{.name = "--version", .help = "Print the version."}},
};

constexpr std::array kTcpipOptions{
    TcpipOption{{.name = "bigpage_strict",
                 .help = "Use the pagesize quantum for every pool, not only for the mbuf and cluster pools."},
                {},
                &TcpipConfig::bigpage_strict},
    TcpipOption{{.name = "bigstack",
                 .argument = Argument::optional_number,
                 .value_name = "size",
                 .unit = "bytes",
                 .min = 32768,
                 .max = kStackMax,
                 .when_bare = 131072,
                 .default_text = "off; 131072 without a size",
                 .help = "Load drivers on a stack of this size instead of one of stacksize."},
                &TcpipConfig::bigstack},
    TcpipOption{{.name = "cache",
                 .argument = Argument::number,
                 .value_name = "0|1",
                 .initial = 1,
                 .max = 1,
                 .help = "0: no per-thread caches of packet buffers at all, for debugging."},
                &TcpipConfig::cache},
    TcpipOption{{.name = "confstr_monitor",
                 .built = Built::later,
                 .help = "Follow changes of the host name. By default it is read once at start."},
                {},
                &TcpipConfig::confstr_monitor},
    TcpipOption{
        {.name = "fastforward",
         .argument = Argument::number,
         .value_name = "0|1",
         .max = 1,
         .default_text = "as forward",
         .built = Built::later,
         .help =
             "Flow-cached forwarding path. 1 also enables forward; forward,fastforward=0 forwards without "
             "it."},
        &TcpipConfig::fastforward},
    TcpipOption{{.name = "forward",
                 .help = "Forward IPv4 packets between interfaces."},
                {},
                &TcpipConfig::forward},
    TcpipOption{{.name = "forward6",
                 .help = "Forward IPv6 packets between interfaces. io-pkt-v6-hc only."},
                {},
                &TcpipConfig::forward6},
    TcpipOption{
        {.name = "ipid_reserved",
         .argument = Argument::number,
         .value_name = "number",
         .max = 32768,
         .accepts = is_power_of_two_or_zero,
         .allowed = "0, or a power of two from 2 to 32768",
         .help = "IPv4 identifiers from 0 to this number are never used, not even 0 in a datagram that must "
                 "not be fragmented. 0: none is reserved."},
        &TcpipConfig::ipid_reserved},
    TcpipOption{
        {.name = "ipsec", .built = Built::later, .help = "IPsec processing."}, {}, &TcpipConfig::ipsec},
    TcpipOption{{.name = "mbuf_cache",
                 .argument = Argument::number,
                 .value_name = "number",
                 .unit = "mbufs",
                 .initial = 512,
                 .max = kListMax,
                 .help = "Free mbufs kept per thread for the next allocation."},
                &TcpipConfig::mbuf_cache},
    TcpipOption{
        {.name = "mclbytes",
         .argument = Argument::number,
         .value_name = "size",
         .unit = "bytes",
         .initial = 2048,
         .min = 2048,
         .max = 65536,
         .adjust = round_down_pow2,
         .allowed = "2048..65536 bytes, at most pagesize",
         .help = "Size of a packet cluster, rounded down to a power of two. A larger packet takes several."},
        &TcpipConfig::mclbytes},
    TcpipOption{{.name = "mfib_gid_map",
                 .argument = Argument::text,
                 .value_name = "gid_fib[;gid_fib]*",
                 .accepts = is_fib_map,
                 .allowed = "gid_fib[;gid_fib]* with FIB 0..15",
                 .built = Built::later,
                 .help = "FIB of the sockets that a member of the group opens; supplementary groups count."},
                {},
                {},
                &TcpipConfig::mfib_gid_map},
    TcpipOption{{.name = "mtag_cache",
                 .argument = Argument::number,
                 .value_name = "number",
                 .unit = "tags",
                 .initial = 128,
                 .max = kListMax,
                 .help = "Free packet tags of at most 16 bytes kept per thread for the next allocation."},
                &TcpipConfig::mtag_cache},
    TcpipOption{{.name = "num_pool_cache",
                 .argument = Argument::number,
                 .value_name = "number",
                 .unit = "caches",
                 .initial = 1,
                 .min = 1,
                 .max = 20,
                 .help = "Pool caches of the mbuf and of the cluster pool."},
                &TcpipConfig::num_pool_cache},
    TcpipOption{{.name = "num_tap_interface",
                 .argument = Argument::number,
                 .value_name = "number",
                 .unit = "interfaces",
                 .initial = 5,
                 .max = 1024,
                 .built = Built::later,
                 .help = "Most TAP interfaces that can be created."},
                &TcpipConfig::num_tap_interface},
    TcpipOption{{.name = "num_tun_control_interface",
                 .argument = Argument::number,
                 .value_name = "number",
                 .unit = "nodes",
                 .initial = 4,
                 .max = 1024,
                 .built = Built::later,
                 .help = "TUN control nodes (/dev/tun0 ...) created at start."},
                &TcpipConfig::num_tun_control_interface},
    TcpipOption{{.name = "pagesize",
                 .argument = Argument::number,
                 .value_name = "size",
                 .unit = "bytes",
                 .initial = 131072,
                 .min = 4096,
                 .max = std::int64_t{16} << 20,
                 .page_bound = true,
                 .adjust = round_down_pow2,
                 .help = "Allocation quantum of the mbuf and cluster pools, rounded down to a power of two."},
                &TcpipConfig::pagesize},
    TcpipOption{{.name = "pfil_ipsec",
                 .built = Built::later,
                 .help = "The packet filter sees packets before encryption and after decryption."},
                {},
                &TcpipConfig::pfil_ipsec},
    TcpipOption{{.name = "pkt_cache",
                 .argument = Argument::number,
                 .value_name = "number",
                 .unit = "pairs",
                 .initial = 512,
                 .max = kListMax,
                 .help = "Free pairs of mbuf and cluster kept per thread for the next allocation."},
                &TcpipConfig::pkt_cache},
    TcpipOption{{.name = "pkt_typed_mem",
                 .argument = Argument::text,
                 .value_name = "object",
                 .accepts = is_memory_object,
                 .allowed = "ram, ram/dma, hugetlb/2M, hugetlb/1G, node/N, or a path",
                 .built = Built::later,
                 .help = "Take packet buffers from the named memory object."},
                {},
                {},
                &TcpipConfig::pkt_typed_mem},
    TcpipOption{
        {.name = "prefix",
         .argument = Argument::text,
         .value_name = "/path",
         .accepts = is_prefix_path,
         .allowed = "a path that begins with '/'",
         .default_text = "none",
         .help = "Prepended to /dev/socket, where clients find the stack; they set SOCK to the same path. A "
                 "second process with the same path is refused."},
        {},
        {},
        &TcpipConfig::prefix},
    TcpipOption{{.name = "recv_ctxt",
                 .argument = Argument::number,
                 .value_name = "size",
                 .unit = "bytes",
                 .initial = 65536,
                 .min = 2048,
                 .max = std::int64_t{16} << 20,
                 .help = "Receive buffer of one request context; of more than 65536 bytes that many are used. A larger request "
                         "is taken in parts."},
                &TcpipConfig::recv_ctxt},
    TcpipOption{
        {.name = "reply_ctxt",
         .argument = Argument::number,
         .value_name = "number",
         .unit = "buffers",
         .initial = 90,
         .min = 32,
         .max = IOV_MAX,
         .help = "Buffers in one reply operation to a client. A larger reply takes several operations."},
        &TcpipConfig::reply_ctxt},
    TcpipOption{
        {.name = "reuseport_unicast",
         .help = "Copy a unicast UDP datagram to every SO_REUSEPORT socket of its port. By default only "
                 "multicast and broadcast are copied."},
        {},
        &TcpipConfig::reuseport_unicast},
    TcpipOption{{.name = "rx_prio",
                 .also = {"rx_pulse_prio", "rx_prio_pulse"},
                 .argument = Argument::number,
                 .value_name = "priority",
                 .initial = 21,
                 .min = 1,
                 .max = 63,
                 .help = "Priority of the receive threads, as -P. A driver's own option wins."},
                &TcpipConfig::rx_prio},
    TcpipOption{{.name = "smmu",
                 .argument = Argument::text,
                 .value_name = "0|1|off|on",
                 .default_text = "off",
                 .help = "on: exit unless an IOMMU is there. An invalid value is logged and means off."},
                {},
                {},
                &TcpipConfig::smmu},
    TcpipOption{{.name = "so_txprio_enable",
                 .built = Built::later,
                 .help = "Allow the socket option SO_TXPRIO. Without it setsockopt answers EOPNOTSUPP."},
                {},
                &TcpipConfig::so_txprio_enable},
    TcpipOption{{.name = "somaxconn",
                 .argument = Argument::number,
                 .value_name = "number",
                 .unit = "connections",
                 .initial = SOMAXCONN,
                 .min = SOMAXCONN,
                 .max = 65535,
                 .help = "Upper bound of the queue that listen() asks for."},
                &TcpipConfig::somaxconn},
    TcpipOption{
        {.name = "stackguard",
         .help =
             "Put a guard page below each stack; stacksize is rounded up to whole pages, with a log line."},
        {},
        &TcpipConfig::stackguard},
    TcpipOption{
        {.name = "stacksize",
         .argument = Argument::number,
         .value_name = "size",
         .unit = "bytes",
         .initial = 65536,
         .min = 32768,
         .max = kStackMax,
         .raise_to_min = true,
         .help = "Stack of each request context. What is too small for this platform is raised, with a log "
                 "line."},
        &TcpipConfig::stacksize},
    TcpipOption{{.name = "strict_ts",
                 .built = Built::later,
                 .help = "BPF time stamps from the stack's timer: 1 ms, never backwards."},
                {},
                &TcpipConfig::strict_ts},
    TcpipOption{{.name = "threads_incr",
                 .argument = Argument::number,
                 .value_name = "number",
                 .unit = "contexts",
                 .initial = 25,
                 .min = 1,
                 .max = kListMax,
                 .help = "Functional connections added when all are in use, up to threads_max."},
                &TcpipConfig::threads_incr},
    TcpipOption{
        {.name = "threads_max",
         .argument = Argument::number,
         .value_name = "number",
         .unit = "contexts",
         .initial = 200,
         .min = 4,
         .max = kListMax,
         .help =
             "Most functional connections (blocking operations in service). Beyond it a log line, and the "
             "operation waits."},
        &TcpipConfig::threads_max},
    TcpipOption{{.name = "threads_min",
                 .argument = Argument::number,
                 .value_name = "number",
                 .unit = "contexts",
                 .initial = 15,
                 .min = 4,
                 .max = kListMax,
                 .allowed = "4..65536 contexts, at most threads_max",
                 .help = "Functional connections at start."},
                &TcpipConfig::threads_min},
    TcpipOption{{.name = "timer_pulse_prio",
                 .argument = Argument::number,
                 .value_name = "priority",
                 .initial = 21,
                 .min = 1,
                 .max = 63,
                 .help = "Priority of the timer, as -P."},
                &TcpipConfig::timer_pulse_prio},
};

constexpr std::array kGenericDriverOptions{
    OptionRow{.name = "mac",
              .argument = Argument::text,
              .value_name = "address",
              .accepts = is_station_address,
              .allowed = "twelve hexadecimal digits, with or without colons, not a group address",
              .default_text = "the device's",
              .help = "Station address."},
    OptionRow{.name = "mtu",
              .argument = Argument::number,
              .value_name = "size",
              .unit = "bytes",
              .min = 68,
              .max = 65535,
              .default_text = "the device's",
              .help = "Largest payload of a frame; the driver may allow less."},
    OptionRow{
        .name = "name",
        .argument = Argument::text,
        .value_name = "prefix",
        .accepts = is_interface_prefix,
        .allowed =
            "a letter, then letters, digits and '_', no digit at the end, at most 14, and not the prefix "
            "of created interfaces",
        .default_text = "the driver's",
        .help = "Prefix of the interface's name; the number follows."},
    OptionRow{.name = "unit",
              .argument = Argument::number,
              .value_name = "number",
              .min = 0,
              .max = 32767,
              .default_text = "the first that is free",
              .help = "Number of the interface. A negative number is ignored."},
    OptionRow{.name = "verbose",
              .argument = Argument::optional_number,
              .value_name = "level",
              .max = 10,
              .when_bare = 1,
              .help = "How much the driver logs."},
};

/// What chooses one of several devices on USB. A driver for such devices has these rows in its own table.
constexpr OptionRow usb_selector(std::string_view name, std::string_view value_name, std::int64_t max, std::string_view help) {
  return {.name = name,
          .argument = Argument::number,
          .value_name = value_name,
          .max = max,
          .default_text = "any",
          .built = Built::later,
          .help = help};
}
constexpr std::array kUsbDriverOptions{
    usb_selector("busno", "bus", 255, "Number of the USB bus."),
    usb_selector("devno", "device", 255, "Number of the device on its bus."),
    usb_selector("did", "product", 0xffff, "USB product identifier."),
    usb_selector("vid", "vendor", 0xffff, "USB vendor identifier."),
};

constexpr std::array kProtocols{
    ProtocolRow{"pf-v4", "lsm-pf-v4.so", Built::later, Variant::v4_hc,
                "Packet filter and address translation."},
    ProtocolRow{"pf-v6", "lsm-pf-v6.so", Built::later, Variant::v6_hc,
                "Packet filter and address translation."},
    ProtocolRow{"qnet", "lsm-qnet.so", Built::later, {}, "Transparent distributed processing."},
    ProtocolRow{"tcpip", "built in", Built::now, {}, "TCP/IP; named only to pass options to it."},
};

constexpr bool is_sound(const OptionRow& row) {
  const bool numeric = row.argument == Argument::number || row.argument == Argument::optional_number;
  return !row.name.empty() && !row.help.empty() &&
         (row.argument == Argument::none) == row.value_name.empty() && (!numeric || row.min < row.max) &&
         (!numeric || !row.default_text.empty() || (row.min <= row.initial && row.initial <= row.max)) &&
         (row.argument != Argument::optional_number ||
          (row.min <= row.when_bare && row.when_bare <= row.max));
}
template <class Rows>
constexpr bool are_sound(const Rows& rows) {
  return std::ranges::all_of(rows, [](const auto& option) { return is_sound(option.row); });
}
constexpr auto kNameOf = [](const TcpipOption& option) { return option.row.name; };
static_assert(are_sound(kCommandOptions) && are_sound(kTcpipOptions));
static_assert(std::ranges::all_of(kGenericDriverOptions, is_sound) && std::ranges::all_of(kUsbDriverOptions, is_sound));
static_assert(std::ranges::is_sorted(kTcpipOptions, {}, kNameOf));
static_assert(std::ranges::is_sorted(kGenericDriverOptions, {}, &OptionRow::name));

}  // namespace

std::span<const CommandOption> command_options() { return kCommandOptions; }
std::span<const TcpipOption> tcpip_options() { return kTcpipOptions; }
std::span<const OptionRow> generic_driver_options() { return kGenericDriverOptions; }
std::span<const OptionRow> usb_driver_options() { return kUsbDriverOptions; }
std::span<const ProtocolRow> protocols() { return kProtocols; }

}  // namespace iopkt::daemon
