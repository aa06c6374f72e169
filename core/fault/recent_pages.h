// SPDX-License-Identifier: LGPL-2.1-or-later
// When did this page last have a fault? Remembers the most recent ones in a fixed table; a collision forgets the
// older, which costs an early eviction or a missing latency sample, nothing else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "heca/types.h"

namespace heca::fault {

/// Owner loop only.
class RecentPages {
 public:
  RecentPages() : cells_(kCells), blocks_(kBlocks) {}

  void Touch(PageIndex page, Clock::time_point when) {
    cells_[page.value() % kCells] = {page, when};
    Clock::time_point& block = BlockOf(page);
    if (when > block) block = when;
  }
  [[nodiscard]] std::optional<Clock::time_point> When(PageIndex page) const {
    const Cell& cell = cells_[page.value() % kCells];
    if (cell.page != page || cell.when == Clock::time_point()) return std::nullopt;
    return cell.when;
  }
  /// False if none of the 64 pages around it was touched since; true may be another block's doing.
  [[nodiscard]] bool TouchedAroundSince(PageIndex page, Clock::time_point moment) const {
    return blocks_[page.value() / kBlock % kBlocks] > moment;
  }
  [[nodiscard]] bool TouchedSince(PageIndex page, Clock::time_point moment) const {
    const std::optional<Clock::time_point> when = When(page);
    return when.has_value() && *when > moment;
  }

 private:
  struct Cell {
    PageIndex page;
    Clock::time_point when;
  };
  static constexpr std::size_t kCells = 16384;  // 5 ms at the 0.2 M faults/s that one userfaultfd can do, 16 times
  static constexpr std::uint64_t kBlock = 64;
  static constexpr std::size_t kBlocks = 4096;  // 1 GiB of base pages
  Clock::time_point& BlockOf(PageIndex page) { return blocks_[page.value() / kBlock % kBlocks]; }

  std::vector<Cell> cells_;
  std::vector<Clock::time_point> blocks_;
};

}  // namespace heca::fault
