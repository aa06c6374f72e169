// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/change_notes.h"

#include <algorithm>
#include <bit>
#include <iterator>
#include <limits>
#include <utility>

namespace heca::fault {

using region::ChangeMap;
using region::PageEntry;
using region::PageRun;
using region::PageState;

namespace {

constexpr std::size_t kPagesAStep = 256;   // to be armed: some 100 us
constexpr std::size_t kWordsAStep = 1024;  // with nothing in them: some us

}  // namespace

std::uint64_t ChangeNotes::Ask(bool arm) {
  const std::lock_guard lock(mutex_);
  if (std::exchange(fresh_, false)) all_ = ChangeMap::AllOf(loop_.table.pages());
  arm_ = arm;
  asked_.store(true, std::memory_order_release);
  return ++questions_;
}

ChangeNotes::Places ChangeNotes::Take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(told_, {});
}

void ChangeNotes::Forget() {
  const std::lock_guard lock(mutex_);
  fresh_ = true;
  all_ = {};
  told_.clear();
  asked_.store(false, std::memory_order_relaxed);
  forget_.store(true, std::memory_order_release);
}

void ChangeNotes::ObeyForget() {
  if (!forget_.exchange(false, std::memory_order_acquire)) return;
  loop_.table.changes().End();
  found_.clear();
  stage_ = Stage::kIdle;
}

int ChangeNotes::RecheckMs() const {
  return stage_ == Stage::kDevices ? std::max(1, loop_.guard.RecheckMs()) : -1;
}

void ChangeNotes::Begin() {
  const std::lock_guard lock(mutex_);
  asked_.store(false, std::memory_order_relaxed);
  if (!all_.empty()) {
    loop_.table.changes().Begin(std::exchange(all_, {}));
    first_ = true;
  }
  question_ = questions_;
  arming_ = arm_;
  word_ = 0;
  stage_ = Stage::kSweep;
}

bool ChangeNotes::Step() {
  ObeyForget();
  if (stage_ == Stage::kIdle) {
    if (!asked_.load(std::memory_order_acquire)) return false;
    Begin();
  }
  if (stage_ == Stage::kSweep) {
    Look(kPagesAStep, arming_);
    if (word_ < loop_.table.changes().words()) return true;
    first_ = false;
    armed_ = io_.Now();
    stage_ = Stage::kDevices;
  }
  if (arming_ && !io_.Over(armed_)) return false;
  stage_ = Stage::kIdle;
  HandOver();
  answered_.store(question_, std::memory_order_release);
  return true;
}

void ChangeNotes::HandOver() {
  const std::lock_guard lock(mutex_);
  if (told_.empty()) {
    std::swap(told_, found_);
  } else {
    told_.insert(told_.end(), found_.begin(), found_.end());
  }
  found_.clear();
}

void ChangeNotes::Look(std::size_t most_pages, bool arm) {
  ChangeMap& changes = loop_.table.changes();
  std::size_t pages = 0;
  PageRun here;
  const auto arm_here = [&] {
    if (arm && here.pages > 0) Arm(here);
    here.pages = 0;
  };
  for (std::size_t looked = 0; looked < kWordsAStep && pages < most_pages && word_ < changes.words(); ++looked) {
    std::uint64_t word = changes.Word(word_);
    while (word != 0 && pages < most_pages) {
      const PageIndex page(word_ * ChangeMap::kWordPages + static_cast<std::uint64_t>(std::countr_zero(word)));
      word &= word - 1;
      const PageEntry entry = loop_.table.Get(page);
      if (entry.state == PageState::kLost || entry.state == PageState::kPoisoned) continue;  // until it is known where
      changes.Clear(page);
      if (entry.state == PageState::kZero) {
        if (!first_) Tell(page, kNoSlot);
        continue;
      }
      ++pages;
      const bool away = IsWithStore(entry.state);
      Tell(page, away ? entry.slot : kNoSlot);
      if (away) continue;
      const bool next = here.pages > 0 && here.first + here.pages == page &&
                        loop_.map.Clip({here.first, here.pages + 1}).pages > here.pages;
      if (!next) {
        arm_here();
        here = {page, 0};
      }
      ++here.pages;
    }
    if (word != 0) break;
    ++word_;
  }
  arm_here();
}

void ChangeNotes::Tell(PageIndex page, Slot slot) {
  if (!found_.empty()) {
    region::SlotRun& last = found_.back();
    const bool next_slot = slot == kNoSlot ? last.slot == kNoSlot
                                           : last.slot != kNoSlot && last.slot.value() + last.pages == slot.value();
    if (last.first + last.pages == page && next_slot) {
      ++last.pages;
      return;
    }
  }
  found_.push_back({page, 1, slot});
}

void ChangeNotes::Arm(PageRun run) {
  Patience patience(loop_);
  while (true) {
    const Placement armed = loop_.placer.Protect(run);
    if (armed.answer == KernelAnswer::kDone) return;
    if (armed.answer == KernelAnswer::kAgain && patience.Again()) continue;
    // Not armed, or not known to be: what is written there would not be seen.
    loop_.table.changes().Set(run);
    return;
  }
}

void ChangeNotes::Finish() {
  ObeyForget();
  if (stage_ == Stage::kSweep) first_ = false;  // of what it has passed
  if (asked_.load(std::memory_order_acquire) || !loop_.table.changes().on()) {
    (void)Ask(false);
    Begin();
  }
  word_ = 0;
  while (word_ < loop_.table.changes().words()) Look(std::numeric_limits<std::size_t>::max(), false);
  HandOver();
}

}  // namespace heca::fault
