#include "tests/script/calls.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cstring>

#include "tests/script/sockets.hpp"

namespace iopkt::script {
namespace {

using Op = Request::Op;
using Kind = Value::Kind;

struct CallRow {
  const char* name;
  Op op;
  std::size_t arguments;
};
constexpr CallRow kCalls[] = {
    {"socket", Op::socket, 3},         {"bind", Op::bind, 3},         {"listen", Op::listen, 2},     {"accept", Op::accept, 3},
    {"connect", Op::connect, 3},       {"read", Op::read, 3},         {"readv", Op::readv, 3},       {"recv", Op::recv, 4},
    {"recvfrom", Op::recvfrom, 6},     {"recvmsg", Op::recvmsg, 3},   {"write", Op::write, 3},       {"writev", Op::writev, 3},
    {"send", Op::send, 4},             {"sendto", Op::sendto, 6},     {"sendmsg", Op::sendmsg, 3},   {"fcntl", Op::fcntl, 3},
    {"ioctl", Op::ioctl, 3},           {"close", Op::close, 1},       {"shutdown", Op::shutdown, 2}, {"getsockopt", Op::getsockopt, 5},
    {"setsockopt", Op::setsockopt, 5}, {"poll", Op::poll, 3},         {"epoll_create", Op::epoll_create, 1},
    {"epoll_ctl", Op::epoll_ctl, 4},   {"epoll_wait", Op::epoll_wait, 4}, {"pipe", Op::pipe, 1},   {"splice", Op::splice, 6},
};

/// Reads arguments with messages that name them.
class Arguments {
 public:
  Arguments(const CallEvent& call, int line) : call_(call), line_(line) {}
  [[noreturn]] void fail(std::size_t n, const std::string& what) const {
    throw Fault(line_, call_.name + "(): argument " + std::to_string(n + 1) + ": " + what);
  }
  const Value& at(std::size_t n) const {
    if (n >= call_.arguments.size()) fail(n, "is missing");
    return call_.arguments[n];
  }
  bool any(std::size_t n) const { return at(n).kind == Kind::any; }
  std::int64_t integer(std::size_t n) const {
    if (at(n).kind != Kind::integer) fail(n, "a number is expected");
    return at(n).integer;
  }
  std::int64_t integer_or(std::size_t n, std::int64_t otherwise) const { return any(n) ? otherwise : integer(n); }
  std::size_t size(std::size_t n) const {
    const std::int64_t value = integer(n);
    if (value < 0 || value > (1 << 26)) fail(n, "a size of at most 64 MB is expected");
    return static_cast<std::size_t>(value);
  }
  /// [5] or 5
  std::int64_t boxed(std::size_t n) const {
    const Value& v = at(n);
    if (v.kind == Kind::list && v.items.size() == 1 && v.items[0].kind == Kind::integer) return v.items[0].integer;
    return integer(n);
  }
  const Value& field(const Value& structure, std::string_view name, std::size_t n) const {
    for (const Field& f : structure.fields)
      if (f.name == name) return f.value[0];
    fail(n, "the field " + std::string(name) + " is missing");
  }

