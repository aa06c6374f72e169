// SPDX-License-Identifier: LGPL-2.1-or-later
#include "control/long_operation.h"

#include <thread>
#include <utility>

#include "base/clock.h"

namespace heca::control {
namespace {

constexpr Millis kLeastGap{50};
constexpr Millis kGoneCheck{100};
constexpr Millis kLargestGap{1'000};

}  // namespace

void LongOperation::OnProgress(const Progress& progress) {
  {
    const std::lock_guard lock(mutex_);
    newest_ = progress;
    fresh_ = true;
  }
  changed_.notify_one();
}

Status LongOperation::Run(const Operation& operation, const Send& send, const Gone& gone) {
  std::thread worker([&] {
    Status result = operation(*this);
    const std::lock_guard lock(mutex_);
    result_ = std::move(result);
    done_ = true;
    changed_.notify_one();
  });
  Clock::time_point sent = Clock::now();
  std::unique_lock lock(mutex_);
  while (!done_) {
    changed_.wait_for(lock, kGoneCheck, [&] { return done_ || fresh_; });
    const bool due = fresh_ || Clock::now() - sent >= kLargestGap;
    const Progress progress = std::exchange(fresh_, false) ? newest_ : Progress();
    lock.unlock();
    if (gone() || (due && !Cancelled() && !send(progress))) cancelled_.store(true, std::memory_order_relaxed);
    if (due) sent = Clock::now();
    lock.lock();
    if (due) changed_.wait_for(lock, kLeastGap, [&] { return done_; });
  }
  const bool last_words = std::exchange(fresh_, false) && result_.ok();
  lock.unlock();
  worker.join();
  if (last_words && !Cancelled()) send(newest_);
  return result_;
}

}  // namespace heca::control
