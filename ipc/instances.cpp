// Where running stacks can be found.
#include "ipc/instances.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>

namespace iopkt::ipc {
namespace {

constexpr std::string_view kName = "io-pkt";
constexpr std::size_t kFileMax = 8192;

template <class Number>
bool read_decimal(std::string_view text, Number& out) {
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), out);
  return fault == std::errc{} && end == text.data() + text.size() && !text.empty();
}

/// The beginning of a small file; empty when it cannot be read.
std::string read_small(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
  if (fd < 0) return {};
  std::string text(kFileMax, '\0');
  const ssize_t size = ::read(fd, text.data(), text.size());
  ::close(fd);
  text.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
  return text;
}

}  // namespace

std::vector<std::string> run_directories() {
  const char* chosen = ::secure_getenv("IOPKT_RUN_DIR");
  if (chosen && *chosen == '/') return {chosen};
  std::vector<std::string> own;
  const char* runtime = ::secure_getenv("XDG_RUNTIME_DIR");
  if (runtime && *runtime == '/') own.push_back(std::string{runtime} + "/io-pkt");
  own.push_back("/tmp/io-pkt-" + std::to_string(::geteuid()));
  own.insert(::geteuid() == 0 ? own.begin() : own.end(), "/run/io-pkt");
  return own;
}

bool is_trusted_directory(const std::string& directory) {
  struct stat status{};
  if (::lstat(directory.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) return false;
  return (status.st_uid == 0 || status.st_uid == ::geteuid()) && (status.st_mode & 022) == 0;
}

std::string instance_path(const std::string& directory, std::uint32_t instance, std::string_view suffix) {
  return directory + "/" + std::string{kName} + std::to_string(instance) + std::string{suffix};
}

std::string encode(const InstanceRecord& record) {
  return "instance=" + std::to_string(record.instance) + "\npid=" + std::to_string(record.pid) +
         "\nstart_ticks=" + std::to_string(record.start_ticks) +
         "\nstarted=" + std::to_string(record.started) + "\nvariant=" + record.variant +
         "\nprefix=" + record.prefix + "\n";
}

std::optional<InstanceRecord> decode(std::string_view text) {
  InstanceRecord record;
  unsigned seen = 0;
  while (!text.empty()) {
    const auto end = text.find('\n');
    if (end == text.npos) return {};  // cut short
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    const auto equals = line.find('=');
    if (equals == line.npos) return {};
    const std::string_view key = line.substr(0, equals), value = line.substr(equals + 1);
    bool good = true;
    if (key == "instance")
      good = read_decimal(value, record.instance), seen |= 1;
    else if (key == "pid")
      good = read_decimal(value, record.pid) && record.pid > 0, seen |= 2;
    else if (key == "start_ticks")
      good = read_decimal(value, record.start_ticks), seen |= 4;
    else if (key == "started")
      good = read_decimal(value, record.started), seen |= 8;
    else if (key == "variant")
      record.variant = value, seen |= 16;
    else if (key == "prefix")
      record.prefix = value, seen |= 32;
    if (!good) return {};
  }
  if (seen != 63) return {};
  return record;
}

std::uint64_t process_start_ticks(std::int32_t pid) {
  const std::string text = read_small("/proc/" + std::to_string(pid) + "/stat");
  // proc(5): the name in brackets may hold anything, so that counting starts behind the last bracket;
  // field 22. A process that nobody waited for yet is as good as gone.
  const auto bracket = text.rfind(')');
  if (bracket == text.npos || text.size() < bracket + 3) return 0;
  if (text[bracket + 2] == 'Z' || text[bracket + 2] == 'X') return 0;
  std::string_view rest{text};
  rest.remove_prefix(bracket + 1);
  for (int field = 2; field < 22; ++field) {
    const auto blank = rest.find(' ');
    if (blank == rest.npos) return 0;
    rest.remove_prefix(blank + 1);
  }
  std::uint64_t ticks = 0;
  return read_decimal(rest.substr(0, rest.find(' ')), ticks) ? ticks : 0;
}

std::vector<InstanceRecord> list_instances(const std::string& directory) {
  std::vector<InstanceRecord> found;
  if (!is_trusted_directory(directory)) return found;
  DIR* open = ::opendir(directory.c_str());
  if (!open) return found;
  while (const dirent* entry = ::readdir(open)) {
    std::string_view name{entry->d_name};
    std::uint32_t instance = 0;
    if (!name.starts_with(kName) || !read_decimal(name.substr(kName.size()), instance)) continue;
    const auto record = decode(read_small(directory + "/" + std::string{name}));
    if (record && record->instance == instance && process_start_ticks(record->pid) == record->start_ticks)
      found.push_back(*record);
  }
  ::closedir(open);
  std::ranges::sort(found, {}, &InstanceRecord::instance);
  return found;
}

std::vector<InstanceRecord> list_instances() {
  std::vector<InstanceRecord> all;
  for (const std::string& directory : run_directories())
    for (InstanceRecord& record : list_instances(directory))
      if (std::ranges::find(all, record.instance, &InstanceRecord::instance) == all.end())
        all.push_back(std::move(record));
  std::ranges::sort(all, {}, &InstanceRecord::instance);
  return all;
}

std::optional<std::string> find_control(std::uint32_t instance) {
  for (const std::string& directory : run_directories())
    for (const InstanceRecord& record : list_instances(directory))
      if (record.instance == instance) return instance_path(directory, instance, ".control");
  return {};
}

}  // namespace iopkt::ipc
