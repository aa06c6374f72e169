// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node/keeper.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace heca::node {

Keeper::Keeper(std::shared_ptr<Kept> kept, Gate& gate, const KeeperPace& pace)
    : kept_(std::move(kept)), gate_(gate), pace_(pace), thread_([this] { Run(); }) {}

Keeper::~Keeper() {
  Stop();
  thread_.join();
}

void Keeper::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
}

bool Keeper::WaitForFirstTry(Deadline deadline) {
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, deadline.when(), [this] { return tried_; });
}

bool Keeper::Pause(Millis span) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, span, [this] { return stopping_; });
}

void Keeper::Run() {
  do {
    if (kept_->waiting() && Clock::now() >= next_try_) TakeBack();
    {
      const std::lock_guard lock(mutex_);
      tried_ = true;
    }
    changed_.notify_all();
    kept_->Tick();
    if (kept_->ended()) TryToEnd();
  } while (!over() && Pause(pace_.tick));
}

void Keeper::TakeBack() {
  gate_.acquire();
  const Status taken = kept_->TakeBack();
  gate_.release();
  if (taken.ok()) {
    pause_ = Millis(0);
    return;
  }
  pause_ = pause_ == Millis(0) ? pace_.first_pause : std::min(2 * pause_, pace_.last_pause);
  next_try_ = Clock::now() + pause_;
  kept_->NoteTrouble(taken, pause_);
}

void Keeper::TryToEnd() {
  if (Clock::now() < next_end_) return;
  const Status ended = kept_->End();
  if (ended.ok()) {
    over_.store(true, std::memory_order_release);
    return;
  }
  next_end_ = Clock::now() + pace_.end_pause;
  Log().debug("not given back yet: {}", ended.ToString());
}

}  // namespace heca::node
