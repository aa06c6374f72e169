// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/rates.h"

#include <gtest/gtest.h>

#include "support/node_samples.h"

namespace heca::cli {
namespace {

using namespace heca::testing;

TEST(Rates, BetweenTwoSamples) {
  const auto rates = RatesBetween({SampleStats(1000)}, {SampleStats(3000)}, std::chrono::seconds(2));
  ASSERT_EQ(rates.size(), 1U);
  EXPECT_DOUBLE_EQ(rates[0].faults_per_s, 1000);
  EXPECT_DOUBLE_EQ(rates[0].evictions_per_s, 2000);
  EXPECT_DOUBLE_EQ(rates[0].prefetch_per_s, 100);
  EXPECT_DOUBLE_EQ(rates[0].prefetch_hit_percent.value(), 50);
  EXPECT_DOUBLE_EQ(rates[0].bytes_in_per_s, 4096000);
  EXPECT_DOUBLE_EQ(rates[0].bytes_out_per_s, 32000);
  EXPECT_EQ(rates[0].away.value(), 4096000U);
  ASSERT_EQ(rates[0].sources.size(), control::kFaultSources.size());
  EXPECT_DOUBLE_EQ(rates[0].sources[0].p50_us.value(), 37.5);
  EXPECT_DOUBLE_EQ(rates[0].sources[0].p99_us.value(), 49.75);
  EXPECT_FALSE(rates[0].sources[1].p50_us);
}

TEST(Rates, NothingHappened) {
  const auto rates = RatesBetween({SampleStats(1000)}, {SampleStats(1000)}, std::chrono::seconds(1));
  EXPECT_DOUBLE_EQ(rates[0].faults_per_s, 0);
  EXPECT_FALSE(rates[0].prefetch_hit_percent);
  EXPECT_FALSE(rates[0].sources[0].p99_us);
}

TEST(Rates, NewRegionAndRestartedCountersStartAtZero) {
  EXPECT_DOUBLE_EQ(RatesBetween({}, {SampleStats(500)}, std::chrono::seconds(1))[0].faults_per_s, 500);
  const auto restarted = RatesBetween({SampleStats(9000)}, {SampleStats(500)}, std::chrono::seconds(1));
  EXPECT_DOUBLE_EQ(restarted[0].faults_per_s, 500);
  EXPECT_DOUBLE_EQ(restarted[0].sources[0].p50_us.value(), 37.5);
  EXPECT_TRUE(RatesBetween({SampleStats(1)}, {}, std::chrono::seconds(1)).empty());
}

TEST(Rates, LongerThanTheLastBound) {
  control::RegionStats stats = SampleStats(0);
  stats.faults[0].latency.count = 4;  // none within any bucket
  EXPECT_DOUBLE_EQ(RatesBetween({}, {stats}, std::chrono::seconds(1))[0].sources[0].p50_us.value(), 1e7);
}

}  // namespace
}  // namespace heca::cli
