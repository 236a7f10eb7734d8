// Where the process's lines go; spdlog does the writing.
#include "log.hpp"

#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/syslog_sink.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "crash.hpp"

#if IOPKT_HAVE_SYSTEMD
#include <spdlog/sinks/systemd_sink.h>
#endif

namespace iopkt::daemon {
namespace {

spdlog::level::level_enum level_of(LogLevel level) {
  switch (level) {
    case LogLevel::error:
      return spdlog::level::err;
    case LogLevel::warning:
      return spdlog::level::warn;
    case LogLevel::notice:
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::debug:
      return spdlog::level::debug;
  }
  return spdlog::level::info;
}

#if IOPKT_HAVE_SYSTEMD
/// sd-daemon(7): JOURNAL_STREAM names device and inode of the stream to the journal, if standard error still
/// is that.
bool standard_error_is_the_journal() {
  const char* stream = ::secure_getenv("JOURNAL_STREAM");
  struct stat status{};
  if (!stream || ::fstat(STDERR_FILENO, &status) != 0) return false;
  return std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino) == stream;
}
#endif

spdlog::sink_ptr standard_error_sink(const std::string& identity) {
#if IOPKT_HAVE_SYSTEMD
  if (standard_error_is_the_journal()) return std::make_shared<spdlog::sinks::systemd_sink_mt>(identity);
#endif
  auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  sink->set_pattern("%H:%M:%S.%e %n %l: %v");
  return sink;
}

}  // namespace

struct Log::Sinks {
  spdlog::sink_ptr standard_error, system;
  std::unique_ptr<spdlog::logger> all, system_only;
};

Log::Log(Target target, const std::string& identity) : sinks_(std::make_unique<Sinks>()) {
  sinks_->standard_error = standard_error_sink(identity);
  std::vector<spdlog::sink_ptr> sinks{sinks_->standard_error};
  if (target == Target::system) {
    sinks_->standard_error->set_level(spdlog::level::warn);
    sinks_->system = std::make_shared<spdlog::sinks::syslog_sink_mt>(identity, LOG_PID, LOG_DAEMON, false);
    sinks.push_back(sinks_->system);
    sinks_->system_only = std::make_unique<spdlog::logger>(identity, sinks_->system);
    sinks_->system_only->set_level(spdlog::level::debug);
  }
  sinks_->all = std::make_unique<spdlog::logger>(identity, sinks.begin(), sinks.end());
  // Who logs details (verbose=) decides that itself; nothing is filtered twice.
  sinks_->all->set_level(spdlog::level::debug);
  sinks_->all->flush_on(spdlog::level::debug);
}

Log::~Log() = default;

namespace {

void put(spdlog::logger& logger, LogLevel level, std::string_view line) {
  const auto is_control = [](char c) { return (c >= 0 && c < 0x20) || c == 0x7f; };
  if (std::ranges::none_of(line, is_control)) {
    logger.log(level_of(level), spdlog::string_view_t{line.data(), line.size()});
    return;
  }
  std::string clean{line};
  std::ranges::replace_if(clean, is_control, '?');
  logger.log(level_of(level), clean);
}

}  // namespace

void Log::write(LogLevel level, std::string_view line) {
  if (!is_crashing()) return put(*sinks_->all, level, line);
  // The fault may have come while this thread was inside a sink, with its lock.
  char text[512];
  const std::size_t size = line.copy(text, sizeof text - 1);
  text[size] = '\n';
  if (::write(STDERR_FILENO, text, size + 1) < 0) return;
}

void Log::write_system(LogLevel level, std::string_view line) {
  if (sinks_->system_only) put(*sinks_->system_only, level, line);
}

void Log::quiet_standard_error() {
  if (sinks_->system) sinks_->standard_error->set_level(spdlog::level::off);
}

}  // namespace iopkt::daemon
