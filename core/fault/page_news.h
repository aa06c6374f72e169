// SPDX-License-Identifier: LGPL-2.1-or-later
// What the store tells of its pages by itself, in the order in which it is told.
//
//   empty     they hold nothing: those that are Away become Zero without a copy (where the store has read-only slots, only
//             those that lie there: who tells it knows no others). Finding them takes time in which the VM
//             need not stand still, so it may be told long after the engine has begun to serve; a page that was asked for
//             meanwhile comes as any other
//   changed   what was read of them before is void: whatever is here of them goes, an answer that is on its way is not
//             placed, and they are Away. Only while the region is closed, because nobody has seen them yet
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <vector>

#include "fault/loop_context.h"
#include "region/region_map.h"

namespace heca::fault {

enum class News : std::uint8_t { kInvalid = 0, kEmpty = 1, kChanged = 2 };

class PageNews {
 public:
  explicit PageNews(LoopContext& loop) : loop_(loop) {}

  /// Thread-safe; the loop is woken by the caller. The number of this piece of news.
  std::uint64_t Add(News news, std::vector<region::PageRun> runs);
  /// Loop only: takes some in. True if there is more to do.
  [[nodiscard]] bool Step();
  /// All pieces up to this number are in the table and, where pages had to go, in the RAM file. Thread-safe.
  [[nodiscard]] std::uint64_t taken_in() const { return taken_in_.load(std::memory_order_acquire); }
  /// Pages that became Zero so. Thread-safe.
  [[nodiscard]] std::uint64_t empty_pages() const { return empty_pages_.load(std::memory_order_relaxed); }

 private:
  struct Piece {
    News news = News::kInvalid;
    std::vector<region::PageRun> runs;
  };
  void TakeEmpty(PageIndex page);
  /// Takes in at most `pages` from `first` on; returns how many.
  [[nodiscard]] std::uint64_t TakeChanged(PageIndex first, std::uint64_t pages);
  void BecomeAway(PageIndex page);

  LoopContext& loop_;
  std::mutex mutex_;
  std::deque<Piece> added_;  ///< under the mutex
  std::uint64_t told_ = 0;   ///< under the mutex
  std::atomic<bool> any_added_{false};
  Piece piece_;              ///< the loop's, like the next two
  std::size_t at_ = 0;       ///< in piece_.runs
  bool taking_ = false;
  std::atomic<std::uint64_t> taken_in_{0};
  std::atomic<std::uint64_t> empty_pages_{0};
};

}  // namespace heca::fault
