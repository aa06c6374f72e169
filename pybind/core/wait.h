// SPDX-License-Identifier: LGPL-2.1-or-later
// Waiting without the GIL. Whoever waits looks up ten times a second whether Python has a signal to handle (on its main
// thread; elsewhere it handles none) and whether the interpreter is about to end.
#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>

#include "base/clock.h"
#include "process.h"

namespace heca::binding {

inline constexpr Millis kLookUp{100};

/// On the thread that waits, without the GIL: true if its wait is to end. An exception that a signal handler raised is set
/// then: see ThrowIfInterrupted.
[[nodiscard]] bool Interrupted();
/// With the GIL: throws what a signal handler raised.
void ThrowIfInterrupted();

/// Until `ready`, which is called with the lock held, or the deadline (none: for ever). Called with the GIL and returns
/// with it; false: the time is over. Throws what a signal handler raises, or StatusError when the interpreter ends. No lock
/// is held while the GIL is waited for, so that who holds the GIL may take it.
bool WaitFor(std::mutex& mutex, std::condition_variable& changed, std::optional<Clock::time_point> deadline,
             const std::function<bool()>& ready);

/// As a span to wait for: at most some months, at least nothing.
[[nodiscard]] inline Clock::duration SecondsOf(double seconds) {
  constexpr double kMost = 1e7;
  const double bounded = seconds > 0 ? std::min(seconds, kMost) : 0;  // NaN is nothing
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(bounded));
}

/// Runs `call` without the GIL, counted. What it returned, or what a signal handler raised meanwhile.
template <class Call>
auto WithoutGil(const Call& call) {
  const Activity activity;
  auto result = [&] {
    const pybind11::gil_scoped_release release;
    return call();
  }();
  ThrowIfInterrupted();
  return result;
}

}  // namespace heca::binding
