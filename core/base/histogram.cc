// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace heca {
namespace {

constexpr std::size_t kSub = std::size_t{1} << HistogramSnapshot::kSubBits;

std::size_t BucketOf(std::uint64_t ns) {
  if (ns < kSub) return static_cast<std::size_t>(ns);
  const auto exponent = static_cast<std::size_t>(std::bit_width(ns)) - 1 - HistogramSnapshot::kSubBits;
  return ((exponent + 1) << HistogramSnapshot::kSubBits) + static_cast<std::size_t>((ns >> exponent) - kSub);
}

}  // namespace

std::uint64_t HistogramSnapshot::UpperEdgeNs(std::size_t index) {
  if (index < kSub) return index;
  const std::size_t exponent = (index >> kSubBits) - 1;
  const std::uint64_t mantissa = kSub + (index & (kSub - 1));
  return ((mantissa + 1) << exponent) - 1;
}

std::uint64_t HistogramSnapshot::QuantileNs(double q) const {
  if (total == 0) return 0;
  const auto rank = std::clamp<std::uint64_t>(
      static_cast<std::uint64_t>(std::ceil(q * static_cast<double>(total))), 1, total);
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    seen += counts[i];
    if (seen >= rank) return UpperEdgeNs(i);
  }
  return UpperEdgeNs(counts.size() - 1);
}

std::uint64_t HistogramSnapshot::CountUpTo(std::uint64_t bound_ns) const {
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < counts.size() && UpperEdgeNs(i) <= bound_ns; ++i) seen += counts[i];
  return seen;
}

void Histogram::Record(Nanos span) {
  const auto ns = static_cast<std::uint64_t>(std::max<Nanos::rep>(span.count(), 0));
  auto& bucket = counts_[BucketOf(ns)];
  bucket.store(bucket.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  sum_ns_.store(sum_ns_.load(std::memory_order_relaxed) + ns, std::memory_order_relaxed);
}

HistogramSnapshot Histogram::Snapshot() const {
  HistogramSnapshot copy;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    copy.counts[i] = counts_[i].load(std::memory_order_relaxed);
    copy.total += copy.counts[i];
  }
  copy.sum_ns = sum_ns_.load(std::memory_order_relaxed);
  return copy;
}

}  // namespace heca
