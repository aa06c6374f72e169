// SPDX-License-Identifier: LGPL-2.1-or-later
// An attach, limit, detach or migrate under way, on a thread of its own: it goes on while nobody asks.
#pragma once

#include <pybind11/pybind11.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <variant>

#include "connection.h"
#include "control/migration_types.h"
#include "control/node_api.h"
#include "heca/status.h"

namespace heca::binding {

/// What an operation ends with; detach with nothing.
using Outcome = std::variant<std::monostate, control::RegionInfo, control::MigrationSummary>;

/// Thread-safe. To destroy it does not wait: the operation is given up then.
class Operation {
 public:
  using Run = std::function<Result<Outcome>(control::NodeApi&, control::ProgressSink&)>;

  /// StatusError: the connection refuses.
  Operation(const std::shared_ptr<Connection>& connection, Run run);
  ~Operation();
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

  /// The next news, or None once it is over; its error is Fetch's to tell. Of news that nobody fetches the oldest go.
  pybind11::object Next();
  /// Whether it is over, after `timeout` seconds at most (none: for ever).
  bool Wait(std::optional<double> timeout);
  /// Waits; what it came to. StatusError: its error.
  pybind11::object Fetch();
  /// Asks it to end; Fetch tells kAborted then, unless it was over.
  void Cancel();
  [[nodiscard]] bool Done() const;

 private:
  struct State;
  class Sink;
  static void Work(std::shared_ptr<Connection> connection, control::NodeApi& api, std::shared_ptr<State> state,
                   const Run& run);
  bool WaitUntil(std::optional<Clock::time_point> deadline, const std::function<bool()>& ready);

  std::shared_ptr<State> state_;  ///< the thread's as well, which may be the last one
};

void BindOperation(pybind11::module_& module);

}  // namespace heca::binding
