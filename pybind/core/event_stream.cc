// SPDX-License-Identifier: LGPL-2.1-or-later
#include "event_stream.h"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "control/node_api.h"
#include "errors.h"
#include "values.h"
#include "wait.h"

namespace py = pybind11;

namespace heca::binding {
namespace {

constexpr std::size_t kMostWaiting = 256;

}  // namespace

struct EventStream::State {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<control::Event> waiting;
  bool done = false;
  Status status;
  std::atomic<bool> closed{false};
};

/// On the stream's thread, which never touches Python.
class EventStream::Sink final : public control::EventSink {
 public:
  Sink(const Connection& connection, State& state) : connection_(connection), state_(state) {}

  bool OnEvent(const control::Event& event) override {
    std::unique_lock lock(state_.mutex);
    while (state_.waiting.size() >= kMostWaiting && !Cancelled()) state_.changed.wait_for(lock, kLookUp);
    if (Cancelled()) return false;
    state_.waiting.push_back(event);
    state_.changed.notify_all();
    return true;
  }
  [[nodiscard]] bool Cancelled() const override { return state_.closed || connection_.closed() || Exiting(); }

 private:
  const Connection& connection_;
  State& state_;
};

EventStream::EventStream(const std::shared_ptr<Connection>& connection, control::EventQuery query)
    : state_(std::make_shared<State>()) {
  const auto api = connection->Api();
  Check(api.status());
  // Detached: what it needs it owns, and Shutdown waits for it.
  std::thread([connection, api = *api, state = state_, query, activity = std::make_unique<Activity>()]() mutable {
    Work(std::move(connection), *api, std::move(state), query);
  }).detach();
}

void EventStream::Work(std::shared_ptr<Connection> connection, control::NodeApi& api, std::shared_ptr<State> state,
                       control::EventQuery query) {
  Sink sink(*connection, *state);
  Status ended = api.Events(query, sink);
  if (ended.ok() && connection->closed()) ended = Status(ErrorCode::kAborted, "the client was closed");
  const std::lock_guard lock(state->mutex);
  state->status = std::move(ended);
  state->done = true;
  state->changed.notify_all();
}

EventStream::~EventStream() {
  state_->closed = true;  // no lock: this may be a forked child
}

py::object EventStream::Next() {
  Check(EnterProcess());
  std::optional<control::Event> next;
  Status ended;
  WaitFor(state_->mutex, state_->changed, {}, [&] {
    if (state_->closed || Exiting()) return true;  // a thread that follows events ends quietly with the program
    if (state_->waiting.empty()) {
      ended = state_->status;
      return state_->done;
    }
    next = std::move(state_->waiting.front());
    state_->waiting.pop_front();
    state_->changed.notify_all();
    return true;
  });
  if (next) return ToPython(*next);
  Check(ended);
  return py::none();
}

void EventStream::Close() {
  state_->closed = true;
  if (Forked()) return;  // the lock may have been held at the fork
  const std::lock_guard lock(state_->mutex);
  state_->changed.notify_all();
}

void BindEventStream(py::module_& module) {
  py::class_<EventStream>(module, "EventStream").def("next", &EventStream::Next).def("close", &EventStream::Close);
}

}  // namespace heca::binding
