// SPDX-License-Identifier: LGPL-2.1-or-later
// What the guest gives up comes back as zero, and nothing else does.
#include <gtest/gtest.h>

#include "support/engine_harness.h"

namespace heca::fault {
namespace {

using region::PageState;
using test::EngineHarness;

constexpr std::uint64_t kPages = 512;

/// Every page written with its number, most of them away.
std::unique_ptr<EngineHarness> Filled() {
  auto harness = std::make_unique<EngineHarness>(EngineHarness::Options{.pages = kPages, .limit = 64});
  EXPECT_TRUE(harness->Start().ok());
  for (std::uint64_t page = 0; page < kPages; ++page) harness->guest().Word(page) = page + 1;
  EXPECT_TRUE(test::WaitUntil([&] { return harness->engine().table().CountOf(PageState::kAway) > kPages - 64; }));
  return harness;
}

void ExpectAll(EngineHarness& harness, std::uint64_t from, std::uint64_t to) {
  for (std::uint64_t page = 0; page < kPages; ++page) {
    const bool discarded = page >= from && page < to;
    ASSERT_EQ(harness.guest().Word(page), discarded ? 0 : page + 1) << page;
  }
  EXPECT_EQ(harness.engine().Stats().stray_pages, 0U);
  EXPECT_EQ(harness.engine().Stats().kernel_errors, 0U);
}

TEST(EngineDiscard, MadviseRemoveOfAwayAndPresentPages) {
  auto harness = Filled();
  ASSERT_EQ(::madvise(harness->guest().At(100), 412 * 4096, MADV_REMOVE), 0);
  ExpectAll(*harness, 100, 512);
}

TEST(EngineDiscard, QemusWayPunchThenDontneed) {
  auto harness = Filled();
  ASSERT_TRUE(harness->guest().Punch(50, 200));
  ASSERT_EQ(::madvise(harness->guest().At(50), 200 * 4096, MADV_DONTNEED), 0);
  ExpectAll(*harness, 50, 250);
}

TEST(EngineDiscard, PunchOfAPresentPageRaisesNoEvent) {
  auto harness = Filled();
  harness->guest().Word(7) = 8;
  ASSERT_TRUE(harness->guest().Punch(7));
  ExpectAll(*harness, 7, 8);
}

TEST(EngineDiscard, DontneedOfAPresentPageKeepsIt) {
  auto harness = Filled();
  harness->guest().Word(511) = 512;
  ASSERT_EQ(::madvise(harness->guest().At(511), 4096, MADV_DONTNEED), 0);
  ExpectAll(*harness, 0, 0);
}

TEST(EngineDiscard, WritesAfterADiscardStay) {
  auto harness = Filled();
  for (int round = 1; round < 50; ++round) {
    ASSERT_EQ(::madvise(harness->guest().At(0), kPages * 4096, MADV_REMOVE), 0);
    for (std::uint64_t page = 0; page < kPages; page += 3) {
      ASSERT_EQ(harness->guest().Word(page), 0U) << "round " << round << " page " << page;
      harness->guest().Word(page) = page + 7;
    }
    for (std::uint64_t page = 0; page < kPages; page += 3) ASSERT_EQ(harness->guest().Word(page), page + 7);
  }
}

TEST(EngineDiscard, WhileAnAnswerIsOnItsWay) {
  auto harness = Filled();
  ASSERT_TRUE(harness->WaitState(3, PageState::kAway));
  harness->Stop();  // its write-back buffers would serve the page at once
  ASSERT_TRUE(harness->Start(StartMode::kTakeOver).ok());
  harness->arena().switches().disconnected = true;
  std::atomic<std::uint64_t> seen{~std::uint64_t{0}};
  std::thread reader([&] { seen = harness->guest().Word(3); });
  ASSERT_TRUE(harness->WaitState(3, PageState::kComing));
  ASSERT_EQ(::madvise(harness->guest().At(3), 4096, MADV_REMOVE), 0);
  EXPECT_TRUE(test::WaitUntil([&] { return seen.load() == 0; })) << "the waiter was not served with zero";
  harness->arena().switches().disconnected = false;
  reader.join();
  harness->guest().Word(3) = 99;
  EXPECT_TRUE(test::WaitUntil([&] { return harness->engine().Stats().stale_answers > 0; }));
  EXPECT_EQ(harness->guest().Word(3), 99U);
}

TEST(EngineDiscard, AStrayPageIsRepaired) {
  auto harness = Filled();
  ASSERT_TRUE(harness->WaitState(9, PageState::kAway));
  const std::uint64_t stray = 0xBAD;
  ASSERT_EQ(::pwrite(harness->guest().file(), &stray, 8, 9 * 4096 + 64), 8);  // as a foreign mapper would
  EXPECT_EQ(harness->guest().Word(9), 10U);
  EXPECT_EQ(harness->engine().Stats().stray_pages, 1U);
  EXPECT_EQ(harness->events().Count(EngineEventKind::kStrayPage), 1);
}

}  // namespace
}  // namespace heca::fault
