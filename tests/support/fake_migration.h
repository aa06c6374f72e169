// SPDX-License-Identifier: LGPL-2.1-or-later
// A MigrationApi without a QEMU: it remembers what was prepared and moves arrivals through their states as the contract
// says. Any call can be made to fail, to wait, or to be counted.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "control/migration_api.h"
#include "support/playable.h"

namespace heca::testing {

/// Thread-safe.
class FakeMigration final : public control::MigrationApi, public Playable {
 public:

  /// What Look answers from now on.
  void Arrive(const RegionId& region, control::Arrival arrival) {
    const std::lock_guard lock(mutex_);
    arrivals_[region].arrival = std::move(arrival);
  }
  [[nodiscard]] std::optional<control::PrepareRequest> last_prepare() const {
    const std::lock_guard lock(mutex_);
    return last_prepare_;
  }
  /// All runs of pages that were told, and of which kind the last were.
  [[nodiscard]] std::vector<control::PageRun> told() const {
    const std::lock_guard lock(mutex_);
    return told_;
  }
  [[nodiscard]] control::PageNews last_news() const {
    const std::lock_guard lock(mutex_);
    return last_news_;
  }
  [[nodiscard]] std::uint64_t last_bandwidth() const {
    const std::lock_guard lock(mutex_);
    return last_bandwidth_;
  }
  [[nodiscard]] std::string last_why() const {
    const std::lock_guard lock(mutex_);
    return last_why_;
  }

  Result<control::Departing> Depart(const control::DepartRequest& request) override {
    std::unique_lock lock(mutex_);
    HECA_RETURN_IF_ERROR(Enter(lock));
    last_depart_ = request;
    return departing_;
  }
  void DepartWith(control::Departing departing) {
    const std::lock_guard lock(mutex_);
    departing_ = std::move(departing);
  }
  [[nodiscard]] std::optional<control::DepartRequest> last_depart() const {
    const std::lock_guard lock(mutex_);
    return last_depart_;
  }

  Status Prepare(const control::PrepareRequest& request) override {
    std::unique_lock lock(mutex_);
    HECA_RETURN_IF_ERROR(Enter(lock));
    last_prepare_ = request;
    control::Arrival arrival;
    arrival.state = control::ArrivalState::kPrepared;
    if (arrivals_.try_emplace(request.region, Entry{request.image.key, std::move(arrival)}).second) return Status();
    return Status(ErrorCode::kAlreadyExists, "region " + request.region + " is there already", ErrorScope::kRegion);
  }

  Status Place(const RegionId& region, const control::LeaseKey& image, const control::Placement& placement) override {
    std::unique_lock lock(mutex_);
    HECA_RETURN_IF_ERROR(Find(lock, region, image).status());
    placed_.push_back(placement);
    return Status();
  }
  /// What was told of places, call by call.
  [[nodiscard]] std::vector<control::Placement> placed() const {
    const std::lock_guard lock(mutex_);
    return placed_;
  }

  Status Open(const RegionId& region, const control::LeaseKey& image) override {
    std::unique_lock lock(mutex_);
    HECA_ASSIGN_OR_RETURN(control::Arrival* const arrival, Find(lock, region, image));
    if (arrival->state == control::ArrivalState::kPrepared) arrival->state = control::ArrivalState::kOpen;
    return Status();
  }

  Status Tell(const RegionId& region, const control::LeaseKey& image, control::PageNews news,
              const std::vector<control::PageRun>& runs) override {
    std::unique_lock lock(mutex_);
    HECA_RETURN_IF_ERROR(Find(lock, region, image).status());
    told_.insert(told_.end(), runs.begin(), runs.end());
    last_news_ = news;
    return Status();
  }

  Result<control::Arrival> Look(const RegionId& region, const control::LeaseKey& image, std::uint64_t bandwidth) override {
    std::unique_lock lock(mutex_);
    HECA_ASSIGN_OR_RETURN(const control::Arrival* const arrival, Find(lock, region, image));
    last_bandwidth_ = bandwidth;
    return *arrival;
  }

  Status Abort(const RegionId& region, const control::LeaseKey& image, const std::string& why) override {
    std::unique_lock lock(mutex_);
    HECA_ASSIGN_OR_RETURN(const control::Arrival* const arrival, Find(lock, region, image));
    last_why_ = why;
    if (arrival->state == control::ArrivalState::kRunning || arrival->state == control::ArrivalState::kComplete) {
      return Status(ErrorCode::kFailedPrecondition, "the VM runs here", ErrorScope::kRegion);
    }
    arrivals_.erase(region);
    return Status();
  }

 private:
  struct Entry {
    control::LeaseKey key;
    control::Arrival arrival;
  };


  Result<control::Arrival*> Find(std::unique_lock<std::mutex>& lock, const RegionId& region,
                                 const control::LeaseKey& image) {
    HECA_RETURN_IF_ERROR(Enter(lock));
    const auto found = arrivals_.find(region);
    if (found == arrivals_.end()) return Status(ErrorCode::kNotFound, "no arrival " + region, ErrorScope::kRegion);
    const control::LeaseKey& key = found->second.key;
    if (key.id != image.id || key.epoch != image.epoch || key.secret != image.secret) {
      return Status(ErrorCode::kPermissionDenied, "wrong key", ErrorScope::kRegion);
    }
    return &found->second.arrival;
  }

  std::map<RegionId, Entry> arrivals_;
  std::optional<control::PrepareRequest> last_prepare_;
  std::string last_why_;
  std::vector<control::PageRun> told_;
  control::PageNews last_news_ = control::PageNews::kInvalid;
  std::uint64_t last_bandwidth_ = 0;
  std::vector<control::Placement> placed_;
  std::optional<control::DepartRequest> last_depart_;
  control::Departing departing_;
};

}  // namespace heca::testing
