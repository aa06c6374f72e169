// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/drawing.h"

#include <algorithm>

namespace heca::fault {

/// One batch over the upper watermark at most: that is what sets eviction going.
std::size_t Drawing::Room() const {
  const std::uint64_t most = Watermarks::For(loop_.config).high;
  const std::uint64_t resident = loop_.table.Resident();
  if (resident > most) return 0;
  const std::uint64_t headroom = loop_.config.limit.value() - most;
  return one_by_one_ ? 1 : std::clamp<std::size_t>(headroom, 1, AwaySweep::kMost);
}

bool Drawing::Step() {
  if (!Wanted() || fetcher_.bulk_failed()) return false;
  const std::size_t room = Room();
  if (room == 0) return false;
  // At its end the rest is on its way, or lost: no need to look for it without a pause.
  return sweep_.Step(AwaySweep::Wanted::kLent, room) == Swept::kOn;
}

void Drawing::TryAgain() {
  if (!Wanted() || !fetcher_.bulk_failed()) return;
  one_by_one_ = true;
  fetcher_.ForgetBulkFailure();
}

}  // namespace heca::fault
