#include <dirent.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "iopkt/version.h"
#include "utils/iopkt/iopkt.hpp"

namespace iopkt::utils {
namespace {

constexpr char kUsage[] =
    "usage: iopkt run [-i N | -p PREFIX] PROGRAM [ARGUMENT...]   run a program on a stack\n"
    "       iopkt [-i N | -p PREFIX] COMMAND [ARGUMENT...]       ifconfig, route, netstat ...\n"
    "       iopkt ps [--json]                                    list running stacks\n"
    "       iopkt stop [-i N]                                    end one\n"
    "       iopkt [-i N | -p PREFIX] snapshot                    all that a stack knows of itself, as JSON\n"
    "       iopkt version\n";
constexpr int kEndMilliseconds = 10'000;

/// PREFIX of PREFIX/bin/iopkt, links resolved.
std::string installation() {
  char path[PATH_MAX];
  const ssize_t length = ::readlink("/proc/self/exe", path, sizeof path);
  std::string own(path, length > 0 ? static_cast<std::size_t>(length) : 0);
  for (int level = 0; level < 2; ++level) own.resize(std::min(own.rfind('/'), own.size()));
  return own;
}

std::optional<ipc::InstanceRecord> instance(Io& io, const std::string& number) {
  const auto wanted = parse_number(number, UINT32_MAX);
  if (!wanted) return io.error("-i: " + number + " is not a number"), std::nullopt;
  for (const ipc::InstanceRecord& one : ipc::list_instances())
    if (one.instance == *wanted) return one;
  io.error("instance " + number + " is not running; see iopkt ps");
  return std::nullopt;
}

/// Takes -i N or -p PREFIX (attached or apart) off the front of `words` and sets SOCK. False: told already.
bool choose_stack(Io& io, Words& words) {
  while (!words.empty() && (words[0].starts_with("-i") || words[0].starts_with("-p"))) {
    const char letter = words[0][1];
    std::string value = words[0].substr(2);
    words.erase(words.begin());
    if (value.empty() && !words.empty()) value = words[0], words.erase(words.begin());
    if (value.empty()) return io.error(std::string("-") + letter + " requires a value"), false;
    if (letter == 'i') {
      const auto record = instance(io, value);
      if (!record) return false;
      value = record->prefix;
    } else {
      // The program may go to another directory.
      char absolute[PATH_MAX];
      if (::realpath(value.c_str(), absolute) == nullptr)
        return io.error("-p " + value + ": " + std::strerror(errno)), false;
      value = absolute;
    }
    ::setenv("SOCK", value.c_str(), 1);
  }
  if (!words.empty() && words[0] == "--") words.erase(words.begin());
  return true;
}

[[noreturn]] void execute(Io& io, const std::string& path, const Words& words) {
  std::vector<char*> argv;
  for (const std::string& word : words)
    argv.push_back(const_cast<char*>(word.c_str()));  // NOLINT: execv's signature
  argv.push_back(nullptr);
  io.flush();
  ::execv(path.c_str(), argv.data());
  const int error = errno;
  io.error(path + ": " + std::strerror(error));
  io.flush();
  ::_exit(error == ENOENT ? 127 : 126);
}

int run(Io& io, Words words) {
  if (!choose_stack(io, words)) return 1;
  if (words.empty()) {
    io.complain(kUsage);
    return 1;
  }
  const std::string library = installation() + "/lib/io-pkt/libiopkt-socket.so";
  if (::access(library.c_str(), R_OK) != 0) return io.error(library + ": " + std::strerror(errno));
  // ld.so(8): the words of LD_PRELOAD are parted by blanks and colons, and nothing can hide them.
  if (library.find_first_of(" :") != library.npos)
    return io.error(library + ": the loader takes no path with a blank or colon");
  const std::string program = find_program(words[0]);
  if (program.empty()) return io.error(words[0] + ": no such program"), 127;
  if (const Unreachable why = why_unreachable(program); why != Unreachable::nothing)
    return io.error(explain(why, program)), 126;
  const char* before = ::getenv("LD_PRELOAD");
  std::string preload = library;
  if (before != nullptr && *before != '\0' && std::strstr(before, library.c_str()) == nullptr)
    preload += ":" + std::string(before);
  ::setenv("LD_PRELOAD", preload.c_str(), 1);
  execute(io, program, words);
}

int list(Io& io, const Words& words) {
  for (const std::string& word : words) {
    if (word != "--json") return io.complain(kUsage), 1;
    io.json = true;
  }
  const auto records = ipc::list_instances();
  io.print(io.json ? to_json(instances_tree(records)) : show_instances(records));
  return 0;
}

int stop(Io& io, Words words) {
  std::string number = "0";
  if (!words.empty() && words[0].starts_with("-i")) {
    number = words[0].size() > 2 ? words[0].substr(2) : words.size() > 1 ? words[1] : "";
    words.erase(words.begin(), words.begin() + (words[0].size() > 2 || words.size() < 2 ? 1 : 2));
  }
  if (!words.empty()) return io.complain(kUsage), 1;
  const auto record = instance(io, number);
  if (!record) return 1;
  const int process = static_cast<int>(::syscall(SYS_pidfd_open, record->pid, 0));
  if (process < 0) return io.error("instance " + number + ": " + std::strerror(errno));
  // The number may have gone to another process since it was read; the descriptor cannot.
  const bool same = ipc::process_start_ticks(record->pid) == record->start_ticks;
  int status = 0;
  if (!same || ::syscall(SYS_pidfd_send_signal, process, SIGTERM, nullptr, 0) != 0) {
    status = io.error("instance " + number + ": " + (same ? std::strerror(errno) : "it has just ended"));
  } else {
    pollfd end{process, POLLIN, 0};
    if (::poll(&end, 1, kEndMilliseconds) <= 0) status = io.error("instance " + number + " is still running");
  }
  ::close(process);
  return status;
}

int snapshot(Io& io, const Words& words) {
  if (!words.empty() && words[0] != "--json") return io.complain(kUsage), 1;
  RemoteStack stack;
  Node answer;
  if (!asked(io, stack, "snapshot", {}, answer)) return 1;
  io.print(to_json(answer));
  return 0;
}

std::string known_commands(const std::string& folder) {
  std::vector<std::string> names;
  if (DIR* open = ::opendir(folder.c_str())) {
    while (const dirent* entry = ::readdir(open))
      if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
    ::closedir(open);
  }
  std::sort(names.begin(), names.end());
  std::string out = "commands:";
  for (const std::string& name : names) out += " " + name;
  return out + "\n";
}

int dispatch(Io& io, Words words) {
  const std::string folder = installation() + "/lib/io-pkt/bin";
  if (!choose_stack(io, words)) return 1;
  if (words.empty() || words[0] == "help" || words[0] == "--help" || words[0] == "-h") {
    const std::string text = kUsage + known_commands(folder);
    words.empty() ? io.complain(text) : io.print(text);
    return words.empty() ? 1 : 0;
  }
  const std::string name = words[0];
  const Words rest(words.begin() + 1, words.end());
  const bool own = name == "run" || name == "ps" || name == "stop" || name == "snapshot" || name == "version";
  if (own && helped(io, kUsage, rest)) return 0;
  if (name == "run") return run(io, rest);
  if (name == "ps") return list(io, rest);
  if (name == "stop") return stop(io, rest);
  if (name == "snapshot") return snapshot(io, rest);
  if (name == "version" || name == "--version") return io.print("io-pkt " IOPKT_VERSION "\n"), 0;
  const std::string path = folder + "/" + name;
  if (name.find('/') != name.npos || ::access(path.c_str(), X_OK) != 0) {
    io.error(name + ": no such command");
    io.complain(known_commands(folder));
    return 1;
  }
  execute(io, path, words);
}

}  // namespace
}  // namespace iopkt::utils

int main(int argc, char** argv) {
  iopkt::utils::Io io{"iopkt"};
  return iopkt::utils::dispatch(io, iopkt::utils::Words(argv + 1, argv + argc));
}
