// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/away_sweep.h"

#include <algorithm>
#include <array>
#include <utility>

namespace heca::fault {
namespace {

constexpr std::size_t kScan = 4096;  // table entries looked at in one step: some 10 us

}  // namespace

Swept AwaySweep::Step(Wanted wanted, std::size_t room) {
  if (pace_.TooFast()) return Swept::kWaits;
  std::array<PageIndex, kMost> pages;
  std::size_t count = 0;
  const std::size_t most = std::min(room, kMost);
  const PageIndex end(loop_.table.pages().value());
  if (std::exchange(seen_demands_, loop_.demands) != loop_.demands) cursor_ = loop_.last_demand;
  PageIndex page = cursor_;
  for (std::size_t looked = 0; looked < kScan && page < end && count < most; ++looked) {
    if (!loop_.table.TouchedAround(page)) {
      page = region::PageTable::NextGroup(page);
      continue;
    }
    const region::PageEntry entry = loop_.table.Get(page);
    const bool away = entry.state == region::PageState::kAway;
    if (away && (wanted == Wanted::kAll || loop_.slots.IsReadOnly(entry.slot))) pages[count++] = page;
    ++page;
  }
  if (count > 0 && !fetcher_.BringHome({pages.data(), count})) return Swept::kWaits;
  pace_.Count(loop_.map.BytesOf(count));
  const bool through = page >= end;
  cursor_ = through ? PageIndex(0) : page;
  return through ? Swept::kRound : Swept::kOn;
}

}  // namespace heca::fault
