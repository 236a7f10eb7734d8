// The result of something that others can make fail: a value, or a named error.
#pragma once

#include <expected>

namespace iopkt {

template <class T, class E>
using Expected = std::expected<T, E>;
using std::unexpected;

}  // namespace iopkt
