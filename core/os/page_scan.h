// SPDX-License-Identifier: LGPL-2.1-or-later
// Which pages of a process were written since they were armed: PAGEMAP_SCAN of /proc/PID/pagemap (Linux 6.7).
//
// Only memory that a WP_ASYNC userfaultfd is registered for (Uffd::RegisterWriteProtect) can be asked about. Of any
// other the kernel would answer "nothing is written", so each scan demands the check of that and fails with EPERM
// (kPermissionDenied) instead. What is not mapped at all it passes over in silence, and a process that has ended maps
// nothing: the caller looks into /proc/PID/maps after the scan.
//
// What is "written": a page that is not armed, whoever placed it, and an address that holds neither a page nor the mark
// of an armed one. So a page that was written and then discarded is told as well.
#pragma once

#include <sys/types.h>

#include <vector>

#include "base/unique_fd.h"
#include "heca/status.h"
#include "heca/types.h"
#include "os/uffd.h"

namespace heca::os {

/// Whole pages, of the size of the mapping.
struct WrittenRun {
  TargetAddress start;
  TargetAddress end;
};

/// Holds the descriptor of the process's pagemap, which stays that of this process's memory for good. Thread-safe. Each
/// call holds the process's mmap lock for reading in one go (0.4 ms a GiB and more): give it ranges of a few hundred
/// MiB.
class PageScan {
 public:
  /// Needs the rights of ptrace. kNotFound: no such process.
  static Result<PageScan> Open(pid_t pid);

  /// Appends the written runs of the range to `into`, by address, adjacent ones joined. Arm::kYes: each is armed in the
  /// same step, so that any later write to it is told by the next scan. After a failure some may be armed and not told.
  Status Written(TargetAddress start, Bytes length, Arm rearm, std::vector<WrittenRun>& into) const;
  /// Arms every page of the range and every hole in it.
  Status ArmAll(TargetAddress start, Bytes length) const;

 private:
  explicit PageScan(unique_fd pagemap) : pagemap_(std::move(pagemap)) {}
  unique_fd pagemap_;
};

}  // namespace heca::os
