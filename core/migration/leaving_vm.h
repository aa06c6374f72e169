// SPDX-License-Identifier: LGPL-2.1-or-later
// What a departure knows of the VM that leaves and of the image of its memory: contracts, so that each failure can be
// played. The node room fulfils them.
#pragma once

#include <optional>
#include <vector>

#include "base/clock.h"
#include "control/migration_types.h"
#include "heca/status.h"

namespace heca::migration {

/// The VM that leaves. Calls block for as long as QEMU needs; an error says what QEMU said.
class LeavingVm {
 public:
  virtual ~LeavingVm() = default;

  // While it runs, if its memory is copied ahead.
  /// Its stream, which somebody else may begin, comes to its end only after Start.
  virtual Status HoldBack() = 0;
  // The same, but where the image knows what changes (LentImage::Moved).
  /// Notes from now on which pages are written.
  virtual Status NoteWrites() = 0;
  /// Pages that were written since NoteWrites or the last answer; every write from now on is in the next one.
  virtual Result<std::vector<control::PageRun>> Written() = 0;
  /// The same of a VM that is stopped and drained; nothing is noted any more.
  virtual Result<std::vector<control::PageRun>> WrittenLast() = 0;
  /// Returns when direct I/O that was in flight when it was called is over.
  virtual Status AwaitDevices() = 0;
  /// Undoes NoteWrites. Repeating it is harmless.
  virtual Status ForgetWrites() = 0;

  /// Begins to send the device state; the VM runs on.
  virtual Status Start() = 0;
  /// Waits until it is stopped and its disks are drained. False: not yet when the deadline passed.
  virtual Result<bool> WaitStopped(Deadline deadline) = 0;
  [[nodiscard]] virtual Clock::time_point stopped_at() const = 0;
  /// Lets the device state go.
  virtual Status Continue() = 0;
  /// What became of it: true, the destination has it; false, it failed and the VM is this host's again; none: not
  /// decided when the deadline passed.
  virtual Result<std::optional<bool>> WaitDecided(Deadline deadline) = 0;
  /// Calls it off. True: the VM runs here (again). False: too late, the destination has it. An error: not known yet.
  virtual Result<bool> Cancel() = 0;
  /// It has left: whatever is said to it here, it writes no memory any more.
  virtual Status Fence() = 0;
  /// Leaves QEMU's settings as they were before.
  virtual Status Restore() = 0;
};

/// The image of the VM's memory that is lent to the destination.
class LentImage {
 public:
  virtual ~LentImage() = default;
  [[nodiscard]] virtual const control::Lease& lease() const = 0;
  /// From now on it can be read as it is, while the VM changes it.
  virtual Status Show() = 0;
  /// Of a VM whose memory is governed, while it runs: where the pages lie that have changed since the last call, at first all
  /// of them. Changed is what has moved between the image and the lease, and, if it is `copied` while it changes, also what
  /// was written; then no device writes any more what it had pinned before. None: it is not governed.
  virtual Result<std::optional<control::Placement>> Moved(bool copied) = 0;
  /// The VM is stopped: the last such answer, for from now on nobody moves or writes pages until Withdraw.
  virtual Result<std::optional<control::Placement>> Rest() = 0;
  /// From now on it can be read, and is final. The lease of a VM that is governed may be taken over.
  virtual Status Open() = 0;
  /// Pages that hold nothing; of an image that can be read.
  [[nodiscard]] virtual Result<std::vector<control::PageRun>> Holes() const = 0;
  /// It can be read no more, by anybody; what was governed is so again, here.
  virtual void Withdraw() = 0;
  /// The VM runs elsewhere: from now on it stays until it is given back, whatever becomes of this object.
  virtual void Keep() = 0;
  /// The borrower has said that it needs nothing more.
  [[nodiscard]] virtual bool GivenBack() const = 0;
};

}  // namespace heca::migration
