// The words behind an interface's name, one after the other; addresses last, as BSD's ifconfig does.
#include <algorithm>
#include <array>

#include "utils/ifconfig/ifconfig.hpp"
#include "wire/address.hpp"

namespace iopkt::utils {
namespace {

/// Words that set or clear something at once: the argument of interface.set that they become.
struct SwitchWord {
  std::string_view word, key;
  bool value;
};
constexpr std::array kSwitches{
    SwitchWord{"up", "up", true},       SwitchWord{"down", "up", false},
    SwitchWord{"arp", "arp", true},     SwitchWord{"-arp", "arp", false},
    SwitchWord{"debug", "debug", true}, SwitchWord{"-debug", "debug", false},
    SwitchWord{"autoip", "autoip", true}, SwitchWord{"-autoip", "autoip", false},
    SwitchWord{"link0", "link0", true}, SwitchWord{"-link0", "link0", false},
    SwitchWord{"link1", "link1", true}, SwitchWord{"-link1", "link1", false},
    SwitchWord{"link2", "link2", true}, SwitchWord{"-link2", "link2", false},
};
constexpr std::array<std::string_view, 20> kCapabilities{
    "ip4csum",     "ip4csum-tx",  "ip4csum-rx",  "tcp4csum",    "tcp4csum-tx",
    "tcp4csum-rx", "udp4csum",    "udp4csum-tx", "udp4csum-rx", "tcp6csum",
    "tcp6csum-tx", "tcp6csum-rx", "udp6csum",    "udp6csum-tx", "udp6csum-rx",
    "tso4",        "tso6",        "uso",         "lro",         ""};
/// Words of later features, with or without a leading minus.
constexpr std::array<std::string_view, 36> kNotBuilt{
    "advbase",   "advskew",        "agrport",    "apbridge", "bssid",       "carpdev",
    "chan",      "deletetunnel",   "hidessid",   "instance", "media",
    "mediaopt",  "mode",           "noproto",    "nwid",    "nwkey",        "pass",
    "powersave", "powersavesleep", "ssid",       "state",   "tunnel",       "vhid",
    "vlan",      "vlanif",         "txpower",    "rtsthreshold", "fragthreshold", "wps",
    "list",      "scan",           "iso",        "ns",      "atalk",        "range",         "snpaoffset"};
/// The states of an address that may be set, with a leading minus cleared; of inet tentative alone.
constexpr std::array<std::string_view, 3> kStates{"anycast", "deprecated", "tentative"};
constexpr std::array<std::string_view, 7> kFamilies{"inet", "inet6", "atalk", "iso", "ns", "link", "local"};

bool is_one_of(std::string_view word, std::span<const std::string_view> list) {
  return !word.empty() && std::find(list.begin(), list.end(), word) != list.end();
}

/// Reads the words and sends what they say.
class Configuration {
 public:
  Configuration(Io& io, Stack& stack, std::string name, const Words& words)
      : io_(io), stack_(stack), name_(std::move(name)), words_(words) {}

  int run() {
    if (at_ < words_.size() && is_one_of(words_[at_], kFamilies)) {
      if (const int status = family_word(words_[at_]); status != 0) return status;
      ++at_;
    }
    for (; at_ < words_.size(); ++at_)
      if (const int status = one(words_[at_]); status != 0) return status;
    return send_address();
  }

 private:
  int one(const std::string& word) {
    const auto row =
        std::find_if(kSwitches.begin(), kSwitches.end(), [&](const SwitchWord& s) { return s.word == word; });
    if (row != kSwitches.end()) return set([&](Node& n) { n.add_boolean(row->key, row->value); });
    const std::string_view bare =
        word.starts_with('-') ? std::string_view(word).substr(1) : std::string_view(word);
    if (is_one_of(bare, kCapabilities))
      return set([&](Node& n) { n.add_text(bare == word ? "capability_on" : "capability_off", bare); });
    if (word == "create" || word == "destroy") return simple("interface." + word);
    if (word == "alias") return alias_ = true, 0;
    if (word == "-alias" || word == "delete") return delete_ = true, 0;
    if (is_one_of(word, kFamilies)) return family_word(word);
    if (word == "eui64" && inet6_) return eui64_ = true, 0;
    if (is_one_of(bare, kStates) && (inet6_ || bare == "tentative")) {
      std::string& words = bare == word ? states_on_ : states_off_;
      return words += (words.empty() ? "" : ",") + std::string(bare), 0;
    }
    if (is_one_of(bare, kNotBuilt)) return io_.error(word + ": not built yet");
    return with_value(word);
  }

