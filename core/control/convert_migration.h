// SPDX-License-Identifier: LGPL-2.1-or-later
// The values of a migration <-> messages. Private to this room. What an operator or a peer asks, and what a peer
// answers, is checked here; what has become of migrations comes from the hecad of this host and is taken as it is.
#pragma once

#include <vector>

#include "control/migration_types.h"
#include "heca/status.h"
#include "heca/v1/migration.pb.h"
#include "heca/v1/node.pb.h"

namespace heca::control {

/// Largest number of RAM blocks of a VM.
inline constexpr int kMaxRamBlocks = 64;

/// Largest number of runs of one Tell: a message stays below what a peer may send (64 KiB).
inline constexpr int kMaxRuns = 4096;

/// The same of one Place, whose runs are longer.
inline constexpr int kMaxPlacedRuns = 2048;

/// Refuses what a message cannot say: no VM, or two.
[[nodiscard]] Status CheckSpec(const MigrateSpec& spec);
[[nodiscard]] Status CheckTarget(const PrepareRequest& request);

void ToMessage(const MigrateSpec& from, v1::MigrateRequest& to);
void ToMessage(const MigrationSummary& from, v1::MigrationSummary& to);
void ToMessage(const MigrationInfo& from, v1::MigrationInfo& to);
void ToMessage(const SteerSpec& from, v1::SteerRequest& to);
[[nodiscard]] Result<SteerSpec> FromMessage(const v1::SteerRequest& from);
void ToMessage(const DepartRequest& from, v1::DepartRequest& to);
void ToMessage(const Departing& from, v1::Departing& to);
void ToMessage(const PrepareRequest& from, v1::PrepareRequest& to);
void ToMessage(const Arrival& from, v1::Arrival& to);

[[nodiscard]] Result<std::vector<PageRun>> FromMessage(const v1::TellRequest& from);
[[nodiscard]] Result<Placement> FromMessage(const v1::PlaceRequest& from);
[[nodiscard]] Result<MigrateSpec> FromMessage(const v1::MigrateRequest& from);
[[nodiscard]] MigrationSummary FromMessage(const v1::MigrationSummary& from);
[[nodiscard]] MigrationInfo FromMessage(const v1::MigrationInfo& from);
[[nodiscard]] Result<DepartRequest> FromMessage(const v1::DepartRequest& from);
[[nodiscard]] Result<Departing> FromMessage(const v1::Departing& from);
[[nodiscard]] Result<PrepareRequest> FromMessage(const v1::PrepareRequest& from);
[[nodiscard]] Result<Arrival> FromMessage(const v1::Arrival& from);

}  // namespace heca::control
