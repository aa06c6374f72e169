// SPDX-License-Identifier: LGPL-2.1-or-later
// How fast pages come that nobody waits for.
#pragma once

#include <algorithm>
#include <cstddef>

#include "base/clock.h"
#include "heca/types.h"

namespace heca::fault {

/// Owner loop only.
class Pace {
 public:
  /// Bytes a second; 0: as fast as they come.
  void Set(Bytes a_second) { pace_ = a_second; }
  /// The next pages are not due yet.
  [[nodiscard]] bool TooFast() const { return pace_.value() != 0 && Clock::now() < next_; }
  /// Milliseconds until they are; only while TooFast.
  [[nodiscard]] int DueMs() const { return static_cast<int>(std::chrono::ceil<Millis>(next_ - Clock::now()).count()); }
  /// So much was asked for.
  void Count(Bytes asked) {
    if (pace_.value() == 0) return;
    const double seconds = static_cast<double>(asked.value()) / static_cast<double>(pace_.value());
    next_ = std::max(next_, Clock::now() - kBurst) + Nanos(static_cast<Nanos::rep>(seconds * 1e9));
  }

 private:
  static constexpr Millis kBurst{10};  ///< so much of what the pace allows may come at once
  Bytes pace_{0};
  Clock::time_point next_{};
};

}  // namespace heca::fault