 private:
  const CallEvent& call_;
  int line_;
};

/// {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("192.0.2.1")}, the same with AF_INET6, sin6_port and
/// sin6_addr=inet_pton("fd00::1"), or ... for `otherwise`.
PacketBytes address(const Arguments& a, std::size_t n, const Value& v, const wire::Endpoint& otherwise) {
  if (v.kind == Kind::any) return to_sockaddr(otherwise);
  if (v.kind == Kind::integer && v.integer == 0) return {};
  if (v.kind != Kind::structure) a.fail(n, "an address is expected");
  const Value& family = a.field(v, "sa_family", n);
  if (family.kind == Kind::integer && family.integer == AF_UNSPEC) return PacketBytes(sizeof(sockaddr_in));
  const bool v6 = family.kind == Kind::integer && family.integer == AF_INET6;
  if (!v6 && (family.kind != Kind::integer || family.integer != AF_INET)) a.fail(n, "only AF_INET and AF_INET6 are built");
  const Value& host = a.field(v, v6 ? "sin6_addr" : "sin_addr", n);
  wire::Endpoint out;
  out.port = wire::Port{static_cast<std::uint16_t>(a.field(v, v6 ? "sin6_port" : "sin_port", n).integer)};
  const auto parsed = wire::IpAddress::parse(host.text);
  if (host.kind == Kind::integer && !v6) out.address = wire::Ipv4Address{static_cast<std::uint32_t>(host.integer)};
  else if (parsed && parsed->is_v6() == v6) out.address = *parsed;
  else a.fail(n, "not an address: " + host.text);
  return to_sockaddr(out);
}

PacketBytes address(const Arguments& a, std::size_t n, const wire::Endpoint& otherwise) { return address(a, n, a.at(n), otherwise); }

void add_int(PacketBytes& out, std::int64_t value) {
  const auto number = static_cast<std::int32_t>(value);
  const Bytes b = as_bytes(&number, sizeof number);
  out.insert(out.end(), b.begin(), b.end());
}

/// An option's value: [1], "cubic", {onoff=1, linger=0}, 5.
PacketBytes option_value(const Arguments& a, std::size_t n) {
  const Value& v = a.at(n);
  PacketBytes out;
  switch (v.kind) {
    case Kind::integer: add_int(out, v.integer); break;
    case Kind::text: {
      const Bytes b = as_bytes(v.text.data(), v.text.size());
      out.assign(b.begin(), b.end());
      break;
    }
    case Kind::list:
      for (const Value& item : v.items) add_int(out, item.integer);
      break;
    case Kind::structure:
      for (const Field& f : v.fields) add_int(out, f.value[0].integer);
      break;
    case Kind::any: break;
  }
  return out;
}

/// What is written: ... for the stream's own pattern, or a text.
PacketBytes content(const Value& v, std::size_t count, Streams::Position& position, Streams& streams) {
  if (v.kind == Kind::text) {
    streams.own_text = true;
    const Bytes b = as_bytes(v.text.data(), std::min(v.text.size(), count));
    PacketBytes out{b.begin(), b.end()};
    out.resize(count);
    return out;
  }
  return pattern(position.datagrams ? 0 : position.written, count);
}

/// [{..., 1000}, {..., 24}]
std::vector<std::size_t> pieces(const Arguments& a, const Value& list, std::size_t n) {
  if (list.kind != Kind::list) a.fail(n, "a list of {..., length} is expected");
  std::vector<std::size_t> out;
  for (const Value& one : list.items) {
    if (one.kind != Kind::structure || one.fields.size() != 2 || one.fields[1].value[0].kind != Kind::integer) a.fail(n, "{..., length} is expected");
    out.push_back(static_cast<std::size_t>(std::clamp<std::int64_t>(one.fields[1].value[0].integer, 0, 1 << 26)));
  }
  return out;
}

std::size_t sum(const std::vector<std::size_t>& lengths) {
  std::size_t out = 0;
  for (const std::size_t one : lengths) out += one;
  return out;
}

/// {events=EPOLLIN, fd=4}: the second one is whatever the program's word is called (ptr, u32, u64).
epoll_event epoll_value(const Arguments& a, const Value& v, std::size_t n) {
  if (v.kind == Kind::integer && v.integer == 0) return {};
  if (v.kind != Kind::structure || v.fields.size() > 2) a.fail(n, "{events=..., fd=...} is expected");
  epoll_event out{};
  for (const Field& f : v.fields) {
    if (f.name == "events") out.events = static_cast<std::uint32_t>(f.value[0].integer);
    else out.data.u64 = static_cast<std::uint64_t>(f.value[0].integer);
  }
  return out;
}

/// The events that epoll_wait() shall tell: one, or a list of them.
std::vector<epoll_event> epoll_values(const Arguments& a, std::size_t n) {
  std::vector<epoll_event> out;
  if (a.at(n).kind != Kind::list) return {epoll_value(a, a.at(n), n)};
  for (const Value& one : a.at(n).items) out.push_back(epoll_value(a, one, n));
  return out;
}

/// What stands in cmsg_data: a number as the kind of message has it, or a structure in which an address stands.
PacketBytes control_data(const Arguments& a, int level, int type, const Value& v) {
  PacketBytes out;
  if (v.kind == Kind::structure) {
    in_pktinfo info{};
    in6_pktinfo info6{};
    for (const Field& f : v.fields) {
      const Value& value = f.value[0];
      const auto host = wire::IpAddress::parse(value.text);
      if (f.name == "ipi_ifindex") info.ipi_ifindex = static_cast<int>(value.integer);
      else if (f.name == "ipi6_ifindex") info6.ipi6_ifindex = static_cast<unsigned>(value.integer);
      else if (f.name == "ipi_spec_dst" && host && !host->is_v6()) info.ipi_spec_dst.s_addr = htonl(host->v4().value);
      else if (f.name == "ipi_addr" && host && !host->is_v6()) info.ipi_addr.s_addr = htonl(host->v4().value);
      else if (f.name == "ipi6_addr" && host && host->is_v6()) std::memcpy(&info6.ipi6_addr, host->v6().bytes.data(), 16);
      else a.fail(1, "cmsg_data: " + f.name + " is not built, or no such address");
    }
    const Bytes b = level == IPPROTO_IPV6 ? as_bytes(&info6, sizeof info6) : as_bytes(&info, sizeof info);
    return {b.begin(), b.end()};
  }
  if (v.kind != Kind::integer) a.fail(1, "cmsg_data: a number or {ipi_addr=...} is expected");
  add_int(out, v.integer);
  if (level == IPPROTO_IP && type == IP_TOS) out.resize(1);
  if (level == IPPROTO_UDP && type == UDP_SEGMENT) out.resize(2);
  return out;
}

struct Control {
  int level = 0, type = 0;
  std::optional<PacketBytes> data;  ///< none: any
};

/// [{cmsg_level=IPPROTO_IP, cmsg_type=IP_TTL, cmsg_data=64}, ...]
std::vector<Control> controls(const Arguments& a, const Value& list) {
  if (list.kind != Kind::list) a.fail(1, "msg_control: a list of {cmsg_level=..., cmsg_type=..., cmsg_data=...} is expected");
  std::vector<Control> out;
  for (const Value& one : list.items) {
    Control c{.level = static_cast<int>(a.field(one, "cmsg_level", 1).integer), .type = static_cast<int>(a.field(one, "cmsg_type", 1).integer)};
    const Value& data = a.field(one, "cmsg_data", 1);
    if (data.kind != Kind::any) c.data = control_data(a, c.level, c.type, data);
    out.push_back(std::move(c));
  }
  return out;
}

PacketBytes control_bytes(const std::vector<Control>& list) {
  PacketBytes out;
  for (const Control& one : list) {
    const PacketBytes data = one.data.value_or(PacketBytes{});
    cmsghdr head{};
    head.cmsg_len = CMSG_LEN(data.size());
    head.cmsg_level = one.level;
    head.cmsg_type = one.type;
    const std::size_t at = out.size();
    out.resize(at + CMSG_SPACE(data.size()));
    std::memcpy(out.data() + at, &head, sizeof head);
    std::ranges::copy(data, out.begin() + static_cast<std::ptrdiff_t>(at + CMSG_LEN(0)));
  }
  return out;
}

void fill_message(const Arguments& a, Request& r, Streams::Position& position, Streams& streams, bool out, const wire::Endpoint& remote) {
  if (!out) r.control_room = 512;
  const Value& message = a.at(1);
  if (message.kind != Kind::structure) a.fail(1, "a message {msg_name(...)=..., msg_iov(1)=[{..., N}], ...} is expected");
  for (const Field& f : message.fields) {
    if (f.name == "msg_iov") r.pieces = pieces(a, f.value[0], 1);
    else if (f.name == "msg_name" && out && f.value[0].kind == Kind::structure) r.address = address(a, 1, f.value[0], remote);
    else if (f.name == "msg_control" && out) r.control = control_bytes(controls(a, f.value[0]));
    else if (f.name == "msg_controllen" && !out) r.control_room = static_cast<std::size_t>(std::clamp<std::int64_t>(f.value[0].integer, 0, 4096));
    else if (f.name != "msg_name" && f.name != "msg_flags" && f.name != "msg_control") a.fail(1, "not built: " + f.name);
  }
  r.room = sum(r.pieces);
  r.flags = static_cast<int>(a.integer(2));
  if (out) r.data = content({}, r.room, position, streams);
}

std::string text(std::int64_t result) { return result < 0 ? "-1 " + errno_name(static_cast<int>(-result)) : std::to_string(result); }

}  // namespace

Request to_request(const Event& event, Streams& streams) {
  const auto& call = std::get<CallEvent>(event.what);
  const auto* row = std::ranges::find_if(kCalls, [&](const CallRow& one) { return call.name == one.name; });
  if (row == std::end(kCalls)) throw Fault(event.line, "not built: " + call.name + "()");
  if (call.arguments.size() != row->arguments && !(row->op == Op::fcntl && call.arguments.size() == 2))
    throw Fault(event.line, call.name + "() takes " + std::to_string(row->arguments) + " arguments");
  const Arguments a{call, event.line};
  const wire::Endpoint local{Machine::local(streams.family), wire::Port{8080}}, remote{Machine::remote(streams.family), wire::Port{8080}};
  Request r;
  r.op = row->op;
  if (r.op == Op::socket) {
    r.a = a.integer_or(0, streams.family == wire::IpFamily::v6 ? AF_INET6 : AF_INET), r.b = a.integer(1), r.c = a.integer_or(2, 0);
    return r;
  }
  if (r.op == Op::poll) {
    r.a = a.integer(2);
    if (a.at(0).kind != Kind::list) a.fail(0, "a list of {fd=..., events=..., revents=...} is expected");
    for (const Value& one : a.at(0).items)
      r.polls.push_back({static_cast<int>(a.field(one, "fd", 0).integer), static_cast<short>(a.field(one, "events", 0).integer), 0});
    return r;
  }
  if (r.op == Op::pipe) {
    if (a.at(0).kind != Kind::list || a.at(0).items.size() != 2) a.fail(0, "the two descriptors [5, 6] are expected");
    return r;
  }
  if (r.op == Op::epoll_create) {
    r.a = a.integer(0);
    return r;
  }
  r.fd = static_cast<int>(a.integer(0));
  if (r.op == Op::epoll_ctl) {
    r.a = a.integer(1), r.b = a.integer(2);
    r.events = {epoll_value(a, a.at(3), 3)};
    return r;
  }
  if (r.op == Op::epoll_wait) {
    if (!a.any(1)) static_cast<void>(epoll_values(a, 1));  // what is said wrongly is told at once
    r.room = static_cast<std::size_t>(std::clamp<std::int64_t>(a.integer(2), 0, 1024));
    r.a = a.integer(3);
    return r;
  }
  if (r.op == Op::splice) {
    if (a.integer(1) != 0 || a.integer(3) != 0) a.fail(1, "no offsets: neither a socket nor a pipe has one");
    r.a = a.integer(2), r.room = a.size(4), r.flags = static_cast<int>(a.integer(5));
    return r;
  }
  Streams::Position& position = streams.of[r.fd];
  switch (r.op) {
    case Op::bind: r.address = address(a, 1, local); break;
    case Op::connect: r.address = address(a, 1, remote); break;
    case Op::listen: case Op::shutdown: r.a = a.integer(1); break;
    case Op::read: r.room = a.size(2); break;
    case Op::recv: r.room = a.size(2), r.flags = static_cast<int>(a.integer(3)); break;
    case Op::recvfrom: r.room = a.size(2), r.flags = static_cast<int>(a.integer(3)), r.want_address = true; break;
    case Op::readv: r.pieces = pieces(a, a.at(1), 1), r.room = sum(r.pieces); break;
    case Op::recvmsg: fill_message(a, r, position, streams, false, remote); break;
    case Op::write: r.data = content(a.at(1), a.size(2), position, streams); break;
    case Op::send: r.data = content(a.at(1), a.size(2), position, streams), r.flags = static_cast<int>(a.integer(3)); break;
    case Op::sendto:
      r.data = content(a.at(1), a.size(2), position, streams);
      r.flags = static_cast<int>(a.integer(3));
      r.address = address(a, 4, remote);
      break;
    case Op::writev: r.pieces = pieces(a, a.at(1), 1), r.data = content({}, sum(r.pieces), position, streams); break;
    case Op::sendmsg: fill_message(a, r, position, streams, true, remote); break;
    case Op::fcntl: r.a = a.integer(1), r.b = call.arguments.size() > 2 ? a.integer_or(2, 0) : 0; break;
    case Op::ioctl: r.a = a.integer(1), r.b = a.any(2) ? 0 : a.boxed(2); break;
    case Op::getsockopt: r.a = a.integer(1), r.b = a.integer(2), r.room = static_cast<std::size_t>(std::clamp<std::int64_t>(a.boxed(4), 0, 4096)); break;
    case Op::setsockopt: {
      r.a = a.integer(1), r.b = a.integer(2), r.data = option_value(a, 3);
      // The length counts, whatever the value looks like.
      r.data.resize(a.size(4));
      break;
    }
    default: break;
  }
  return r;
}

namespace {

void check_value(const Event& event, const Request& r) {
  const auto& call = std::get<CallEvent>(event.what);
  const Arguments a{call, event.line};
  const std::size_t place = r.op == Op::ioctl ? 2 : 3;
  if (a.any(place)) return;
  PacketBytes want = option_value(a, place);
  if (r.op == Op::getsockopt && a.at(place).kind == Kind::text) want.resize(std::min(r.room, r.data.size()));
  if (want == r.data) return;
  std::string got;
  if (a.at(place).kind == Kind::text) {
    for (const std::byte b : r.data) got += b == std::byte{0} ? '.' : std::to_integer<char>(b);
  } else {
    for (std::size_t i = 0; i + 4 <= r.data.size(); i += 4) {
      std::int32_t number;
      std::memcpy(&number, r.data.data() + i, 4);
      got += (got.empty() ? "[" : ", ") + std::to_string(number);
    }
    got += "]";
  }
  throw Fault(event.line, call.name + "(): another value was expected than " + got);
}

void check_control(const Arguments& a, const Event& event, const Request& r, const Value& said) {
  const std::vector<Control> want = controls(a, said);
  std::size_t at = 0, n = 0;
  for (; n < want.size() && at + sizeof(cmsghdr) <= r.control.size(); ++n) {
    cmsghdr head{};
    std::memcpy(&head, r.control.data() + at, sizeof head);
    const std::string which = "recvmsg(): control message " + std::to_string(n + 1) + ": ";
    if (head.cmsg_level != want[n].level || head.cmsg_type != want[n].type)
      throw Fault(event.line, which + "level " + std::to_string(head.cmsg_level) + ", type " + std::to_string(head.cmsg_type));
    const Bytes data = Bytes{r.control}.subspan(at + CMSG_LEN(0), head.cmsg_len - CMSG_LEN(0));
    if (want[n].data && !std::ranges::equal(*want[n].data, data)) {
      std::string got;
      for (const std::byte b : data) got += " " + std::to_string(std::to_integer<int>(b));
      throw Fault(event.line, which + "other data:" + got);
    }
    at += std::min(CMSG_ALIGN(head.cmsg_len), r.control.size() - at);
  }
  if (n < want.size() || at < r.control.size())
    throw Fault(event.line, "recvmsg(): " + std::string(n < want.size() ? "fewer" : "more") + " control messages than " + std::to_string(want.size()));
}

void check_received(const Event& event, const Request& r, std::int64_t result, Streams& streams) {
  Streams::Position& position = streams.of[r.fd];
  const auto& call = std::get<CallEvent>(event.what);
  const std::uint64_t from = position.datagrams ? 0 : position.read;
  if (!std::ranges::equal(r.data, pattern(from, r.data.size())))
    throw Fault(event.line, call.name + "(): the bytes are not those that arrived");
  const bool peeked = call.name.starts_with("recv") && r.op != Op::recvmsg && (Arguments{call, event.line}.integer(3) & MSG_PEEK) != 0;
  if (result > 0 && !peeked) position.read += static_cast<std::uint64_t>(result);
  if (r.op == Op::recvmsg) {
    for (const Field& f : call.arguments[1].fields) {
      if (f.name == "msg_flags" && f.value[0].kind == Kind::integer && f.value[0].integer != r.flags)
        throw Fault(event.line, "recvmsg(): msg_flags " + std::to_string(r.flags) + " instead of " + std::to_string(f.value[0].integer));
      if (f.name == "msg_control" && f.value[0].kind != Kind::any) check_control({call, event.line}, event, r, f.value[0]);
    }
  }
}

void check_events(const Event& event, const Request& r) {
  const auto& call = std::get<CallEvent>(event.what);
  const Arguments a{call, event.line};
  if (a.any(1)) return;
  const std::vector<epoll_event> want = epoll_values(a, 1);
  for (std::size_t i = 0; i < r.events.size() && i < want.size(); ++i) {
    if (want[i].events != r.events[i].events || want[i].data.u64 != r.events[i].data.u64)
      throw Fault(event.line, "epoll_wait(): event " + std::to_string(i + 1) + " is {events=" + std::to_string(r.events[i].events) + ", fd=" +
                                  std::to_string(r.events[i].data.u64) + "} instead of {events=" + std::to_string(want[i].events) + ", fd=" +
                                  std::to_string(want[i].data.u64) + "}");
  }
}

void check_polls(const Event& event, const Request& r) {
  const auto& call = std::get<CallEvent>(event.what);
  const Arguments a{call, event.line};
  for (std::size_t i = 0; i < r.polls.size(); ++i) {
    const Value& want = a.field(call.arguments[0].items[i], "revents", 0);
    if (want.kind == Kind::integer && want.integer != r.polls[i].revents)
      throw Fault(event.line, "poll(): revents of descriptor " + std::to_string(r.polls[i].fd) + " are " +
                                  std::to_string(r.polls[i].revents) + " instead of " + std::to_string(want.integer));
  }
}

}  // namespace

void check_answer(const Event& event, const Request& r, std::int64_t result, Streams& streams) {
  const auto& call = std::get<CallEvent>(event.what);
  if (!call.any_result) {
    const bool as_said = result < 0 ? call.result == -1 && (call.error == 0 || call.error == -result) : call.result == result;
    if (!as_said)
      throw Fault(event.line, call.name + "() answered " + text(result) + " instead of " + std::to_string(call.result) +
                                  (call.error != 0 ? " " + call.error_name : ""));
  }
  if (r.op == Op::poll) check_polls(event, r);
  if (result < 0) return;
  switch (r.op) {
    case Op::socket: streams.of[static_cast<int>(result)] = {.datagrams = (r.b & 15) != SOCK_STREAM}; break;
    case Op::accept: streams.of[static_cast<int>(result)] = {}; break;
    case Op::epoll_wait: check_events(event, r); break;
    case Op::pipe: {
      const std::vector<Value>& said = call.arguments[0].items;
      if (said[0].integer != r.ends[0] || said[1].integer != r.ends[1])
        throw Fault(event.line, "pipe() made [" + std::to_string(r.ends[0]) + ", " + std::to_string(r.ends[1]) + "]");
      for (const int end : r.ends) streams.of[end] = {};
      break;
    }
    case Op::splice:
      streams.of[r.fd].read += static_cast<std::uint64_t>(result);
      streams.of[static_cast<int>(r.a)].written += static_cast<std::uint64_t>(result);
      break;
    case Op::read: case Op::readv: case Op::recv: case Op::recvfrom: case Op::recvmsg: check_received(event, r, result, streams); break;
    case Op::write: case Op::writev: case Op::send: case Op::sendto: case Op::sendmsg:
      streams.of[r.fd].written += static_cast<std::uint64_t>(result);
      break;
    case Op::getsockopt: check_value(event, r); break;
    case Op::ioctl: if (!r.data.empty()) check_value(event, r); break;
    default: break;
  }
}

}  // namespace iopkt::script
