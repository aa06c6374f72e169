// SPDX-License-Identifier: LGPL-2.1-or-later
// MigrationApi of another node, over TCP. Connects at the first call, and again after a loss, within about a second of
// the peer being back.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "control/migration_api.h"

namespace heca::control {

struct MigrationClientOptions {
  std::string endpoint;            ///< of the destination's control plane: "10.1.0.3:7301", "[fd00::3]:7301"
  Millis call_timeout{3'000};      ///< of every call but Prepare
  Millis prepare_timeout{30'000};  ///< of Prepare, which waits for QEMU; a host that died is noticed in 8 s
};

/// Thread-safe. No call is repeated here (Status::retryable says which may be): a Prepare whose answer is lost may have
/// been done, and is undone by Abort. kUnsupported: the peer takes in no VMs.
class MigrationClient final : public MigrationApi {
 public:
  /// Does not connect. kInvalidArgument: the endpoint is not HOST:PORT.
  static Result<std::unique_ptr<MigrationClient>> Create(const MigrationClientOptions& options);
  ~MigrationClient() override;

  [[nodiscard]] Result<Departing> Depart(const DepartRequest& request) override;
  [[nodiscard]] Status Prepare(const PrepareRequest& request) override;
  /// In as many calls as it takes.
  [[nodiscard]] Status Place(const RegionId& region, const LeaseKey& image, const Placement& placement) override;
  [[nodiscard]] Status Open(const RegionId& region, const LeaseKey& image) override;
  /// In as many calls as it takes.
  [[nodiscard]] Status Tell(const RegionId& region, const LeaseKey& image, PageNews news,
                            const std::vector<PageRun>& runs) override;
  [[nodiscard]] Result<Arrival> Look(const RegionId& region, const LeaseKey& image, std::uint64_t bandwidth) override;
  /// Of `why` the first KiB is sent.
  [[nodiscard]] Status Abort(const RegionId& region, const LeaseKey& image, const std::string& why) override;

 private:
  class Impl;
  explicit MigrationClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace heca::control
