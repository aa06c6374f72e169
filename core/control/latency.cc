// SPDX-License-Identifier: LGPL-2.1-or-later
#include "control/region_stats.h"

namespace heca::control {

LatencyStats Summarize(const HistogramSnapshot& histogram) {
  LatencyStats stats;
  stats.count = histogram.total;
  stats.sum_ns = histogram.sum_ns;
  stats.p50_ns = histogram.QuantileNs(0.5);
  stats.p99_ns = histogram.QuantileNs(0.99);
  stats.p999_ns = histogram.QuantileNs(0.999);
  stats.buckets.reserve(kLatencyBoundsNs.size());
  for (const std::uint64_t bound : kLatencyBoundsNs) stats.buckets.push_back({bound, histogram.CountUpTo(bound)});
  return stats;
}

}  // namespace heca::control
