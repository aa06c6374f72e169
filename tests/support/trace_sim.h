// SPDX-License-Identifier: LGPL-2.1-or-later
// Replays a page trace against an eviction policy and counts the misses. No time passes: what a miss costs is the
// engine's business, how many there are is the policy's.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fault/policy.h"
#include "fault/prefetch.h"
#include "support/traces.h"

namespace heca::test {

/// The yardsticks. FIFO evicts in the engine's batches, as ours must; the others page by page. CLOCK and LRU see every access, which no pager can; the optimum sees the future.
enum class Yardstick : std::uint8_t { kFifo, kRandom, kClock, kLru, kOptimum };

/// Misses of `trace` with room for `limit` pages, first touches included.
std::uint64_t Misses(Yardstick yardstick, const Trace& trace, std::uint32_t limit);

struct SimOptions {
  std::uint32_t batch = 16;   ///< victims asked for at once; resident pages stay between limit - batch and limit
  std::uint32_t young = 8;    ///< the pages placed last are not evictable
  fault::Prefetcher* prefetcher = nullptr;
};

struct SimResult {
  std::uint64_t misses = 0;            ///< touches that waited for the store
  std::uint64_t traps = 0;             ///< touches of a page left as a trap: a fault, answered here
  std::uint64_t prefetched = 0;        ///< pages placed before anybody touched them
  std::uint64_t prefetched_used = 0;   ///< of these, touched before they were evicted
  std::uint64_t dirty_victims = 0;   ///< to be written back
  fault::PolicyStats stats;
  double ns_per_victim = 0;  ///< spent in NextVictims, the simulator's own table included
};

/// As the engine does it: eviction ahead of need in batches, write-protected placement of read faults.
SimResult Simulate(fault::EvictionPolicy& policy, const Trace& trace, std::uint32_t limit, const SimOptions& options);

}  // namespace heca::test
