// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/fault_loop.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <string>
#include <utility>

namespace heca::fault {
namespace {

using region::PageEntry;
using region::PageState;

constexpr Millis kLookEvery{100};   // health of the store, counts for others
constexpr Millis kEarlyPatience{1000};  // so long a thread may wait for a region to be opened without a word
constexpr Millis kRetryEvery{1};    // deferred faults, when nothing else wakes the loop

/// A reader that has no descriptor, or wants to be asked more often than everything else.
bool IsDue(const PollNeed& need) { return need.tick_ms >= 0 && Millis(need.tick_ms) < kLookEvery; }

PrefetchOptions PrefetchOptionsFor(const LoopParts& parts) {
  PrefetchOptions options;
  options.region_pages = parts.map.pages();
  const bool huge = parts.map.page_size() != kBasePage;
  options.max_window = huge ? 2 : parts.config.max_prefetch;
  options.min_window = std::min<std::uint32_t>(huge ? 1 : 4, options.max_window);
  return options;
}

PageCount AtLeastMinimum(PageCount limit) { return std::max(limit, PageCount(kMinLimit)); }

}  // namespace

FaultLoop::FaultLoop(LoopParts parts, std::unique_ptr<PageReader> urgent, std::unique_ptr<PageReader> bulk,
                     std::unique_ptr<PageWriter> writer)
    : parts_(std::move(parts)),
      limit_(AtLeastMinimum(parts_.config.limit).value()),
      slots_(parts_.store.SlotCount(), parts_.store.ReadOnlySlots()),
      waiting_(parts_.config.vcpu_threads),
      placer_(parts_.uffd, parts_.map, waiting_, parts_.table.changes()),
      loop_{parts_.config,   EngineSizes(parts_.map.page_size()), parts_.map, parts_.table, slots_, placer_,
            *parts_.policy, parts_.store, parts_.guard, parts_.observer, counters_, waiting_, recent_, handler_},
      pager_(loop_),
      prefetcher_(PrefetchOptionsFor(parts_)),
      fetcher_(loop_, pager_, sent_, std::move(urgent), std::move(bulk)),
      handler_(loop_, parts_.uffd, pager_, fetcher_, prefetcher_),
      exchange_(std::make_unique<JobExchange>()),
      buffers_(loop_.sizes, parts_.map.page_size()),
      mover_(parts_.map, *exchange_, buffers_.All(), wake_, std::move(writer)),
      io_(parts_.guard, fetcher_),
      evictor_(loop_, pager_, fetcher_, io_, sent_, *exchange_, buffers_, mover_),
      homecoming_(loop_, parts_.uffd, pager_, fetcher_, evictor_, pacing_),
      drawing_(loop_, fetcher_, pacing_),
      news_(loop_),
      notes_(loop_, io_) {
  loop_.held = parts_.config.held;
  parts_.config.limit = limit();
  parts_.policy->SetLimit(limit());
  prefetcher_.SetLimit(limit());
}

FaultLoop::~FaultLoop() { Stop(); }

Status FaultLoop::Prepare(bool take_over) {
  HECA_ASSIGN_OR_RETURN(watch_, LoopWatch::Create(parts_.uffd.fd(), wake_.fd(), parts_.pidfd.get()));
  const auto& blocks = parts_.map.blocks();
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const Bytes size = parts_.map.BytesOf(blocks[i].pages.value());
    Status status = parts_.uffd.Register(blocks[i].address, size);
    if (status.ok()) continue;
    while (!take_over && i-- > 0) {
      // The target is left as it was found.
      (void)parts_.uffd.Unregister(blocks[i].address, parts_.map.BytesOf(blocks[i].pages.value()));
    }
    return status;
  }
  if (!take_over) {
    census_.emplace(loop_, pager_);
    counted_.store(false, std::memory_order_release);
    return Status();
  }
  HECA_RETURN_IF_ERROR(RecoverPages(loop_, pager_));
  lent_pages_.store(slots_.read_only_used(), std::memory_order_release);
  evictor_.AdoptPolicyBits();
  return Status();
}

void FaultLoop::TakeInNews() {
  while (news_.Step()) {
  }
}

void FaultLoop::Start() {
  if (!started_closed_) loop_.closed = false;
  lent_pages_.store(slots_.read_only_used(), std::memory_order_release);
  running_.store(true, std::memory_order_release);
  mover_.Start();
  thread_ = std::thread([this] { Run(); });
}

void FaultLoop::StartClosed() {
  started_closed_ = true;
  // A VM that is governed stays so.
  if (slots_.read_only() > 0) drawing_.Fill(); else homecoming_.Begin();
  Start();
}

void FaultLoop::WatchClosed() {
  handler_.TakeUnread();
  TellOfEarly();
}

void FaultLoop::TellOfEarly() {
  waiting_.TellOfThoseSince(Clock::now() - kEarlyPatience, [this](std::int32_t thread, PageIndex page) {
    parts_.observer.OnEngineEvent({EngineEventKind::kEarlyFault, 1, StoreHealth::kInvalid, Status(), page, thread});
  });
}

