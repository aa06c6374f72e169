// SPDX-License-Identifier: LGPL-2.1-or-later
// Copying memory ahead of a VM that still runs: rounds (rounds.h), each of them
//
//   learn what was written, and note writes anew  ->  wait until I/O in flight at that moment is over  ->  tell the
//   destination that its copies of those pages are void  ->  it copies them again
//
// Of a VM whose memory is governed it tells as well where each page lies, in every mode, so that little of that is left for
// the time when it stands still; its region notes what moves and what is written.
//
// In this order nothing is missed: a write after the first step is in the next answer; direct I/O that had pinned a page
// before it writes it before the destination reads it. The last answer is taken when the VM is stopped and its disks are
// drained; with it the destination has, of every page, the final bytes or none.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "control/migration_api.h"
#include "control/node_api.h"
#include "heca/status.h"
#include "migration/leaving_vm.h"
#include "migration/rounds.h"
#include "migration/steering.h"

namespace heca::migration {

struct AheadTimes {
  Millis contact{60'000};  ///< a destination that cannot be reached is asked again for so long
  Millis welcome{0};       ///< so long it may not know of the VM yet, where somebody else has it prepared
  Millis look{20};         ///< between two questions how far it is
};

/// One thread.
class CopyAhead {
 public:
  CopyAhead(LeavingVm& vm, LentImage& image, control::MigrationApi& destination, const RegionId& region, Bytes memory,
            control::MigrationMode mode, Millis downtime_goal, const Steering& steering, const AheadTimes& times);

  /// Copies until it is time to change over, or until the VM has stopped by itself; in mode post-copy tells where pages lie,
  /// and copies nothing. An error: it is called off.
  Status Run(control::ProgressSink& progress);
  /// The VM is stopped and drained: voids what was written last, or tells the last of where its pages lie (LentImage::Rest);
  /// in mode pre-copy waits for all of it.
  Status Finish(const std::optional<control::Placement>& rest);
  /// Writes are noted no more. Repeating it is harmless.
  Status End();

  [[nodiscard]] std::uint32_t rounds() const { return rounds_.count(); }
  /// Bytes that were copied before Finish was done.
  [[nodiscard]] Bytes copied() const { return copied_; }

 private:
  Status Begin(const control::ProgressSink& progress);
  /// Until the destination has all that it knows of. False: to be left as it is, it is time.
  Result<bool> AwaitCopied(control::ProgressSink& progress);
  Result<control::Arrival> Look();
  Status Tell(control::PageNews news, const std::vector<control::PageRun>& runs);
  Status Place(control::Placement placement);
  /// What has changed since the last time. Without slots, unless the VM is governed.
  Result<control::Placement> Learn();
  Status TellChanged(const control::Placement& changed);
  [[nodiscard]] bool copies() const { return mode_ != control::MigrationMode::kPostCopy; }
  /// Repeats what may be repeated.
  Status Insist(const control::ProgressSink& progress, const std::function<Status()>& what) const;
  [[nodiscard]] bool TimeToGo();
  void Report(control::ProgressSink& progress, Bytes left) const;

  LeavingVm& vm_;
  LentImage& image_;
  control::MigrationApi& destination_;
  const RegionId region_;
  const Bytes memory_;
  const control::MigrationMode mode_;
  const Millis goal_;
  const Steering& steering_;
  const AheadTimes times_;
  Rounds rounds_;
  bool governed_ = false;
  bool noting_ = false;
  std::uint64_t placements_ = 0;
  Bytes copied_{0};
};

}  // namespace heca::migration
