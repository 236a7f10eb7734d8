#include "utils/common/command.hpp"

#include <cerrno>
#include <charconv>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "wire/address.hpp"

namespace iopkt::utils {

std::string format(const char* form, ...) {
  va_list arguments, again;
  va_start(arguments, form);
  va_copy(again, arguments);
  const int length = std::vsnprintf(nullptr, 0, form, arguments);
  va_end(arguments);
  std::string out(static_cast<std::size_t>(length > 0 ? length : 0), '\0');
  std::vsnprintf(out.data(), out.size() + 1, form, again);
  va_end(again);
  return out;
}

int Io::error(std::string_view line) {
  err += command_ + ": " + std::string(line) + "\n";
  return 1;
}

void Io::complain(std::string_view text) { err += text; }

void Io::flush() {
  if (!to_terminal_) return;
  std::fwrite(out.data(), 1, out.size(), stdout);
  std::fflush(stdout);
  std::fwrite(err.data(), 1, err.size(), stderr);
  out.clear();
  err.clear();
}

Expected<Node, Failure> RemoteStack::ask(std::string_view verb, const Node& arguments) {
  if (open_.empty()) {
    auto connected = node_.empty() ? client::Instance::open() : client::Instance::open_node(node_);
    if (!connected) return unexpected(std::move(connected.error()));
    open_.push_back(std::move(*connected));
  }
  const auto answer = open_.front().manage(verb, write_tree(arguments));
  if (!answer) {
    // The stack has gone: the next question looks for another one.
    if (answer.error().error == ENOTCONN || answer.error().error == ECONNRESET) open_.clear();
    return unexpected(answer.error());
  }
  auto tree = read_tree(*answer);
  if (!tree) return unexpected(Failure{EPROTO, "the stack's answer makes no sense"});
  return std::move(*tree);
}

int run_command(std::string_view name, Command command, int argc, char** argv) {
  Io io{name};
  Words words;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--json") == 0)
      io.json = true;
    else
      words.emplace_back(argv[i]);
  }
  RemoteStack stack;
  const int status = command(io, stack, words);
  io.flush();
  return status;
}

bool helped(Io& io, std::string_view usage, const Words& words) {
  if (words.empty() || words[0] != "--help") return false;
  io.print(usage);
  return true;
}

Options::Options(const Words& words, std::string_view letters, std::string_view with_value)
    : words_(words), letters_(letters), with_value_(with_value) {}

char Options::next() {
  if (inside_ == 0) {
    if (at_ >= words_.size() || words_[at_].size() < 2 || words_[at_][0] != '-') return 0;
    if (words_[at_] == "--") {
      ++at_;
      return 0;
    }
    inside_ = 1;
  }
  const std::string& word = words_[at_];
  const char letter = word[inside_++];
  const bool takes = with_value_.find(letter) != with_value_.npos;
  if (!takes && letters_.find(letter) == letters_.npos) {
    fault_ = std::string("unknown option -- ") + letter;
    return '?';
  }
  if (!takes) {
    if (inside_ == word.size()) ++at_, inside_ = 0;
    return letter;
  }
  value_ = word.substr(inside_);
  inside_ = 0;
  ++at_;
  if (value_.empty()) {
    if (at_ >= words_.size()) {
      fault_ = std::string("option requires an argument -- ") + letter;
      return '?';
    }
    value_ = words_[at_++];
  }
  return letter;
}

bool asked(Io& io, Stack& stack, std::string_view verb, const Node& arguments, Node& out) {
  auto answer = stack.ask(verb, arguments);
  if (!answer) {
    io.error(answer.error());
    return false;
  }
  out = std::move(*answer);
  return true;
}

std::string counted(std::uint64_t n, std::string_view plural) {
  std::string unit{plural};
  if (n == 1 && unit.ends_with("ies")) {
    unit.replace(unit.size() - 3, 3, "y");
  } else if (n == 1 && unit.ends_with("sses")) {
    unit.resize(unit.size() - 2);
  } else if (n == 1 && unit.ends_with("s")) {
    unit.pop_back();
  }
  return std::to_string(n) + " " + unit;
}

std::string human(std::uint64_t n) {
  constexpr char kUnits[] = " KMGTPE";
  double value = static_cast<double>(n);
  std::size_t unit = 0;
  while (value >= 1000 && unit + 2 < sizeof kUnits) value /= 1024, ++unit;
  if (unit == 0) return std::to_string(n);
  return format(value < 10 ? "%.1f%c" : "%.0f%c", value, kUnits[unit]);
}

std::string network_name(std::string_view address, std::uint64_t length) {
  const auto parsed = wire::Ipv4Address::parse_strict(address);
  if (!parsed && length == 0) return "default";
  if (!parsed && length == 128) return std::string(address);
  if (!parsed) return std::string(address) + "/" + std::to_string(length);
  if (parsed->value == 0 && length == 0) return "default";
  if (length == 32) return std::string(address);
  std::string out = std::to_string(parsed->value >> 24);
  for (int shift = 16; shift >= 0; shift -= 8)
    if ((parsed->value << (24 - shift)) != 0 || static_cast<int>(length) > 24 - shift)
      out += "." + std::to_string(parsed->value >> shift & 0xff);
  return out + "/" + std::to_string(length);
}

std::optional<std::uint64_t> parse_number(std::string_view text, std::uint64_t max) {
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) text.remove_prefix(2), base = 16;
  std::uint64_t value = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || fault != std::errc{} || end != text.data() + text.size() || value > max)
    return std::nullopt;
  return value;
}

}  // namespace iopkt::utils