void FaultLoop::Stop() {
  Request(kRequestStop);
  if (thread_.joinable()) thread_.join();
  mover_.Stop();
}

void FaultLoop::Request(std::uint32_t requests) {
  requests_.fetch_or(requests, std::memory_order_release);
  wake_.Signal();
}

void FaultLoop::SetLimit(PageCount limit) {
  limit_.store(AtLeastMinimum(limit).value(), std::memory_order_relaxed);
  Request(kRequestLimit);
}

void FaultLoop::SetPace(Bytes a_second) {
  pace_.store(a_second.value(), std::memory_order_relaxed);
  wake_.Signal();
}

Result<std::uint64_t> FaultLoop::Tell(NewsPiece piece) {
  HECA_ASSIGN_OR_RETURN(const std::uint64_t number, news_.Add(std::move(piece)));
  wake_.Signal();
  return number;
}

std::uint64_t FaultLoop::AskForChanges(bool arm) {
  const std::uint64_t number = notes_.Ask(arm);
  wake_.Signal();
  return number;
}

void FaultLoop::ForgetChanges() {
  notes_.Forget();
  wake_.Signal();
}

void FaultLoop::Run() {
  ::pthread_setname_np(::pthread_self(), "heca-fault");
  if (parts_.config.cpu >= 0) {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(static_cast<std::size_t>(parts_.config.cpu), &cpus);
    ::pthread_setaffinity_np(::pthread_self(), sizeof(cpus), &cpus);
  }
  bool more = true;
  while (!stopping_) {
    const LoopWatch::Sources ready = Wait(more);
    if ((ready & LoopWatch::kWake) != 0) wake_.Clear();
    if ((ready & LoopWatch::kDeath) != 0) {
      parts_.observer.OnEngineEvent({EngineEventKind::kTargetDied, 0, StoreHealth::kInvalid, Status()});
      break;
    }
    // Demand first: what was asked for, then what is asked now.
    const std::uint64_t answers = loop_.answers;
    if ((ready & LoopWatch::kUrgent) != 0 || IsDue(fetcher_.UrgentNeed())) fetcher_.PollUrgent();
    if ((ready & LoopWatch::kFaults) != 0) handler_.ServeFaults();
    if (loop_.answers != answers) answered_ = true;
    if (!handler_.broken().ok()) {
      parts_.observer.OnEngineEvent({EngineEventKind::kTargetDied, 0, StoreHealth::kInvalid, handler_.broken()});
      break;
    }
    if ((ready & LoopWatch::kBulk) != 0 || IsDue(fetcher_.BulkNeed())) fetcher_.PollBulk();
    more = Serve();
  }
  running_.store(false, std::memory_order_release);
}

LoopWatch::Sources FaultLoop::Wait(bool more) {
  LoopWatch::Wish wish{.urgent = fetcher_.UrgentNeed(), .bulk = fetcher_.BulkNeed(), .only_look = more};
  if (!more) {
    wish.tick = Tick(wish.urgent, wish.bulk);
    wish.answer = fetcher_.demands_in_flight() > 0;
    if (wish.answer || answered_) wish.spin = parts_.config.spin;
    answered_ = false;
  }
  return watch_->Wait(wish);
}

/// Everything that can wait for faults, one step of each.
bool FaultLoop::Serve() {
  if (requests_.load(std::memory_order_relaxed) != 0) ObeyRequests();
  handler_.ServeQueued();  // what a drain in the middle of something left
  bool more = evictor_.Step();
  if (handler_.HasDeferred() && !loop_.closed && Clock::now() >= next_retry_) {
    handler_.RetryDeferred();
    next_retry_ = Clock::now() + kRetryEvery;
  }
  handler_.MoveCeiling();
  if (census_ && !census_->Step()) {
    census_.reset();
    counted_.store(true, std::memory_order_release);
  }
  more = news_.Step() || more;  // before they are fetched
  more = notes_.Step() || more;
  pacing_.Set(Bytes(pace_.load(std::memory_order_relaxed)));
  more = homecoming_.Step() || census_.has_value() || more;
  if (slots_.read_only() > 0) {
    more = drawing_.Step() || more;
    lent_pages_.store(slots_.read_only_used(), std::memory_order_release);
  }
  const bool home = homecoming_.stage() == HomeStage::kDone && !home_.load(std::memory_order_relaxed);
  if (home || Clock::now() >= next_look_) LookAround();
  if (home) {
    home_.store(true, std::memory_order_release);
    parts_.observer.OnEngineEvent({EngineEventKind::kHome, 0, StoreHealth::kInvalid, homecoming_.result()});
  }
  return more;
}

Millis FaultLoop::Tick(const PollNeed& urgent, const PollNeed& bulk) const {
  Millis tick = kLookEvery;
  const auto at_most = [&tick](int ms) {
    if (ms >= 0) tick = std::min(tick, Millis(std::max(ms, 1)));
  };
  at_most(urgent.tick_ms);
  at_most(bulk.tick_ms);
  at_most(evictor_.RecheckMs());
  at_most(homecoming_.DueMs());
  at_most(drawing_.DueMs());
  at_most(notes_.RecheckMs());
  if (handler_.HasDeferred()) tick = std::min(tick, kRetryEvery);
  return tick;
}

