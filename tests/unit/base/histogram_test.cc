// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/histogram.h"

#include <gtest/gtest.h>

namespace heca {
namespace {

TEST(Histogram, EveryValueLiesInItsBucketWithinSixPercent) {
  for (std::uint64_t ns : {0ULL, 1ULL, 15ULL, 16ULL, 17ULL, 31ULL, 32ULL, 1000ULL, 123456789ULL, 1ULL << 60}) {
    Histogram histogram;
    histogram.Record(Nanos(static_cast<Nanos::rep>(ns)));
    const std::uint64_t edge = histogram.Snapshot().QuantileNs(1.0);
    EXPECT_GE(edge, ns);
    EXPECT_LE(edge - ns, ns / 16);
  }
}

TEST(Histogram, QuantilesOfAKnownDistribution) {
  Histogram histogram;
  for (int i = 1; i <= 1000; ++i) histogram.Record(Nanos(i * 1000));
  const auto snapshot = histogram.Snapshot();
  EXPECT_EQ(snapshot.total, 1000u);
  EXPECT_NEAR(static_cast<double>(snapshot.QuantileNs(0.5)), 500e3, 32e3);
  EXPECT_NEAR(static_cast<double>(snapshot.QuantileNs(0.99)), 990e3, 62e3);
  EXPECT_EQ(snapshot.sum_ns, 1000u * 1001u / 2 * 1000u);
  EXPECT_EQ(HistogramSnapshot().QuantileNs(0.5), 0u);
}

}  // namespace
}  // namespace heca
