// SPDX-License-Identifier: LGPL-2.1-or-later
// A NodeApi that governs nothing: it remembers regions, tells events, and runs long operations as scripted.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "control/node_api.h"

namespace heca::testing {

/// Thread-safe, but the public values are set before the first call.
class FakeNode final : public control::NodeApi {
 public:
  using Script = std::function<Status(control::ProgressSink&)>;
  control::NodeInfo about;
  std::vector<control::PeerInfo> nodes;
  std::vector<control::DoctorCheck> checks;
  std::vector<control::RegionStats> stats;
  std::vector<control::LeaseInfo> leases;
  std::function<Result<std::vector<control::MigrationInfo>>()> migrations = [] {
    return std::vector<control::MigrationInfo>();
  };
  control::MigrationSummary migrated;  ///< what every migration ends with; the region is named after the VM

  /// From the next call on it runs inside Attach, Limit, Detach and Migrate, before they take effect; an error makes them fail.
  void Play(Script script) {
    const std::lock_guard lock(mutex_);
    script_ = std::move(script);
  }
  /// Every call answers with this error; ok ends that.
  void FailWith(Status status) {
    const std::lock_guard lock(mutex_);
    failure_ = std::move(status);
  }
  [[nodiscard]] std::optional<control::AttachSpec> last_spec() const {
    const std::lock_guard lock(mutex_);
    return last_spec_;
  }
  [[nodiscard]] std::optional<control::MigrateSpec> last_migration() const {
    const std::lock_guard lock(mutex_);
    return last_migration_;
  }
  [[nodiscard]] control::LostPages last_resolve() const {
    const std::lock_guard lock(mutex_);
    return last_resolve_;
  }
  /// Tells an event; its sequence and time are filled in.
  void Tell(control::Event event) {
    const std::lock_guard lock(mutex_);
    event.sequence = events_.size() + 1;
    event.time = std::chrono::system_clock::now();
    events_.push_back(std::move(event));
    told_.notify_all();
  }
  /// How many Events calls are running.
  [[nodiscard]] int followers() const {
    const std::lock_guard lock(mutex_);
    return followers_;
  }
  /// A script that reports `steps` steps of progress.
  static Script Steps(std::uint64_t steps) {
    return [steps](control::ProgressSink& progress) {
      for (std::uint64_t i = 1; i <= steps; ++i) progress.OnProgress({"write-back", i, steps, "step"});
      return Status();
    };
  }
  /// A script that works until it is cancelled, or fails the test's patience.
  static Status UntilCancelled(control::ProgressSink& progress) {
    std::mutex mutex;
    std::condition_variable never;
    std::unique_lock lock(mutex);
    const Deadline deadline = Deadline::After(std::chrono::seconds(20));
    std::uint64_t done = 0;
    while (!deadline.Passed()) {
      if (progress.Cancelled()) return Status(ErrorCode::kAborted, "cancelled");
      progress.OnProgress({"capture", ++done, 0, ""});
      never.wait_for(lock, Millis(5));
    }
    return Status(ErrorCode::kDeadlineExceeded, "nobody cancelled");
  }

  Result<control::RegionInfo> Attach(const control::AttachSpec& spec, control::ProgressSink& progress) override {
    {
      const std::lock_guard lock(mutex_);
      last_spec_ = spec;
      HECA_RETURN_IF_ERROR(failure_);
    }
    HECA_RETURN_IF_ERROR(Run(progress));
    control::RegionInfo region;
    region.name = !spec.region.empty() ? spec.region : "pid-" + std::to_string(spec.pid);
    region.state = control::RegionState::kActive;
    region.pid = spec.pid;
    region.domain = spec.domain;
    region.size = Bytes(1 << 30);
    region.page_size = kBasePage;
    region.limit = spec.local_limit.value_or(region.size);
    region.page_loss = spec.page_loss;
    region.replicas = spec.replicas;
    const std::lock_guard lock(mutex_);
    if (!regions_.emplace(region.name, region).second) {
      return Status(ErrorCode::kAlreadyExists, "region " + region.name + " is attached", ErrorScope::kRegion);
    }
    return region;
  }

  Result<control::RegionInfo> Limit(const RegionId& region, Bytes limit, control::ProgressSink& progress) override {
    HECA_RETURN_IF_ERROR(Region(region).status());
    HECA_RETURN_IF_ERROR(Run(progress));
    const std::lock_guard lock(mutex_);
    regions_[region].limit = limit;
    return regions_[region];
  }

  Status Detach(const RegionId& region, control::ProgressSink& progress) override {
    HECA_RETURN_IF_ERROR(Region(region).status());
    HECA_RETURN_IF_ERROR(Run(progress));
    const std::lock_guard lock(mutex_);
    regions_.erase(region);
    return Status();
  }

  Result<control::MigrationSummary> Migrate(const control::MigrateSpec& spec,
                                            control::ProgressSink& progress) override {
    {
      const std::lock_guard lock(mutex_);
      last_migration_ = spec;
      HECA_RETURN_IF_ERROR(failure_);
    }
    HECA_RETURN_IF_ERROR(Run(progress));
    control::MigrationSummary summary = migrated;
    summary.region = !spec.domain.empty() ? spec.domain : "pid-" + std::to_string(spec.pid);
    summary.mode = spec.mode;
    return summary;
  }

