// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/hole_list.h"

#include <algorithm>
#include <utility>

namespace heca::fault {

using region::PageEntry;
using region::PageState;

namespace {
constexpr std::uint64_t kPagesAStep = 1024;  // some 20 us
}

void HoleList::Add(std::vector<region::PageRun> runs) {
  const std::lock_guard lock(mutex_);
  added_.insert(added_.end(), runs.begin(), runs.end());
  any_added_.store(true, std::memory_order_release);
}

bool HoleList::Step() {
  if (at_ == runs_.size()) {
    if (!any_added_.load(std::memory_order_acquire)) return false;
    const std::lock_guard lock(mutex_);
    runs_ = std::exchange(added_, {});
    any_added_.store(false, std::memory_order_relaxed);
    at_ = 0;
  }
  for (std::uint64_t looked = 0; looked < kPagesAStep && at_ < runs_.size();) {
    region::PageRun& run = runs_[at_];
    const std::uint64_t count = std::min(run.pages, kPagesAStep - looked);
    for (std::uint64_t n = 0; n < count; ++n) {
      const PageIndex page = run.first + n;
      const PageEntry entry = loop_.table.Get(page);
      if (entry.state != PageState::kAway) continue;
      if (entry.slot != kNoSlot) loop_.slots.Condemn(entry.slot);
      loop_.table.Move(page, PageEntry{PageState::kZero, region::kArmedForNobody, false, entry.policy,
                                       entry.NextGeneration(), kNoSlot});
      declared_.fetch_add(1, std::memory_order_relaxed);
    }
    looked += count;
    run = {run.first + count, run.pages - count};
    if (run.pages == 0) ++at_;
  }
  return at_ < runs_.size() || any_added_.load(std::memory_order_relaxed);
}

}  // namespace heca::fault
