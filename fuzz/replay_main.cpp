// Runs a fuzz target without libFuzzer: first the files named as arguments (folders: every file in them), then
// inputs made from a fixed seed, half of them noise and half of them damaged copies of those files. So each target
// runs in every build and under every sanitizer, and the same program always sees the same inputs.
//
//   fuzz_NAME [FILE|FOLDER]...       RUNS=N in the environment: how many made-up inputs (2000); 0: only the files
//
// When a target dies, the input that killed it is written to crash-NAME.bin in the current directory, or in
// IOPKT_BUILD_DIR when that is set.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" {
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
__attribute__((weak)) int LLVMFuzzerInitialize(int* argc, char*** argv);
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)());
}

namespace {

using Input = std::vector<std::uint8_t>;

const Input* current = nullptr;
std::string crash_file;

void save_current() {
  if (current == nullptr) return;
  const int fd = ::open(crash_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return;
  const bool whole = ::write(fd, current->data(), current->size()) == static_cast<ssize_t>(current->size());
  ::close(fd);
  std::fprintf(stderr, "input of %zu bytes %s %s\n", current->size(), whole ? "saved in" : "only partly saved in",
               crash_file.c_str());
  current = nullptr;
}

extern "C" void on_fatal_signal(int sig) {
  std::signal(sig, SIG_DFL);
  save_current();
  std::raise(sig);
}

/// splitmix64: small, and its sequence is the same everywhere.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  /// 0..limit-1; limit > 0.
  std::size_t below(std::size_t limit) { return static_cast<std::size_t>(next() % limit); }
  std::uint8_t byte() { return static_cast<std::uint8_t>(next()); }

 private:
  std::uint64_t state_;
};

void run(const Input& input) {
  current = &input;
  // A copy of exact size on the heap: a read past the end is one that a sanitizer sees.
  const Input exact(input.begin(), input.end());
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
  current = nullptr;
}

Input read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    std::fprintf(stderr, "cannot read %s\n", path.c_str());
    std::exit(2);
  }
  return Input(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
}

Input noise(Random& random) {
  // Mostly the size of a frame, sometimes that of a large segment.
  Input out(random.below(random.below(32) == 0 ? 65536 : random.below(8) == 0 ? 2048 : 128));
  std::ranges::generate(out, [&] { return random.byte(); });
  return out;
}

Input damaged(Random& random, Input in) {
  static constexpr std::array<std::uint8_t, 6> kEdges{0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff};
  for (std::size_t changes = 1 + random.below(8); changes > 0 && !in.empty(); --changes) {
    const std::size_t at = random.below(in.size());
    switch (random.below(5)) {
      case 0: in[at] = static_cast<std::uint8_t>(in[at] ^ (1u << random.below(8))); break;
      case 1: in[at] = random.byte(); break;
      case 2: in[at] = kEdges[random.below(kEdges.size())]; break;
      case 3: in.resize(at); break;
      default: in.insert(in.begin() + static_cast<std::ptrdiff_t>(at), random.byte()); break;
    }
  }
  return in;
}

}  // namespace

int main(int argc, char** argv) {
  const char* dir = std::getenv("IOPKT_BUILD_DIR");
  crash_file = std::string(dir != nullptr ? dir : ".") + "/crash-" +
               std::filesystem::path(argv[0]).filename().string() + ".bin";
  if (__sanitizer_set_death_callback != nullptr) __sanitizer_set_death_callback(save_current);
  std::signal(SIGABRT, on_fatal_signal);
  if (__sanitizer_set_death_callback == nullptr) {
    for (const int sig : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) std::signal(sig, on_fatal_signal);
  }
  if (LLVMFuzzerInitialize != nullptr) LLVMFuzzerInitialize(&argc, &argv);

  std::vector<std::filesystem::path> files;
  for (int i = 1; i < argc; ++i) {
    const std::filesystem::path arg(argv[i]);
    if (std::filesystem::is_directory(arg)) {
      for (const auto& entry : std::filesystem::recursive_directory_iterator(arg)) {
        if (entry.is_regular_file()) files.push_back(entry.path());
      }
    } else if (std::filesystem::exists(arg)) {
      files.push_back(arg);
    } else {
      std::printf("no corpus yet: %s\n", argv[i]);
    }
  }
  std::ranges::sort(files);

  std::vector<Input> corpus;
  for (const auto& file : files) corpus.push_back(read_file(file));
  for (const Input& input : corpus) run(input);

  const char* wanted = std::getenv("RUNS");
  const unsigned long made_up = wanted != nullptr ? std::strtoul(wanted, nullptr, 10) : 2000;
  Random random(1);
  run({});
  for (unsigned long i = 0; i < made_up; ++i) {
    if (i % 2 == 0 || corpus.empty()) {
      run(noise(random));
    } else {
      run(damaged(random, corpus[random.below(corpus.size())]));
    }
  }
  std::printf("%zu files, %lu made-up inputs: ok\n", corpus.size(), made_up);
  return 0;
}
