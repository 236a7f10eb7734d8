// Every script below tests/script/ is a test: Script.<folder>/<name>/<shards>, with '_' for '-'; over IPv6 Script6.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/script/run.hpp"
#include "tests/script/sockets.hpp"

namespace iopkt::script {
namespace {

std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

class ScriptTest : public testing::Test {
 public:
  ScriptTest(std::string file, std::string name, std::uint32_t shards, wire::IpFamily family)
      : file_(std::move(file)), name_(std::move(name)), shards_(shards), family_(family) {}
  void TestBody() override {
    const std::string text = read_file(file_);
    MachineOptions options{.shards = shards_};
    try {
      options = machine_options(parse(text), shards_, family_);
    } catch (const Fault&) {
      // play_text() says what is wrong.
    }
    Sockets system{options};
    const std::string wrong = play_text(name_, text, system);
    if (!wrong.empty()) FAIL() << "\n" << wrong;
  }

 private:
  std::string file_, name_;
  std::uint32_t shards_;
  wire::IpFamily family_;
};

}  // namespace
}  // namespace iopkt::script

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const char* source = std::getenv("IOPKT_SOURCE_DIR");
  const std::filesystem::path root = std::filesystem::path(source != nullptr ? source : ".") / "tests/script";
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root))
    if (entry.path().extension() == ".pkt") files.push_back(entry.path());
  std::ranges::sort(files);
  using iopkt::wire::IpFamily;
  for (const auto& file : files) {
    const std::string name = "tests/script/" + std::filesystem::relative(file, root).string();
    std::vector<IpFamily> families{IpFamily::v4};
    try {
      families = iopkt::script::families_of(iopkt::script::parse(iopkt::script::read_file(file)));
    } catch (const iopkt::script::Fault&) {
      // Its test says what is wrong.
    }
    for (const IpFamily family : families) {
      for (const std::uint32_t shards : {1u, 2u}) {
        std::string test = std::filesystem::relative(file, root).replace_extension().string() + "/" + std::to_string(shards);
        std::ranges::replace(test, '-', '_');  // --gtest_filter takes what follows a '-' out
        testing::RegisterTest(family == IpFamily::v4 ? "Script" : "Script6", test.c_str(), nullptr, nullptr, name.c_str(), 1,
                              [file, name, shards, family]() -> testing::Test* {
                                return new iopkt::script::ScriptTest(file.string(), name, shards, family);
                              });
      }
    }
  }
  return RUN_ALL_TESTS();
}
