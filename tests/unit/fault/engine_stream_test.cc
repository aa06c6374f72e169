// SPDX-License-Identifier: LGPL-2.1-or-later
// Streams through the memory: traps, pages that will be written, slots that go back in batches.
#include <gtest/gtest.h>

#include "support/engine_harness.h"

namespace heca::fault {
namespace {

using region::PageState;
using test::EngineHarness;
using test::WaitUntil;

constexpr std::uint64_t kPages = 16384;
constexpr std::uint64_t kLimit = 4096;

std::uint64_t Count(const EngineStats& stats, AnswerSource source) {
  return stats.latency[static_cast<std::size_t>(source)].total;
}

/// Pages 0 to kPages hold their number + 1, and most are away.
void Fill(EngineHarness& harness) {
  for (std::uint64_t page = 0; page < kPages; ++page) harness.guest().Word(page) = page + 1;
  ASSERT_TRUE(WaitUntil([&] { return harness.engine().table().CountOf(PageState::kAway) >= kPages - kLimit; }));
}

TEST(EngineStream, AReaderMeetsTraps) {
  EngineHarness harness({.pages = kPages, .limit = kLimit});
  ASSERT_TRUE(harness.Start().ok());
  Fill(harness);
  constexpr std::uint64_t kLaps = 4;  // one alone can have an engine that was not given a CPU for a tenth of its time
  const EngineStats before = harness.engine().Stats();
  for (std::uint64_t lap = 0; lap < kLaps; ++lap) {
    for (std::uint64_t page = 0; page < kPages; ++page) ASSERT_EQ(harness.guest().Word(page), page + 1);
  }
  const EngineStats after = harness.engine().Stats();
  EXPECT_GT(Count(after, AnswerSource::kPrefetched) - Count(before, AnswerSource::kPrefetched), kLaps * 10);
  EXPECT_LT(Count(after, AnswerSource::kStore) - Count(before, AnswerSource::kStore), kLaps * kPages / 8);
  harness.engine().BringHome();  // also what is held as a trap
  ASSERT_TRUE(harness.engine().WaitHome(Deadline::After(test::kPatience)));
  harness.Stop();
  for (std::uint64_t page = 0; page < kPages; ++page) ASSERT_EQ(harness.guest().Peek(page), page + 1);
}

TEST(EngineStream, AWriterIsNotStoppedTwiceAPage) {
  EngineHarness harness({.pages = kPages, .limit = kLimit});
  ASSERT_TRUE(harness.Start().ok());
  Fill(harness);
  const EngineStats before = harness.engine().Stats();
  for (std::uint64_t round = 1; round <= 2; ++round) {
    for (std::uint64_t page = 0; page < kPages; ++page) {
      ASSERT_EQ(harness.guest().Word(page), page + round);  // first read, so that the fault does not tell
      harness.guest().Word(page) = page + round + 1;
    }
  }
  const EngineStats after = harness.engine().Stats();
  EXPECT_LT(Count(after, AnswerSource::kWriteProtect) - Count(before, AnswerSource::kWriteProtect), kPages / 4);
  for (std::uint64_t page = 0; page < kPages; ++page) ASSERT_EQ(harness.guest().Word(page), page + 3);
  EXPECT_EQ(harness.arena().switches().violations.load(), 0U);
}

TEST(EngineStream, AFewSlotsGoBackToo) {
  EngineHarness harness({.pages = 1024, .limit = 128, .prefetch = false});
  ASSERT_TRUE(harness.Start().ok());
  for (std::uint64_t page = 0; page < 1024; ++page) harness.guest().Word(page) = page + 1;
  ASSERT_TRUE(WaitUntil([&] { return harness.engine().table().CountOf(PageState::kAway) >= 800; }));
  for (std::uint64_t page = 0; page < 5; ++page) harness.guest().Word(page) = 7;  // their slots are condemned
  ASSERT_TRUE(WaitUntil([&] {
    return harness.arena().CountPresent() <= harness.engine().table().CountOf(PageState::kAway) +
                                                 harness.engine().table().Counts().clean +
                                                 harness.engine().table().CountOf(PageState::kLeaving);
  }));
}

}  // namespace
}  // namespace heca::fault
