// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/fault_handler.h"

#include <algorithm>

#include "base/fail_points.h"

namespace heca::fault {

using region::PageEntry;
using region::PageState;

FaultHandler::FaultHandler(LoopContext& loop, os::Uffd& uffd, Pager& pager, Fetcher& fetcher, Prefetcher& prefetcher)
    : loop_(loop), uffd_(uffd), pager_(pager), fetcher_(fetcher), prefetcher_(prefetcher) {}

void FaultHandler::DrainEvents() {
  std::array<os::UffdEvent, 64> events;
  for (int round = 0; round < 8; ++round) {
    const Result<std::size_t> got = uffd_.Read(events);
    if (!got.ok()) broken_ = got.status();
    if (!got.ok() || *got == 0) return;
    loop_.fault_time = Clock::now();
    (void)FailPointHit(FailPoint::kCrashAfterFaultRead);
    for (std::size_t i = 0; i < *got; ++i) Take(events[i]);
    if (*got < events.size()) return;
  }
}

void FaultHandler::Take(const os::UffdEvent& event) {
  if (event.kind == os::UffdEventKind::kRemove) {
    Removed(event.address, event.end);
  } else if (event.kind != os::UffdEventKind::kOther) {
    const auto page = loop_.map.PageAt(event.address);
    if (page) loop_.waiting.Begin(event.thread, *page, loop_.fault_time);
    if (queue_count_ < kQueue) {
      queue_[(queue_head_ + queue_count_++) % kQueue] = event;
    } else if (page) {
      loop_.placer.Wake({*page, 1});
    }
  }
}

void FaultHandler::TakeUnread() {
  std::array<os::UffdEvent, 64> events;
  const Result<std::size_t> unread = uffd_.UnreadFaults();
  if (!unread.ok() || *unread == 0) return;
  // The kernel gives faults before other events.
  const Result<std::size_t> got = uffd_.Read({events.data(), std::min(*unread, events.size())});
  if (!got.ok()) return;  // the loop will find out
  loop_.fault_time = Clock::now();
  for (std::size_t i = 0; i < *got; ++i) Take(events[i]);
}

void FaultHandler::ServeFaults() {
  if (serving_) return;
  DrainEvents();  // while the region is closed its faults are kept
  ServeQueued();
}

void FaultHandler::ServeQueued() {
  if (serving_ || loop_.closed) return;
  serving_ = true;
  while (queue_count_ > 0) {
    const os::UffdEvent event = queue_[queue_head_];
    queue_head_ = (queue_head_ + 1) % kQueue;
    --queue_count_;
    Handle(event);
  }
  serving_ = false;
}

void FaultHandler::Removed(os::TargetAddress from, os::TargetAddress end) {
  const std::uint64_t page_size = loop_.map.page_size().value();
  for (const region::Block& block : loop_.map.blocks()) {
    const os::TargetAddress block_end = block.address + loop_.map.BytesOf(block.pages.value()).value();
    const os::TargetAddress first = std::max(from, block.address);
    const os::TargetAddress last = std::min(end, block_end);
    if (first >= last) continue;
    PageIndex page = block.first + (first - block.address) / page_size;
    const PageIndex stop = block.first + (last - block.address + page_size - 1) / page_size;
    while (page < stop) {
      if (!loop_.table.TouchedAround(page)) {
        page = region::PageTable::NextGroup(page);
        continue;
      }
      pager_.Discard(page);
      ++page;
    }
  }
}

bool FaultHandler::OverCeiling() {
  if (loop_.homing || loop_.held) return false;  // nobody would make room
  const std::uint64_t slack = loop_.config.slack.value() != 0
                                  ? loop_.config.slack.value()
                                  : std::clamp<std::uint64_t>(loop_.config.limit.value() / 16, 16, 1024);
  const std::uint64_t resident = loop_.table.Resident();
  if (resident < std::max(ceiling_, loop_.config.limit.value()) + slack || ceiling_ == ~std::uint64_t{0}) return false;
  pager_.Alarm(EngineEventKind::kLimitReached);
  return true;
}

void FaultHandler::MoveCeiling() {
  ceiling_ = std::max(loop_.config.limit.value(), std::min(ceiling_, loop_.table.Resident()));
}

bool FaultHandler::IsClean(PageIndex page) const {
  const PageEntry entry = loop_.table.Get(page);
  return entry.state == PageState::kHere && entry.clean;
}

/// A page that is on its way will be placed writable.
void FaultHandler::ExpectWrite(PageIndex page) {
  PageEntry entry = loop_.table.Get(page);
  if (entry.state != PageState::kComing || !entry.clean) return;
  entry.clean = false;
  loop_.table.Move(page, entry);
}

void FaultHandler::Handle(const os::UffdEvent& event) {
  const std::optional<PageIndex> page = loop_.map.PageAt(event.address);
  if (!page) return;  // registered ranges are blocks of the map, so this is not our page
  Outcome outcome = Outcome::kElsewhere;
  if (event.kind == os::UffdEventKind::kWriteProtect) {
    if (IsClean(*page)) prefetcher_.OnWrite(*page);
    outcome = pager_.AllowWrite(*page);
  } else if (event.kind == os::UffdEventKind::kMinor) {
    outcome = pager_.MapPresent(*page, event.write);
    if (outcome == Outcome::kElsewhere) pager_.RemoveStray(*page);
  }
  if (outcome == Outcome::kElsewhere) outcome = Missing(*page, event.write);
  if (outcome == Outcome::kDefer) loop_.counters.deferred_faults.Add();
  Settle(*page, event.write, outcome);
}

void FaultHandler::Settle(PageIndex page, bool write, Outcome outcome) {
  if (outcome == Outcome::kDefer) Defer(page, write);
}

Outcome FaultHandler::Missing(PageIndex page, bool write) {
  PageEntry entry = loop_.table.Get(page);
  switch (entry.state) {
    case PageState::kZero:
      return OverCeiling() ? Outcome::kDefer : pager_.PlaceZero(page, write);
    case PageState::kHere:
    case PageState::kLeaving:
    case PageState::kCancel:
      return pager_.ReplaceDiscarded(page, write);
    case PageState::kAway:
    case PageState::kPrefetching: {
      if (entry.state == PageState::kAway && OverCeiling()) return Outcome::kDefer;
      const Outcome outcome = fetcher_.Demand(page, write);
      if (outcome != Outcome::kDefer && loop_.config.prefetch) {
        const bool prefetching = entry.state == PageState::kPrefetching;
        const PrefetchWindow window = prefetcher_.OnFault(page, prefetching);
        if (window.writes && !prefetching) ExpectWrite(page);  // else it was decided when it was asked for
        fetcher_.Prefetch(window);
      }
      return outcome;
    }
    case PageState::kComing:
      if (write) ExpectWrite(page);
      return Outcome::kWaiting;
    case PageState::kDropping:
      return Outcome::kDefer;
    case PageState::kLost:
      pager_.Alarm(EngineEventKind::kPagesLost);
      return Outcome::kWaiting;
    case PageState::kPoisoned:
      loop_.placer.Wake({page, 1});
      return Outcome::kAnswered;
  }
  return Outcome::kAnswered;
}

void FaultHandler::Defer(PageIndex page, bool write) {
  if (deferred_count_ == kQueue) {
    loop_.placer.Wake({page, 1});
    return;
  }
  deferred_[deferred_count_++] = {page, write, loop_.fault_time};
}

void FaultHandler::RetryDeferred() {
  // Those that are deferred again are appended behind the ones taken here.
  const std::size_t count = deferred_count_;
  for (std::size_t i = 0; i < count; ++i) {
    const Deferred fault = deferred_[i];
    loop_.fault_time = fault.since;
    Settle(fault.page, fault.write, Missing(fault.page, fault.write));
  }
  std::copy(deferred_.begin() + static_cast<std::ptrdiff_t>(count),
            deferred_.begin() + static_cast<std::ptrdiff_t>(deferred_count_), deferred_.begin());
  deferred_count_ -= count;
}

}  // namespace heca::fault