  int with_value(const std::string& word) {
    constexpr std::array<std::string_view, 10> kWords{"netmask", "broadcast", "prefixlen", "mtu",    "metric",
                                                      "lladdr",  "link",      "fib",       "pltime", "vltime"};
    if (!is_one_of(word, kWords)) return address_word(word);
    if (at_ + 1 >= words_.size()) return io_.error("'" + word + "' requires argument");
    const std::string& value = words_[++at_];
    if (word == "netmask") return netmask_ = value, 0;
    if (word == "broadcast") return broadcast_ = value, 0;
    if (word == "lladdr" || word == "link") return set([&](Node& n) { n.add_text("mac", value); });
    const bool lifetime = word == "pltime" || word == "vltime";
    const auto number = lifetime && (value == "infty" || value == "infinity") ? std::optional<std::uint64_t>{UINT32_MAX}
                                                                              : parse_number(value, UINT32_MAX);
    if (!number) return io_.error(value + ": bad value");
    if (lifetime && !inet6_) return io_.error(word + ": only of inet6");
    if (lifetime) return (word == "pltime" ? pltime_ : vltime_) = *number, 0;
    if (word == "prefixlen") {
      if (*number > bits()) return io_.error(value + ": bad value");
      return prefix_length_ = static_cast<int>(*number), 0;
    }
    return set([&](Node& n) { n.add_number(word, *number); });
  }

  std::uint64_t bits() const { return inet6_ ? 128 : 32; }

  int family_word(const std::string& word) {
    if (word != "inet" && word != "inet6") return io_.error(word + ": not built yet");
    inet6_ = word == "inet6";
    return 0;
  }

  /// As the stack reads it; empty: not an address of the family.
  std::string read_address(std::string_view text) const {
    if (!inet6_) {
      const auto address = wire::Ipv4Address::parse_bsd(text);
      return address ? address->to_string() : std::string{};
    }
    const auto [plain, zone] = wire::split_zone(text);
    const auto address = wire::Ipv6Address::parse(plain);
    return address ? address->to_string() + (zone.empty() ? "" : "%" + std::string(zone)) : std::string{};
  }

  int address_word(const std::string& word) {
    const std::size_t slash = std::min(word.find('/'), word.size());
    const std::string address = read_address(std::string_view(word).substr(0, slash));
    if (address.empty()) return io_.error(word + ": bad value");
    if (!address_.empty()) {
      if (!peer_.empty() || slash != word.size()) return io_.error(word + ": bad value");
      return peer_ = address, 0;
    }
    if (slash != word.size()) {
      const auto length = parse_number(std::string_view(word).substr(slash + 1), bits());
      if (!length) return io_.error(word + ": bad value");
      prefix_length_ = static_cast<int>(*length);
    }
    address_ = address;
    return 0;
  }

  template <class Fill>
  int set(Fill fill) {
    Node arguments;
    arguments.add_text("name", name_);
    fill(arguments);
    return send("interface.set", arguments);
  }

  int simple(const std::string& verb) {
    Node arguments;
    arguments.add_text("name", name_);
    return send(verb, arguments);
  }

  int send(std::string_view verb, const Node& arguments) {
    const auto answer = stack_.ask(verb, arguments);
    if (!answer) return io_.error(answer.error());
    if (const auto remark = answer->text_of("remark"); !remark.empty()) (void)io_.error(remark);
    return 0;
  }

