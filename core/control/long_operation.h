// SPDX-License-Identifier: LGPL-2.1-or-later
// Runs an operation that tells its progress to a client which may be slow, stopped or gone. Private to this room.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>

#include "control/node_api.h"
#include "heca/status.h"

namespace heca::control {

/// The operation runs on a thread of its own and never waits for the client: of its progress the newest is sent, at
/// most 20 times a second. A second without news is filled with an empty Progress, which tells the client that hecad
/// lives. For one operation.
class LongOperation final : private ProgressSink {
 public:
  using Operation = std::function<Status(ProgressSink&)>;
  /// False: the client is gone. May block.
  using Send = std::function<bool(const Progress&)>;
  using Gone = std::function<bool()>;

  /// Returns what the operation returned. `send` and `gone` are called on this thread only.
  Status Run(const Operation& operation, const Send& send, const Gone& gone);

 private:
  void OnProgress(const Progress& progress) override;
  [[nodiscard]] bool Cancelled() const override { return cancelled_.load(std::memory_order_relaxed); }

  std::mutex mutex_;
  std::condition_variable changed_;
  Progress newest_;
  bool fresh_ = false;
  bool done_ = false;
  Status result_;
  std::atomic<bool> cancelled_{false};
};

}  // namespace heca::control
