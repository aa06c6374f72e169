// SPDX-License-Identifier: LGPL-2.1-or-later
// What operators order of migrations: of those that are under way, and of the next one of a VM whose migration libvirt is
// about to begin.
#pragma once

#include <map>
#include <memory>
#include <mutex>

#include "base/clock.h"
#include "control/migration_types.h"
#include "heca/status.h"
#include "migration/departure.h"
#include "migration/steering.h"

namespace heca::node {

/// Thread-safe.
class Helm {
 public:
  struct Course {
    migration::Plan plan;
    std::shared_ptr<migration::Steering> steering;  ///< kept as long as the migration is under way
  };

  /// A migration begins: `plan`, where nothing else was ordered of it within the last two minutes.
  [[nodiscard]] Course Take(const RegionId& region, migration::Plan plan, std::uint64_t bandwidth);
  /// kFailedPrecondition: a mode or a goal of a migration that is under way.
  Status Steer(const control::SteerSpec& spec);

 private:
  struct Order {
    control::SteerSpec spec;
    Clock::time_point given;
  };
  std::mutex mutex_;  ///< of both
  std::map<RegionId, Order> orders_;
  std::map<RegionId, std::weak_ptr<migration::Steering>> under_way_;
};

}  // namespace heca::node
