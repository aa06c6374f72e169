// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/pager.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>

#include "base/fail_points.h"

namespace heca::fault {

using os::Arm;
using region::PageEntry;
using region::PageState;

bool Patience::Again() {
  loop_.counters.again.Add();
  const Clock::time_point now = Clock::now();
  if (until_ == Clock::time_point()) until_ = now + Millis(100);
  if (now > until_) return false;
  loop_.pump.DrainEvents();
  ::sched_yield();  // the caller of madvise must run before the kernel lets us place again
  return true;
}

void Pager::Alarm(EngineEventKind kind, int error) {
  Clock::time_point& last = last_alarm_[static_cast<std::size_t>(kind)];
  const Clock::time_point now = Clock::now();
  if (last != Clock::time_point() && now - last < std::chrono::seconds(1)) return;
  last = now;
  EngineEvent event{kind, 1, StoreHealth::kInvalid, Status()};
  if (error != 0) event.status = Status::FromErrno(error, ToString(kind), ErrorScope::kPage);
  loop_.observer.OnEngineEvent(event);
}

bool Pager::SlotsAreShort() const {
  return loop_.slots.free() < (loop_.slots.slot_count() - loop_.slots.read_only()) / 64 + 2 * loop_.sizes.batch_pages;
}

void Pager::BecomeHere(PageIndex page, PlaceCause cause, bool clean, Slot slot) {
  PageEntry entry = loop_.table.Get(page);
  if (entry.slot != kNoSlot && entry.slot != slot) loop_.slots.Condemn(entry.slot);
  entry.state = PageState::kHere;
  entry.clean = clean;
  entry.armed = clean ? region::kArmedForEvict : region::kArmedForNobody;
  entry.slot = slot;
  entry.policy = loop_.policy.OnPlaced(page, cause, entry.policy);
  loop_.table.Move(page, entry);
}

Outcome Pager::Failed(PageIndex page, const Placement& placement) {
  switch (placement.answer) {
    case KernelAnswer::kNoMemory:
      loop_.counters.no_memory.Add();
      loop_.pressure = std::max<std::uint64_t>(loop_.pressure, loop_.sizes.batch_pages);
      Alarm(EngineEventKind::kNoMemory, placement.error);
      return Outcome::kDefer;
    case KernelAnswer::kGone:
      return Outcome::kAnswered;  // nobody is left to wait; the pidfd ends the loop if the process is gone
    default:
      loop_.counters.kernel_errors.Add();
      Alarm(EngineEventKind::kKernelError, placement.error);
      loop_.placer.Wake({page, 1});
      return Outcome::kAnswered;
  }
}

Outcome Pager::PlaceZero(PageIndex page, bool write) {
  Patience patience(loop_);
  while (true) {
    if (loop_.table.Get(page).state != PageState::kZero) break;
    // Nothing is clean any more once the pages are called home: see PlaceFetched and Homecoming::UnprotectSome.
    const bool clean = !write && !loop_.homing;
    const Placement placement = loop_.placer.Zero(page, clean ? Arm::kYes : Arm::kNo);
    if (placement.answer == KernelAnswer::kDone) {
      BecomeHere(page, write ? PlaceCause::kWriteFault : PlaceCause::kReadFault, clean, kNoSlot);
      loop_.recent.Touch(page, loop_.fault_time);
      loop_.Answered(AnswerSource::kZero);
      return Outcome::kAnswered;
    }
    if (placement.answer == KernelAnswer::kPresent) {
      const KernelAnswer why = WhyPresent(page);
      if (why == KernelAnswer::kNoMemory) return Failed(page, {why, 0, ENOMEM});
      if (why == KernelAnswer::kDone) Adopt(page);
      return Outcome::kAnswered;  // else it comes again, as MINOR
    }
    if (placement.answer != KernelAnswer::kAgain) return Failed(page, placement);
    if (!patience.Again()) break;
  }
  loop_.placer.Wake({page, 1});
  return Outcome::kAnswered;
}

void Pager::MakeDirty(PageIndex page, bool touched) {
  PageEntry entry = loop_.table.Get(page);
  if (entry.state == PageState::kLeaving) {
    entry.state = PageState::kCancel;
    entry.slot = kNoSlot;  // the write-back that is under way gives it back
    loop_.table.Move(page, entry);
    loop_.counters.cancels.Add();
    entry.policy = loop_.policy.OnCancelled(page, entry.policy, touched);
    entry.generation = entry.NextGeneration();
    loop_.table.Move(page, entry);
  } else if (entry.state == PageState::kHere && entry.clean) {
    if (entry.slot != kNoSlot) loop_.slots.Condemn(entry.slot);
    entry.clean = false;
    entry.slot = kNoSlot;
    entry.generation = entry.NextGeneration();
    entry.policy = loop_.policy.OnWriteSeen(page, entry.policy);
    loop_.table.Move(page, entry);
  }
}

Outcome Pager::Unprotect(PageIndex page) {
  Patience patience(loop_);
  Outcome outcome = Outcome::kAnswered;
  while (true) {
    const Placement placement = loop_.placer.Unprotect({page, 1});
    if (placement.answer == KernelAnswer::kDone) break;
    if (placement.answer != KernelAnswer::kAgain) {
      outcome = Failed(page, placement);
      break;
    }
    if (!patience.Again()) {
      loop_.placer.Wake({page, 1});
      break;
    }
  }
  // Whatever the kernel said: a page that is still armed although the table says dirty raises another WP fault.
  PageEntry entry = loop_.table.Get(page);
  if (entry.state == PageState::kCancel || entry.state == PageState::kHere) {
    entry.state = PageState::kHere;
    if (!entry.clean) entry.armed = region::kArmedForNobody;
    loop_.table.Move(page, entry);
  }
  return outcome;
}

Outcome Pager::AllowWrite(PageIndex page) {
  const PageState state = loop_.table.Get(page).state;
  if (state != PageState::kHere && state != PageState::kLeaving && state != PageState::kCancel &&
      state != PageState::kZero) {
    return Outcome::kElsewhere;
  }
  MakeDirty(page, true);
  const Outcome outcome = Unprotect(page);
  if (loop_.table.changes().on()) UnprotectBehind(page);
  loop_.recent.Touch(page, loop_.fault_time);
  loop_.Answered(AnswerSource::kWriteProtect);
  return outcome;
}

/// Pages that were armed so that their writes are seen, where the guest writes one after the other: as many as it has
/// written before this one, so that at most half of what counts as written is not.
void Pager::UnprotectBehind(PageIndex page) {
  constexpr std::uint64_t kMost = 16;  // a fault costs as much as copying a page or two
  region::ChangeMap& changes = loop_.table.changes();
  std::uint64_t before = 0;
  while (before < kMost && before < page.value() && changes.IsSet(PageIndex(page.value() - before - 1))) ++before;
  const std::uint64_t most = loop_.map.Clip({page, before + 1}).pages - 1;
  std::uint64_t pages = 0;
  for (; pages < most; ++pages) {
    const PageEntry entry = loop_.table.Get(page + pages + 1);
    if (entry.state != PageState::kHere || entry.clean || changes.IsSet(page + pages + 1)) break;
  }
  // Whatever the kernel says: a page that is still armed raises a fault of its own.
  if (pages > 0) (void)loop_.placer.Unprotect({page + 1, pages});
}

void Pager::CancelLeaving(PageIndex page, bool touched) {
  MakeDirty(page, touched);
  (void)Unprotect(page);
}

Outcome Pager::MapPresent(PageIndex page, bool write) {
  Patience patience(loop_);
  while (true) {
    const PageEntry entry = loop_.table.Get(page);
    const bool keeps_arm = !write && loop_.config.abilities.continue_protected &&
                           (entry.state == PageState::kLeaving || (entry.state == PageState::kHere && entry.clean));
    if (entry.state != PageState::kZero && entry.state != PageState::kHere && entry.state != PageState::kLeaving &&
        entry.state != PageState::kCancel) {
      return Outcome::kElsewhere;
    }
    if (!keeps_arm) MakeDirty(page, true);
    const Placement placement = loop_.placer.Continue(page, keeps_arm ? Arm::kYes : Arm::kNo);
    if (placement.answer == KernelAnswer::kAgain) {
      if (patience.Again()) continue;
      loop_.placer.Wake({page, 1});
      return Outcome::kAnswered;
    }
    if (placement.answer == KernelAnswer::kAbsent) {
      return entry.state == PageState::kZero ? PlaceZero(page, write) : ReplaceDiscarded(page, write);
    }
    if (placement.answer != KernelAnswer::kDone && placement.answer != KernelAnswer::kPresent) {
      return Failed(page, placement);
    }
    if (entry.state == PageState::kZero) Adopt(page);
    // Somebody else mapped it meanwhile, perhaps armed.
    if (!keeps_arm && placement.answer == KernelAnswer::kPresent) return Unprotect(page);
    PageEntry now = loop_.table.Get(page);
    if (now.state == PageState::kCancel) {
      now.state = PageState::kHere;
      now.armed = region::kArmedForNobody;
      loop_.table.Move(page, now);
    }
    loop_.recent.Touch(page, loop_.fault_time);
    loop_.Answered(AnswerSource::kMinor);
    return Outcome::kAnswered;
  }
}

Outcome Pager::ReplaceDiscarded(PageIndex page, bool write) {
  Patience patience(loop_);
  while (true) {
    const PageState state = loop_.table.Get(page).state;
    if (state != PageState::kHere && state != PageState::kLeaving && state != PageState::kCancel) {
      return Outcome::kElsewhere;
    }
    const bool exact = loop_.map.BlockOf(page).file.knows_holes();
    if (exact && loop_.placer.MayHold(page)) {  // an old fault: the page was placed after it was raised
      loop_.placer.Wake({page, 1});
      return Outcome::kAnswered;
    }
    MakeDirty(page, true);
    const Placement placement = loop_.placer.Zero(page, Arm::kNo);
    if (placement.answer == KernelAnswer::kAgain) {
      if (patience.Again()) continue;
      loop_.placer.Wake({page, 1});
      return Outcome::kAnswered;
    }
    if (placement.answer != KernelAnswer::kDone && placement.answer != KernelAnswer::kPresent) {
      return Failed(page, placement);
    }
    if (placement.answer == KernelAnswer::kPresent && WhyPresent(page) == KernelAnswer::kNoMemory) {
      return Failed(page, {KernelAnswer::kNoMemory, 0, ENOMEM});
    }
    PageEntry entry = loop_.table.Get(page);
    entry.state = PageState::kHere;
    entry.armed = region::kArmedForNobody;
    if (placement.answer == KernelAnswer::kDone) {
      loop_.counters.discards.Add();
      entry.policy = loop_.policy.OnDiscarded(page, entry.policy, true);
      entry.policy = loop_.policy.OnPlaced(page, write ? PlaceCause::kWriteFault : PlaceCause::kReadFault, entry.policy);
      loop_.Answered(AnswerSource::kZero);
    }
    loop_.table.Move(page, entry);
    loop_.recent.Touch(page, loop_.fault_time);
    return Outcome::kAnswered;
  }
}

KernelAnswer Pager::WhyPresent(PageIndex page) {
  if (loop_.map.BlockOf(page).file.knows_holes()) return KernelAnswer::kPresent;
  const KernelAnswer mapped = loop_.placer.Continue(page, Arm::kNo).answer;
  if (mapped == KernelAnswer::kAbsent) return KernelAnswer::kNoMemory;
  if (mapped != KernelAnswer::kDone) loop_.placer.Wake({page, 1});
  return mapped;
}

void Pager::RemoveStray(PageIndex page) {
  if (!loop_.placer.MayHold(page)) return;  // an old fault: the page was evicted after it was raised
  loop_.counters.stray_pages.Add();
  Alarm(EngineEventKind::kStrayPage);
  (void)loop_.placer.Punch({page, 1});
}

void Pager::Adopt(PageIndex page) { BecomeHere(page, PlaceCause::kReadFault, false, kNoSlot); }

bool Pager::Stands(const Expected& expected) const {
  const PageEntry entry = loop_.table.Get(expected.page);
  return entry.generation == expected.generation &&
         (entry.state == PageState::kComing || entry.state == PageState::kPrefetching);
}

void Pager::Park(const Expected& expected, bool somebody_waits) {
  if (!Stands(expected)) return;
  PageEntry entry = loop_.table.Get(expected.page);
  const bool waited_for = entry.state == PageState::kComing;
  const bool write = !entry.clean;
  entry.state = PageState::kAway;
  entry.clean = false;
  loop_.table.Move(expected.page, entry);
  if (waited_for && somebody_waits) loop_.pump.Defer(expected.page, write);
}

void Pager::MarkLost(const Expected& expected) {
  if (!Stands(expected)) return;
  PageEntry entry = loop_.table.Get(expected.page);
  entry.state = PageState::kLost;
  entry.clean = false;
  loop_.table.Move(expected.page, entry);
  loop_.counters.pages_lost.Add();
}

std::size_t Pager::PlaceFetched(std::span<const Expected> pages, const std::byte* bytes, AnswerSource source) {
  const std::uint64_t page_size = loop_.map.page_size().value();
  Patience patience(loop_);
  const bool keep = !SlotsAreShort() && !loop_.homing;
  // A page from a read-only slot is to let go of it.
  const auto clean_at = [&](std::size_t n) {
    const PageEntry entry = loop_.table.Get(pages[n].page);
    return keep && entry.clean && !loop_.slots.IsReadOnly(entry.slot);
  };
  std::size_t placed = 0;
  std::size_t i = 0;
  PageIndex stray_repaired{~std::uint64_t{0}};
  while (i < pages.size()) {
    if (!Stands(pages[i])) {
      loop_.counters.stale_answers.Add();
      ++i;
      continue;
    }
    const bool clean = clean_at(i);
    std::size_t end = i + 1;
    while (end < pages.size() && pages[end].page == pages[end - 1].page + 1 && Stands(pages[end]) &&
           clean_at(end) == clean) {
      ++end;
    }
    const region::PageRun run = loop_.map.Clip({pages[i].page, end - i});
    (void)FailPointHit(FailPoint::kCrashBeforeCopy);
    Placement placement = loop_.placer.Copy(run, bytes + i * page_size, clean ? Arm::kYes : Arm::kNo);
    if (placement.pages > 0) (void)FailPointHit(FailPoint::kCrashAfterCopy);
    const Clock::time_point now = Clock::now();
    for (std::uint64_t done = 0; done < placement.pages; ++done, ++i, ++placed) {
      const PageIndex page = pages[i].page;
      const PageEntry entry = loop_.table.Get(page);
      const bool demanded = entry.state == PageState::kComing;
      if (demanded) {
        const auto asked = loop_.recent.When(page);
        if (asked) loop_.counters.latency[static_cast<std::size_t>(source)].Record(now - *asked);
        ++loop_.answers;
      }
      const PlaceCause cause = !demanded    ? PlaceCause::kPrefetch
                               : entry.clean ? PlaceCause::kReadFault
                                             : PlaceCause::kWriteFault;
      BecomeHere(page, cause, clean, clean || loop_.closed ? entry.slot : kNoSlot);
      loop_.recent.Touch(page, now);
    }
    if (placement.answer == KernelAnswer::kDone) continue;
    if (placement.answer == KernelAnswer::kAgain && patience.Again()) continue;
    if (placement.answer == KernelAnswer::kPresent && stray_repaired != pages[i].page) {
      stray_repaired = pages[i].page;
      RemoveStray(pages[i].page);
      continue;
    }
    if (placement.answer == KernelAnswer::kPresent && !loop_.map.BlockOf(pages[i].page).file.knows_holes()) {
      // Punched and still "present": so says hugetlbfs of a hole when its pool is empty.
      placement = {KernelAnswer::kNoMemory, 0, ENOMEM};
    }
    if (placement.answer != KernelAnswer::kAgain && placement.answer != KernelAnswer::kPresent) {
      (void)Failed(pages[i].page, placement);
    }
    if (placement.answer == KernelAnswer::kNoMemory) {  // the rest would fare no better
      for (; i < pages.size(); ++i) Park(pages[i]);
      break;
    }
    Park(pages[i++], placement.answer != KernelAnswer::kGone);
  }
  return placed;
}

void Pager::Discard(PageIndex page) {
  PageEntry entry = loop_.table.Get(page);
  switch (entry.state) {
    case PageState::kHere:
    case PageState::kLeaving:
      // It may or may not be in the file now. What was sent, or is being sent, is void.
      MakeDirty(page, true);
      entry = loop_.table.Get(page);
      entry.state = PageState::kHere;
      entry.generation = entry.NextGeneration();
      entry.policy = loop_.policy.OnDiscarded(page, entry.policy, true);
      entry.policy = loop_.policy.OnPlaced(page, PlaceCause::kReadFault, entry.policy);
      loop_.table.Move(page, entry);
      loop_.table.changes().SetTwice(page);  // the kernel takes it out of the file only now
      break;
    case PageState::kAway:
    case PageState::kComing:
    case PageState::kPrefetching:
    case PageState::kLost:
    case PageState::kPoisoned:
      loop_.LetGoOfSlot(entry);
      entry = PageEntry{PageState::kZero, region::kArmedForNobody, false,
                        loop_.policy.OnDiscarded(page, entry.policy, false), entry.NextGeneration(), entry.slot};
      loop_.table.Move(page, entry);
      loop_.placer.Wake({page, 1});  // who waits for the old page faults again and gets a zero one
      break;
    case PageState::kZero:
    case PageState::kDropping:  // cannot be seen: dropping is done without reading events in between
    case PageState::kCancel:    // becomes Here and dirty anyway
      return;
  }
  loop_.counters.discards.Add();
}

}  // namespace heca::fault
