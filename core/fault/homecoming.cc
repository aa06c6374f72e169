// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/homecoming.h"

namespace heca::fault {

using region::PageEntry;
using region::PageState;

namespace {

constexpr std::size_t kScan = 4096;       // table entries looked at in one step: some 10 us
constexpr std::size_t kUnprotectRun = 256;  // about 20 us
constexpr std::size_t kSingles = 16;      // demands in flight when pages are asked for one by one

}  // namespace

void Homecoming::Enter(HomeStage stage) {
  cursor_ = PageIndex(0);
  sweep_.Restart();
  stage_ = stage;
}

void Homecoming::Begin() {
  if (stage() != HomeStage::kNone) return;
  loop_.homing = true;
  fetcher_.ForgetBulkFailure();
  fetcher_.DropHeld();
  Enter(HomeStage::kRecall);
}

bool Homecoming::Step() {
  switch (stage()) {
    case HomeStage::kNone:
    case HomeStage::kDone:
      return false;
    case HomeStage::kRecall:
      if (evictor_.RecallAll()) Enter(HomeStage::kFetch);
      return true;
    case HomeStage::kFetch:
      // Whoever lends pages of a VM that is not here yet may take them back at any time.
      if (fetcher_.bulk_failed()) return !loop_.closed && FetchOneByOne();
      return Fetch();
    case HomeStage::kUnprotect:
      return UnprotectSome();
  }
  return false;
}

int Homecoming::DueMs() const { return stage() == HomeStage::kFetch && pace_.TooFast() ? pace_.DueMs() : -1; }

bool Homecoming::Fetch() {
  if (loop_.table.CountOf(PageState::kAway) == 0) {
    if (loop_.closed) return false;
    const bool through = loop_.table.CountOf(PageState::kComing) + loop_.table.CountOf(PageState::kPrefetching) +
                             loop_.table.CountOf(PageState::kLost) + loop_.table.CountOf(PageState::kPoisoned) == 0;
    if (through) Enter(HomeStage::kUnprotect);
    return through;
  }
  return sweep_.Step(AwaySweep::Wanted::kAll, AwaySweep::kMost) != Swept::kWaits;
}

bool Homecoming::FetchOneByOne() {
  const PageIndex end(loop_.table.pages().value());
  if (loop_.table.CountOf(PageState::kAway) == 0) return Fetch();
  for (std::size_t looked = 0; looked < kScan; ++looked) {
    if (fetcher_.demands_in_flight() >= kSingles) return false;
    if (cursor_ >= end) cursor_ = PageIndex(0);
    if (!loop_.table.TouchedAround(cursor_)) {
      cursor_ = region::PageTable::NextGroup(cursor_);
      continue;
    }
    loop_.fault_time = Clock::now();
    if (loop_.table.Get(cursor_).state == PageState::kAway && fetcher_.Demand(cursor_, true) == Outcome::kDefer) {
      return false;
    }
    ++cursor_;
  }
  return true;
}

bool Homecoming::UnprotectSome() {
  const PageIndex end(loop_.table.pages().value());
  std::size_t looked = 0;
  while (looked < kScan && cursor_ < end) {
    if (!loop_.table.TouchedAround(cursor_)) {
      cursor_ = region::PageTable::NextGroup(cursor_);
      ++looked;
      continue;
    }
    ForgetSlot(cursor_);
    const PageIndex first = cursor_;
    std::uint64_t pages = 0;
    const std::uint64_t most = loop_.map.Clip({first, kUnprotectRun}).pages;
    for (; pages < most; ++pages) {
      PageEntry entry = loop_.table.Get(first + pages);
      if (entry.state != PageState::kHere || entry.armed == region::kArmedForNobody) break;
      if (entry.slot != kNoSlot) loop_.slots.Condemn(entry.slot);
      entry.clean = false;  // before it can be written
      entry.armed = region::kArmedForNobody;
      entry.slot = kNoSlot;
      loop_.table.Move(first + pages, entry);
    }
    if (pages > 0) {
      Patience patience(loop_);
      while (loop_.placer.Unprotect({first, pages}).answer == KernelAnswer::kAgain && patience.Again()) {
      }
      cursor_ = first + pages;
      return true;
    }
    ++cursor_;
    ++looked;
  }
  if (cursor_ < end) return true;
  Unregister();
  return false;
}

void Homecoming::ForgetSlot(PageIndex page) {
  PageEntry entry = loop_.table.Get(page);
  const bool kept = entry.slot != kNoSlot && entry.armed == region::kArmedForNobody &&
                    (entry.state == PageState::kHere || entry.state == PageState::kZero);
  if (!kept) return;
  loop_.slots.Return(entry.slot);  // without a message for each: the store is given back as a whole
  entry.slot = kNoSlot;
  loop_.table.Move(page, entry);
}

void Homecoming::Unregister() {
  for (const region::Block& block : loop_.map.blocks()) {
    const Status status = uffd_.Unregister(block.address, loop_.map.BytesOf(block.pages.value()));
    if (!status.ok() && result_.ok()) result_ = status;
  }
  Enter(HomeStage::kDone);
}

}  // namespace heca::fault
