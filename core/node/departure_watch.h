// SPDX-License-Identifier: LGPL-2.1-or-later
// Stands between a departure and those it talks to, and writes down in the DepartureLog what passes.
#pragma once

#include <string>
#include <vector>

#include "control/migration_api.h"
#include "control/node_api.h"
#include "migration/departure.h"
#include "node/departure_log.h"

namespace heca::node {

/// One departure, on its thread. All that is named outlives it. One that ends without Ended is over once its image is
/// given back.
class DepartureWatch final : public control::ProgressSink, public control::MigrationApi {
 public:
  /// `info`, `image`: as of DepartureLog::Begin. `asker` hears the progress, and says when nobody waits any more.
  DepartureWatch(DepartureLog& log, const control::Lease& image, control::MigrationInfo info,
                 control::MigrationApi& destination, control::ProgressSink& asker, const migration::LeavingVm& vm);
  ~DepartureWatch() override { log_.Unwatch(image_); }
  DepartureWatch(const DepartureWatch&) = delete;
  DepartureWatch& operator=(const DepartureWatch&) = delete;

  /// What became of it, and in which phase.
  void Ended(const Result<control::MigrationSummary>& summary, migration::Phase last);

  void OnProgress(const control::Progress& progress) override;
  [[nodiscard]] bool Cancelled() const override { return asker_.Cancelled(); }

  Result<control::Departing> Depart(const control::DepartRequest& request) override { return there_.Depart(request); }
  Status Prepare(const control::PrepareRequest& request) override { return there_.Prepare(request); }
  Status Open(const RegionId& region, const control::LeaseKey& image) override;
  Status Tell(const RegionId& region, const control::LeaseKey& image, control::PageNews news,
              const std::vector<control::PageRun>& runs) override {
    return there_.Tell(region, image, news, runs);
  }
  Status Place(const RegionId& region, const control::LeaseKey& image, const control::Placement& placement) override {
    return there_.Place(region, image, placement);
  }
  Result<control::Arrival> Look(const RegionId& region, const control::LeaseKey& image, std::uint64_t bandwidth) override;
  Status Abort(const RegionId& region, const control::LeaseKey& image, const std::string& why) override {
    return there_.Abort(region, image, why);
  }

 private:
  DepartureLog& log_;
  const LeaseId image_;
  control::MigrationApi& there_;
  control::ProgressSink& asker_;
  const migration::LeavingVm& vm_;
  Nanos stop_to_open_{0};
};

}  // namespace heca::node
