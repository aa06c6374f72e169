// SPDX-License-Identifier: LGPL-2.1-or-later
// What happened on this node, in order: the newest few thousand events, and a way to wait for the next.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "control/node_api.h"

namespace heca::node {

/// Thread-safe. Add writes the event to the log as well.
class EventLog {
 public:
  /// Events kept; older ones are dropped, which a reader sees as a gap in the sequence.
  static constexpr std::size_t kKept = 4096;

  void Add(control::Severity severity, control::EventKind kind, const RegionId& region, std::string text,
           std::vector<std::pair<std::string, std::string>> values = {});
  /// As NodeApi::Events.
  [[nodiscard]] Status Deliver(const control::EventQuery& query, control::EventSink& sink);
  /// Lets every waiting Deliver return kAborted.
  void Close();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<control::Event> events_;
  std::uint64_t last_ = 0;
  bool closed_ = false;
};

}  // namespace heca::node
