// SPDX-License-Identifier: LGPL-2.1-or-later
// Pages of which the store says that they hold nothing: they are Away, and become Zero without a copy. Told after the
// engine has begun to serve, because finding them takes time in which the VM need not stand still; a page that was asked
// for meanwhile comes as any other.
#pragma once

#include <atomic>
#include <mutex>
#include <vector>

#include "fault/loop_context.h"
#include "region/region_map.h"

namespace heca::fault {

class HoleList {
 public:
  explicit HoleList(LoopContext& loop) : loop_(loop) {}

  /// Thread-safe; the loop is woken by the caller.
  void Add(std::vector<region::PageRun> runs);
  /// Loop only: declares some. True if there is more to do.
  [[nodiscard]] bool Step();
  /// Pages that became Zero so. Thread-safe.
  [[nodiscard]] std::uint64_t declared() const { return declared_.load(std::memory_order_relaxed); }

 private:
  LoopContext& loop_;
  std::mutex mutex_;
  std::vector<region::PageRun> added_;  ///< under the mutex
  std::atomic<bool> any_added_{false};
  std::vector<region::PageRun> runs_;   ///< the loop's
  std::size_t at_ = 0;                  ///< in runs_
  std::atomic<std::uint64_t> declared_{0};
};

}  // namespace heca::fault
