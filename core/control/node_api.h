// SPDX-License-Identifier: LGPL-2.1-or-later
// What the operator asks of the hecad on this host. The node room implements it; NodeClient (control/node_client.h)
// implements it over gRPC on the unix socket; hecactl and the Python binding see only this.
#pragma once

#include <vector>

#include "control/migration_types.h"
#include "control/node_types.h"
#include "control/region_stats.h"
#include "control/sponsor_api.h"
#include "heca/status.h"
#include "heca/types.h"

namespace heca::control {

/// Hears how far a long operation is, on the thread that called the operation.
class ProgressSink {
 public:
  virtual ~ProgressSink() = default;
  virtual void OnProgress(const Progress& progress) = 0;
  /// True once nobody waits for the operation any more. The operation asks at least five times a second. An attach
  /// then either completes or is rolled back; a limit or a detach goes on, and a repeat of the call waits for it again.
  /// They return kAborted, as does a migration (see there).
  [[nodiscard]] virtual bool Cancelled() const = 0;
};

/// Receives events in order, on the thread that called Events.
class EventSink {
 public:
  virtual ~EventSink() = default;
  /// False: no more, please.
  virtual bool OnEvent(const Event& event) = 0;
  /// Asked at least five times a second while nothing happens.
  [[nodiscard]] virtual bool Cancelled() const = 0;
};

/// Thread-safe. Calls block; none may be made on a fault loop.
class NodeApi {
 public:
  virtual ~NodeApi() = default;

  /// Takes the memory of a running VM or process under governance. Refused up front, with the guest untouched, when
  /// it cannot be governed (the text names what is in the way) or backed. Returns when the region is active and
  /// resident bytes are at or below the limit.
  [[nodiscard]] virtual Result<RegionInfo> Attach(const AttachSpec& spec, ProgressSink& progress) = 0;
  /// Changes the resident limit; returns when the region obeys it. Larger than the region: no limit.
  [[nodiscard]] virtual Result<RegionInfo> Limit(const RegionId& region, Bytes limit, ProgressSink& progress) = 0;
  /// Brings every page home and lets go. The VM runs all the time.
  [[nodiscard]] virtual Status Detach(const RegionId& region, ProgressSink& progress) = 0;
  /// Moves a running VM to another host; blocks until no page is left here, which may be long after it runs there.
  /// Cancelled() before the change-over undoes everything, and the VM goes on here; afterwards it only ends the wait,
  /// and the migration goes on. kAborted both times; Events tells which.
  [[nodiscard]] virtual Result<MigrationSummary> Migrate(const MigrateSpec& spec, ProgressSink& progress) = 0;
  /// What an operator changes of a migration: of one that is under way, or of the one of this name that libvirt begins within
  /// two minutes. kFailedPrecondition: a mode or a goal of one that is under way.
  [[nodiscard]] virtual Status Steer(const SteerSpec& spec) = 0;
  /// VMs that leave this node, the oldest first: those under way, and those that were over within the last ten minutes.
  /// Of the latter some hundred at most, and none from before a restart of hecad.
  [[nodiscard]] virtual Result<std::vector<MigrationInfo>> Migrations() = 0;
  /// What is to be done with the pages of a region that are known to be lost; a page that is found lost later needs it
  /// again. Returns once hecad has begun; the region's `lost` tells how far it is. kFailedPrecondition: none is lost.
  [[nodiscard]] virtual Result<RegionInfo> Resolve(const RegionId& region, LostPages how) = 0;

  /// libvirt waits: what a domain that starts, or waits for a VM, needs of heca is done when this returns. An error means
  /// that the domain must not run so.
  [[nodiscard]] virtual Status OnDomain(const DomainEvent& event) = 0;

  [[nodiscard]] virtual Result<std::vector<RegionInfo>> Regions() = 0;
  [[nodiscard]] virtual Result<RegionInfo> Region(const RegionId& region) = 0;
  /// Of one region, or of all when `region` is empty.
  [[nodiscard]] virtual Result<std::vector<RegionStats>> Stats(const RegionId& region) = 0;

  [[nodiscard]] virtual Result<NodeInfo> About() = 0;
  /// This node first, then its peers.
  [[nodiscard]] virtual Result<std::vector<PeerInfo>> Nodes() = 0;
  [[nodiscard]] virtual Result<std::vector<DoctorCheck>> Doctor() = 0;
  /// Ok when all were delivered, or when the sink wanted no more. Only the newest some thousand events are kept: a gap
  /// in the sequence shows what is gone. `since` beyond the last event (of a former run of hecad) counts as 0.
  [[nodiscard]] virtual Status Events(const EventQuery& query, EventSink& sink) = 0;

  /// Leases that this node lent to others.
  [[nodiscard]] virtual Result<std::vector<LeaseInfo>> Leases() = 0;
  /// Ends a quarantined lease; an active one only with `force`. What its owner stored is gone for good.
  [[nodiscard]] virtual Status FreeLease(LeaseId lease, bool force) = 0;
};

}  // namespace heca::control
