// SPDX-License-Identifier: LGPL-2.1-or-later
// Values as people read them, and NodeApi's answers as tables. Pure functions.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "base/clock.h"
#include "cli/rates.h"
#include "control/migration_types.h"
#include "control/node_types.h"
#include "control/sponsor_api.h"

namespace heca::cli {

/// "3d4h", "2h5m", "7m12s", "4.2s", "310ms", "12us".
[[nodiscard]] std::string FormatSpan(Nanos span);
/// RFC 3339, UTC, milliseconds: "2026-01-31T12:00:00.250Z".
[[nodiscard]] std::string FormatTime(control::WallTime time);

[[nodiscard]] std::string StatusText(const control::NodeInfo& node,
                                     const std::vector<control::RegionInfo>& regions);
[[nodiscard]] std::string NodesText(const std::vector<control::PeerInfo>& peers);
[[nodiscard]] std::string RegionsText(const std::vector<control::RegionInfo>& regions);
/// Everything about one region.
[[nodiscard]] std::string RegionText(const control::RegionInfo& region);
[[nodiscard]] std::string MigrationText(const control::MigrationSummary& summary, const std::string& destination);
[[nodiscard]] std::string MigrationsText(const std::vector<control::MigrationInfo>& migrations);
[[nodiscard]] std::string LeasesText(const std::vector<control::LeaseInfo>& leases);
[[nodiscard]] std::string DoctorText(const std::vector<control::DoctorCheck>& checks);
/// One line with its newline.
[[nodiscard]] std::string EventText(const control::Event& event);
[[nodiscard]] std::string TopText(const std::vector<RegionRates>& rates);

}  // namespace heca::cli
