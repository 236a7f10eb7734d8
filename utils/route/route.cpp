#include "utils/route/route.hpp"

#include <algorithm>
#include <array>
#include <cerrno>

#include "utils/common/route_table.hpp"
#include "wire/address.hpp"

namespace iopkt::utils {
namespace {

constexpr char kUsage[] = "usage: route [-dfnqSstv] [--json] command [[modifiers] args]\n";
constexpr std::array<std::string_view, 15> kNotBuilt{
    "iso",    "osi",      "link",     "llinfo",   "cloning",  "cloned", "lock",
    "lockrest", "expire", "hopcount", "recvpipe", "sendpipe", "ssthresh", "rtt",    "rttvar"};

struct Flags {
  bool debug = false, flush = false, quiet = false, spaced = false, terse = false, test = false,
       verbose = false;
};

struct Request {
  Node arguments;
  std::string command, shown, gateway;
  bool host = false;
};

/// The words behind add, change, delete and get.
class Reader {
 public:
  Reader(Io& io, const Words& words) : io_(io), words_(words) {}

  bool read(Request& out) {
    out.command = words_[0];
    for (at_ = 1; at_ < words_.size(); ++at_) {
      const std::string& word = words_[at_];
      const bool good =
          word.starts_with('-') && word.size() > 1 ? modifier(out, word.substr(1)) : positional(word);
      if (!good) return false;
    }
    return finish(out);
  }

 private:
  bool modifier(Request& out, const std::string& word) {
    if (std::find(kNotBuilt.begin(), kNotBuilt.end(), word) != kNotBuilt.end())
      return io_.error("-" + word + ": not built yet"), false;
    if (word == "net") return kind_ = DestinationKind::net, true;
    if (word == "host") return kind_ = DestinationKind::host, true;
    if (word == "inet6") return inet6_ = true, true;
    if (word == "inet" || word == "static") return true;
    if (word == "interface" || word == "iface") return by_interface_ = true, true;
    if (word == "reject" || word == "blackhole" || word == "proto1" || word == "proto2")
      return out.arguments.add_boolean(word, true), discards_ |= word == "reject" || word == "blackhole",
             true;
    if (at_ + 1 >= words_.size()) return io_.error("-" + word + ": bad keyword or missing value"), false;
    const std::string& value = words_[++at_];
    if (word == "netmask") return set_mask(value);
    if (word == "prefixlen") return set_number(value, 128, length_);
    if (word == "gateway") return gateway_ = value, true;
    if (word == "ifp") return out.arguments.add_text("interface", value), true;
    if (word == "ifa") return out.arguments.add_address("source", value), true;
    if (word == "cc") return out.arguments.add_text("congestion", value), true;
    if (word == "mtu" || word == "fib") {
      const auto number = parse_number(value, UINT32_MAX);
      if (!number) return io_.error(value + ": bad value"), false;
      return out.arguments.add_number(word, *number), true;
    }
    return io_.error("-" + word + ": bad keyword"), false;
  }

  bool positional(const std::string& word) {
    if (destination_.empty()) return destination_ = word, true;
    if (gateway_.empty()) return gateway_ = word, true;
    if (length_ < 0) return set_mask(word);
    return io_.error(word + ": bad keyword"), false;
  }

  bool set_mask(const std::string& text) {
    if (inet6_) return io_.error(text + ": not of inet6; see -prefixlen"), false;
    const auto mask = wire::Ipv4Address::parse_bsd(text);
    const auto length = mask ? wire::Ipv4Prefix::length_of(*mask) : std::nullopt;
    if (!length) return io_.error(text + ": bad netmask"), false;
    return length_ = *length, true;
  }

  bool set_number(const std::string& text, std::uint64_t max, int& out) {
    const auto number = parse_number(text, max);
    if (!number) return io_.error(text + ": bad value"), false;
    return out = static_cast<int>(*number), true;
  }

