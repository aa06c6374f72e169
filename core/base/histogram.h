// SPDX-License-Identifier: LGPL-2.1-or-later
// Latencies, counted in buckets that grow by about 6 %: 16 buckets for every power of two.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/clock.h"

namespace heca {

/// A copy of a histogram's counts, to compute with.
struct HistogramSnapshot {
  static constexpr std::size_t kSubBits = 4;
  static constexpr std::size_t kBuckets = (64 - kSubBits + 1) << kSubBits;
  std::array<std::uint64_t, kBuckets> counts{};
  std::uint64_t total = 0;
  std::uint64_t sum_ns = 0;

  /// Upper bound in nanoseconds of the bucket that holds quantile `q` (0 < q <= 1); 0 if nothing was counted.
  [[nodiscard]] std::uint64_t QuantileNs(double q) const;
  /// Samples at most `bound_ns` long; exact where the bound falls on a bucket's edge, else rounded down.
  [[nodiscard]] std::uint64_t CountUpTo(std::uint64_t bound_ns) const;
  /// Upper edge of bucket `index`, inclusive, in nanoseconds.
  [[nodiscard]] static std::uint64_t UpperEdgeNs(std::size_t index);
};

/// Record is for one thread at a time and costs two relaxed stores; Snapshot is thread-safe against it.
class Histogram {
 public:
  void Record(Nanos span);
  [[nodiscard]] HistogramSnapshot Snapshot() const;

 private:
  std::array<std::atomic<std::uint64_t>, HistogramSnapshot::kBuckets> counts_{};
  std::atomic<std::uint64_t> sum_ns_{0};
};

}  // namespace heca
