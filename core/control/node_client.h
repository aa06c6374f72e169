// SPDX-License-Identifier: LGPL-2.1-or-later
// NodeApi of the hecad on this host, over its unix socket. Connects at the first call, and again when hecad is back.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "control/local_server.h"
#include "control/node_api.h"

namespace heca::control {

struct NodeClientOptions {
  std::string socket_path = kDefaultSocket;
  Millis call_timeout{30'000};  ///< of calls without progress
  /// Attach, Limit, Detach and Migrate may take as long as they need, but hecad tells every second that it is alive.
  Millis silence_timeout{30'000};
  /// Asked every 100 ms, on the calling thread, while a call without progress waits: true ends it with kAborted, and what
  /// hecad makes of it is not known. Empty: such calls are waited for. Does not throw.
  std::function<bool()> cancelled{};
};

/// Thread-safe. When a sink says Cancelled, the call returns within half a second, and hecad stops as NodeApi says.
/// kUnavailable: no hecad listens there; the text says what to do.
class NodeClient final : public NodeApi {
 public:
  static Result<std::unique_ptr<NodeClient>> Create(const NodeClientOptions& options);
  ~NodeClient() override;

  [[nodiscard]] Result<RegionInfo> Attach(const AttachSpec& spec, ProgressSink& progress) override;
  [[nodiscard]] Result<RegionInfo> Limit(const RegionId& region, Bytes limit, ProgressSink& progress) override;
  [[nodiscard]] Status Detach(const RegionId& region, ProgressSink& progress) override;
  [[nodiscard]] Status OnDomain(const DomainEvent& event) override;
  [[nodiscard]] Result<MigrationSummary> Migrate(const MigrateSpec& spec, ProgressSink& progress) override;
  [[nodiscard]] Status Steer(const SteerSpec& spec) override;
  [[nodiscard]] Result<std::vector<MigrationInfo>> Migrations() override;
  [[nodiscard]] Result<RegionInfo> Resolve(const RegionId& region, LostPages how) override;
  [[nodiscard]] Result<std::vector<RegionInfo>> Regions() override;
  [[nodiscard]] Result<RegionInfo> Region(const RegionId& region) override;
  [[nodiscard]] Result<std::vector<RegionStats>> Stats(const RegionId& region) override;
  [[nodiscard]] Result<NodeInfo> About() override;
  [[nodiscard]] Result<std::vector<PeerInfo>> Nodes() override;
  [[nodiscard]] Result<std::vector<DoctorCheck>> Doctor() override;
  [[nodiscard]] Status Events(const EventQuery& query, EventSink& sink) override;
  [[nodiscard]] Result<std::vector<LeaseInfo>> Leases() override;
  [[nodiscard]] Status FreeLease(LeaseId lease, bool force) override;

 private:
  class Impl;
  explicit NodeClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace heca::control
