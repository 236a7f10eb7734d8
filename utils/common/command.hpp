// What every command is made of: its words, where its text goes, and the stack it asks.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/expected.hpp"
#include "client/instance.hpp"
#include "utils/common/tree.hpp"

namespace iopkt::utils {

using Words = std::vector<std::string>;
using client::Failure;

/// printf into a string.
[[gnu::format(printf, 1, 2)]] std::string format(const char* form, ...);

/// Collects what is printed; flush() hands it to the terminal (or a test keeps it).
class Io {
 public:
  explicit Io(std::string_view command, bool to_terminal = true)
      : command_(command), to_terminal_(to_terminal) {}
  ~Io() { flush(); }
  Io(const Io&) = delete;
  Io& operator=(const Io&) = delete;

  void print(std::string_view text) { out += text; }
  /// "command: line", on standard error. Answers 1, the exit status.
  int error(std::string_view line);
  int error(const Failure& failure) { return error(failure.text()); }
  /// As it is, on standard error.
  void complain(std::string_view text);
  void flush();

  const std::string& command() const { return command_; }
  bool json = false;  ///< --json was given
  std::string out, err;

 private:
  std::string command_;
  bool to_terminal_;
};

/// The stack as commands see it: verbs of the control layer.
class Stack {
 public:
  virtual ~Stack() = default;
  virtual Expected<Node, Failure> ask(std::string_view verb, const Node& arguments = {}) = 0;
};

/// Connects at the first question: to the stack that SOCK names, or to a control node.
class RemoteStack final : public Stack {
 public:
  RemoteStack() = default;
  explicit RemoteStack(std::string node) : node_(std::move(node)) {}
  Expected<Node, Failure> ask(std::string_view verb, const Node& arguments) override;

 private:
  std::string node_;
  std::vector<client::Instance> open_;  // none or one
};

using Command = int (*)(Io& io, Stack& stack, const Words& words);

/// main() of a command: takes out --json, runs, prints. `words` do not hold the command's own name.
int run_command(std::string_view name, Command command, int argc, char** argv);

/// Whether the first word is --help: `usage` is then what the command prints, and its status is 0.
bool helped(Io& io, std::string_view usage, const Words& words);

/// Single-letter options as getopt(3) reads them, up to the first word that is none: clusters, values
/// attached or next.
class Options {
 public:
  /// `with_value`: the letters that take one.
  Options(const Words& words, std::string_view letters, std::string_view with_value);
  /// The next letter; 0 at the end; '?' for an unknown letter or a missing value (see fault()).
  char next();
  const std::string& value() const { return value_; }
  const std::string& fault() const { return fault_; }
  /// The words behind the options; after next() answered 0.
  Words rest() const { return {words_.begin() + static_cast<std::ptrdiff_t>(at_), words_.end()}; }

 private:
  const Words& words_;
  std::string_view letters_, with_value_;
  std::size_t at_ = 0, inside_ = 0;
  std::string value_, fault_;
};

/// The records of an answer, or the failure told. `out` is empty then, and the status 1.
bool asked(Io& io, Stack& stack, std::string_view verb, const Node& arguments, Node& out);

/// "1 packet", "2 packets", "1 entry".
std::string counted(std::uint64_t n, std::string_view plural);
/// 1536 -> "1.5K": at most five characters.
std::string human(std::uint64_t n);
/// A network in BSD's short form: "10.0.2/24", "default", "127/8".
std::string network_name(std::string_view address, std::uint64_t length);
/// Numbers 0..max, decimal or 0x; nullopt otherwise.
std::optional<std::uint64_t> parse_number(std::string_view text, std::uint64_t max);

}  // namespace iopkt::utils
