// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/fetcher.h"

#include <algorithm>
#include <utility>

namespace heca::fault {

using region::PageEntry;
using region::PageState;

namespace {

/// Pages placed between two looks at the userfaultfd: about 20 us.
constexpr std::size_t kPlaceChunk = 16;

}  // namespace

class Fetcher::UrgentSink final : public ReadSink {
 public:
  explicit UrgentSink(Fetcher& fetcher) : fetcher_(fetcher) {}
  void OnRead(OpTag tag, const Status& status, std::span<const std::byte> pages) override {
    fetcher_.OnUrgent(tag, status, pages);
  }

 private:
  Fetcher& fetcher_;
};

class Fetcher::BulkSink final : public ReadSink {
 public:
  explicit BulkSink(Fetcher& fetcher) : fetcher_(fetcher) {}
  void OnRead(OpTag tag, const Status& status, std::span<const std::byte> pages) override {
    fetcher_.OnBulk(tag, status, pages);
  }

 private:
  Fetcher& fetcher_;
};

Fetcher::Fetcher(LoopContext& loop, Pager& pager, const SentPages& sent, std::unique_ptr<PageReader> urgent,
                 std::unique_ptr<PageReader> bulk)
    : loop_(loop), pager_(pager), sent_(sent), urgent_(std::move(urgent)), bulk_(std::move(bulk)),
      held_(loop.map.page_size()) {
  for (std::size_t i = 0; i < kUrgentRequests; ++i) free_requests_[free_count_++] = static_cast<std::uint16_t>(i);
}

Outcome Fetcher::Demand(PageIndex page, bool write) {
  PageEntry entry = loop_.table.Get(page);
  const bool was_prefetching = entry.state == PageState::kPrefetching;
  const std::byte* const here = was_prefetching ? held_.Find({page, entry.generation}) : sent_.Find(page, entry.generation);
  entry.state = PageState::kComing;
  entry.clean = !write && (!was_prefetching || entry.clean);
  if (!was_prefetching) entry.generation = entry.NextGeneration();  // else either answer will do
  const Expected expected{page, entry.generation};
  loop_.recent.Touch(page, loop_.fault_time);
  loop_.last_demand = page;
  ++loop_.demands;
  if (here != nullptr) {
    loop_.table.Move(page, entry);
    const AnswerSource source = was_prefetching ? AnswerSource::kPrefetched : AnswerSource::kWriteBackBuffer;
    (void)pager_.PlaceFetched({&expected, 1}, here, source);
    return Outcome::kAnswered;
  }
  if (was_prefetching && WaitForBulk(expected)) {
    loop_.table.Move(page, entry);
    return Outcome::kWaiting;
  }
  const Status started = AskUrgently(expected, entry.slot);
  // If a page that is on its way in a bulk answer cannot be asked for again, that answer will do.
  if (!started.ok() && !was_prefetching && started.code() == ErrorCode::kBusy) return Outcome::kDefer;
  loop_.table.Move(page, entry);
  if (!started.ok() && !was_prefetching) {
    pager_.MarkLost(expected);
    loop_.observer.OnEngineEvent({EngineEventKind::kPagesLost, 1, StoreHealth::kInvalid, started});
  }
  return Outcome::kWaiting;
}

/// True if the page is in the bulk answer that comes next and is not late: asking again would not bring it sooner.
bool Fetcher::WaitForBulk(const Expected& expected) {
  BulkRequest* next = nullptr;
  for (BulkRequest& request : requests_) {
    if (request.busy && (next == nullptr || request.order < next->order)) next = &request;
  }
  if (next == nullptr || loop_.fault_time - next->began > kLateBulk) return false;
  const auto end = next->pages.begin() + static_cast<std::ptrdiff_t>(next->count);
  // The generation too: an earlier request of the same page brings an answer that will not be placed.
  const auto found = std::find_if(next->pages.begin(), end, [&expected](const Expected& e) {
    return e.page == expected.page && e.generation == expected.generation;
  });
  if (found == end) return false;
  next->awaited |= std::uint64_t{1} << (found - next->pages.begin());
  return true;
}

void Fetcher::AskForLate() {
  const Clock::time_point late = Clock::now() - kLateBulk;
  for (BulkRequest& request : requests_) {
    if (!request.busy || request.awaited == 0 || request.began > late) continue;
    for (std::size_t i = 0; i < request.count; ++i) {
      const std::uint64_t bit = std::uint64_t{1} << i;
      if ((request.awaited & bit) == 0) continue;
      if (pager_.Stands(request.pages[i]) && !AskUrgently(request.pages[i], request.slots[i]).ok()) return;
      request.awaited &= ~bit;
    }
  }
}

/// kBusy: not now.
Status Fetcher::AskUrgently(const Expected& expected, Slot slot) {
  if (free_count_ == 0) return {ErrorCode::kBusy, {}};
  const std::uint16_t index = free_requests_[free_count_ - 1];
  Status started = urgent_->Start(OpTag(index), {&slot, 1});
  if (!started.ok()) return started;
  if (demands_in_flight() == 0) last_progress_ = Clock::now();
  --free_count_;
  urgent_requests_[index] = {expected, slot};
  BeginReading(slot);
  return started;
}

bool Fetcher::StartBulk(std::span<const BulkPage> pages, std::optional<PageIndex> trap) {
  const auto free = std::find_if(requests_.begin(), requests_.end(), [](const BulkRequest& r) { return !r.busy; });
  if (free == requests_.end()) return false;
  free->count = 0;
  free->trap = trap;
  std::array<bool, kBulkPages> armed;
  for (const BulkPage& wanted : pages) {
    const PageEntry entry = loop_.table.Get(wanted.page);
    if (entry.state != PageState::kAway) continue;
    held_.Forget(wanted.page);
    armed[free->count] = wanted.armed;
    free->slots[free->count] = entry.slot;
    free->pages[free->count++] = {wanted.page, entry.NextGeneration()};
  }
  if (free->count == 0) return true;
  const OpTag tag(static_cast<std::uint64_t>(free - requests_.begin()));
  if (const Status started = bulk_->Start(tag, {free->slots.data(), free->count}); !started.ok()) {
    if (started.code() != ErrorCode::kBusy) bulk_failed_ = true;  // for good: asked for one by one, each is told so
    return false;
  }
  free->busy = true;
  free->order = ++bulk_order_;
  free->began = Clock::now();
  free->awaited = 0;
  for (std::size_t i = 0; i < free->count; ++i) {
    BeginReading(free->slots[i]);
    PageEntry entry = loop_.table.Get(free->pages[i].page);
    entry.state = PageState::kPrefetching;
    entry.clean = armed[i];
    entry.generation = free->pages[i].generation;
    loop_.table.Move(free->pages[i].page, entry);
  }
  return true;
}

void Fetcher::Prefetch(const PrefetchWindow& window) {
  if (window.count == 0 || loop_.homing) return;
  if (in_bulk_poll_) {
    if (postponed_count_ < postponed_.size()) postponed_[postponed_count_++] = window;
    return;
  }
  const std::uint64_t resident = loop_.table.Resident();
  const std::uint64_t limit = loop_.config.limit.value();
  std::uint64_t room = resident < limit ? limit - resident : 0;
  const std::size_t most = std::min(kBulkPages, bulk_->MaxBatch());
  std::array<BulkPage, kBulkPages> pages;
  for (std::uint32_t i = 0; i < window.count && room > 0;) {
    std::size_t count = 0;
    std::optional<PageIndex> trap;
    for (; i < window.count && count < most && room > 0; ++i) {
      const PageIndex page = window.At(i);
      if (loop_.table.Get(page).state != PageState::kAway) continue;
      if (i == window.trap) trap = page;
      pages[count++] = {page, window.Armed(i)};
      --room;
    }
    if (count == 0) continue;
    if (window.stride < 0) std::reverse(pages.begin(), pages.begin() + static_cast<std::ptrdiff_t>(count));
    if (!StartBulk({pages.data(), count}, trap)) return;
    loop_.counters.prefetch_issued.Add(count);
  }
}

bool Fetcher::BringHome(std::span<const PageIndex> pages) {
  if (in_bulk_poll_) return false;
  std::array<BulkPage, kBulkPages> wanted;
  const std::size_t count = std::min({pages.size(), kBulkPages, bulk_->MaxBatch()});
  for (std::size_t i = 0; i < count; ++i) wanted[i] = {pages[i], false};
  return StartBulk({wanted.data(), count}, std::nullopt);
}

void Fetcher::Hold(const Expected& expected, const std::byte* bytes) {
  const std::optional<Expected> gone = held_.Hold(expected, bytes);
  if (gone) GiveUp(*gone);
}

void Fetcher::DropHeld() {
  while (const std::optional<Expected> held = held_.Drop()) GiveUp(*held);
}

/// A page that was held and that nobody waits for.
void Fetcher::GiveUp(const Expected& held) {
  if (loop_.table.Get(held.page).state == PageState::kPrefetching) pager_.Park(held, false);
}

void Fetcher::PollUrgent() {
  UrgentSink sink(*this);
  (void)urgent_->Poll(sink);
}

void Fetcher::PollBulk() {
  BulkSink sink(*this);
  in_bulk_poll_ = true;
  (void)bulk_->Poll(sink);
  in_bulk_poll_ = false;
  for (std::size_t i = 0; i < postponed_count_; ++i) Prefetch(postponed_[i]);
  postponed_count_ = 0;
}

void Fetcher::OnUrgent(OpTag tag, const Status& status, std::span<const std::byte> bytes) {
  const auto index = static_cast<std::uint16_t>(tag.value());
  const Expected expected = urgent_requests_[index].expected;
  EndReading(urgent_requests_[index].slot);
  free_requests_[free_count_++] = index;
  last_progress_ = Clock::now();
  if (status.ok()) {
    loop_.counters.bytes_fetched.Add(bytes.size());
    (void)pager_.PlaceFetched({&expected, 1}, bytes.data(), AnswerSource::kStore);
  } else if (pager_.Stands(expected)) {
    pager_.MarkLost(expected);
    loop_.observer.OnEngineEvent({EngineEventKind::kPagesLost, 1, StoreHealth::kInvalid, status});
  }
}

void Fetcher::PlaceBulk(const BulkRequest& request, const std::byte* bytes) {
  const std::span<const Expected> pages{request.pages.data(), request.count};
  const std::uint64_t page_size = loop_.map.page_size().value();
  for (std::size_t i = 0; i < pages.size();) {
    if (pages[i].page == request.trap && !loop_.homing && loop_.table.Get(pages[i].page).state == PageState::kPrefetching) {
      if (pager_.Stands(pages[i])) Hold(pages[i], bytes + i * page_size);
      ++i;
      continue;
    }
    std::size_t end = i + 1;
    while (end < pages.size() && end - i < kPlaceChunk && pages[end].page != request.trap) ++end;
    loop_.counters.prefetch_placed.Add(
        pager_.PlaceFetched(pages.subspan(i, end - i), bytes + i * page_size, AnswerSource::kStore));
    i = end;
    if (i < pages.size()) {
      loop_.pump.ServeFaults();
      PollUrgent();
    }
  }
}

void Fetcher::OnBulk(OpTag tag, const Status& status, std::span<const std::byte> bytes) {
  BulkRequest& request = requests_[tag.value()];
  const std::span<const Expected> pages{request.pages.data(), request.count};
  if (status.ok()) {
    loop_.counters.bytes_fetched.Add(bytes.size());
    PlaceBulk(request, bytes.data());
  } else {
    // One lost slot fails the batch and says nothing about the others. Whoever waits asks on the
    // urgent connection as well, and that answer decides.
    bulk_failed_ = true;
    for (std::size_t i = 0; i < pages.size(); ++i) {
      const bool only_here = (request.awaited >> i & 1) != 0 && pager_.Stands(pages[i]);
      if (only_here && AskUrgently(pages[i], request.slots[i]).ok()) continue;
      if (only_here || loop_.table.Get(pages[i].page).state == PageState::kPrefetching) pager_.Park(pages[i]);
    }
  }
  for (std::size_t i = 0; i < request.count; ++i) EndReading(request.slots[i]);
  request.busy = false;
}

}  // namespace heca::fault
