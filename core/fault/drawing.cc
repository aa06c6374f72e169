// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/drawing.h"

#include <algorithm>
#include <array>
#include <utility>

namespace heca::fault {
namespace {

constexpr std::size_t kScan = 4096;  // table entries looked at in one step: some 10 us
constexpr std::size_t kRun = 64;     // pages asked for at once

}  // namespace

/// One batch over the upper watermark at most: that is what sets eviction going.
std::size_t Drawing::Room() const {
  const std::uint64_t most = Watermarks::For(loop_.config).high;
  const std::uint64_t resident = loop_.table.Resident();
  if (resident > most) return 0;
  const std::uint64_t headroom = loop_.config.limit.value() - most;
  return one_by_one_ ? 1 : std::clamp<std::size_t>(headroom, 1, kRun);
}

bool Drawing::Step() {
  if (!Wanted() || fetcher_.bulk_failed() || pace_.TooFast()) return false;
  const std::size_t room = Room();
  if (room == 0) return false;
  std::array<PageIndex, kRun> pages;
  std::size_t count = 0;
  const PageIndex end(loop_.table.pages().value());
  // Behind a page that a thread needs lie those that it is likely to need next.
  if (std::exchange(seen_demands_, loop_.demands) != loop_.demands) cursor_ = loop_.last_demand;
  PageIndex page = cursor_;
  for (std::size_t looked = 0; looked < kScan && page < end && count < room; ++looked, ++page) {
    const region::PageEntry entry = loop_.table.Get(page);
    if (entry.state == region::PageState::kAway && loop_.slots.IsReadOnly(entry.slot)) pages[count++] = page;
  }
  if (count > 0 && !fetcher_.BringHome({pages.data(), count})) return false;  // all requests are out: wait for one
  pace_.Count(loop_.map.BytesOf(count));
  const bool wrapped = page >= end;
  cursor_ = wrapped ? PageIndex(0) : page;
  // At its end the rest is on its way, or lost: no need to look for it without a pause.
  return !wrapped;
}

void Drawing::TryAgain() {
  if (!Wanted() || !fetcher_.bulk_failed()) return;
  one_by_one_ = true;
  fetcher_.ForgetBulkFailure();
}

}  // namespace heca::fault
