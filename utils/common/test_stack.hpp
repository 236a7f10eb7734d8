// For tests of commands: a stack that answers from prepared trees and remembers what it was asked, and texts
// that are compared with files below tests/golden/. IOPKT_GOLDEN_UPDATE=1 writes those files instead.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

#include "utils/common/command.hpp"

namespace iopkt::utils {

class TestStack final : public Stack {
 public:
  Expected<Node, Failure> ask(std::string_view verb, const Node& arguments) override {
    std::string line{verb};
    for (const Node& one : arguments.inner) {
      const bool number =
          one.kind == ipc::RecordType::unsigned_number || one.kind == ipc::RecordType::boolean;
      line += " " + one.key + "=" + (number ? std::to_string(one.number) : one.text);
    }
    asked.push_back(line);
    if (const auto refused = refusals.find(std::string(verb)); refused != refusals.end())
      return unexpected(refused->second);
    const auto found = answers.find(std::string(verb));
    return found == answers.end() ? Node{} : found->second;
  }
  /// From a file below tests/golden/.
  void answer_from(const std::string& verb, const std::string& file);

  std::map<std::string, Node> answers;
  std::map<std::string, Failure> refusals;
  std::vector<std::string> asked;
};

inline std::string golden_path(const std::string& file) {
  const char* source = std::getenv("IOPKT_SOURCE_DIR");
  return std::string(source != nullptr ? source : ".") + "/tests/golden/" + file;
}

inline std::string read_golden(const std::string& file) {
  std::ifstream in{golden_path(file)};
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

inline void expect_golden(const std::string& file, const std::string& text) {
  if (std::getenv("IOPKT_GOLDEN_UPDATE") != nullptr) std::ofstream{golden_path(file)} << text;
  EXPECT_EQ(text, read_golden(file)) << file << ": IOPKT_GOLDEN_UPDATE=1 accepts the new text";
}

inline void TestStack::answer_from(const std::string& verb, const std::string& file) {
  const auto tree = from_json(read_golden(file));
  ASSERT_TRUE(tree.has_value()) << file;
  answers[verb] = *tree;
}

/// Runs a command; its texts are in `out` and `err`.
struct Ran {
  int status = 0;
  std::string out, err;
};
inline Ran run_words(Command command, std::string_view name, Stack& stack, const Words& words,
                     bool json = false) {
  Io io{name, false};
  io.json = json;
  Ran ran;
  ran.status = command(io, stack, words);
  ran.out = io.out;
  ran.err = io.err;
  return ran;
}

}  // namespace iopkt::utils
