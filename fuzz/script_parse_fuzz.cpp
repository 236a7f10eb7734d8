// Scripts: any text is understood or refused with a line of its own, and what is understood can be said again.
#include <algorithm>
#include <string>

#include "base/assert.hpp"
#include "tests/script/expression.hpp"
#include "tests/script/syntax.hpp"

using namespace iopkt;
using namespace iopkt::script;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text{reinterpret_cast<const char*>(data), size};
  const auto lines = static_cast<int>(std::count(text.begin(), text.end(), '\n')) + 1;
  Names names;
  names.value = [](const std::string& name) { return symbol(name); };
  names.call = [](const std::string&, const std::string&) { return std::optional<std::int64_t>{0}; };
  try {
    for (const Event& event : parse(text).events) {
      IOPKT_ASSERT(event.line >= 1 && event.line <= lines);
      if (const auto* packet = std::get_if<PacketEvent>(&event.what)) {
        // Its own words mean the same packet.
        const std::string said = to_string(packet->packet);
        const Script again = parse(std::string(packet->inbound ? "0 < " : "0 > ") + said);
        IOPKT_ASSERT(to_string(std::get<PacketEvent>(again.events.at(0).what).packet) == said);
      }
      if (const auto* code = std::get_if<CodeEvent>(&event.what)) check_assertions(code->text, event.line, names);
    }
  } catch (const Fault& fault) {
    IOPKT_ASSERT(fault.line >= 1 && fault.line <= lines);
    IOPKT_ASSERT(fault.what()[0] != '\0');
  }
  try {
    static_cast<void>(evaluate(text, names));
  } catch (const Fault&) {
  }
  return 0;
}
