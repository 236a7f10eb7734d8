// The assertions of %{ ... }%: `assert EXPRESSION`, a line or a semicolon between two. The operators of Python, on integers.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace iopkt::script {

/// What the names of an expression stand for.
struct Names {
  std::function<std::optional<std::int64_t>(const std::string& name)> value;
  std::function<std::optional<std::int64_t>(const std::string& function, const std::string& argument)> call;  ///< f("text")
};

/// Checks every assertion of `code`, which begins in `line`. Errors: throws Fault, with the values of the names that it used.
void check_assertions(const std::string& code, int line, const Names& names);

/// One expression alone. Errors: throws Fault.
std::int64_t evaluate(const std::string& expression, const Names& names);

}  // namespace iopkt::script