  bool finish(Request& out) {
    if (destination_.empty()) return io_.error("no destination given"), false;
    if (destination_.find(':') != std::string::npos) inet6_ = true;
    if (length_ > (inet6_ ? 128 : 32)) return io_.error(std::to_string(length_) + ": bad value"), false;
    auto destination = inet6_ ? parse_destination6(destination_, kind_) : parse_destination(
        destination_,
        length_ >= 0 && kind_ == DestinationKind::guess && length_ < 32 ? DestinationKind::host : kind_);
    if (!destination) return io_.error(destination_ + ": bad value"), false;
    if (length_ >= 0 && inet6_) {
      destination->address = network_of6(destination->address, length_);
      destination->length = length_;
    } else if (length_ >= 0) {
      const auto address = *wire::Ipv4Address::parse_strict(destination->address);
      destination->address =
          wire::Ipv4Prefix{address, static_cast<std::uint8_t>(length_)}.network().to_string();
      destination->length = length_;
    }
    out.host = destination->is_host();
    out.shown = destination->is_default() ? "default" : destination_;
    out.arguments.add_address("destination", destination->address);
    out.arguments.add_number("prefix_length", static_cast<std::uint64_t>(destination->length));
    if (out.command == "add" && gateway_.empty() && !out.arguments.has("interface") && !discards_)
      return io_.error("no gateway given"), false;
    return gateway_.empty() || out.command == "get" || read_gateway(out);
  }

  bool read_gateway(Request& out) {
    out.gateway = gateway_;
    std::optional<std::string> address;
    if (inet6_) {
      if (const auto gateway = parse_destination6(gateway_, DestinationKind::host)) address = gateway->address;
    } else if (const auto gateway = wire::Ipv4Address::parse_bsd(gateway_)) {
      address = gateway->to_string();
    }
    if (by_interface_ && !address) return out.arguments.add_text("interface", gateway_), true;
    if (!address) return io_.error(gateway_ + ": bad value"), false;
    if (!by_interface_) return out.arguments.add_address("gateway", *address), true;
    return io_.error("-interface: name the interface"), false;
  }

  Io& io_;
  const Words& words_;
  std::size_t at_ = 1;
  DestinationKind kind_ = DestinationKind::guess;
  std::string destination_, gateway_;
  int length_ = -1;
  bool by_interface_ = false, discards_ = false, inet6_ = false;
};

int change(Io& io, Stack& stack, const Flags& flags, const Request& request) {
  const bool pretended = flags.debug || flags.test;
  int status = 0;
  std::string fault;
  if (!pretended) {
    const auto answer = stack.ask("route." + request.command, request.arguments);
    if (!answer) {
      fault = answer.error().text();
      status = 1;
      if (answer.error().error != ESRCH) io.error("writing to routing socket: " + fault);
    }
  }
  if (flags.quiet) return status;
  if (io.json) {
    Node line;
    line.add_text("command", request.command);
    line.add_text("destination", request.shown);
    if (!request.gateway.empty()) line.add_text("gateway", request.gateway);
    if (!fault.empty()) line.add_text("error", fault);
    return io.print(to_json(line)), status;
  }
  std::string line = request.command + " " + (request.host ? "host " : "net ") + request.shown;
  if (!request.gateway.empty()) line += ": gateway " + request.gateway;
  if (!fault.empty()) line += ": " + fault;
  io.print(line + "\n");
  return status;
}

int get(Io& io, Stack& stack, const Flags& flags, const Request& request) {
  const auto answer = stack.ask("route.get", request.arguments);
  if (!answer) {
    io.error("writing to routing socket: " + answer.error().text());
    return 1;
  }
  if (io.json) return io.print(to_json(*answer)), 0;
  const Node* found = answer->find("route");
  if (found == nullptr) return io.error("the stack's answer makes no sense");
  if (flags.terse) {
    io.print(std::string(found->has("gateway") ? found->text_of("gateway") : found->text_of("destination")) +
             "\n");
    return 0;
  }
  io.print(show_route(*found));
  return 0;
}

int flush(Io& io, Stack& stack, const Flags& flags, const Words& words) {
  Node arguments, answer;
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (words[i] == "-inet" || words[i] == "-inet6") {
      arguments.add_text("family", words[i].substr(1));
      continue;
    }
    if (words[i] == "-fib" && i + 1 < words.size()) {
      const auto fib = parse_number(words[++i], 15);
      if (!fib) return io.error(words[i] + ": bad value");
      arguments.add_number("fib", *fib);
      continue;
    }
    return io.error(words[i] + ": bad keyword");
  }
  if (flags.debug || flags.test) return 0;
  if (!asked(io, stack, "route.flush", arguments, answer)) return 1;
  if (io.json) return io.print(to_json(answer)), 0;
  if (!flags.quiet)
    for (const Node& one : answer.list("routes"))
      io.print(format("%-20s %-20s done\n",
                      network_name(one.text_of("destination"), one.number_of("prefix_length")).c_str(),
                      std::string(one.text_of("gateway")).c_str()));
  return 0;
}

int show(Io& io, Stack& stack, const Flags& flags, const Words& words) {
  Node routes;
  std::string family;
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (words[i] != "-inet" && words[i] != "-inet6") return io.error(words[i] + ": bad keyword");
    family = words[i].substr(1);
  }
  if (!asked(io, stack, "route.list", {}, routes)) return 1;
  io.print(io.json ? to_json(routes) : show_routes(routes, {}, {.spaced_flags = flags.spaced, .with_fib = false, .family = family}));
  return 0;
}

}  // namespace

