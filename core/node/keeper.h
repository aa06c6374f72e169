// SPDX-License-Identifier: LGPL-2.1-or-later
// The thread that keeps one region: takes it back after a restart of hecad, as often as it takes; looks after it while
// it is governed; ends it. A thread each, so that what one region waits for (QEMU's monitor, a sponsor that is out of
// reach, a full /run) delays no other. What is heavy, taking back, is done by a bounded number of them at once.
//
//   waiting() ──TakeBack ok──> Tick every 50 ms ──ended()──> End until ok (every 2 s) ──> over
//      └─ failed: again after 100 ms, 200 ms ... 5 s
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <semaphore>
#include <thread>

#include "base/clock.h"
#include "heca/status.h"

namespace heca::node {

/// What is kept. Its Keeper calls all of it on one thread.
class Kept {
 public:
  virtual ~Kept() = default;
  /// Not governed: TakeBack is due.
  [[nodiscard]] virtual bool waiting() const = 0;
  /// One attempt. Ok also when there is nothing left to take back: ended() then.
  virtual Status TakeBack() = 0;
  /// The last attempt failed; the next one is `next_try` away.
  virtual void NoteTrouble(const Status& why, Millis next_try) = 0;
  virtual void Tick() = 0;
  /// Nothing is governed any more, only End is left.
  [[nodiscard]] virtual bool ended() const = 0;
  virtual Status End() = 0;
};

struct KeeperPace {
  Millis tick{50};
  Millis first_pause{100};
  Millis last_pause{5000};
  Millis end_pause{2000};
};

class Keeper {
 public:
  /// How many take a region back at once. It is work for the CPUs (the page table of a large region); a few more than
  /// there are of those, because some steps wait for the target's mmap lock.
  static constexpr int kAtOnce = 8;
  using Gate = std::counting_semaphore<kAtOnce>;

  /// `gate` outlives it.
  Keeper(std::shared_ptr<Kept> kept, Gate& gate, const KeeperPace& pace = {});
  /// As Stop, and waits for the call that is under way.
  ~Keeper();
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

  /// Nothing more is begun. For many that are to end together.
  void Stop();
  /// Ended and given back; the Keeper may go.
  [[nodiscard]] bool over() const { return over_.load(std::memory_order_acquire); }
  /// The first attempt to take back has been made, if there was anything to do. False when the deadline passed.
  [[nodiscard]] bool WaitForFirstTry(Deadline deadline);

 private:
  void Run();
  void TakeBack();
  void TryToEnd();
  /// False: stop.
  [[nodiscard]] bool Pause(Millis span);

  const std::shared_ptr<Kept> kept_;  ///< shared: calls of operators may outlive the Keeper
  Gate& gate_;
  const KeeperPace pace_;
  std::atomic<bool> over_{false};
  Clock::time_point next_try_{};
  Clock::time_point next_end_{};
  Millis pause_{0};

  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  bool tried_ = false;
  std::thread thread_;
};

}  // namespace heca::node
