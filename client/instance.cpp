// Management requests of commands.
#include "client/instance.hpp"

#include <errno.h>
#include <sys/ioctl.h>

#include <cstring>

#include "base/bytes.hpp"
#include "client/paths.hpp"

namespace iopkt::client {

struct Instance::State {
  Channel channel;
  alignas(8) std::array<std::byte, ipc::kMessageMax> scratch;
  std::array<char, ipc::kLineMax> line;
  ~State() { channel.close(); }
};

void Instance::Free::operator()(State* state) const { delete state; }

std::string Failure::text() const { return line.empty() ? std::string{strerror(error)} : line; }

namespace {

/// No answer is longer: a routing table of some 30,000 lines.
constexpr std::size_t kAnswerMax = std::size_t{32} << 20;

Failure failure_of(const ipc::CallResult& result, std::span<const char> line) {
  if (result.transport != 0) return {result.transport, "the stack has gone away"};
  return {result.error, std::string(line.data(), std::min(result.line_len, line.size()))};
}

}  // namespace

Expected<Instance, Failure> Instance::finish(Instance instance, int error, std::string_view where) {
  if (error == 0) return instance;
  std::string line;
  if (error == ENOENT || error == ECONNREFUSED) {
    line = "no stack is running at " + std::string(where);
  } else {
    line = std::string(where) + ": " + strerror(error);
  }
  return unexpected(Failure{error, std::move(line)});
}

Expected<Instance, Failure> Instance::open(std::string_view prefix) {
  Instance instance;
  instance.state_.reset(new State);
  Channel::Greeting greeting;
  const int error = instance.state_->channel.open(prefix, {.utility = true}, greeting);
  return finish(std::move(instance), error, std::string(prefix) + std::string(ipc::kSocketFolder));
}

Expected<Instance, Failure> Instance::open() { return open(prefix_from_environment()); }

Expected<Instance, Failure> Instance::open_node(std::string_view path) {
  Instance instance;
  instance.state_.reset(new State);
  Channel::Greeting greeting;
  const int error = instance.state_->channel.open_node(path, {.utility = true}, greeting);
  return finish(std::move(instance), error, path);
}

template <ipc::MessageId Id>
Expected<Records, Failure> Instance::records_call(std::span<const std::byte> blob) {
  Records out(kAnswerMax);
  typename ipc::MessageTypes<Id>::Answer answer;
  const auto result = state_->channel.call<Id>(state_->scratch, {}, answer, blob, out, {}, state_->line);
  if (result.transport != 0 || result.error != 0) return unexpected(failure_of(result, state_->line));
  if (result.blob_len > out.size()) return unexpected(Failure{EMSGSIZE, "the stack's answer is too long"});
  out.resize(result.blob_len);
  return out;
}

Expected<Records, Failure> Instance::manage(std::string_view verb, std::span<const std::byte> arguments) {
  Records request;
  ipc::RecordWriter{request}.text("verb", verb);
  request.insert(request.end(), arguments.begin(), arguments.end());
  return records_call<ipc::MessageId::manage>(request);
}

Expected<Records, Failure> Instance::sysctl_get(std::string_view name) {
  return records_call<ipc::MessageId::sysctl_get>(as_bytes(name.data(), name.size()));
}

Expected<Records, Failure> Instance::sysctl_list(std::string_view prefix) {
  return records_call<ipc::MessageId::sysctl_list>(as_bytes(prefix.data(), prefix.size()));
}

Expected<Records, Failure> Instance::sysctl_set(std::string_view name, std::string_view value) {
  Records request;
  ipc::RecordWriter{request}.text("name", name).text("value", value);
  return records_call<ipc::MessageId::sysctl_set>(request);
}

Expected<int, Failure> Instance::ioctl(std::uint64_t code, std::span<std::byte> data) {
  const ipc::IoctlRequest request{.slot = ipc::kNoSlot, .code = code, .capacity = data.size()};
  ipc::IoctlAnswer answer{};
  const auto result = state_->channel.call<ipc::MessageId::ioctl>(state_->scratch, request, answer, data,
                                                                  data, {}, state_->line);
  if (result.transport != 0 || result.error != 0) return unexpected(failure_of(result, state_->line));
  return answer.result;
}

}  // namespace iopkt::client
