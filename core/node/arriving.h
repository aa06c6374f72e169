// SPDX-License-Identifier: LGPL-2.1-or-later
// The memory of a QEMU that waits for a VM, as Arrivals leads it: a region that fills from an image that another node lends.
// Session is the real one; session_arrive.cc tells what a crash leaves at each step.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "control/migration_types.h"
#include "fault/engine_stats.h"
#include "guest/qmp.h"
#include "heca/status.h"

namespace heca::node {

/// Thread-safe. Faults wait from the beginning until OpenArrival.
class Arriving {
 public:
  virtual ~Arriving() = default;
  /// Serves faults from now on, after the journal says that everything is to come here. May be repeated.
  virtual Status OpenArrival() = 0;
  /// News of pages of its image. The first, if it is before OpenArrival, makes them come ahead. Returns when they are taken
  /// in. kInvalidArgument: not its pages.
  virtual Status Tell(control::PageNews news, const std::vector<control::PageRun>& runs) = 0;
  /// How fast pages come that nobody waits for, in bytes a second; 0: as fast as they can.
  virtual void SetPace(Bytes a_second) = 0;
  /// Of a VM that comes governed: where pages lie that have changed, before OpenArrival. Returns when no copy of them is used.
  virtual Status Place(const control::Placement& placement) = 0;
  /// Its VM runs here, or will, and nowhere else: the lease is this node's, and its pages may leave. May be repeated.
  virtual Status Settle() = 0;
  /// Came governed from another host, whose image of its memory has been given back since, or not.
  [[nodiscard]] virtual bool came_governed() const = 0;
  [[nodiscard]] virtual bool holds_image() const = 0;
  /// Everything comes, behind what is asked for; then the region ends as after a detach.
  virtual void BringArrivalHome() = 0;
  /// The VM will not come: the region ends, and its memory is as any QEMU's. Never after OpenArrival, unless the QEMU is
  /// to be ended.
  virtual void CallOffArrival() = 0;

  [[nodiscard]] virtual bool ended() const = 0;
  /// It has ended because everything is home, and not because its process went away.
  [[nodiscard]] virtual bool detached() const = 0;
  /// The VM's monitor; null: a plain process, or not connected.
  [[nodiscard]] virtual std::shared_ptr<guest::Qmp> Monitor() = 0;
  /// What the engine has done, if there is one.
  [[nodiscard]] virtual std::optional<fault::EngineStats> EngineNumbers() const = 0;
};

}  // namespace heca::node