  int send_address() {
    const bool has_state = !states_on_.empty() || !states_off_.empty() || pltime_ || vltime_;
    const bool has_details = !netmask_.empty() || !broadcast_.empty() || prefix_length_ >= 0 || has_state;
    if (address_.empty() && !delete_ && !has_details)
      return alias_ ? io_.error("alias: no address given") : 0;
    Node arguments;
    arguments.add_text("name", name_);
    if (inet6_ && (!netmask_.empty() || !broadcast_.empty())) return io_.error("netmask, broadcast: not of inet6");
    if (inet6_ && address_.empty()) return io_.error("inet6: no address given");
    if (eui64_ && !fill_identifier()) return 1;
    if (delete_) {
      if (inet6_) arguments.add_text("family", "inet6");
      if (!address_.empty()) arguments.add_address("address", address_);
      return send("address.delete", arguments);
    }
    if (address_.empty() && !use_primary()) return 1;
    arguments.add_address("address", address_);
    if (!peer_.empty()) arguments.add_address("peer", peer_);
    if (!netmask_.empty()) arguments.add_text("netmask", netmask_);
    if (netmask_.empty() && prefix_length_ >= 0)
      arguments.add_number("prefix_length", static_cast<std::uint64_t>(prefix_length_));
    if (!broadcast_.empty()) arguments.add_address("broadcast", broadcast_);
    if (alias_) arguments.add_boolean("alias", true);
    if (!states_on_.empty()) arguments.add_text("flags_on", states_on_);
    if (!states_off_.empty()) arguments.add_text("flags_off", states_off_);
    if (pltime_) arguments.add_number("pltime", *pltime_);
    if (vltime_) arguments.add_number("vltime", *vltime_);
    return send("address.add", arguments);
  }

  /// eui64: the low 64 bits are made of the interface's link-level address (RFC 4291 appendix A).
  bool fill_identifier() {
    Node arguments, answer;
    arguments.add_text("name", name_);
    if (!asked(io_, stack_, "interface.list", arguments, answer)) return false;
    const auto list = answer.list("interfaces");
    const auto mac = list.empty() ? std::nullopt : wire::MacAddress::parse(list.front().text_of("mac"));
    if (!mac) return io_.error(name_ + " has no link-level address"), false;
    auto address = *wire::Ipv6Address::parse(wire::split_zone(address_).first);
    for (std::size_t i = 8; i < 16; ++i)
      if (address.bytes[i] != 0) return io_.error(address_ + ": eui64 fills in the low 64 bits, which are not 0"), false;
    const auto& m = mac->bytes;
    const std::uint8_t identifier[8] = {static_cast<std::uint8_t>(m[0] ^ 2), m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]};
    std::copy(std::begin(identifier), std::end(identifier), address.bytes.begin() + 8);
    address_ = address.to_string();
    return true;
  }

  /// `ifconfig IF netmask M` without an address changes the one it has.
  bool use_primary() {
    Node arguments, answer;
    arguments.add_text("name", name_);
    if (!asked(io_, stack_, "interface.list", arguments, answer)) return false;
    for (const Node& interface : answer.list("interfaces"))
      for (const Node& address : interface.list("addresses"))
        if (address.text_of("family") == "inet" && address_.empty()) address_ = address.text_of("address");
    if (address_.empty()) return io_.error(name_ + " has no address to change"), false;
    return true;
  }

  Io& io_;
  Stack& stack_;
  const std::string name_;
  const Words& words_;
  std::size_t at_ = 0;
  std::string address_, peer_, netmask_, broadcast_;
  std::string states_on_, states_off_;
  std::optional<std::uint64_t> pltime_, vltime_;
  int prefix_length_ = -1;
  bool alias_ = false, delete_ = false, inet6_ = false, eui64_ = false;
};

}  // namespace

int configure_interface(Io& io, Stack& stack, const std::string& name, const Words& words) {
  return Configuration{io, stack, name, words}.run();
}

}  // namespace iopkt::utils
