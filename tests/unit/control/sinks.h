// SPDX-License-Identifier: LGPL-2.1-or-later
// Sinks for the tests of this room.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "control/node_api.h"

namespace heca::control {

/// Keeps all progress; cancels when told.
class RecordingProgress final : public ProgressSink {
 public:
  void OnProgress(const Progress& progress) override { seen.push_back(progress); }
  [[nodiscard]] bool Cancelled() const override { return cancel_when(*this); }

  std::vector<Progress> seen;
  std::function<bool(const RecordingProgress&)> cancel_when = [](const RecordingProgress&) { return false; };
};

/// Keeps events until it has `wanted`; cancels when told, from any thread.
class RecordingEvents final : public EventSink {
 public:
  explicit RecordingEvents(std::size_t wanted = SIZE_MAX) : wanted_(wanted) {}
  bool OnEvent(const Event& event) override {
    seen.push_back(event);
    return seen.size() < wanted_;
  }
  [[nodiscard]] bool Cancelled() const override { return cancel; }

  std::vector<Event> seen;
  std::atomic<bool> cancel{false};

 private:
  const std::size_t wanted_;
};

}  // namespace heca::control
