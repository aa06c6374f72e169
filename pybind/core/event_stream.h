// SPDX-License-Identifier: LGPL-2.1-or-later
// Events as they come, on a thread of its own.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "connection.h"
#include "control/node_types.h"

namespace heca::binding {

/// Thread-safe. Holds some hundred events that nobody has fetched yet; hecad keeps the rest, as far as it does. To destroy
/// it does not wait.
class EventStream {
 public:
  /// StatusError: the connection refuses.
  EventStream(const std::shared_ptr<Connection>& connection, control::EventQuery query);
  ~EventStream();
  EventStream(const EventStream&) = delete;
  EventStream& operator=(const EventStream&) = delete;

  /// The next event, or None: no more, or closed. StatusError: why it ended.
  pybind11::object Next();
  /// From any thread: whoever waits in Next gets None. Idempotent.
  void Close();

 private:
  struct State;
  class Sink;
  static void Work(std::shared_ptr<Connection> connection, control::NodeApi& api, std::shared_ptr<State> state,
                   control::EventQuery query);

  std::shared_ptr<State> state_;  ///< the thread's as well
};

void BindEventStream(pybind11::module_& module);

}  // namespace heca::binding