  Status Steer(const control::SteerSpec& spec) override {
    const std::lock_guard lock(mutex_);
    HECA_RETURN_IF_ERROR(failure_);
    last_steer_ = spec;
    return Status();
  }
  [[nodiscard]] std::optional<control::SteerSpec> last_steer() {
    const std::lock_guard lock(mutex_);
    return last_steer_;
  }

  Result<std::vector<control::MigrationInfo>> Migrations() override {
    HECA_RETURN_IF_ERROR(Failure());
    return migrations();
  }

  Status OnDomain(const control::DomainEvent& event) override {
    const std::lock_guard lock(mutex_);
    last_domain_event_ = event;
    return domain_answer_;
  }
  void AnswerDomainsWith(Status status) {
    const std::lock_guard lock(mutex_);
    domain_answer_ = std::move(status);
  }
  [[nodiscard]] std::optional<control::DomainEvent> last_domain_event() const {
    const std::lock_guard lock(mutex_);
    return last_domain_event_;
  }

  Result<control::RegionInfo> Resolve(const RegionId& region, control::LostPages how) override {
    HECA_RETURN_IF_ERROR(Region(region).status());
    const std::lock_guard lock(mutex_);
    last_resolve_ = how;
    return regions_[region];
  }

  Result<std::vector<control::RegionInfo>> Regions() override {
    const std::lock_guard lock(mutex_);
    HECA_RETURN_IF_ERROR(failure_);
    std::vector<control::RegionInfo> all;
    for (const auto& [name, region] : regions_) all.push_back(region);
    return all;
  }

  Result<control::RegionInfo> Region(const RegionId& region) override {
    const std::lock_guard lock(mutex_);
    HECA_RETURN_IF_ERROR(failure_);
    const auto found = regions_.find(region);
    if (found == regions_.end()) {
      return Status(ErrorCode::kNotFound, "no region " + region, ErrorScope::kRegion);
    }
    return found->second;
  }

  Result<std::vector<control::RegionStats>> Stats(const RegionId& region) override {
    HECA_RETURN_IF_ERROR(Failure());
    if (region.empty()) return stats;
    for (const control::RegionStats& one : stats) {
      if (one.region == region) return std::vector{one};
    }
    return Status(ErrorCode::kNotFound, "no region " + region, ErrorScope::kRegion);
  }
  Result<control::NodeInfo> About() override {
    HECA_RETURN_IF_ERROR(Failure());
    return about;
  }
  Result<std::vector<control::PeerInfo>> Nodes() override {
    HECA_RETURN_IF_ERROR(Failure());
    return nodes;
  }
  Result<std::vector<control::DoctorCheck>> Doctor() override {
    HECA_RETURN_IF_ERROR(Failure());
    return checks;
  }
  Status Events(const control::EventQuery& query, control::EventSink& sink) override {
    HECA_RETURN_IF_ERROR(Failure());
    std::unique_lock lock(mutex_);
    ++followers_;
    for (std::uint64_t next = query.since;;) {
      const bool more = told_.wait_for(lock, Millis(query.follow ? 50 : 0), [&] { return next < events_.size(); });
      const control::Event event = more ? events_[next++] : control::Event();
      lock.unlock();
      const bool wanted = !sink.Cancelled() && (!more || sink.OnEvent(event));
      lock.lock();
      if (!wanted || (!more && !query.follow)) break;
    }
    --followers_;
    return Status();
  }
  Result<std::vector<control::LeaseInfo>> Leases() override {
    HECA_RETURN_IF_ERROR(Failure());
    return leases;
  }
  Status FreeLease(LeaseId lease, bool force) override {
    HECA_RETURN_IF_ERROR(Failure());
    for (const control::LeaseInfo& one : leases) {
      if (one.id != lease) continue;
      if (one.state == control::LeaseState::kQuarantined || force) return Status();
      return Status(ErrorCode::kFailedPrecondition, "the lease is active");
    }
    return Status(ErrorCode::kNotFound, "no such lease");
  }

 private:
  Status Run(control::ProgressSink& progress) {
    std::unique_lock lock(mutex_);
    const Script script = script_;
    lock.unlock();
    return script(progress);
  }

  [[nodiscard]] Status Failure() const {
    const std::lock_guard lock(mutex_);
    return failure_;
  }

  mutable std::mutex mutex_;
  Script script_ = [](control::ProgressSink&) { return Status(); };
  std::condition_variable told_;
  std::vector<control::Event> events_;
  int followers_ = 0;
  Status failure_;
  std::optional<control::AttachSpec> last_spec_;
  std::optional<control::MigrateSpec> last_migration_;
  std::optional<control::DomainEvent> last_domain_event_;
  Status domain_answer_;
  std::optional<control::SteerSpec> last_steer_;
  control::LostPages last_resolve_ = control::LostPages::kInvalid;
  std::map<RegionId, control::RegionInfo> regions_;
};

}  // namespace heca::testing
