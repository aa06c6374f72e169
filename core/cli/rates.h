// SPDX-License-Identifier: LGPL-2.1-or-later
// What happened to a region between two samples of its counters: the rows of `hecactl top`. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "control/region_stats.h"

namespace heca::cli {

/// Faults of one source in the interval.
struct SourceRates {
  control::FaultSource source = control::FaultSource::kInvalid;
  double faults_per_s = 0;
  /// Interpolated within a bucket of kLatencyBoundsNs; nothing without faults in the interval.
  std::optional<double> p50_us;
  std::optional<double> p99_us;
};

struct RegionRates {
  RegionId region;
  Bytes resident;
  Bytes limit;
  Bytes away;
  double faults_per_s = 0;
  double evictions_per_s = 0;
  double prefetch_per_s = 0;
  std::optional<double> prefetch_hit_percent;  ///< nothing without prefetch in the interval
  double bytes_in_per_s = 0;
  double bytes_out_per_s = 0;
  std::vector<SourceRates> sources;  ///< in the order of kFaultSources
};

/// Regions of `later`; one that is not in `earlier` (just attached) counts from zero.
[[nodiscard]] std::vector<RegionRates> RatesBetween(const std::vector<control::RegionStats>& earlier,
                                                    const std::vector<control::RegionStats>& later,
                                                    Nanos interval);

}  // namespace heca::cli
