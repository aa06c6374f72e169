// SPDX-License-Identifier: LGPL-2.1-or-later
// Monotonic time, and deadlines made of it. Thread-safe.
#pragma once

#include <chrono>

namespace heca {

using Clock = std::chrono::steady_clock;
using Nanos = std::chrono::nanoseconds;
using Millis = std::chrono::milliseconds;

/// The moment at which a wait gives up. Every wait has one.
class Deadline {
 public:
  static Deadline After(Nanos span) { return Deadline(Clock::now() + span); }
  static Deadline At(Clock::time_point when) { return Deadline(when); }

  [[nodiscard]] bool Passed() const { return Clock::now() >= when_; }
  [[nodiscard]] Nanos Left() const {
    const auto left = when_ - Clock::now();
    return left > Nanos::zero() ? std::chrono::duration_cast<Nanos>(left) : Nanos::zero();
  }
  /// Milliseconds left, rounded up, for poll(): 0 only when the deadline has passed.
  [[nodiscard]] int LeftMs() const {
    return static_cast<int>(std::chrono::ceil<Millis>(Left()).count());
  }
  [[nodiscard]] Clock::time_point when() const { return when_; }

 private:
  explicit Deadline(Clock::time_point when) : when_(when) {}
  Clock::time_point when_;
};

}  // namespace heca
