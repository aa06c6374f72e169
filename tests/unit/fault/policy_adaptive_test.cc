// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/policy_adaptive.h"

#include <gtest/gtest.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <vector>

namespace heca::fault {
namespace {

/// A page table of a test: which pages are evictable, and their bits.
class FakeTable final : public ResidentView {
 public:
  explicit FakeTable(std::size_t pages) : here(pages, false), away(pages, false), bits(pages, kNoPolicyBits) {}
  void Load(PageIndex first, PageBlock& out) override {
    out.evictable = out.clean = out.away = 0;
    for (std::size_t i = 0; i < kBlockPages && first.value() + i < here.size(); ++i) {
      out.bits[i] = bits[first.value() + i];
      if (here[first.value() + i]) out.evictable |= std::uint64_t{1} << i;
      if (away[first.value() + i]) out.away |= std::uint64_t{1} << i;
    }
  }
  void SetBits(PageIndex page, PolicyBits value) override { bits[page.value()] = value; }

  void Place(EvictionPolicy& policy, std::size_t page, PlaceCause cause = PlaceCause::kReadFault) {
    bits[page] = policy.OnPlaced(PageIndex(page), cause, bits[page]);
    here[page] = true;
    away[page] = false;
  }
  void Evict(EvictionPolicy& policy, PageIndex page) {
    bits[page.value()] = policy.OnEvicted(page, bits[page.value()]);
    here[page.value()] = false;
    away[page.value()] = true;
  }

