// Files of the host that a command keeps up to date.
#pragma once

#include <string>
#include <string_view>

namespace iopkt::utils {

/// Gives the file this text, at once and whole for whoever reads it meanwhile, with the mode and the owner that it has; `suffix` names
/// the file beside it that is written first. Where another cannot take its place (a link, a mount, a folder that is not ours) it is
/// written in place. False: errno says why, and the file is as it was.
bool replace_file(const std::string& path, std::string_view text, std::string_view suffix);

}  // namespace iopkt::utils
