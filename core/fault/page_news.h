// SPDX-License-Identifier: LGPL-2.1-or-later
// What others tell of the pages of a region, in the order in which it is told.
//
//   empty     they hold nothing: those that are Away become Zero without a copy (where the store has read-only slots, only
//             those that lie there: who tells it knows no others). Finding them takes time in which the VM
//             need not stand still, so it may be told long after the engine has begun to serve; a page that was asked for
//             meanwhile comes as any other
//   changed   what was read of them before is void, and they lie where it says now: whatever is here of them goes, an answer
//             that is on its way is not placed, and they are Away there. Only while the region is closed, because nobody has
//             seen them yet
//
// A page that comes with a VM lies in the slot of its own number (page p in p + 1) as long as nobody says otherwise. Where it
// lies may be told again and again while the VM still runs elsewhere, piece by piece. So two pages may be in one slot for a
// while, when the one that has left it has not been told of yet: that is counted, and must be none in the end (Located).
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "fault/loop_context.h"
#include "region/region_map.h"

namespace heca::fault {

enum class News : std::uint8_t { kInvalid = 0, kEmpty = 1, kChanged = 2 };

/// Pages that changed lie in neighbouring slots now; without slot, and empty ones: in those of their own numbers.
struct NewsPiece {
  News news = News::kInvalid;
  std::vector<region::SlotRun> runs;
  Slot mark = kNoSlot;  ///< with the last piece, where a lease comes along: of its slots, those up to here were written
};

/// Where pages lie that were said to lie in slots of other numbers.
struct Located {
  std::uint64_t pages = 0;
  std::uint64_t twice = 0;  ///< slots in which more than one of them is
};

class PageNews {
 public:
  explicit PageNews(LoopContext& loop) : loop_(loop) {}

  /// Thread-safe; the loop is woken by the caller. The number of this piece of news. kInvalidArgument: pages or slots that
  /// there are not.
  Result<std::uint64_t> Add(NewsPiece piece);
  /// Loop only: takes some in. True if there is more to do.
  [[nodiscard]] bool Step();
  /// All pieces up to this number are in the table and, where pages had to go, in the RAM file. Thread-safe.
  [[nodiscard]] std::uint64_t taken_in() const { return taken_in_.load(std::memory_order_acquire); }
  /// Pages that became Zero so. Thread-safe.
  [[nodiscard]] std::uint64_t empty_pages() const { return empty_pages_.load(std::memory_order_relaxed); }
  /// Thread-safe; it means something until the region is open.
  [[nodiscard]] Located located() const {
    return {located_.load(std::memory_order_relaxed), twice_.load(std::memory_order_relaxed)};
  }

 private:
  static constexpr Slot HomeOf(PageIndex page) { return Slot(static_cast<std::uint32_t>(page.value()) + 1); }
  void TakeEmpty(PageIndex page);
  /// Takes in at most so many pages of the run; returns how many.
  [[nodiscard]] std::uint64_t TakeChanged(const region::SlotRun& run, std::uint64_t pages);
  void BecomeAway(PageIndex page, Slot slot);
  void Use(Slot slot);
  void LetGo(Slot slot);

  LoopContext& loop_;
  std::mutex mutex_;
  std::deque<NewsPiece> added_;  ///< under the mutex
  std::uint64_t told_ = 0;       ///< under the mutex
  std::atomic<bool> any_added_{false};
  NewsPiece piece_;              ///< the loop's, like the next three
  std::size_t at_ = 0;           ///< in piece_.runs
  bool taking_ = false;
  std::unordered_map<std::uint32_t, std::uint32_t> more_;  ///< of slots in which several pages are: how many beside one
  std::atomic<std::uint64_t> located_{0};
  std::atomic<std::uint64_t> twice_{0};
  std::atomic<std::uint64_t> taken_in_{0};
  std::atomic<std::uint64_t> empty_pages_{0};
};

}  // namespace heca::fault