  std::vector<bool> here, away;
  std::vector<PolicyBits> bits;
};

AdaptivePolicy Policy(std::uint64_t pages, std::uint64_t limit) {
  return AdaptivePolicy({.region_pages = PageCount(pages), .limit = PageCount(limit), .seed = 1});
}

TEST(PolicyBitsTest, ResidentAndAwayRoundTrip) {
  for (unsigned raw = 0; raw < 256; ++raw) {
    const auto bits = static_cast<PolicyBits>(raw);
    EXPECT_EQ(ResidentBits::Unpack(bits).Pack(), bits);
    EXPECT_EQ(AwayBits::Unpack(bits).Pack(), bits);
  }
}

TEST(PolicyTest, CausesHaveNames) {
  EXPECT_EQ(ToString(PlaceCause::kPrefetch), "prefetch");
  EXPECT_EQ(ToString(PlaceCause::kInvalid), "invalid");
}

TEST(AdaptivePolicyTest, VictimsAreEvictableDistinctAndSorted) {
  AdaptivePolicy policy = Policy(1000, 400);
  FakeTable table(1000);
  for (std::size_t page = 0; page < 1000; page += 3) table.Place(policy, page);
  table.here[300] = false;  // claimed by the engine
  std::vector<PageIndex> out(100, PageIndex(0));
  ASSERT_EQ(policy.NextVictims(table, out), out.size());
  EXPECT_TRUE(std::is_sorted(out.begin(), out.end()));
  EXPECT_EQ(std::set<PageIndex>(out.begin(), out.end()).size(), out.size());
  for (const PageIndex page : out) {
    EXPECT_TRUE(table.here[page.value()]) << page.value();
    EXPECT_EQ(page.value() % 3, 0U);
  }
}

TEST(AdaptivePolicyTest, FindsEveryEvictablePageBeforeItGivesUp) {
  AdaptivePolicy policy = Policy(4096, 64);
  FakeTable table(4096);
  for (const std::size_t page : {1U, 63U, 64U, 2000U, 4095U}) table.Place(policy, page);
  std::vector<PageIndex> out(16, PageIndex(0));
  EXPECT_EQ(policy.NextVictims(table, out), 5U);
  for (std::size_t i = 0; i < 5; ++i) table.Evict(policy, out[i]);
  EXPECT_EQ(policy.NextVictims(table, out), 0U);
  EXPECT_EQ(policy.NextVictims(table, {}), 0U);
}

TEST(AdaptivePolicyTest, AVictimThatWasWrittenMeanwhileComesBackAsResident) {
  AdaptivePolicy policy = Policy(256, 64);
  FakeTable table(256);
  for (std::size_t page = 0; page < 64; ++page) table.Place(policy, page);
  std::vector<PageIndex> out(64, PageIndex(0));
  ASSERT_EQ(policy.NextVictims(table, out), 64U);
  const std::size_t kept = out[10].value();
  for (const PageIndex page : out) {
    if (page.value() != kept) table.Evict(policy, page);
  }
  table.bits[kept] = policy.OnCancelled(PageIndex(kept), table.bits[kept], true);
  EXPECT_GT(ResidentBits::Unpack(table.bits[kept]).score, 0U);
  ASSERT_EQ(policy.NextVictims(table, out), 1U);
  EXPECT_EQ(out[0].value(), kept);
}

TEST(AdaptivePolicyTest, AQuickReturnRaisesTheScoreAndADiscardForgetsIt) {
  AdaptivePolicy policy = Policy(1024, 256);
  FakeTable table(1024);
  table.Place(policy, 5);
  EXPECT_EQ(ResidentBits::Unpack(table.bits[5]).score, 0U);
  for (std::uint32_t round = 1; round < 6; ++round) {
    table.Evict(policy, PageIndex(5));
    table.Place(policy, 5, PlaceCause::kWriteFault);
    EXPECT_EQ(ResidentBits::Unpack(table.bits[5]).score, std::min(round, 3U));
  }
  EXPECT_EQ(policy.OnDiscarded(PageIndex(5), table.bits[5], true), kNoPolicyBits);
}

TEST(AdaptivePolicyTest, PrefetchedPagesGainNoScore) {
  AdaptivePolicy policy = Policy(1024, 256);
  FakeTable table(1024);
  table.Place(policy, 5);
  table.Evict(policy, PageIndex(5));
  table.Place(policy, 5, PlaceCause::kPrefetch);
  EXPECT_EQ(ResidentBits::Unpack(table.bits[5]).score, 0U);
  EXPECT_EQ(policy.Stats().refaults, 0U);
}

TEST(AdaptivePolicyTest, AdoptsTheTableOfAnEarlierProcess) {
  FakeTable table(1024);
  AdaptivePolicy before = Policy(1024, 256);
  for (std::size_t page = 0; page < 256; ++page) table.Place(before, page);
  std::vector<PageIndex> out(32, PageIndex(0));
  ASSERT_EQ(before.NextVictims(table, out), 32U);
  for (std::size_t i = 0; i < 16; ++i) table.Evict(before, out[i]);  // the others were chosen, not dropped
  AdaptivePolicy after = Policy(1024, 256);
  after.Adopt(table);
  std::vector<PageIndex> all(512, PageIndex(0));
  EXPECT_EQ(after.NextVictims(table, all), 240U);
}

TEST(AdaptivePolicyTest, IsDeterministic) {
  std::vector<std::vector<PageIndex>> runs;
  for (int run = 0; run < 2; ++run) {
    AdaptivePolicy policy = Policy(2048, 512);
    FakeTable table(2048);
    std::vector<PageIndex> all;
    for (std::size_t i = 0; i < 20000; ++i) {
      const std::size_t page = i * 7919 % 2048;
      if (table.here[page]) continue;
      table.Place(policy, page);
      std::vector<PageIndex> out(16, PageIndex(0));
      if (std::count(table.here.begin(), table.here.end(), true) < 512) continue;
      out.resize(policy.NextVictims(table, out));
      for (const PageIndex victim : out) table.Evict(policy, victim);
      all.insert(all.end(), out.begin(), out.end());
    }
    runs.push_back(all);
  }
  EXPECT_FALSE(runs[0].empty());
  EXPECT_EQ(runs[0], runs[1]);
}

TEST(EvictionArmsTest, TheArmWhosePagesComeBackCostsMore) {
  EvictionArms arms;
  for (int epoch = 0; epoch < 20; ++epoch) {
    for (int i = 0; i < 50; ++i) {
      arms.Evicted(0);
      arms.Evicted(1);
    }
    for (int i = 0; i < 40; ++i) arms.Returned(1, 0, 1.0);
    arms.NextEpoch();
  }
  EXPECT_LT(arms.Rate(0), arms.Rate(1) / 10);
  EXPECT_LE(arms.LowRate(1), arms.Rate(1));
  EXPECT_GE(arms.HighRate(1), arms.Rate(1));
  // The lesson fades, faster in the short memory.
  const double before = arms.Rate(1);
  for (int epoch = 0; epoch < 60; ++epoch) arms.NextEpoch();
  EXPECT_LT(arms.Rate(1), before / 2);
  EXPECT_GE(arms.HighRate(1), arms.Rate(1));
}

TEST(EvictionArmsTest, AReturnThatWasNeverEvictedIsIgnored) {
  EvictionArms arms;
  const double before = arms.Rate(3);
  arms.Returned(3, 0, 1.0);
  arms.Returned(3, EvictionArms::kRing, 1.0);
  EXPECT_EQ(arms.Rate(3), before);
}

/// It is made within attach and take-over, while threads of the guest wait.
TEST(AdaptivePolicyTest, IsMadeInNoTimeForALargeRegion) {
  const auto cpu_time = [] {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
  };
  const auto before = cpu_time();
  const AdaptivePolicy policy({PageCount(std::uint64_t{64} << 20), PageCount(1 << 20), 1});  // 256 GiB
  EXPECT_LT(cpu_time() - before, std::chrono::milliseconds(20)) << "it was 150 ms when every page was counted";
}

}  // namespace
}  // namespace heca::fault
