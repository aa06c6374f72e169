// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/drawing.h"

#include <algorithm>

namespace heca::fault {

/// One batch over the upper watermark at most: that is what sets eviction going.
std::size_t Drawing::Room() const {
  if (loop_.closed) {
    const std::uint64_t here = loop_.table.Resident();
    return here < loop_.config.limit.value() ? std::min<std::size_t>(loop_.config.limit.value() - here, AwaySweep::kMost) : 0;
  }
  const std::uint64_t most = Watermarks::For(loop_.config).high;
  const std::uint64_t resident = loop_.table.Resident();
  if (resident > most) return 0;
  const std::uint64_t headroom = loop_.config.limit.value() - most;
  return one_by_one_ ? 1 : std::clamp<std::size_t>(headroom, 1, AwaySweep::kMost);
}

bool Drawing::Step() {
  if (filling_ && !loop_.closed && LetGoOfSlots()) return true;
  if (!Wanted() || fetcher_.bulk_failed()) return false;
  const std::size_t room = Room();
  if (room == 0) return false;
  // At its end the rest is on its way, or lost: no need to look for it without a pause.
  return sweep_.Step(AwaySweep::Wanted::kLent, room) == Swept::kOn;
}

/// Pages that came ahead and lie here, or are zero. True if there are more to look at.
bool Drawing::LetGoOfSlots() {
  constexpr std::uint64_t kLook = 4096;
  const PageIndex end(std::min(let_go_.value() + kLook, loop_.table.pages().value()));
  for (; let_go_ < end; ++let_go_) {
    region::PageEntry entry = loop_.table.Get(let_go_);
    const bool here = entry.state == region::PageState::kHere || entry.state == region::PageState::kZero;
    if (!here || !loop_.slots.IsReadOnly(entry.slot)) continue;
    loop_.LetGoOfSlot(entry);
    loop_.table.Move(let_go_, entry);
  }
  if (let_go_.value() < loop_.table.pages().value()) return true;
  filling_ = false;
  return false;
}

std::uint64_t Drawing::Ahead(const region::PageTable& table, std::uint64_t located, PageCount limit) {
  using region::PageState;
  const region::PageCounts counts = table.Counts();
  const std::uint64_t away = counts.Of(PageState::kAway) - std::min(located, counts.Of(PageState::kAway));
  const std::uint64_t resident = counts.Resident();
  const std::uint64_t room = resident < limit.value() ? limit.value() - resident : 0;
  return counts.Of(PageState::kComing) + counts.Of(PageState::kPrefetching) + std::min(away, room);
}

void Drawing::TryAgain() {
  // Whoever lends pages of a VM that is not here yet may take them back at any time.
  if (loop_.closed || !Wanted() || !fetcher_.bulk_failed()) return;
  one_by_one_ = true;
  fetcher_.ForgetBulkFailure();
}

}  // namespace heca::fault
