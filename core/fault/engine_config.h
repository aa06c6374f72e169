// SPDX-License-Identifier: LGPL-2.1-or-later
// What a region's engine is told at its start, and the sizes that follow from it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/clock.h"
#include "heca/types.h"
#include "os/probe_uffd.h"

namespace heca::fault {

/// Below this many pages an instruction may never find all its pages resident at once (a nested page walk needs 24).
inline constexpr std::uint64_t kMinLimit = 64;

struct EngineConfig {
  os::UffdAbilities abilities;
  PageCount limit{0};            ///< resident pages; raised to kMinLimit
  PageCount slack{0};            ///< how far faults may run over the limit before they wait; 0: a sixteenth of it
  Millis min_residence{5};       ///< no page is evicted sooner after its last fault
  Nanos spin{50'000};            ///< longest look for an urgent answer before the loop sleeps; zero: never
  bool prefetch = true;
  std::uint32_t max_prefetch = 256;  ///< pages, 4 KiB regions; huge pages are prefetched one or two at a time
  std::uint32_t watermark_low = 6;   ///< percent of the limit; eviction begins when less is free
  std::uint32_t watermark_high = 12; ///< percent of the limit; eviction ends when this much is free
  bool held = false;             ///< until Settle: see RegionEngine
  /// Of an arrival: the threads of its vCPUs, by their own ids; how long they wait is counted. None: it is not.
  std::vector<std::int32_t> vcpu_threads;
  int cpu = -1;                  ///< CPU of the fault loop; -1: anywhere
};

/// Sizes that follow from the page size. A write-back batch is 256 KiB, the size of a TCP send buffer that keeps one
/// stream busy; the buffers together (4 MiB, or 16 MiB with huge pages) serve faults for pages just sent.
struct EngineSizes {
  explicit EngineSizes(Bytes page_size)
      : batch_pages(static_cast<std::uint32_t>(std::clamp<std::uint64_t>(262144 / page_size.value(), 1, 64))),
        buffers(page_size == kBasePage ? 16 : 8) {}
  std::uint32_t batch_pages;
  std::uint32_t buffers;
};

/// Between these two marks below the limit eviction works ahead of need.
struct Watermarks {
  static Watermarks For(const EngineConfig& config) {
    const std::uint64_t limit = config.limit.value();
    const std::uint64_t low = std::clamp<std::uint64_t>(limit * config.watermark_low / 100, 4, kMostHeadroom);
    const std::uint64_t high = std::clamp<std::uint64_t>(limit * config.watermark_high / 100, 2 * low, 2 * kMostHeadroom);
    return {limit - low, limit - std::min(high, limit / 2)};
  }
  /// Pages: more headroom than this only wastes local memory, whatever the percentage (8 MiB of base pages).
  static constexpr std::uint64_t kMostHeadroom = 2048;
  std::uint64_t high;  ///< evict when more than this is resident and not on its way out
  std::uint64_t low;   ///< until no more than this is
};

}  // namespace heca::fault
