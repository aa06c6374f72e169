// SPDX-License-Identifier: LGPL-2.1-or-later
// What `hecactl top` and the metrics show of a region. Plain data. Counters only grow, from attach on; a reader makes
// rates out of two samples.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/histogram.h"
#include "control/node_types.h"
#include "heca/types.h"

namespace heca::control {

/// Where the answer to a fault came from.
enum class FaultSource : std::uint8_t {
  kInvalid = 0,
  kSponsor = 1,
  kWriteBackBuffer = 2,
  kZero = 3,
  kMinor = 4,         ///< the page was in the file already
  kWriteProtect = 5,  ///< only the protection was lifted
  kPrefetched = 6,    ///< the page had been fetched ahead and was not placed yet
};
inline constexpr std::array kFaultSources{FaultSource::kSponsor, FaultSource::kWriteBackBuffer, FaultSource::kZero,
                                          FaultSource::kMinor, FaultSource::kWriteProtect, FaultSource::kPrefetched};
[[nodiscard]] std::string_view ToString(FaultSource source);

/// Samples at most `bound_ns` long (cumulative, as Prometheus counts).
struct LatencyBucket {
  std::uint64_t bound_ns = 0;
  std::uint64_t count = 0;
};

/// Upper bounds of LatencyStats::buckets: 1-2.5-5 steps from 1 us to 10 s.
inline constexpr std::array<std::uint64_t, 22> kLatencyBoundsNs{
    1'000,         2'500,         5'000,         10'000,        25'000,        50'000,
    100'000,       250'000,       500'000,       1'000'000,     2'500'000,     5'000'000,
    10'000'000,    25'000'000,    50'000'000,    100'000'000,   250'000'000,   500'000'000,
    1'000'000'000, 2'500'000'000, 5'000'000'000, 10'000'000'000};

struct LatencyStats {
  std::uint64_t count = 0;
  std::uint64_t sum_ns = 0;
  std::uint64_t p50_ns = 0;
  std::uint64_t p99_ns = 0;
  std::uint64_t p999_ns = 0;
  std::vector<LatencyBucket> buckets;  ///< one for each of kLatencyBoundsNs
};

[[nodiscard]] LatencyStats Summarize(const HistogramSnapshot& histogram);

struct FaultStats {
  FaultSource source = FaultSource::kInvalid;
  LatencyStats latency;  ///< from reading the event to waking the thread
};

/// Pages by state (region/), in units of the region's page size.
struct PageStates {
  std::uint64_t zero = 0;
  std::uint64_t here_clean = 0;
  std::uint64_t here_dirty = 0;
  std::uint64_t away = 0;
  std::uint64_t coming = 0;
  std::uint64_t leaving = 0;
  std::uint64_t dropping = 0;
  std::uint64_t cancel = 0;
};

struct RegionStats {
  RegionId region;
  PageStates pages;
  Bytes page_size;
  Bytes resident;
  Bytes limit;
  std::vector<FaultStats> faults;  ///< one for each of kFaultSources
  std::uint64_t prefetch_issued = 0;
  std::uint64_t prefetch_hits = 0;
  std::uint64_t evictions = 0;        ///< pages dropped from here, for whatever reason below or after a write-back
  std::uint64_t clean_drops = 0;      ///< dropped without sending: a valid copy is away
  std::uint64_t zero_drops = 0;       ///< dropped without sending: all zero
  std::uint64_t cancels = 0;          ///< written while on the way out
  std::uint64_t refaults = 0;         ///< demanded after they had been evicted
  std::uint64_t waits_for_io = 0;     ///< times write-back waited for I/O in flight
  std::uint64_t local_enomem = 0;     ///< placings that found no local memory and were repeated
  std::uint64_t alarms = 0;           ///< stray pages and the like, repaired
  std::uint64_t pages_lost = 0;
  std::uint64_t vm_stops = 0;         ///< times the VM was stopped because pages were out of reach
  Nanos capture_stop{};
  std::string io_rule;
  std::vector<ConnectionInfo> connections;
};

}  // namespace heca::control
