// SPDX-License-Identifier: LGPL-2.1-or-later
// The source's half of a live migration: leads QEMU, the image of its memory and the destination's hecad through the
// phases (phase.h). It owns none of them and knows them by their contracts, so that each failure can be played in a test.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "control/migration_api.h"
#include "control/node_api.h"
#include "heca/status.h"
#include "migration/phase.h"

namespace heca::migration {

/// The VM that leaves. Calls block for as long as QEMU needs; an error says what QEMU said.
class LeavingVm {
 public:
  virtual ~LeavingVm() = default;
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
  /// Leaves QEMU's settings as they were before Start.
  virtual Status Restore() = 0;
};

/// The image of the VM's memory that is lent to the destination.
class LentImage {
 public:
  virtual ~LentImage() = default;
  [[nodiscard]] virtual const control::Lease& lease() const = 0;
  /// From now on it can be read.
  virtual Status Open() = 0;
  /// Pages that hold nothing; of an open image.
  [[nodiscard]] virtual Result<std::vector<control::PageRun>> Holes() const = 0;
  /// It can be read no more, by anybody.
  virtual void Withdraw() = 0;
  /// The VM runs elsewhere: from now on it stays until it is given back, whatever becomes of this object.
  virtual void Keep() = 0;
  /// The borrower has said that it needs nothing more.
  [[nodiscard]] virtual bool GivenBack() const = 0;
};

struct DepartureTimes {
  Millis stream{60'000};  ///< from Start until the VM is stopped
  Millis decide{60'000};  ///< from Continue until QEMU says completed or failed
  Millis look{20};        ///< between two questions to the destination
};

/// One thread.
class Departure {
 public:
  Departure(LeavingVm& vm, LentImage& image, control::MigrationApi& destination, control::PrepareRequest request,
            const DepartureTimes& times = {});

  /// Runs it to its end. An error before the switch means that the VM runs on here; after it (kDataLoss: the
  /// destination's QEMU died; kAborted: nobody waits any more, the rest goes on by itself) it does not.
  Result<control::MigrationSummary> Run(control::ProgressSink& progress);
  [[nodiscard]] Phase phase() const { return phase_; }

 private:
  void Enter(Phase next);
  Status UpToSwitch(control::ProgressSink& progress);
  Status AwaitStop(control::ProgressSink& progress);
  Status SwitchOver();
  Status AwaitDecision(bool wanted);
  void TellHoles();
  Status AwaitArrival(control::ProgressSink& progress);
  /// Before the switch: the VM goes on here. Adds to `why` what could not be undone.
  Status CallOff(Status why);

  LeavingVm& vm_;
  LentImage& image_;
  control::MigrationApi& destination_;
  const control::PrepareRequest request_;
  const DepartureTimes times_;
  Phase phase_ = Phase::kPrepare;
  bool prepared_ = false;
  bool streaming_ = false;
  bool cancelled_ = false;  ///< QEMU has said that the VM is here again
  Clock::time_point opened_{};
  control::MigrationSummary summary_;
};

}  // namespace heca::migration
