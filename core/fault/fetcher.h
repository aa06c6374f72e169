// SPDX-License-Identifier: LGPL-2.1-or-later
// Asks the store for pages and hands what comes back to the Pager: demand on the urgent connection, everything that
// nobody waits for on the bulk one. A demanded page that is already on its way in a bulk answer is asked for again on
// the urgent connection, and the claim decides which answer is placed; unless that answer is the one that comes next.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>

#include "fault/held_pages.h"
#include "fault/pager.h"
#include "fault/prefetch.h"
#include "fault/sent_pages.h"
#include "heca/page_store.h"

namespace heca::fault {

/// Owner loop only.
class Fetcher {
 public:
  Fetcher(LoopContext& loop, Pager& pager, const SentPages& sent, std::unique_ptr<PageReader> urgent,
          std::unique_ptr<PageReader> bulk);

  /// A thread waits for a page that is Away or Prefetching.
  [[nodiscard]] Outcome Demand(PageIndex page, bool write);
  /// Pages of the window that are Away, as far as the limit has room.
  void Prefetch(const PrefetchWindow& window);
  /// Brings pages home, to stay. Those that are not Away are skipped. False: no room for another request now.
  [[nodiscard]] bool BringHome(std::span<const PageIndex> pages);
  /// Asks on the urgent connection for what threads wait for and a bulk answer was to bring, where that one is late.
  /// To be called now and then.
  void AskForLate();
  /// Gives up the traps that are fetched: their pages are Away again.
  void DropHeld();
  /// True after a bulk answer failed: one page of it may be lost, which only asking for each tells.
  [[nodiscard]] bool bulk_failed() const { return bulk_failed_; }
  void ForgetBulkFailure() { bulk_failed_ = false; }

  /// Receive and place. Never block.
  void PollUrgent();
  void PollBulk();
  [[nodiscard]] PollNeed UrgentNeed() const { return urgent_->Need(); }
  [[nodiscard]] PollNeed BulkNeed() const { return bulk_->Need(); }
  [[nodiscard]] std::size_t demands_in_flight() const { return kUrgentRequests - free_count_; }
  /// True while threads wait and nothing has come for a tenth of a second: the store is out of reach, or as good as.
  [[nodiscard]] bool Stalled(Clock::time_point now) const {
    return demands_in_flight() > 0 && now - last_progress_ > kStall;
  }
  /// True while a read of the slot is (or, rarely, may be) in flight: it is not released yet.
  [[nodiscard]] bool MayBeReading(Slot slot) const { return reading_[slot.value() % kReadingCells] != 0; }

 private:
  static constexpr std::size_t kBulkRequests = 16;  // of 256 KiB: enough to keep one 10 Gbit/s stream busy over 3 ms
  static constexpr std::size_t kBulkPages = 64;
  struct BulkRequest {
    bool busy = false;
    std::uint64_t order = 0;      ///< bulk requests are answered in the order in which they were started, mostly
    Clock::time_point began{};
    std::uint64_t awaited = 0;    ///< bit n: a thread waits for page n, and it was not asked for on the urgent connection
    std::size_t count = 0;
    std::array<Expected, kBulkPages> pages{};
    std::array<Slot, kBulkPages> slots{};
    std::optional<PageIndex> trap;  ///< is kept in held_ unless somebody waits for it
  };
  static_assert(kBulkPages <= 64, "BulkRequest::awaited has a bit for each");
  static constexpr std::size_t kUrgentRequests = 512;  // a thread has at most one; more wait a millisecond
  struct UrgentRequest {
    Expected expected;
    Slot slot;
  };
  static constexpr Millis kStall{100};  // a slow answer takes a few milliseconds
  static constexpr Millis kLateBulk{10};
  static constexpr std::size_t kReadingCells = 4096;
  class UrgentSink;
  class BulkSink;

  [[nodiscard]] bool WaitForBulk(const Expected& expected);
  [[nodiscard]] Status AskUrgently(const Expected& expected, Slot slot);
  void BeginReading(Slot slot) { ++reading_[slot.value() % kReadingCells]; }
  void EndReading(Slot slot) { --reading_[slot.value() % kReadingCells]; }
  /// A page to ask for, and whether it is placed write-protected.
  struct BulkPage {
    PageIndex page;
    bool armed = false;
  };
  [[nodiscard]] bool StartBulk(std::span<const BulkPage> pages, std::optional<PageIndex> trap);
  void PlaceBulk(const BulkRequest& request, const std::byte* bytes);
  void Hold(const Expected& expected, const std::byte* bytes);
  void GiveUp(const Expected& held);
  void OnUrgent(OpTag tag, const Status& status, std::span<const std::byte> bytes);
  void OnBulk(OpTag tag, const Status& status, std::span<const std::byte> bytes);

  LoopContext& loop_;
  Pager& pager_;
  const SentPages& sent_;
  std::unique_ptr<PageReader> urgent_;
  std::unique_ptr<PageReader> bulk_;
  HeldPages held_;
  std::array<BulkRequest, kBulkRequests> requests_;
  std::array<UrgentRequest, kUrgentRequests> urgent_requests_{};
  std::array<std::uint16_t, kUrgentRequests> free_requests_{};
  std::size_t free_count_ = 0;
  Clock::time_point last_progress_{};  ///< the last urgent answer, or the first request after none
  std::array<std::uint16_t, kReadingCells> reading_{};
  std::uint64_t bulk_order_ = 0;
  bool bulk_failed_ = false;
  bool in_bulk_poll_ = false;
  std::array<PrefetchWindow, 16> postponed_;  ///< asked for while bulk answers are being placed; one a stream
  std::size_t postponed_count_ = 0;
};

}  // namespace heca::fault
