// A call of a script as a Request, and its answer beside what the script says.
#pragma once

#include <map>
#include <string>

#include "tests/script/packets.hpp"
#include "tests/script/system.hpp"
#include "tests/script/syntax.hpp"

namespace iopkt::script {

/// Where each descriptor's stream is, so that `...` stands for the right bytes.
struct Streams {
  struct Position {
    std::uint64_t written = 0, read = 0;
    bool datagrams = false;
  };
  std::map<int, Position> of;
  wire::IpFamily family = wire::IpFamily::v4;  ///< of `...` where an address or a domain stands
  bool own_text = false;  ///< a script wrote a text of its own: payloads are not compared any more
};

/// Errors: throws Fault (an unknown call, an argument that it does not take).
Request to_request(const Event& event, Streams& streams);
/// The call is over. Errors: throws Fault that says what was expected and what came.
void check_answer(const Event& event, const Request& request, std::int64_t result, Streams& streams);

}  // namespace iopkt::script
