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
    : loop_(loop), pager_(pager), sent_(sent), urgent_(std::move(urgent)), bulk_(std::move(bulk)) {
  for (std::size_t i = 0; i < kUrgentRequests; ++i) free_requests_[free_count_++] = static_cast<std::uint16_t>(i);
}

Outcome Fetcher::Demand(PageIndex page, bool write) {
  PageEntry entry = loop_.table.Get(page);
  const std::byte* sent = entry.state == PageState::kAway ? sent_.Find(page, entry.generation) : nullptr;
  const bool was_prefetching = entry.state == PageState::kPrefetching;
  entry.state = PageState::kComing;
  entry.clean = !write;
  if (!was_prefetching) entry.generation = entry.NextGeneration();  // else either answer will do
  const Expected expected{page, entry.generation};
  loop_.recent.Touch(page, loop_.fault_time);
  if (sent != nullptr) {
    loop_.table.Move(page, entry);
    (void)pager_.PlaceFetched({&expected, 1}, sent, AnswerSource::kWriteBackBuffer);
    return Outcome::kAnswered;
  }
  const Slot slot = entry.slot;
  Status started(ErrorCode::kBusy, {});
  if (free_count_ > 0) {
    const std::uint16_t index = free_requests_[free_count_ - 1];
    started = urgent_->Start(OpTag(index), {&slot, 1});
    if (started.ok()) {
      if (demands_in_flight() == 0) last_progress_ = Clock::now();
      --free_count_;
      urgent_requests_[index] = {expected, slot};
      BeginReading(slot);
    }
  }
  // If a page that is on its way in a bulk answer cannot be asked for again, that answer will do.
  if (!started.ok() && !was_prefetching && started.code() == ErrorCode::kBusy) return Outcome::kDefer;
  loop_.table.Move(page, entry);
  if (!started.ok() && !was_prefetching) {
    pager_.MarkLost(expected);
    loop_.observer.OnEngineEvent({EngineEventKind::kPagesLost, 1, StoreHealth::kInvalid, started});
  }
  return Outcome::kWaiting;
}

bool Fetcher::StartBulk(std::span<const PageIndex> pages, bool clean) {
  const auto free = std::find_if(requests_.begin(), requests_.end(), [](const BulkRequest& r) { return !r.busy; });
  if (free == requests_.end()) return false;
  free->count = 0;
  for (const PageIndex page : pages) {
    const PageEntry entry = loop_.table.Get(page);
    if (entry.state != PageState::kAway) continue;
    free->slots[free->count] = entry.slot;
    free->pages[free->count++] = {page, entry.NextGeneration()};
  }
  if (free->count == 0) return true;
  const OpTag tag(static_cast<std::uint64_t>(free - requests_.begin()));
  if (!bulk_->Start(tag, {free->slots.data(), free->count}).ok()) return false;
  free->busy = true;
  for (std::size_t i = 0; i < free->count; ++i) {
    BeginReading(free->slots[i]);
    PageEntry entry = loop_.table.Get(free->pages[i].page);
    entry.state = PageState::kPrefetching;
    entry.clean = clean;
    entry.generation = free->pages[i].generation;
    loop_.table.Move(free->pages[i].page, entry);
  }
  return true;
}

void Fetcher::Prefetch(const PrefetchWindow& window) {
  if (window.count == 0 || loop_.homing) return;
  if (in_bulk_poll_) {
    postponed_ = window;
    return;
  }
  const std::uint64_t resident = loop_.table.Resident();
  const std::uint64_t limit = loop_.config.limit.value();
  const std::uint64_t room = resident < limit ? limit - resident : 0;
  const std::size_t most = std::min<std::size_t>({window.count, kBulkPages, bulk_->MaxBatch(), room});
  std::array<PageIndex, kBulkPages> pages;
  std::size_t count = 0;
  for (std::uint32_t i = 0; i < window.count && count < most; ++i) {
    const PageIndex page = window.At(i);
    if (loop_.table.Get(page).state == PageState::kAway) pages[count++] = page;
  }
  if (count == 0) return;
  if (window.stride < 0) std::reverse(pages.begin(), pages.begin() + static_cast<std::ptrdiff_t>(count));
  if (StartBulk({pages.data(), count}, true)) loop_.counters.prefetch_issued.Add(count);
}

bool Fetcher::BringHome(std::span<const PageIndex> pages) {
  if (in_bulk_poll_) return false;
  return StartBulk(pages.first(std::min({pages.size(), kBulkPages, bulk_->MaxBatch()})), false);
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
  Prefetch(std::exchange(postponed_, PrefetchWindow{}));
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

void Fetcher::OnBulk(OpTag tag, const Status& status, std::span<const std::byte> bytes) {
  BulkRequest& request = requests_[tag.value()];
  const std::span<const Expected> pages{request.pages.data(), request.count};
  if (status.ok()) {
    const std::uint64_t page_size = loop_.map.page_size().value();
    loop_.counters.bytes_fetched.Add(bytes.size());
    for (std::size_t i = 0; i < pages.size(); i += kPlaceChunk) {
      const auto chunk = pages.subspan(i, std::min(kPlaceChunk, pages.size() - i));
      loop_.counters.prefetch_placed.Add(
          pager_.PlaceFetched(chunk, bytes.data() + i * page_size, AnswerSource::kStore));
      if (i + kPlaceChunk < pages.size()) {
        loop_.pump.ServeFaults();
        PollUrgent();
      }
    }
  } else {
    // One lost slot fails the batch and says nothing about the others. Whoever waits has asked on the urgent
    // connection as well, and that answer decides.
    bulk_failed_ = true;
    for (const Expected& expected : pages) {
      if (loop_.table.Get(expected.page).state == PageState::kPrefetching) pager_.Park(expected);
    }
  }
  for (std::size_t i = 0; i < request.count; ++i) EndReading(request.slots[i]);
  request.busy = false;
}

}  // namespace heca::fault
