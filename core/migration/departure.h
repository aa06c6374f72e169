// SPDX-License-Identifier: LGPL-2.1-or-later
// The source's half of a live migration: leads QEMU, the image of its memory and the destination's hecad through the
// phases (phase.h). It owns none of them and knows them by their contracts, so that each failure can be played in a test.
#pragma once

#include <optional>

#include "base/clock.h"
#include "control/migration_api.h"
#include "control/node_api.h"
#include "heca/status.h"
#include "migration/copy_ahead.h"
#include "migration/leaving_vm.h"
#include "migration/phase.h"
#include "migration/steering.h"

namespace heca::migration {

/// How it is to go.
struct Plan {
  control::MigrationMode mode = control::MigrationMode::kPostCopy;
  Millis downtime_goal{300};
};

struct DepartureTimes {
  Millis stream{60'000};  ///< from Start until the VM is stopped
  Millis decide{60'000};  ///< from Continue until QEMU says completed or failed
  Millis look{20};        ///< between two questions to the destination
  AheadTimes ahead{};
};

/// One thread.
class Departure {
 public:
  Departure(LeavingVm& vm, LentImage& image, control::MigrationApi& destination, control::PrepareRequest request,
            const Plan& plan, const Steering& steering, const DepartureTimes& times = {});

  /// Runs it to its end. An error before the switch means that the VM runs on here; after it (kDataLoss: the
  /// destination's QEMU died; kAborted: nobody waits any more, the rest goes on by itself) it does not.
  Result<control::MigrationSummary> Run(control::ProgressSink& progress);
  [[nodiscard]] Phase phase() const { return phase_; }
  /// An error: QEMU may keep x-ignore-shared, and a save would write an image without RAM.
  [[nodiscard]] const Status& restored() const { return restored_; }

 private:
  void Enter(Phase next);
  Status UpToSwitch(control::ProgressSink& progress);
  Status AwaitStop(control::ProgressSink& progress);
  Status SwitchOver();
  Status AwaitDecision(bool wanted);
  void EndAhead();
  void TellHoles();
  /// QEMU had gone on before the destination could be told: told until it hears.
  Status AwaitLetGo(control::ProgressSink& progress);
  Status AwaitArrival(control::ProgressSink& progress);
  /// Before the switch: the VM goes on here. Adds to `why` what could not be undone.
  Status CallOff(Status why);
  void TellCalledOff(const Status& why);

  LeavingVm& vm_;
  LentImage& image_;
  control::MigrationApi& destination_;
  const control::PrepareRequest request_;
  const Plan plan_;
  const Steering& steering_;
  const DepartureTimes times_;
  std::optional<CopyAhead> ahead_;  ///< from the preparation on
  Phase phase_ = Phase::kPrepare;
  bool prepared_ = false;
  Status restored_;
  bool let_go_ = false;     ///< the destination serves its QEMU
  bool cancelled_ = false;  ///< QEMU has said that the VM is here again
  Clock::time_point opened_{};
  control::MigrationSummary summary_;
};

}  // namespace heca::migration