std::string show_route(const Node& r) {
  const auto text = [&](const char* key) { return std::string(r.text_of(key)); };
  const bool inet6 = r.text_of("family") == "inet6";
  const std::uint64_t bits = inet6 ? 128 : 32, length = std::min(r.number_of("prefix_length"), bits);
  std::string out = "   route to: " + text("asked") + "\n";
  out += "destination: " + (length == 0 ? "default" : text("destination")) + "\n";
  const auto mask = [&] {
    return inet6 ? network_of6("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", static_cast<int>(length))
                 : wire::Ipv4Prefix::mask_of(static_cast<std::uint8_t>(length)).to_string();
  };
  if (length < bits) out += "       mask: " + (length == 0 ? "default" : mask()) + "\n";
  if (r.has("gateway")) out += "    gateway: " + text("gateway") + "\n";
  if (r.has("local")) out += " local addr: " + text("local") + "\n";
  if (r.has("congestion")) out += " congestion: " + text("congestion") + "\n";
  out += "  interface: " + text("interface") + "\n      flags: <" + text("flag_names") + ">\n";
  out += " recvpipe  sendpipe  ssthresh  rtt,msec    rttvar  hopcount      mtu     expire\n";
  out += format("%8d  %8d  %8d  %8d  %8d  %8d  %7llu  %9d\n", 0, 0, 0, 0, 0, 0,
                static_cast<unsigned long long>(r.number_of("mtu")), 0);
  return out;
}

int route(Io& io, Stack& stack, const Words& words) {
  if (helped(io, kUsage, words)) return 0;
  Flags flags;
  Options options{words, "dfnqSstv", ""};
  for (char letter = options.next(); letter != 0; letter = options.next()) switch (letter) {
      case 'd':
        flags.debug = true;
        break;
      case 'f':
        flags.flush = true;
        break;
      case 'n':
        break;  // names are never looked up
      case 'q':
        flags.quiet = true;
        break;
      case 'S':
        flags.spaced = true;
        break;
      case 's':
        flags.terse = true;
        break;
      case 't':
        flags.test = true;
        break;
      case 'v':
        flags.verbose = true;
        break;
      default:
        io.error(options.fault());
        io.complain(kUsage);
        return 1;
    }
  const Words rest = options.rest();
  if (flags.flush)
    if (const int status = flush(io, stack, flags, {"flush"}); status != 0) return status;
  if (rest.empty()) {
    if (flags.flush) return 0;
    io.complain(kUsage);
    return 1;
  }
  const std::string& command = rest[0];
  if (command == "monitor") return io.error("monitor: not built yet");
  if (command == "flush") return flush(io, stack, flags, rest);
  if (command == "show") return show(io, stack, flags, rest);
  if (command != "add" && command != "change" && command != "delete" && command != "get") {
    io.error(command + ": bad command");
    io.complain(kUsage);
    return 1;
  }
  Request request;
  if (!Reader{io, rest}.read(request)) return 1;
  return command == "get" ? get(io, stack, flags, request) : change(io, stack, flags, request);
}

}  // namespace iopkt::utils
