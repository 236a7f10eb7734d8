// iopkt: runs programs on a stack, reaches every command, lists and ends instances.
#pragma once

#include "ipc/instances.hpp"
#include "utils/common/command.hpp"

namespace iopkt::utils {

/// Why a preloaded library does not reach a program; nothing: it does.
enum class Unreachable : std::uint8_t {
  nothing,
  setuid,
  capabilities,
  static_program,
  other_format,
  missing
};
/// Looks at the file (and at a script's interpreter). `path` is what would be executed.
Unreachable why_unreachable(const std::string& path);
/// Of the first bytes of an ELF file: statically linked, or of another word size.
Unreachable why_unreachable_elf(std::span<const std::byte> head);
/// The interpreter that "#!" names; empty: not a script.
std::string interpreter_of(std::span<const std::byte> head);
std::string explain(Unreachable why, const std::string& path);

/// Where execvp would find it; empty: nowhere.
std::string find_program(const std::string& name);

std::string show_instances(std::span<const ipc::InstanceRecord> records);
Node instances_tree(std::span<const ipc::InstanceRecord> records);

}  // namespace iopkt::utils
