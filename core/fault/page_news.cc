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

Result<std::uint64_t> PageNews::Add(NewsPiece piece) {
  const std::uint64_t pages = loop_.table.pages().value();
  const std::uint64_t slots = loop_.store.SlotCount();
  for (const region::SlotRun& run : piece.runs) {
    const bool there = run.first.value() < pages && run.pages <= pages - run.first.value();
    const bool slots_there = run.slot == kNoSlot || (run.slot.value() > loop_.store.ReadOnlySlots() &&
                                                     run.slot.value() <= slots && run.pages <= slots - run.slot.value() + 1);
    if (!there || !slots_there) {
      return Status(ErrorCode::kInvalidArgument, "pages or slots that the region does not have", ErrorScope::kRegion);
    }
  }
  const std::lock_guard lock(mutex_);
  added_.push_back(std::move(piece));
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
    region::SlotRun& run = piece_.runs[at_];
    std::uint64_t done = std::min(run.pages, kPagesAStep - looked);
    if (piece_.news == News::kChanged) {
      done = TakeChanged(run, done);
    } else {
      for (std::uint64_t n = 0; n < done; ++n) TakeEmpty(run.first + n);
    }
    looked += done;
    run = {run.first + done, run.pages - done,
           run.slot == kNoSlot ? kNoSlot : Slot(run.slot.value() + static_cast<std::uint32_t>(done))};
    if (run.pages == 0) ++at_;
  }
  if (at_ < piece_.runs.size()) return true;
  if (piece_.mark != kNoSlot) {
    loop_.table.RaiseSlotMark(piece_.mark);
    loop_.slots.CondemnUpTo(piece_.mark);
  }
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

std::uint64_t PageNews::TakeChanged(const region::SlotRun& run, std::uint64_t pages) {
  HECA_CHECK(loop_.closed);  // a thread may have seen the page, and have written it
  const PageIndex first = run.first;
  const auto slot_of = [&run](std::uint64_t n) {
    return run.slot == kNoSlot ? HomeOf(run.first + n) : Slot(run.slot.value() + static_cast<std::uint32_t>(n));
  };
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
    BecomeAway(first, slot_of(0));
    return 1;
  }
  const Placement punched = loop_.placer.Punch({first, here});
  // What cannot be taken out must not be taken for what it was: better nothing than this.
  HECA_CHECK(punched.answer == KernelAnswer::kDone);
  for (std::uint64_t n = 0; n < here; ++n) BecomeAway(first + n, slot_of(n));
  return here;
}

void PageNews::BecomeAway(PageIndex page, Slot slot) {
  PageEntry entry = loop_.table.Get(page);
  HECA_CHECK(entry.slot != kNoSlot);  // kept as long as the region is closed
  if (entry.slot != slot) {
    LetGo(entry.slot);
    Use(slot);
    const bool was_home = entry.slot == HomeOf(page);
    const bool is_home = slot == HomeOf(page);
    const std::uint64_t located = located_.load(std::memory_order_relaxed);
    if (was_home != is_home) located_.store(is_home ? located - 1 : located + 1, std::memory_order_relaxed);
    entry.slot = slot;
  }
  entry.state = PageState::kAway;
  entry.clean = false;
  entry.generation = entry.NextGeneration();
  loop_.table.Move(page, entry);
}

void PageNews::Use(Slot slot) {
  if (loop_.slots.MarkUsed(slot).ok()) return;
  ++more_[slot.value()];
  twice_.store(more_.size(), std::memory_order_relaxed);
}

void PageNews::LetGo(Slot slot) {
  const auto more = more_.find(slot.value());
  if (more == more_.end()) {
    loop_.slots.Return(slot);
    return;
  }
  if (--more->second == 0) more_.erase(more);
  twice_.store(more_.size(), std::memory_order_relaxed);
}

}  // namespace heca::fault
