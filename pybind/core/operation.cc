// SPDX-License-Identifier: LGPL-2.1-or-later
#include "operation.h"

#include <pybind11/stl.h>

#include <thread>
#include <utility>

#include "errors.h"
#include "values.h"
#include "wait.h"

namespace py = pybind11;

namespace heca::binding {
namespace {

constexpr std::size_t kMostNews = 1024;
/// How long an interrupted wait gives hecad to hear of it; NodeClient returns within half a second.
constexpr Millis kFarewell{500};

}  // namespace

struct Operation::State {
  mutable std::mutex mutex;
  std::condition_variable changed;
  std::deque<control::Progress> news;
  bool done = false;
  Status status;
  Outcome outcome;
  std::atomic<bool> cancelled{false};
};

/// On the operation's thread, which never touches Python.
class Operation::Sink final : public control::ProgressSink {
 public:
  Sink(const Connection& connection, State& state) : connection_(connection), state_(state) {}

  void OnProgress(const control::Progress& progress) override {
    const std::lock_guard lock(state_.mutex);
    if (state_.news.size() == kMostNews) state_.news.pop_front();
    state_.news.push_back(progress);
    state_.changed.notify_all();
  }
  [[nodiscard]] bool Cancelled() const override { return state_.cancelled || connection_.closed() || Exiting(); }

 private:
  const Connection& connection_;
  State& state_;
};

Operation::Operation(const std::shared_ptr<Connection>& connection, Run run) : state_(std::make_shared<State>()) {
  const auto api = connection->Api();
  Check(api.status());
  // Detached: what it needs it owns (the connection owns the api), and Shutdown waits for it.
  std::thread([connection, api = *api, state = state_, run = std::move(run), activity = std::make_unique<Activity>()]() mutable {
    Work(std::move(connection), *api, std::move(state), run);
  }).detach();
}

Operation::~Operation() {
  state_->cancelled = true;  // no lock: this may be a forked child
}

void Operation::Work(std::shared_ptr<Connection> connection, control::NodeApi& api, std::shared_ptr<State> state,
                     const Run& run) {
  Sink sink(*connection, *state);
  const Result<Outcome> ended = run(api, sink);
  const std::lock_guard lock(state->mutex);
  state->status = ended.status();
  if (ended.ok()) state->outcome = *ended;
  state->done = true;
  state->changed.notify_all();
}

bool Operation::WaitUntil(std::optional<Clock::time_point> deadline, const std::function<bool()>& ready) {
  Check(EnterProcess());
  const Activity activity;
  try {
    return WaitFor(state_->mutex, state_->changed, deadline, ready);
  } catch (...) {  // Ctrl-C, or the end of the interpreter
    Cancel();
    const py::gil_scoped_release release;
    std::unique_lock lock(state_->mutex);
    state_->changed.wait_for(lock, kFarewell, [&] { return state_->done; });
    throw;
  }
}

py::object Operation::Next() {
  std::optional<control::Progress> next;
  WaitUntil({}, [&] {
    if (state_->news.empty()) return state_->done;
    next = std::move(state_->news.front());
    state_->news.pop_front();
    return true;
  });
  return next ? ToPython(*next) : py::none();
}

bool Operation::Wait(std::optional<double> timeout) {
  std::optional<Clock::time_point> deadline;
  if (timeout) deadline = Clock::now() + SecondsOf(*timeout);
  return WaitUntil(deadline, [&] { return state_->done; });
}

py::object Operation::Fetch() {
  Wait({});
  Check(state_->status);  // nobody writes it any more
  return std::visit([](const auto& value) -> py::object { return ToPython(value); }, state_->outcome);
}

void Operation::Cancel() { state_->cancelled = true; }

bool Operation::Done() const {
  Check(EnterProcess());
  const std::lock_guard lock(state_->mutex);
  return state_->done;
}

void BindOperation(py::module_& module) {
  py::class_<Operation>(module, "Operation")
      .def("next", &Operation::Next)
      .def("wait", &Operation::Wait)
      .def("result", &Operation::Fetch)
      .def("cancel", &Operation::Cancel)
      .def_property_readonly("done", &Operation::Done);
}

}  // namespace heca::binding
