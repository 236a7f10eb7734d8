// Plays a script against a system and says where the two part.
#pragma once

#include <string>

#include "tests/script/system.hpp"
#include "tests/script/syntax.hpp"

namespace iopkt::script {

/// What `options` say about the stack under test. The MTU is larger by 20 over IPv6, as its header is: segments are as long.
MachineOptions machine_options(const Script& script, std::uint32_t shards, wire::IpFamily family = wire::IpFamily::v4);
/// --ip_version=ipv4 or ipv6; neither: both.
std::vector<wire::IpFamily> families_of(const Script& script);

/// `sysctl NAME=VALUE`; with -i a variable that the stack does not have is left out. nullopt: another command.
struct Setting {
  std::string name, value;
  bool may_miss = false;
};
std::optional<Setting> setting_of(const CommandEvent& command);

/// Errors: throws Fault; the line is the event's.
void play(const Script& script, System& system);

/// Parses and plays the text of a file. Empty: all went as it says; else "file:line: what", with what was sent until then.
std::string play_text(const std::string& name, const std::string& text, System& system);

}  // namespace iopkt::script
