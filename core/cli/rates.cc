// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/rates.h"

#include <algorithm>
#include <iterator>

namespace heca::cli {
namespace {

using control::LatencyStats;
using control::RegionStats;

/// Counters restart with a new region of the same name or a new hecad: then all of `later` is new.
std::uint64_t Grown(std::uint64_t earlier, std::uint64_t later) {
  return later >= earlier ? later - earlier : later;
}

const LatencyStats& LatencyOf(const RegionStats& stats, control::FaultSource source) {
  static const LatencyStats kNone;
  for (const auto& f : stats.faults) {
    if (f.source == source) return f.latency;
  }
  return kNone;
}

std::optional<double> QuantileUs(const LatencyStats& earlier, const LatencyStats& later, double q) {
  const std::uint64_t total = Grown(earlier.count, later.count);
  if (total == 0) return std::nullopt;
  const double wanted = q * static_cast<double>(total);
  const bool continues = earlier.count <= later.count && earlier.buckets.size() == later.buckets.size();
  double below = 0;
  double lower_us = 0;
  for (std::size_t i = 0; i < later.buckets.size(); ++i) {
    const std::uint64_t before = continues ? earlier.buckets[i].count : 0;
    const double upto = static_cast<double>(Grown(before, later.buckets[i].count));
    const double upper_us = static_cast<double>(later.buckets[i].bound_ns) / 1e3;
    if (upto >= wanted && upto > below)
      return lower_us + (upper_us - lower_us) * (wanted - below) / (upto - below);
    below = upto;
    lower_us = upper_us;
  }
  return lower_us;  // longer than the last bound
}

RegionRates RatesOf(const RegionStats& earlier, const RegionStats& later, double seconds) {
  const auto rate = [seconds](std::uint64_t before, std::uint64_t after) {
    return static_cast<double>(Grown(before, after)) / seconds;
  };
  RegionRates made;
  made.region = later.region;
  made.resident = later.resident;
  made.limit = later.limit;
  made.away = Bytes(later.pages.away * later.page_size.value());
  made.evictions_per_s = rate(earlier.evictions, later.evictions);
  made.prefetch_per_s = rate(earlier.prefetch_issued, later.prefetch_issued);
  if (const std::uint64_t issued = Grown(earlier.prefetch_issued, later.prefetch_issued); issued != 0) {
    const std::uint64_t hits = Grown(earlier.prefetch_hits, later.prefetch_hits);
    // Hits may belong to pages that were issued before the interval.
    made.prefetch_hit_percent =
        std::min(100.0, 100.0 * static_cast<double>(hits) / static_cast<double>(issued));
  }
  for (const control::FaultSource source : control::kFaultSources) {
    const LatencyStats& before = LatencyOf(earlier, source);
    const LatencyStats& after = LatencyOf(later, source);
    SourceRates one{source, rate(before.count, after.count), QuantileUs(before, after, 0.5),
                    QuantileUs(before, after, 0.99)};
    made.faults_per_s += one.faults_per_s;
    made.sources.push_back(one);
  }
  for (const control::ConnectionInfo& connection : later.connections) {
    const auto same = std::find_if(earlier.connections.begin(), earlier.connections.end(),
                                   [&](const auto& other) { return other.text == connection.text; });
    const bool known = same != earlier.connections.end();
    made.bytes_in_per_s += rate(known ? same->bytes_in : 0, connection.bytes_in);
    made.bytes_out_per_s += rate(known ? same->bytes_out : 0, connection.bytes_out);
  }
  return made;
}

}  // namespace

std::vector<RegionRates> RatesBetween(const std::vector<RegionStats>& earlier,
                                      const std::vector<RegionStats>& later, Nanos interval) {
  const double seconds = std::max(1e-9, std::chrono::duration<double>(interval).count());
  std::vector<RegionRates> rates;
  for (const RegionStats& now : later) {
    const auto then =
        std::find_if(earlier.begin(), earlier.end(), [&](const auto& s) { return s.region == now.region; });
    rates.push_back(RatesOf(then == earlier.end() ? RegionStats{} : *then, now, seconds));
  }
  return rates;
}

}  // namespace heca::cli
