// SPDX-License-Identifier: LGPL-2.1-or-later
// Goes through the region again and again for pages that are away, and asks for them at its pace: behind a page that a
// thread needs lie those that it is likely to need next, so each demand moves it there.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fault/fetcher.h"
#include "fault/loop_context.h"
#include "fault/pace.h"

namespace heca::fault {

enum class Swept : std::uint8_t {
  kInvalid = 0,
  kOn = 1,      ///< looked at some pages, asked for those that are wanted
  kRound = 2,   ///< the same, and it is at the region's end: the next step begins anew
  kWaits = 3,   ///< all requests are out, or the pace does not allow the next pages yet
};

/// Owner loop only.
class AwaySweep {
 public:
  enum class Wanted : std::uint8_t { kAll, kLent };  ///< kLent: those in read-only slots

  static constexpr std::size_t kMost = 64;  ///< pages asked for at once

  AwaySweep(LoopContext& loop, Fetcher& fetcher, Pace& pace) : loop_(loop), fetcher_(fetcher), pace_(pace) {}

  void Restart() { cursor_ = PageIndex(0); }
  /// Asks for at most `room` pages, and no more than kMost.
  [[nodiscard]] Swept Step(Wanted wanted, std::size_t room);

 private:
  LoopContext& loop_;
  Fetcher& fetcher_;
  Pace& pace_;
  PageIndex cursor_{0};
  std::uint64_t seen_demands_ = 0;
};

}  // namespace heca::fault
