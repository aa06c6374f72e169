// SPDX-License-Identifier: LGPL-2.1-or-later
// Locks by which one hecad keeps others from what is its own (flock(2)). Who holds one has its pid in the file.
#pragma once

#include "base/clock.h"
#include "heca/status.h"

namespace heca {

/// A hecad that was killed keeps its locks until the kernel has taken all of it apart. Whoever starts the next one at once is
/// not to be refused because of that.
struct LockPatience {
  Millis running{2'000};   ///< for a holder that has perhaps not met its signal yet
  Millis ending{60'000};   ///< for one that runs no more: with an RDMA device it unpins all that it has registered, first
};

/// Locks the whole file behind `fd` for as long as that is open; it was opened for writing. kBusy, with "held by" whom, or
/// what flock said. Any thread.
[[nodiscard]] Status LockFile(int fd, const LockPatience& patience = {});

}  // namespace heca
