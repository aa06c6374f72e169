// SPDX-License-Identifier: LGPL-2.1-or-later
// Locks by which one hecad keeps others from what is its own (flock(2)).
#pragma once

#include "base/clock.h"
#include "heca/status.h"

namespace heca {

/// A hecad that was killed keeps its locks until the kernel has taken all of it apart, which on a busy host goes on after its
/// /proc/PID/cmdline is empty. Whoever starts the next one at once is not to be refused because of that.
inline constexpr Millis kDyingHolder{2'000};

/// Locks the whole file behind `fd` for as long as that is open; waits up to `patience` for another holder. kBusy, or what
/// flock said. Any thread.
[[nodiscard]] Status LockFile(int fd, Millis patience = kDyingHolder);

}  // namespace heca
