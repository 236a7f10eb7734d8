#include "utils/rtsol/rtsol.hpp"

#include <signal.h>
#include <time.h>

#include <algorithm>

#include "utils/rtsol/resolver.hpp"

namespace iopkt::utils {
namespace {

constexpr char kUsage[] =
    "usage: rtsol [-dD] [-r file] [--json] interface ...\n"
    "       rtsol [-dD] [-r file] [--json] -a\n";

constexpr unsigned kPauseMs = 500;
// RFC 4861 section 6.3.7: three solicitations 4 s apart, and MAX_RTR_SOLICITATION_DELAY for the last answer.
constexpr unsigned kWaitMs = 3 * 4000 + 1000;

volatile sig_atomic_t ended = 0;

/// With -r: ends the keeping, not the command, so that the file is left as it was.
void end_by_signals() {
  struct sigaction action {};
  action.sa_handler = [](int) { ended = 1; };
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) ::sigaction(signal, &action, nullptr);
}

void sleep_ms(unsigned ms) {
  const timespec pause{static_cast<time_t>(ms / 1000), static_cast<long>(ms % 1000) * 1'000'000};
  ::nanosleep(&pause, nullptr);
}

/// All that the stack has, or nothing and the failure told.
bool all_interfaces(Io& io, Stack& stack, Words& out) {
  Node answer;
  if (!asked(io, stack, "discovery.list", {}, answer)) return false;
  for (const Node& one : answer.list("interfaces")) out.emplace_back(one.text_of("interface"));
  if (out.empty()) return io.error("no interface has neighbours"), false;
  return true;
}

/// One that was asked for, and how many advertisements it had taken by then.
struct Waiting {
  std::string name;
  std::uint64_t before = 0;
  bool heard = false;
};

/// Looks at every interface once. True: all have heard.
bool look(Stack& stack, std::vector<Waiting>& waiting) {
  const auto answer = stack.ask("discovery.list", {});
  if (!answer) return false;
  for (Waiting& w : waiting)
    for (const Node& one : answer->list("interfaces"))
      if (one.text_of("interface") == w.name && one.number_of("advertisements") > w.before) w.heard = true;
  return std::ranges::all_of(waiting, &Waiting::heard);
}

int report(Io& io, const std::vector<Waiting>& waiting, bool debug) {
  Node answer;
  Node& rows = answer.add_list("interfaces");
  int status = 0;
  for (const Waiting& w : waiting) {
    if (!w.heard) status = 1;
    if (!w.heard && !io.json) (void)io.error(w.name + ": no router answers");
    if (w.heard && debug && !io.json) io.print(w.name + ": a router answered\n");
    rows.inner.emplace_back().add_text("interface", w.name).add_boolean("advertised", w.heard);
  }
  if (io.json) io.print(to_json(answer));
  return status;
}

}  // namespace

int rtsol(Io& io, Stack& stack, const Words& words) { return rtsol(io, stack, words, sleep_ms); }

int rtsol(Io& io, Stack& stack, const Words& words, Pause pause) {
  if (helped(io, kUsage, words)) return 0;
  bool all = false, debug = false;
  std::string resolver;
  Options options{words, "aDd", "r"};
  for (char letter = options.next(); letter != 0; letter = options.next()) {
    if (letter == '?') return io.error(options.fault()), io.complain(kUsage), 1;
    if (letter == 'r') resolver = options.value();
    else (letter == 'a' ? all : debug) = true;
  }
  Words names = options.rest();
  if (names.empty() != all) return io.complain(kUsage), 1;
  if (all && !all_interfaces(io, stack, names)) return 1;
  std::vector<Waiting> waiting;
  for (const std::string& name : names) {
    Node arguments, answer;
    arguments.add_text("name", name);
    if (!asked(io, stack, "discovery.solicit", arguments, answer)) {
      // With -a: one that is down keeps nobody from the others.
      if (all) continue;
      return 1;
    }
    if (debug && !io.json) io.print(name + ": routers are asked\n");
    waiting.push_back({name, answer.number_of("advertisements")});
  }
  if (waiting.empty()) return 1;
  io.flush();
  for (unsigned waited = 0; !look(stack, waiting) && waited < kWaitMs; waited += kPauseMs) pause(kPauseMs);
  const int status = report(io, waiting, debug);
  if (resolver.empty()) return status;
  io.flush();
  // A router may come later.
  Words kept;
  for (const Waiting& w : waiting) kept.push_back(w.name);
  end_by_signals();
  return keep_resolver(io, stack, kept, resolver, pause, [] { return ended != 0; });
}

}  // namespace iopkt::utils
