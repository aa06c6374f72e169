// SPDX-License-Identifier: LGPL-2.1-or-later
// What every fake of an api between hecads can be told: to fail, to wait, to be counted.
#pragma once

#include <condition_variable>
#include <mutex>
#include <utility>

#include "heca/status.h"

namespace heca::testing {

/// Thread-safe. A call of the fake begins with Enter, under its lock.
class Playable {
 public:
  ~Playable() { Unblock(); }

  /// The next calls answer with this error; ok ends that.
  void FailWith(Status status) {
    const std::lock_guard lock(mutex_);
    failure_ = std::move(status);
  }
  /// Calls do not return before Unblock.
  void Block() {
    const std::lock_guard lock(mutex_);
    blocked_ = true;
  }
  void Unblock() {
    const std::lock_guard lock(mutex_);
    blocked_ = false;
    changed_.notify_all();
  }
  [[nodiscard]] int calls() const {
    const std::lock_guard lock(mutex_);
    return calls_;
  }

 protected:
  Status Enter(std::unique_lock<std::mutex>& lock) {
    ++calls_;
    changed_.wait(lock, [&] { return !blocked_; });
    return failure_;
  }

  mutable std::mutex mutex_;

 private:
  std::condition_variable changed_;
  Status failure_;
  bool blocked_ = false;
  int calls_ = 0;
};

}  // namespace heca::testing
