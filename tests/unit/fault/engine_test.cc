// SPDX-License-Identifier: LGPL-2.1-or-later
// The engine over a real userfaultfd of this process.
#include <gtest/gtest.h>

#include "support/engine_harness.h"

namespace heca::fault {
namespace {

using region::PageState;
using test::EngineHarness;
using test::ShadowWriters;
using test::WaitUntil;

TEST(Engine, ServesAndEvictsAndComesHome) {
  EngineHarness::Options options;
  options.pages = 1024;
  options.limit = 128;
  EngineHarness harness(options);
  ASSERT_TRUE(harness.Start().ok());
  for (std::uint64_t page = 0; page < options.pages; ++page) {
    ASSERT_EQ(harness.guest().Word(page), 0U);
    harness.guest().Word(page) = page + 1;
  }
  EXPECT_TRUE(WaitUntil([&] { return harness.engine().table().Resident() <= options.limit; }));
  for (std::uint64_t page = 0; page < options.pages; ++page) ASSERT_EQ(harness.guest().Word(page), page + 1);
  const EngineStats stats = harness.engine().Stats();
  EXPECT_GT(stats.evictions, options.pages - 2 * options.limit);
  EXPECT_GT(stats.clean_drops, 0U);
  EXPECT_EQ(stats.kernel_errors, 0U);
  harness.engine().BringHome();
  ASSERT_TRUE(harness.engine().WaitHome(Deadline::After(test::kPatience)));
  EXPECT_EQ(harness.arena().CountPresent(), 0U);
  harness.Stop();
  for (std::uint64_t page = 0; page < options.pages; ++page) ASSERT_EQ(harness.guest().Peek(page), page + 1);
  EXPECT_EQ(harness.arena().switches().violations.load(), 0U);
}

TEST(Engine, ShadowCountersHoldUnderHeavyEviction) {
  EngineHarness::Options options;
  options.pages = 1024;
  options.limit = 192;
  EngineHarness harness(options);
  ASSERT_TRUE(harness.Start().ok());
  {
    ShadowWriters writers(harness.guest(), 4);
    std::this_thread::sleep_for(std::chrono::milliseconds(1500));  // as many races as fit into it
    EXPECT_TRUE(WaitUntil([&] { return writers.visits() > 1000 && harness.engine().Stats().evictions > 1000; },
                          std::chrono::seconds(30)));
    writers.Finish();
    EXPECT_EQ(writers.wrong(), 0U);
  }
  const EngineStats stats = harness.engine().Stats();
  EXPECT_EQ(stats.kernel_errors, 0U);
  EXPECT_EQ(stats.stray_pages, 0U);
  EXPECT_EQ(harness.arena().switches().violations.load(), 0U);
  EXPECT_EQ(harness.arena().switches().lost_reads.load(), 0U);
}

}  // namespace
}  // namespace heca::fault
