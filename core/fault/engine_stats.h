// SPDX-License-Identifier: LGPL-2.1-or-later
// Counters of one engine: written by its loop (and its write-back thread where it says so), read by anybody.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/histogram.h"
#include "region/page_table.h"

namespace heca::fault {

/// Where the answer to a fault came from.
enum class AnswerSource : std::uint8_t {
  kStore = 0,
  kWriteBackBuffer = 1,
  kZero = 2,
  kMinor = 3,         ///< the page was in the file already
  kWriteProtect = 4,  ///< only the protection was lifted
  kPrefetched = 5,    ///< was fetched ahead and left unplaced as a trap
};
inline constexpr std::size_t kAnswerSources = 6;
[[nodiscard]] std::string_view ToString(AnswerSource source);

/// One writer; any reader.
class Counter {
 public:
  void Add(std::uint64_t delta = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + delta, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t Value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

struct EngineCounters {
  std::array<Histogram, kAnswerSources> latency;  ///< from reading the event to waking the thread
  Counter prefetch_issued;
  Counter prefetch_placed;
  Counter prefetch_hits;    ///< inferred, see Prefetcher
  Counter stale_answers;    ///< came too late and were not placed
  Counter evictions;        ///< pages dropped, for whatever reason below or after a write-back
  Counter clean_drops;
  Counter zero_drops;
  Counter cancels;
  Counter io_waits;         ///< batches that waited for I/O in flight
  Counter no_memory;
  Counter stray_pages;
  Counter kernel_errors;
  Counter again;            ///< EAGAIN answers
  Counter deferred_faults;  ///< waited for eviction, local memory or a credit of the store
  Counter refaults;         ///< pages that somebody waited for after they had been evicted, as the policy counts
  Counter pages_lost;
  Counter bytes_written_back;  ///< payload that the store acknowledged
  Counter bytes_fetched;
  Counter discards;         ///< pages that the guest gave up
};

/// For how long threads waited for pages, see waiting_threads.h.
struct BlocktimeNumbers {
  std::vector<Nanos> vcpus;  ///< each vCPU, in the order of EngineConfig::vcpu_threads
  Nanos all_vcpus{0};        ///< all of them at once
  Nanos others{0};           ///< other threads, added up
  bool operator==(const BlocktimeNumbers&) const = default;
};

/// A copy, taken at about one moment.
struct EngineStats {
  region::PageCounts pages;
  PageCount limit{0};
  std::array<HistogramSnapshot, kAnswerSources> latency;
  std::uint64_t prefetch_issued = 0, prefetch_placed = 0, prefetch_hits = 0, stale_answers = 0, evictions = 0,
                clean_drops = 0, zero_drops = 0, cancels = 0, io_waits = 0, no_memory = 0, stray_pages = 0,
                kernel_errors = 0, again = 0, deferred_faults = 0, pages_lost = 0, refaults = 0, bytes_written_back = 0,
                bytes_fetched = 0, discards = 0;
  std::optional<BlocktimeNumbers> blocktime;  ///< nothing: not known
  std::uint64_t holes = 0;  ///< pages that became Zero because the store holds nothing of them
  std::uint32_t lent_pages = 0;  ///< that lie in read-only slots of the store, or are to let go of one
  std::uint64_t ahead_pages = 0;  ///< before Open: that are still to come, as far as the limit has room
  std::uint32_t slots_used = 0;
  std::uint32_t slots_free = 0;
};

}  // namespace heca::fault