void FaultLoop::ObeyRequests() {
  const std::uint32_t requests = requests_.exchange(0, std::memory_order_acquire);
  if ((requests & kRequestStop) != 0) stopping_ = true;
  if ((requests & kRequestLimit) != 0) {
    parts_.config.limit = limit();
    handler_.RaiseCeiling();
    parts_.policy->SetLimit(limit());
    prefetcher_.SetLimit(limit());
  }
  if ((requests & kRequestOpen) != 0) {
    loop_.closed = false;
    fetcher_.ForgetBulkFailure();
  }
  if ((requests & kRequestSettle) != 0) loop_.held = false;
  if ((requests & kRequestGrow) != 0) slots_.Grow(parts_.store.SlotCount());
  if ((requests & kRequestHome) != 0) homecoming_.Begin();
  if ((requests & kRequestRetryLost) != 0) {
    ForEachInState(PageState::kLost, &FaultLoop::AskAgain);
    ForEachInState(PageState::kPoisoned, &FaultLoop::AskAgain);
    evictor_.Resume();
  }
  if ((requests & kRequestPoisonLost) != 0) ForEachInState(PageState::kLost, &FaultLoop::PoisonOne);
  if ((requests & kRequestZeroLost) != 0) {
    ForEachInState(PageState::kLost, &FaultLoop::ZeroOne);
    ForEachInState(PageState::kPoisoned, &FaultLoop::ZeroOne);
  }
}

void FaultLoop::ForEachInState(PageState state, void (FaultLoop::*action)(PageIndex)) {
  const PageIndex end(parts_.table.pages().value());
  for (PageIndex page(0); page < end && parts_.table.CountOf(state) > 0;) {
    if (!parts_.table.TouchedAround(page)) {
      page = region::PageTable::NextGroup(page);
      continue;
    }
    if (parts_.table.Get(page).state == state) (this->*action)(page);
    ++page;
  }
}

void FaultLoop::AskAgain(PageIndex page) {
  PageEntry entry = parts_.table.Get(page);
  entry.state = PageState::kAway;
  entry.generation = entry.NextGeneration();
  parts_.table.Move(page, entry);
  placer_.Wake({page, 1});  // who waits faults again and asks
}

void FaultLoop::PoisonOne(PageIndex page) {
  // An evicted page's hole carries a write-protect marker, and POISON on a marker is EEXIST.
  (void)placer_.Unprotect({page, 1});
  const Placement poisoned = placer_.Poison(page);
  if (poisoned.answer != KernelAnswer::kDone) {
    pager_.Alarm(EngineEventKind::kKernelError, poisoned.error);
    return;
  }
  PageEntry entry = parts_.table.Get(page);
  entry.state = PageState::kPoisoned;
  parts_.table.Move(page, entry);
}

void FaultLoop::ZeroOne(PageIndex page) {
  PageEntry entry = parts_.table.Get(page);
  slots_.Condemn(entry.slot);
  const bool poisoned = entry.state == PageState::kPoisoned;
  entry = PageEntry{PageState::kZero, region::kArmedForNobody, false, kNoPolicyBits, entry.NextGeneration(), kNoSlot};
  parts_.table.Move(page, entry);
  loop_.fault_time = Clock::now();
  if (poisoned) {
    (void)pager_.PlaceZero(page, true);  // COPY and ZEROPAGE are what takes the poison away
  } else {
    placer_.Wake({page, 1});
  }
}

void FaultLoop::LookAround() {
  next_look_ = Clock::now() + kLookEvery;
  if (loop_.closed) TellOfEarly();
  evictor_.Tidy();
  drawing_.TryAgain();
  fetcher_.AskForLate();
  fetcher_.PollUrgent();  // the readers' own ticks are longer
  fetcher_.PollBulk();
  slots_free_.store(slots_.free(), std::memory_order_relaxed);
  slots_used_.store(slots_.used(), std::memory_order_relaxed);
  released_all_.store(evictor_.ReleasedAll(), std::memory_order_release);
  counters_.prefetch_hits.Add(prefetcher_.Stats().hits - counters_.prefetch_hits.Value());
  counters_.refaults.Add(parts_.policy->Stats().refaults - counters_.refaults.Value());
  const StoreHealth health = parts_.store.Health();
  if (health != health_ && (health == StoreHealth::kGood || parts_.table.CountOf(PageState::kComing) > 0)) {
    health_ = health;
    parts_.observer.OnEngineEvent({EngineEventKind::kStoreHealth, parts_.table.CountOf(PageState::kComing), health, Status()});
  }
  // A loss may have come and gone between two looks.
  const bool lost_since = counters_.pages_lost.Value() != lost_seen_;
  lost_seen_ = counters_.pages_lost.Value();
  const bool lost = parts_.table.CountOf(PageState::kLost) > 0;
  if ((had_lost_ || lost_since) && !lost) {
    parts_.observer.OnEngineEvent({EngineEventKind::kPagesFound, 0, StoreHealth::kInvalid, Status()});
  }
  had_lost_ = lost;
}

}  // namespace heca::fault
