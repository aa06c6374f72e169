// SPDX-License-Identifier: LGPL-2.1-or-later
// Start of an engine: what is true of each page, from the journal and the RAM file.
//
// After a SIGKILL at any moment (state in the journal, page in the file -> what it becomes):
//
//   Zero         in file: Here, dirty            Here         in file: Here; clean stays clean
//                hole:    Zero                                hole:    Zero (the guest discarded it)
//   Leaving      in file: Here, dirty            Dropping     in file: Here, dirty
//                hole:    Zero (discarded)                    hole:    Away; without slot: Zero
//   Cancel       as Leaving                      Coming       in file: Here, dirty (it was placed)
//   Lost         asked again: as Away            Prefetching  hole:    Away
//   Poisoned     stays                           Away         in file: stray, punched; hole: Away
//
// Pages that turn round are unprotected. A dirty page that is armed all the same raises one more WP fault, which is
// answered as usual; so nothing else needs a walk. Slots that no page names are released.
#pragma once

#include "fault/fault_handler.h"
#include "fault/loop_context.h"
#include "fault/pager.h"
#include "heca/status.h"

namespace heca::fault {

/// Before the loop runs, on a table that was opened from an earlier daemon's file, in a region that is registered.
/// Afterwards every thread that waits is woken and faults again.
[[nodiscard]] Status RecoverPages(LoopContext& loop, Pager& pager);

/// Fresh attach: finds the pages that are in the file already, a chunk at a time while faults are served. Until it has
/// passed them they are Zero, which is served rightly all the same; only eviction has to know them.
class Census {
 public:
  Census(LoopContext& loop, Pager& pager) : loop_(loop), pager_(pager) {}
  /// True if there is more to do.
  [[nodiscard]] bool Step();

 private:
  [[nodiscard]] bool StepFile(const region::Block& block);
  [[nodiscard]] bool StepHuge(const region::Block& block);
  LoopContext& loop_;
  Pager& pager_;
  std::size_t block_ = 0;
  std::uint64_t page_ = 0;  // in the block
};

}  // namespace heca::fault
