// Verbs on their way between threads.
#include "control_verbs.hpp"

#include <linux/capability.h>

#include <cstring>

#include "client_ioctl.hpp"
#include "control_records.hpp"
#include "ipc/records.hpp"
#include "run_on_stack.hpp"

namespace iopkt::daemon {
namespace {

using ipc::MessageId;

constexpr std::string_view kMount = "mount";

}  // namespace

struct VerbRunner::Job {
  RequestPtr request;
  std::string verb;
  control::Record arguments;
  const control::VerbRow* row = nullptr;  ///< null: mount
  bool privileged = false;
  std::vector<control::ShardPart> parts;
  std::atomic<std::size_t> missing{0};
  control::Outcome outcome;
};

VerbRunner::VerbRunner(Parts parts, FunctionalConnections::Limits limits, std::function<void(std::string)> complain)
    : parts_(std::move(parts)), functional_(limits, std::move(complain)) {}

void VerbRunner::serve(RequestPtr request) {
  auto job = std::make_shared<Job>();
  const std::string_view text{reinterpret_cast<const char*>(request->blob.data()), request->blob.size()};
  switch (request->id) {
    case MessageId::sysctl_get:
    case MessageId::sysctl_list:
      job->verb = "sysctl.get";
      if (!text.empty()) job->arguments.text("name", text);
      break;
    default: {
      auto record = to_record(request->blob);
      if (!record) return request->refuse(EINVAL, "the arguments are no records");
      if (request->id == MessageId::sysctl_set) {
        job->verb = "sysctl.set";
        job->arguments = std::move(*record);
        break;
      }
      if (record->fields().empty() || record->fields().front().key != "verb")
        return request->refuse(EINVAL, "the first record is not a verb");
      job->verb = record->fields().front().text;
      for (std::size_t i = 1; i < record->fields().size(); ++i) job->arguments.put(record->fields()[i]);
    }
  }
  job->request = std::move(request);
  start(job);
}

void VerbRunner::serve_ioctl(RequestPtr request) {
  if (!request->may(CAP_NET_ADMIN)) return request->refuse(EPERM);
  auto job = std::make_shared<Job>();
  job->request = std::move(request);
  job->privileged = true;
  queue(job);
}

void VerbRunner::start(const JobPtr& job) {
  job->row = control::find_verb(job->verb);
  const bool changes = job->row != nullptr ? job->row->changes : job->verb == kMount;
  if (job->row == nullptr && job->verb != kMount)
    return job->request->refuse(EOPNOTSUPP, "this stack has no verb " + job->verb);
  job->privileged = changes && job->request->may(CAP_NET_ADMIN);
  if (changes && !job->privileged)
    return job->request->refuse(EPERM, "only root and the user that runs the stack may do that");
  if (!changes) return begin(job);
  queue(job);
}

/// From here to its answer it holds a functional connection, also while it waits for its turn.
void VerbRunner::queue(const JobPtr& job) {
  functional_.take([this, job] {
    changes_.push_back(job);
    if (changes_.size() == 1) begin(job);
  });
}

void VerbRunner::begin(const JobPtr& job) {
  if (job->request->id == MessageId::ioctl) {
    auto change = read_change(job->request->fixed<ipc::IoctlRequest>().code, job->request->blob, *parts_.stack.network(),
                              parts_.stack.shard(0).list_neighbours());
    if (!change) {
      job->outcome.error = static_cast<control::Errno>(change.error());
      return finish(job);
    }
    job->verb = std::move(change->verb);
    job->arguments = std::move(change->arguments);
    return decide(job);
  }
  if (job->row == nullptr) return mount(job);
  if (job->row->gathers) return gather(job);
  decide(job);
}

void VerbRunner::gather(const JobPtr& job) {
  job->parts.resize(parts_.threads.size());
  job->missing = parts_.threads.size();
  for (ShardThread* thread : parts_.threads) {
    thread->post([this, job, thread] {
      job->parts[thread->number()] = control::collect(thread->shard());
      if (job->missing.fetch_sub(1) == 1) parts_.threads[0]->post([this, job] { decide(job); });
    });
  }
}

void VerbRunner::decide(const JobPtr& job) {
  const control::Context context{parts_.stack, parts_.surroundings, job->privileged, job->parts};
  job->outcome = control::run(context, job->verb, job->arguments);
  if (job->outcome.error != control::Errno::ok || job->outcome.steps.empty()) return finish(job);
  on_main(
      [this, job] {
        for (const control::DeviceStep& step : job->outcome.steps) {
          const int error = carry_out(step);
          if (error == 0) continue;
          job->outcome.error = static_cast<control::Errno>(error);
          job->outcome.line = std::string{"the device refuses: "} + std::strerror(error);
          return;
        }
      },
      [this, job] { finish(job); });
}

void VerbRunner::finish(const JobPtr& job) {
  control::Outcome& outcome = job->outcome;
  if (outcome.error == control::Errno::ok && outcome.next)
    control::decide_again({parts_.stack, parts_.surroundings, job->privileged, job->parts}, job->verb, job->arguments, outcome);
  if (outcome.error == control::Errno::ok && outcome.next) {
    parts_.stack.publish(std::move(*outcome.next));
    parts_.published(*parts_.stack.network());
  }
  if (outcome.error != control::Errno::ok) {
    job->request->refuse(static_cast<int>(outcome.error), outcome.line);
  } else if (job->request->id == MessageId::ioctl) {
    job->request->answer<MessageId::ioctl>({.result = 0, .reserved = 0});
  } else {
    job->request->answer_blob(to_blob(outcome.answer), outcome.line);
  }
  if (changes_.empty() || changes_.front() != job) return;
  changes_.pop_front();
  const bool more = !changes_.empty();
  functional_.done();  // one that waited for it begins at once if it is alone
  if (more) parts_.threads[0]->post([this] { begin(changes_.front()); });
}

/// Main thread. An errno, 0: done.
int VerbRunner::carry_out(const control::DeviceStep& step) {
  using Kind = control::DeviceStep::Kind;
  switch (step.kind) {
    case Kind::start: return parts_.interfaces.start(step.interface_index);
    case Kind::stop: return parts_.interfaces.stop(step.interface_index);
    case Kind::set_mac: return parts_.interfaces.set_mac(step.interface_index, step.mac.bytes.data());
    case Kind::set_mtu: {
      // A device that cannot be told takes all that its limits allow; the MTU then is what the stack sends at most.
      const int error = parts_.interfaces.set_mtu(step.interface_index, step.mtu);
      return error == EOPNOTSUPP ? 0 : error;
    }
    case Kind::destroy:
      if (AttachedInterface* attached = parts_.interfaces.give_back(step.interface_index)) parts_.plugins.destroy(*attached);
      return 0;
  }
  return EOPNOTSUPP;
}

/// mount: loads a driver. Arguments: text "driver", text "options".
void VerbRunner::mount(const JobPtr& job) {
  on_main(
      [this, job] {
        const DriverRequest wanted{std::string{job->arguments.text_of("driver")}, std::string{job->arguments.text_of("options")}};
        auto loaded = parts_.plugins.load(wanted);
        if (!loaded) {
          job->outcome.error = static_cast<control::Errno>(loaded.error().error != 0 ? loaded.error().error : EIO);
          job->outcome.line = loaded.error().line;
          return;
        }
        std::vector<control::Record> names;
        for (AttachedInterface* attached : *loaded) {
          if (!parts_.interfaces.take_up(*attached)) {
            job->outcome.error = control::Errno::nfile;
            job->outcome.line = attached->name + ": too many interfaces";
            parts_.plugins.destroy(*attached);
            continue;
          }
          names.emplace_back().text("name", attached->name);
        }
        job->outcome.answer.list("interfaces", std::move(names));
      },
      [this, job] { finish(job); });
}

void VerbRunner::on_main(Task work, Task then) {
  parts_.on_main([this, work = std::move(work), then = std::move(then)]() mutable {
    if (run_on_stack(parts_.stack_bytes, "io-pkt.request", [&work] { work(); }) != 0) work();
    parts_.threads[0]->post(std::move(then));
  });
}

}  // namespace iopkt::daemon
