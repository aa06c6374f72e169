// SPDX-License-Identifier: LGPL-2.1-or-later
// A store that is gone for a while, gone for good, or refuses.
#include <gtest/gtest.h>
#include <setjmp.h>
#include <signal.h>

#include "support/engine_harness.h"

namespace heca::fault {
namespace {

using region::PageState;
using test::EngineHarness;
using test::ShadowWriters;
using test::WaitUntil;

constexpr std::uint64_t kPages = 256;

std::unique_ptr<EngineHarness> Filled() {
  auto harness = std::make_unique<EngineHarness>(EngineHarness::Options{.pages = kPages, .limit = 64, .prefetch = false});
  EXPECT_TRUE(harness->Start().ok());
  for (std::uint64_t page = 0; page < kPages; ++page) harness->guest().Word(page) = page + 1;
  EXPECT_TRUE(harness->WaitState(2, PageState::kAway));
  harness->Stop();  // its write-back buffers would serve pages without the store
  EXPECT_TRUE(harness->Start(StartMode::kTakeOver).ok());
  return harness;
}

struct Waiter {
  Waiter(EngineHarness& harness, std::uint64_t page)
      : thread([this, &harness, page] { seen = harness.guest().Word(page); done = true; }) {}
  ~Waiter() { thread.join(); }
  std::atomic<std::uint64_t> seen{0};
  std::atomic<bool> done{false};
  std::thread thread;
};

TEST(EngineLoss, ADisconnectedStoreMakesFaultsWait) {
  auto harness = Filled();
  harness->arena().switches().disconnected = true;
  {
    Waiter waiter(*harness, 2);
    ASSERT_TRUE(WaitUntil([&] { return harness->events().Count(EngineEventKind::kStoreHealth) > 0; }));
    EXPECT_FALSE(waiter.done);
    harness->arena().switches().disconnected = false;
    EXPECT_TRUE(WaitUntil([&] { return waiter.done.load(); }));
    EXPECT_EQ(waiter.seen, 3U);
  }
}

TEST(EngineLoss, ALostPageWaitsAndIsFoundAgain) {
  auto harness = Filled();
  harness->arena().LoseAll();
  Waiter waiter(*harness, 2);
  ASSERT_TRUE(harness->WaitState(2, PageState::kLost));
  EXPECT_TRUE(WaitUntil([&] { return harness->events().Count(EngineEventKind::kPagesLost) > 0; }));
  EXPECT_FALSE(waiter.done) << "a lost page was answered";
  harness->arena().FindAll();
  ASSERT_TRUE(harness->engine().Resolve(LostPages::kAskAgain).ok());
  EXPECT_TRUE(WaitUntil([&] { return waiter.done.load(); }));
  EXPECT_EQ(waiter.seen, 3U);
  EXPECT_TRUE(WaitUntil([&] { return harness->events().Count(EngineEventKind::kPagesFound) > 0; }));
}

TEST(EngineLoss, ZeroFillIsDoneOnlyWhenAsked) {
  auto harness = Filled();
  harness->arena().LoseAll();
  Waiter waiter(*harness, 2);
  ASSERT_TRUE(harness->WaitState(2, PageState::kLost));
  harness->engine().BringHome();
  ASSERT_TRUE(WaitUntil([&] { return harness->engine().Home().pages_away == 0 && harness->engine().Home().pages_lost > 50; }));
  EXPECT_FALSE(harness->engine().Home().done) << "detached with lost pages";
  ASSERT_TRUE(harness->engine().Resolve(LostPages::kZeroFill).ok());
  EXPECT_TRUE(WaitUntil([&] { return waiter.done.load(); }));
  EXPECT_EQ(waiter.seen, 0U);
  EXPECT_TRUE(WaitUntil([&] { return harness->engine().Home().done; }));
}

/// A remote store whose sponsor came back empty: it does not fail reads, it takes none any more.
TEST(EngineLoss, DetachFindsOutThatAllIsLostWhenTheStoreIsOver) {
  auto harness = Filled();
  harness->arena().switches().over = true;
  harness->engine().BringHome();
  ASSERT_TRUE(WaitUntil([&] { return harness->engine().Home().pages_away == 0 && harness->engine().Home().pages_lost > 50; }))
      << "it waits for a request that cannot be made";
  EXPECT_FALSE(harness->engine().Home().done) << "detached with lost pages";
  ASSERT_TRUE(harness->engine().Resolve(LostPages::kZeroFill).ok());
  EXPECT_TRUE(WaitUntil([&] { return harness->engine().Home().done; }));
}

sigjmp_buf poison_return;

TEST(EngineLoss, PoisonRaisesAMemoryErrorAndCanBeTakenBack) {
  if (!EngineHarness::Abilities().poison) GTEST_SKIP() << "needs Linux 6.6 (UFFDIO_POISON)";
  auto harness = Filled();
  harness->arena().LoseAll();
  std::atomic<bool> bus{false};
  std::thread guest([&] {
    struct sigaction action{};
    action.sa_handler = [](int) { siglongjmp(poison_return, 1); };
    ::sigaction(SIGBUS, &action, nullptr);
    if (sigsetjmp(poison_return, 1) == 0) {
      const std::uint64_t never = harness->guest().Word(2);
      ADD_FAILURE() << "read " << never;
    } else {
      bus = true;
    }
    ::signal(SIGBUS, SIG_DFL);
  });
  ASSERT_TRUE(harness->WaitState(2, PageState::kLost));
  ASSERT_TRUE(harness->engine().Resolve(LostPages::kPoison).ok());
  guest.join();
  EXPECT_TRUE(bus);
  EXPECT_TRUE(harness->WaitState(2, PageState::kPoisoned));  // told a moment after the thread was
  harness->arena().FindAll();
  harness->engine().BringHome();
  ASSERT_TRUE(WaitUntil([&] { return harness->engine().Home().pages_away == 0; }));
  ASSERT_TRUE(harness->engine().Resolve(LostPages::kAskAgain).ok());
  EXPECT_TRUE(harness->engine().WaitHome(Deadline::After(test::kPatience)));
  EXPECT_EQ(harness->guest().Word(2), 3U) << "poison outlived the detach";
}

TEST(EngineLoss, AStoreThatRefusesWritesLosesNothing) {
  EngineHarness harness({.pages = kPages, .limit = 128});
  ASSERT_TRUE(harness.Start().ok());
  for (std::uint64_t page = 0; page < 120; ++page) harness.guest().Word(page) = page + 1;
  harness.arena().switches().refuse_writes = true;
  harness.engine().SetLimit(PageCount(64));
  ASSERT_TRUE(WaitUntil([&] { return harness.events().Count(EngineEventKind::kWriteBackFailed) > 0; }));
  ASSERT_TRUE(WaitUntil([&] { return harness.engine().table().CountOf(PageState::kLeaving) == 0; }));
  for (std::uint64_t page = 0; page < 120; ++page) ASSERT_EQ(harness.guest().Word(page), page + 1);
  harness.arena().switches().refuse_writes = false;
  ASSERT_TRUE(harness.engine().Resolve(LostPages::kAskAgain).ok());
  EXPECT_TRUE(WaitUntil([&] { return harness.engine().table().Resident() <= 64; }));
  for (std::uint64_t page = 0; page < 120; ++page) ASSERT_EQ(harness.guest().Word(page), page + 1);
}

TEST(EngineLoss, NothingMoreLeavesWhileTheStoreIsOutOfReach) {
  EngineHarness harness({.pages = kPages, .limit = 128, .prefetch = false});
  ASSERT_TRUE(harness.Start().ok());
  for (std::uint64_t page = 0; page < kPages; ++page) harness.guest().Word(page) = page + 1;
  ASSERT_TRUE(harness.WaitState(2, PageState::kAway));
  for (std::uint64_t page = 0; page < 110; ++page) ASSERT_EQ(harness.guest().Word(page), page + 1);
  harness.arena().switches().disconnected = true;
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // what was acknowledged already may still go
  ASSERT_GT(harness.engine().Stats().pages.clean, 32U) << "no clean pages, nothing is shown";
  const std::uint64_t evicted = harness.engine().Stats().evictions;
  harness.engine().SetLimit(PageCount(64));
  std::this_thread::sleep_for(std::chrono::milliseconds(250));  // the time in which they would be dropped
  EXPECT_EQ(harness.engine().Stats().evictions, evicted)
      << "clean pages were dropped, and their only other copy is out of reach";
  harness.arena().switches().disconnected = false;
  EXPECT_TRUE(WaitUntil([&] { return harness.engine().table().Resident() <= 64; })) << "held for ever";
}

TEST(EngineLoss, PagesArmedBeforeAStallAreMarkedAnewAfterIt) {
  // A direct read that has pinned page 200 and waits for page 2, which is away, is in flight for as long as the store
  // is: the guard's grace time, which the test plays by Advance, says nothing of it.
  EngineHarness harness({.pages = kPages, .limit = 128, .prefetch = false});
  ASSERT_TRUE(harness.Start().ok());
  for (std::uint64_t page = 0; page < kPages; ++page) harness.guest().Word(page) = page + 1;
  ASSERT_TRUE(harness.WaitState(2, PageState::kAway));
  harness.Stop();  // its write-back buffers would serve page 2 without the store
  ASSERT_TRUE(harness.Start(StartMode::kTakeOver).ok());
  const auto leaving = [&] { return harness.engine().table().CountOf(PageState::kLeaving); };
  ASSERT_TRUE(WaitUntil([&] { return leaving() == 0; }));
  harness.guard().Hold();
  harness.engine().SetLimit(PageCount(64));
  ASSERT_TRUE(WaitUntil([&] { return leaving() > 0; }));
  harness.arena().switches().disconnected = true;
  {
    Waiter waiter(harness, 2);
    ASSERT_TRUE(harness.WaitState(2, PageState::kComing));
    std::this_thread::sleep_for(std::chrono::milliseconds(250));  // the time is what makes it a stall
    harness.guard().Advance();
    const std::uint64_t armed = leaving();
    const std::uint64_t evicted = harness.engine().Stats().evictions;
    const std::uint64_t marks = harness.guard().marks();
    harness.arena().switches().disconnected = false;
    EXPECT_TRUE(WaitUntil([&] { return waiter.done.load() && harness.guard().marks() > marks; }));
    EXPECT_EQ(harness.engine().Stats().evictions, evicted) << "dropped on a mark from before the stall";
    EXPECT_GE(leaving(), armed);
  }
  harness.guard().LetGo();
  EXPECT_TRUE(WaitUntil([&] { return harness.engine().table().Resident() <= 64; })) << "held for ever";
}

TEST(EngineLoss, AStoreThatIsTooSmallKeepsPagesHere) {
  EngineHarness harness({.pages = kPages, .limit = 64, .slots = 100});
  ASSERT_TRUE(harness.Start().ok());
  std::atomic<std::uint64_t> reached{0};
  std::thread guest([&] {
    for (std::uint64_t page = 0; page < kPages; ++page) {
      harness.guest().Word(page) = page + 1;
      reached = page;
    }
  });
  ASSERT_TRUE(WaitUntil([&] { return harness.events().Count(EngineEventKind::kStoreFull) > 0; }));
  harness.engine().SetLimit(PageCount(kPages));
  guest.join();
  for (std::uint64_t page = 0; page < kPages; ++page) ASSERT_EQ(harness.guest().Word(page), page + 1);
}

TEST(EngineLoss, DelayDisconnectionAndEvictionTogether) {
  EngineHarness harness({.pages = 1024, .limit = 128});
  ASSERT_TRUE(harness.Start().ok());
  ShadowWriters writers(harness.guest(), 4);
  for (int round = 0; round < 10; ++round) {
    harness.arena().switches().delay_ns = static_cast<std::uint64_t>(round % 3) * 300'000;
    harness.arena().switches().disconnected = round % 4 == 3;
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
  }
  harness.arena().switches().disconnected = false;
  writers.Finish();
  EXPECT_EQ(writers.wrong(), 0U);
  EXPECT_EQ(harness.arena().switches().lost_reads.load(), 0U);
}

}  // namespace
}  // namespace heca::fault
