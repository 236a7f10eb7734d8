// -u: who owns the nodes of one type, and with which mode.
#include "node_access.hpp"

#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <vector>

namespace iopkt::daemon {
namespace {

constexpr std::size_t kEntryMax = std::size_t{1}
                                  << 20;  // of the user database: a group may have many members

std::optional<std::uint32_t> as_number(std::string_view word, int base) {
  std::uint32_t value = 0;
  const auto [end, fault] = std::from_chars(word.data(), word.data() + word.size(), value, base);
  if (fault != std::errc{} || end != word.data() + word.size()) return {};
  return value;
}

/// getpwnam_r and getgrnam_r with as much room as the entry needs.
template <class Entry, class Lookup>
bool look_up(const std::string& name, Entry& entry, Lookup lookup) {
  for (std::vector<char> room(4096); room.size() <= kEntryMax; room.resize(room.size() * 4)) {
    Entry* found = nullptr;
    const int rc = lookup(name.c_str(), &entry, room.data(), room.size(), &found);
    if (rc != ERANGE) return rc == 0 && found;
  }
  return false;
}

std::optional<uid_t> user_id(std::string_view word) {
  if (const auto number = as_number(word, 10)) return number;
  passwd entry{};
  if (!look_up(std::string{word}, entry, ::getpwnam_r)) return {};
  return entry.pw_uid;
}

std::optional<gid_t> group_id(std::string_view word) {
  if (const auto number = as_number(word, 10)) return number;
  group entry{};
  if (!look_up(std::string{word}, entry, ::getgrnam_r)) return {};
  return entry.gr_gid;
}

}  // namespace

Expected<NodeAccess, std::string> node_access(std::span<const std::string> lines, std::string_view type,
                                              mode_t initial) {
  NodeAccess access{.mode = initial};
  for (const std::string& text : lines) {
    const std::string_view line{text};
    const auto first = line.find(','), second = line.rfind(','), colon = line.find(':', first);
    const std::string_view user = line.substr(first + 1, colon - first - 1);
    const std::string_view group = line.substr(colon + 1, second - colon - 1);
    const NodeAccess said{user_id(user), group_id(group), as_number(line.substr(second + 1), 8).value_or(0)};
    if (!said.user) return unexpected("option -u " + text + ": unknown user " + std::string{user});
    if (!said.group) return unexpected("option -u " + text + ": unknown group " + std::string{group});
    const std::string_view named = line.substr(0, first);
    if (named == type || named == "all") access = said;
  }
  return access;
}

int apply_access(const std::string& path, const NodeAccess& access) {
  // Never open to the new owner's mode under the old owner: first whose, then for whom.
  if ((access.user || access.group) && ::lchown(path.c_str(), access.user.value_or(static_cast<uid_t>(-1)),
                                                access.group.value_or(static_cast<gid_t>(-1))) != 0)
    return errno;
  return ::chmod(path.c_str(), access.mode & 0666) == 0 ? 0 : errno;
}

}  // namespace iopkt::daemon
