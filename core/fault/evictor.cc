// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/evictor.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/fail_points.h"

namespace heca::fault {

using region::PageEntry;
using region::PageRun;
using region::PageState;

namespace {
constexpr std::size_t kArmedAhead = 2;  // batches that wait for a buffer
}  // namespace

Evictor::Evictor(LoopContext& loop, Pager& pager, const Fetcher& fetcher, IoWait& io, SentPages& sent,
                 JobExchange& exchange, WriteBackBuffers& buffers, Mover& mover)
    : loop_(loop), pager_(pager), fetcher_(fetcher), io_(io), sent_(sent), exchange_(exchange), buffers_(buffers),
      mover_(mover) {}

bool Evictor::Step() {
  TakeReports();
  ReleaseSlots();
  bool more = FinishOne();
  more = SendOne() || more;
  if (WantsMore()) more = EvictOne() || more;
  return more;
}

int Evictor::RecheckMs() const {
  if (guarded_.has_value()) return std::max(1, loop_.guard.RecheckMs());
  return starved_ ? 1 : -1;
}

bool Evictor::WantsMore() {
  if (loop_.homing || loop_.held || halted_) return false;
  // A sponsor that is out of reach may come back without its memory: then a clean page that is here is the only copy.
  if (loop_.store.Health() != StoreHealth::kGood) return false;
  if (starved_ && Clock::now() < starved_until_) return false;
  starved_ = false;
  // Armed long ahead only if the I/O guard makes it wait: what is armed longer is written more often meanwhile.
  if (loop_.guard.RecheckMs() == 0 && waiting_count_ >= kArmedAhead) return false;
  const std::uint64_t leaving = loop_.table.CountOf(PageState::kLeaving);
  const std::uint64_t settled = loop_.table.Resident() - leaving;
  const Watermarks marks = Watermarks::For(loop_.config);
  if (loop_.pressure > 0) return true;
  if (settled > marks.high) evicting_ = true;
  if (settled <= marks.low) evicting_ = false;
  return evicting_;
}

void Evictor::Load(PageIndex first, PageBlock& out) {
  out.evictable = out.clean = out.away = 0;
  if (!loop_.table.TouchedAround(first)) return;
  const std::uint64_t end = std::min(first.value() + kBlockPages, loop_.table.pages().value());
  const Clock::time_point young = Clock::now() - loop_.config.min_residence;
  const bool any_young = loop_.recent.TouchedAroundSince(first, young);
  for (std::uint64_t page = first.value(); page < end; ++page) {
    const PageEntry entry = loop_.table.Get(PageIndex(page));
    const std::uint64_t bit = std::uint64_t{1} << (page - first.value());
    if (entry.state == PageState::kAway) {
      out.away |= bit;
    } else if (entry.state == PageState::kHere && !(any_young && loop_.recent.TouchedSince(PageIndex(page), young))) {
      out.evictable |= bit;
      if (entry.clean) out.clean |= bit;
    } else {
      continue;
    }
    out.bits[page - first.value()] = entry.policy;
  }
}

void Evictor::SetBits(PageIndex page, PolicyBits bits) { loop_.table.SetPolicy(page, bits); }

bool Evictor::EvictOne() {
  std::array<PageIndex, kMaxBatchPages> victims;
  const std::size_t found = loop_.policy.NextVictims(*this, {victims.data(), loop_.sizes.batch_pages});
  if (found < loop_.sizes.batch_pages) {
    starved_ = true;
    starved_until_ = Clock::now() + Millis(1);
  }
  if (found == 0) return false;
  const auto dirty = std::stable_partition(victims.begin(), victims.begin() + static_cast<std::ptrdiff_t>(found),
                                           [this](PageIndex page) { return loop_.table.Get(page).clean; });
  const auto clean_count = static_cast<std::size_t>(dirty - victims.begin());
  loop_.pressure -= std::min<std::uint64_t>(loop_.pressure, found);
  // Claim the dirty ones first: dropping serves faults in between.
  if (clean_count < found) Leave({victims.data() + clean_count, found - clean_count});
  if (clean_count > 0) DropClean({victims.data(), clean_count});
  return !starved_;
}

void Evictor::DropClean(std::span<const PageIndex> pages) {
  for (std::size_t i = 0; i < pages.size();) {
    const auto droppable = [&](std::size_t n) {
      const PageEntry entry = loop_.table.Get(pages[n]);
      return entry.state == PageState::kHere && entry.clean;
    };
    if (!droppable(i)) {  // written or discarded since it was chosen
      loop_.table.SetPolicy(pages[i], loop_.policy.OnCancelled(pages[i], loop_.table.Get(pages[i]).policy, true));
      ++i;
      continue;
    }
    std::size_t end = i + 1;
    while (end < pages.size() && pages[end] == pages[end - 1] + 1 && droppable(end)) ++end;
    const PageRun run = loop_.map.Clip({pages[i], end - i});
    for (std::uint64_t n = 0; n < run.pages; ++n) {
      PageEntry entry = loop_.table.Get(run.first + n);
      entry.state = PageState::kDropping;
      loop_.table.Move(run.first + n, entry);
    }
    loop_.counters.clean_drops.Add(run.pages);
    DropRun(run);
    i += run.pages;
    if (i < pages.size()) loop_.pump.ServeFaults();
  }
}

/// Every page of the run is journaled as Dropping, with its slot or none (all zero).
void Evictor::DropRun(PageRun run) {
  (void)FailPointHit(FailPoint::kCrashBeforePunch);
  const Placement punched = loop_.placer.Punch(run);
  (void)FailPointHit(FailPoint::kCrashAfterPunch);
  for (std::uint64_t n = 0; n < run.pages; ++n) {
    const PageIndex page = run.first + n;
    PageEntry entry = loop_.table.Get(page);
    if (punched.answer == KernelAnswer::kDone) {
      entry.state = entry.slot != kNoSlot ? PageState::kAway : PageState::kZero;
      entry.clean = false;
      entry.policy = loop_.policy.OnEvicted(page, entry.policy);
      loop_.table.Move(page, entry);
      continue;
    }
    // Not punched (the file is immutable during a snapshot): the page stays, its copy at the store goes.
    if (entry.slot != kNoSlot) loop_.slots.Condemn(entry.slot);
    entry.state = PageState::kHere;
    entry.clean = false;
    entry.slot = kNoSlot;
    entry.policy = loop_.policy.OnCancelled(page, entry.policy, false);
    loop_.table.Move(page, entry);
  }
  if (punched.answer == KernelAnswer::kDone) {
    loop_.counters.evictions.Add(run.pages);
  } else {
    starved_ = true;
    starved_until_ = Clock::now() + Millis(100);
    pager_.Alarm(EngineEventKind::kKernelError, punched.error);
  }
}

void Evictor::Leave(std::span<const PageIndex> pages) {
  std::array<Slot, kMaxBatchPages> slots;
  std::size_t got = 0;
  if (jobs_in_use_ < kWriteBackJobs) got = loop_.slots.Allocate({slots.data(), pages.size()});
  if (got < pages.size()) {
    starved_ = true;
    starved_until_ = Clock::now() + Millis(1);
    if (jobs_in_use_ < kWriteBackJobs && loop_.slots.condemned() + loop_.slots.releasing() == 0) {
      pager_.Alarm(EngineEventKind::kStoreFull);
    }
    for (const PageIndex page : pages.subspan(got)) {
      loop_.table.SetPolicy(page, loop_.policy.OnCancelled(page, loop_.table.Get(page).policy, false));
    }
  }
  if (got == 0) return;
  while (exchange_.jobs[next_job_].stage != JobStage::kFree) next_job_ = (next_job_ + 1) % kWriteBackJobs;
  const auto index = static_cast<JobIndex>(next_job_);
  WriteBackJob& job = exchange_.jobs[index];
  ++jobs_in_use_;
  job.stage = JobStage::kWaiting;
  job.count = got;
  job.finished = 0;
  job.waited = false;
  job.status = Status();
  loop_.table.RaiseSlotMark(*std::max_element(slots.begin(), slots.begin() + static_cast<std::ptrdiff_t>(got)));
  for (std::size_t i = 0; i < got; ++i) {
    PageEntry entry = loop_.table.Get(pages[i]);
    entry.state = PageState::kLeaving;
    entry.clean = false;
    entry.armed |= region::kArmedForEvict;
    if (entry.slot != kNoSlot) loop_.slots.Condemn(entry.slot);  // of a page that came ahead of its VM (drawing.h)
    entry.slot = slots[i];
    entry.generation = entry.NextGeneration();
    job.items[i] = {pages[i], slots[i], entry.generation, false};
    loop_.table.Move(pages[i], entry);
  }
  ArmJob(job);
  (void)FailPointHit(FailPoint::kCrashAfterArm);
  job.armed = io_.Now();
  (void)waiting_.Push(index);
  ++waiting_count_;
}

void Evictor::ArmJob(WriteBackJob& job) {
  Patience patience(loop_);
  const auto stands = [&](std::size_t n) {
    const PageEntry entry = loop_.table.Get(job.items[n].page);
    return entry.state == PageState::kLeaving && entry.generation == job.items[n].generation;
  };
  for (std::size_t i = 0; i < job.count;) {
    if (!stands(i)) {
      ++i;
      continue;
    }
    std::size_t end = i + 1;
    while (end < job.count && job.items[end].page == job.items[end - 1].page + 1 && stands(end)) ++end;
    const PageRun run = loop_.map.Clip({job.items[i].page, end - i});
    const Placement armed = loop_.placer.Protect(run);
    if (armed.answer == KernelAnswer::kAgain && patience.Again()) continue;
    if (armed.answer != KernelAnswer::kDone) {
      // Not armed, or not known to be: these stay.
      for (std::uint64_t n = 0; n < run.pages; ++n) pager_.CancelLeaving(run.first + n, false);
    }
    i += run.pages;
    if (i < job.count) loop_.pump.ServeFaults();
  }
}

std::byte* Evictor::TakeBuffer() {
  if (std::byte* const buffer = buffers_.Take(); buffer != nullptr) return buffer;
  const std::optional<JobIndex> oldest = kept_.Pop();
  if (!oldest) return nullptr;
  WriteBackJob& job = exchange_.jobs[*oldest];
  const std::size_t page_size = loop_.map.page_size().value();
  for (std::size_t i = 0; i < job.count; ++i) sent_.Forget(job.items[i].page, job.buffer + i * page_size);
  job.stage = JobStage::kFree;
  --jobs_in_use_;
  return job.buffer;
}

bool Evictor::SendOne() {
  if (!guarded_) guarded_ = waiting_.Pop();
  if (!guarded_) return false;
  WriteBackJob& job = exchange_.jobs[*guarded_];
  if (!io_.MayTrust(job.armed)) return false;
  if (!loop_.guard.Drained(job.armed.mark) && !FailPointHit(FailPoint::kSkipIoGuard)) {
    if (!job.waited) loop_.counters.io_waits.Add();
    job.waited = true;
    return false;
  }
  job.buffer = TakeBuffer();
  if (job.buffer == nullptr) return false;
  job.stage = JobStage::kSending;
  (void)exchange_.to_mover.Push(*guarded_);
  guarded_.reset();
  --waiting_count_;
  mover_.WakeUp();
  return true;
}

void Evictor::TakeReports() {
  while (const std::optional<JobIndex> index = exchange_.to_loop.Pop()) {
    if ((*index & kReleaseBit) == 0) {
      exchange_.jobs[*index].stage = JobStage::kStored;
      (void)finishing_.Push(*index);
      continue;
    }
    ReleaseJob& job = exchange_.releases[*index & ~kReleaseBit];
    const std::span<const Slot> slots{job.slots.data(), job.count};
    if (job.status.ok()) {
      loop_.slots.Released(slots);
    } else {
      loop_.slots.ReleaseFailed(slots);
      if (!halted_) {
        loop_.observer.OnEngineEvent({EngineEventKind::kWriteBackFailed, 0, StoreHealth::kInvalid, job.status});
      }
      halted_ = true;
    }
    job.busy = false;
  }
}

bool Evictor::FinishOne() {
  if (!finishing_now_) finishing_now_ = finishing_.Pop();
  if (!finishing_now_) return false;
  WriteBackJob& job = exchange_.jobs[*finishing_now_];
  if (!job.status.ok()) {
    Abandon(job);
  } else {
    FinishRun(job);
  }
  if (job.finished == job.count) {
    job.stage = JobStage::kKept;
    (void)kept_.Push(*finishing_now_);
    finishing_now_.reset();
  }
  return true;
}

/// Drops the next run of at most 32 pages: about 25 us between two looks at the userfaultfd.
void Evictor::FinishRun(WriteBackJob& job) {
  constexpr std::size_t kChunk = 32;
  const std::size_t page_size = loop_.map.page_size().value();
  const auto stands = [&](std::size_t n) {
    const PageEntry entry = loop_.table.Get(job.items[n].page);
    return entry.state == PageState::kLeaving && entry.generation == job.items[n].generation && !loop_.homing;
  };
  const std::size_t begin = job.finished;
  const WriteBackItem& first = job.items[begin];
  if (!stands(begin)) {  // written meanwhile, or called home: the new slot goes back
    const PageEntry entry = loop_.table.Get(first.page);
    if (entry.state == PageState::kLeaving && entry.generation == first.generation) {
      pager_.CancelLeaving(first.page, false);  // before the slot goes: the table still names it
    }
    if (first.all_zero) loop_.slots.Return(first.slot); else loop_.slots.Condemn(first.slot);
    ++job.finished;
    return;
  }
  std::size_t end = begin + 1;
  while (end < job.count && end - begin < kChunk && job.items[end].page == job.items[end - 1].page + 1 &&
         job.items[end].all_zero == first.all_zero && stands(end)) {
    ++end;
  }
  const PageRun run = loop_.map.Clip({first.page, end - begin});
  for (std::uint64_t n = 0; n < run.pages; ++n) {
    const WriteBackItem& item = job.items[begin + n];
    PageEntry entry = loop_.table.Get(item.page);
    entry.state = PageState::kDropping;
    if (item.all_zero) entry.slot = kNoSlot;
    loop_.table.Move(item.page, entry);
    if (item.all_zero) {
      loop_.slots.Return(item.slot);
    } else {
      sent_.Add(item.page, item.generation, job.buffer + (begin + n) * page_size);
    }
  }
  if (first.all_zero) {
    loop_.counters.zero_drops.Add(run.pages);
  } else {
    loop_.counters.bytes_written_back.Add(loop_.map.BytesOf(run.pages).value());
  }
  job.finished += run.pages;
  DropRun(run);
}

/// The store refused the batch: its pages stay.
void Evictor::Abandon(WriteBackJob& job) {
  if (!halted_) {
    loop_.observer.OnEngineEvent({EngineEventKind::kWriteBackFailed, job.count, StoreHealth::kInvalid, job.status});
  }
  halted_ = true;
  for (; job.finished < job.count; ++job.finished) {
    const WriteBackItem& item = job.items[job.finished];
    const PageEntry entry = loop_.table.Get(item.page);
    loop_.slots.Condemn(item.slot);
    if (entry.state == PageState::kLeaving && entry.generation == item.generation) {
      pager_.CancelLeaving(item.page, false);
    }
  }
}

bool Evictor::RecallAll() {
  for (WriteBackJob& job : exchange_.jobs) {
    if (job.stage != JobStage::kWaiting && job.stage != JobStage::kSending && job.stage != JobStage::kStored) continue;
    for (std::size_t i = 0; i < job.count; ++i) {
      const PageEntry entry = loop_.table.Get(job.items[i].page);
      if (entry.state == PageState::kLeaving && entry.generation == job.items[i].generation) {
        pager_.CancelLeaving(job.items[i].page, false);
        if (i % 16 == 15) loop_.pump.ServeFaults();
      }
    }
  }
  return loop_.table.CountOf(PageState::kLeaving) == 0;
}

bool Evictor::ReleasedAll() const { return loop_.slots.condemned() + loop_.slots.releasing() == 0; }

/// A message to the store for each slot would cost as much as a fault. So they go in batches, unless free ones run out, the
/// region is called home, or some time has passed.
bool Evictor::ReleaseIsDue() {
  const std::uint32_t condemned = loop_.slots.condemned();
  if (condemned == 0) return false;
  const std::size_t batch = std::min(kMaxBatchPages, mover_.max_batch());
  if (condemned < batch && loop_.slots.free() >= 2 * batch && !loop_.homing && !std::exchange(tidy_, false)) return false;
  tidy_ = false;
  return true;
}

void Evictor::ReleaseSlots() {
  if (halted_ || loop_.held || !ReleaseIsDue()) return;
  for (std::size_t i = 0; i < kReleaseJobs && loop_.slots.condemned() > 0; ++i) {
    ReleaseJob& job = exchange_.releases[i];
    if (job.busy) continue;
    job.count = loop_.slots.TakeCondemned({job.slots.data(), std::min(job.slots.size(), mover_.max_batch())});
    // A slot is given back after its last reader.
    const auto reading = std::stable_partition(
        job.slots.begin(), job.slots.begin() + static_cast<std::ptrdiff_t>(job.count),
        [this](Slot slot) { return !fetcher_.MayBeReading(slot); });
    const auto free = static_cast<std::size_t>(reading - job.slots.begin());
    loop_.slots.ReleaseFailed({job.slots.data() + free, job.count - free});
    job.count = free;
    if (job.count == 0) return;
    job.busy = true;
    job.status = Status();
    (void)exchange_.to_mover.Push(kReleaseBit | static_cast<JobIndex>(i));
    mover_.WakeUp();
  }
}

}  // namespace heca::fault
