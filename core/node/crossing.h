// SPDX-License-Identifier: LGPL-2.1-or-later
// What peers may ask of this node about VMs that come, and about those that leave.
#pragma once

#include <string>
#include <vector>

#include "control/migration_api.h"
#include "node/arrivals.h"
#include "node/leavers.h"

namespace heca::node {

/// Thread-safe. Both outlive it.
class Crossing final : public control::MigrationApi {
 public:
  Crossing(Arrivals& arrivals, Leavers& leavers) : arrivals_(arrivals), leavers_(leavers) {}

  Result<control::Departing> Depart(const control::DepartRequest& request) override { return leavers_.Depart(request); }
  Status Prepare(const control::PrepareRequest& request) override { return arrivals_.Prepare(request); }
  Status Place(const RegionId& region, const control::LeaseKey& image, const control::Placement& placement) override {
    return arrivals_.Place(region, image, placement);
  }
  Status Open(const RegionId& region, const control::LeaseKey& image) override { return arrivals_.Open(region, image); }
  Status Tell(const RegionId& region, const control::LeaseKey& image, control::PageNews news,
              const std::vector<control::PageRun>& runs) override {
    return arrivals_.Tell(region, image, news, runs);
  }
  Result<control::Arrival> Look(const RegionId& region, const control::LeaseKey& image, std::uint64_t bandwidth) override {
    return arrivals_.Look(region, image, bandwidth);
  }
  Status Abort(const RegionId& region, const control::LeaseKey& image, const std::string& why) override {
    return leavers_.Knows(image) ? leavers_.Abort(image, why) : arrivals_.Abort(region, image, why);
  }

 private:
  Arrivals& arrivals_;
  Leavers& leavers_;
};

}  // namespace heca::node
