// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/page_news.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace heca::fault {

using region::PageEntry;
using region::PageState;

namespace {
constexpr std::uint64_t kPagesAStep = 1024;  // some 20 us, and 1 ms where all of them have to go
constexpr std::uint64_t kPunchRun = 64;
}  // namespace

std::uint64_t PageNews::Add(News news, std::vector<region::PageRun> runs) {
  const std::lock_guard lock(mutex_);
  added_.push_back({news, std::move(runs)});
  any_added_.store(true, std::memory_order_release);
  return ++told_;
}

bool PageNews::Step() {
  if (!taking_) {
    if (!any_added_.load(std::memory_order_acquire)) return false;
    const std::lock_guard lock(mutex_);
    piece_ = std::move(added_.front());
    added_.pop_front();
    any_added_.store(!added_.empty(), std::memory_order_relaxed);
    at_ = 0;
    taking_ = true;
  }
  for (std::uint64_t looked = 0; looked < kPagesAStep && at_ < piece_.runs.size();) {
    region::PageRun& run = piece_.runs[at_];
    std::uint64_t done = std::min(run.pages, kPagesAStep - looked);
    if (piece_.news == News::kChanged) {
      done = TakeChanged(run.first, done);
    } else {
      for (std::uint64_t n = 0; n < done; ++n) TakeEmpty(run.first + n);
    }
    looked += done;
    run = {run.first + done, run.pages - done};
    if (run.pages == 0) ++at_;
  }
  if (at_ < piece_.runs.size()) return true;
  taking_ = false;
  taken_in_.fetch_add(1, std::memory_order_release);
  return any_added_.load(std::memory_order_relaxed);
}

void PageNews::TakeEmpty(PageIndex page) {
  PageEntry entry = loop_.table.Get(page);
  if (entry.state != PageState::kAway) return;
  if (loop_.slots.read_only() > 0 && !loop_.slots.IsReadOnly(entry.slot)) return;
  loop_.LetGoOfSlot(entry);
  entry.state = PageState::kZero;
  entry.clean = false;
  entry.generation = entry.NextGeneration();
  loop_.table.Move(page, entry);
  empty_pages_.fetch_add(1, std::memory_order_relaxed);
}

std::uint64_t PageNews::TakeChanged(PageIndex first, std::uint64_t pages) {
  HECA_CHECK(loop_.closed);  // a thread may have seen the page, and have written it
  const std::uint64_t most = std::min(loop_.map.Clip({first, pages}).pages, kPunchRun);
  std::uint64_t here = 0;
  for (; here < most; ++here) {
    PageEntry entry = loop_.table.Get(first + here);
    if (entry.state == PageState::kZero) {  // the file may hold something of it all the same
      entry.state = PageState::kHere;
      loop_.table.Move(first + here, entry);
    }
    if (entry.state != PageState::kHere) break;
    entry.state = PageState::kDropping;
    loop_.table.Move(first + here, entry);
  }
  if (here == 0) {
    BecomeAway(first);
    return 1;
  }
  const Placement punched = loop_.placer.Punch({first, here});
  // What cannot be taken out must not be taken for what it was: better nothing than this.
  HECA_CHECK(punched.answer == KernelAnswer::kDone);
  for (std::uint64_t n = 0; n < here; ++n) BecomeAway(first + n);
  return here;
}

void PageNews::BecomeAway(PageIndex page) {
  PageEntry entry = loop_.table.Get(page);
  HECA_CHECK(entry.slot != kNoSlot);  // kept as long as the region is closed
  entry.state = PageState::kAway;
  entry.clean = false;
  entry.generation = entry.NextGeneration();
  loop_.table.Move(page, entry);
}

}  // namespace heca::fault
