// SPDX-License-Identifier: LGPL-2.1-or-later
// A governed VM that has come from another host: some pages lie in read-only slots (the image that its former host lends),
// others in slots of the lease that came with it.
#include <gtest/gtest.h>

#include <vector>

#include "support/engine_harness.h"

namespace heca::fault {
namespace {

using region::PageState;
using region::SlotRun;
using test::EngineHarness;
using test::WaitUntil;

constexpr std::uint64_t kPages = 1024;
constexpr std::uint64_t kLimit = 256;
constexpr std::uint64_t kFirstAway = 200;  // the pages before lie in the image, page p in slot p + 1
constexpr std::uint32_t kLease = kPages + 40;  // page p >= kFirstAway lies in slot kLease + p - kFirstAway

Slot SlotOf(std::uint64_t page) {
  return Slot(static_cast<std::uint32_t>(page < kFirstAway ? page + 1 : kLease + page - kFirstAway));
}
std::uint64_t ValueOf(std::uint64_t page) { return 10'000 + page; }

class Drawn : public testing::Test {
 protected:
  Drawn() : harness_({.pages = kPages, .limit = kLimit, .slots = 2 * kPages + 200, .read_only = kPages, .prefetch = false}) {
    for (std::uint64_t page = 0; page < kPages; ++page) Put(SlotOf(page), ValueOf(page));
    Put(Slot(kPages + 3), 1);  // of the lease, and no page lies there
    auto table = region::PageTable::CreateAway(harness_.journal(), harness_.guest().Map(), test::kStoreName);
    HECA_CHECK(table.ok());
    HECA_CHECK(harness_.Start(StartMode::kArrival, std::move(*table), true).ok());
  }
  void Put(Slot slot, std::uint64_t value) {
    reinterpret_cast<std::uint64_t*>(harness_.arena().Page(slot))[8] = value;
    harness_.arena().Present(slot).store(1);
  }
  RegionEngine& engine() { return harness_.engine(); }
  test::MemoryArena::Switches& switches() { return harness_.arena().switches(); }
  void Locate() {
    const std::vector<SlotRun> runs{{PageIndex(kFirstAway), kPages - kFirstAway, Slot(kLease)}};
    ASSERT_TRUE(engine().Locate(runs).ok());
    ASSERT_TRUE(engine().Locate(runs).ok()) << "it may be repeated";
    ASSERT_TRUE(engine().EndLocate(Slot(kLease + kPages - kFirstAway)).ok());
  }
  void ExpectAll() {
    for (std::uint64_t page = 0; page < kPages; ++page) {
      ASSERT_EQ(harness_.guest().Word(page), ValueOf(page)) << page;
    }
  }
  std::uint64_t Resident() { return engine().table().Resident(); }

  EngineHarness harness_;
};

TEST_F(Drawn, WhileHeldTheStoreIsOnlyReadAndNothingLeaves) {
  Locate();
  engine().Open();
  for (std::uint64_t page = 0; page < 600; ++page) {
    ASSERT_EQ(harness_.guest().Word(page), ValueOf(page));
    harness_.guest().Word(page) = ValueOf(page);
  }
  EXPECT_EQ(Resident(), 600U) << "over its limit, for nobody may write";
  std::this_thread::sleep_for(Millis(250));  // longer than the loop's longest tick
  EXPECT_EQ(switches().written.load(), 0U);
  EXPECT_EQ(switches().released.load(), 0U);
  EXPECT_FALSE(engine().Drawn());
  engine().Settle();
  EXPECT_TRUE(WaitUntil([&] { return Resident() <= kLimit; }));
  EXPECT_TRUE(WaitUntil([&] { return engine().Drawn(); }));
  ExpectAll();
}

TEST_F(Drawn, WhatLiesInTheImageIsDrawnWithinTheLimit) {
  Locate();
  engine().Open();
  engine().Settle();
  ASSERT_TRUE(WaitUntil([&] { return engine().Drawn(); }));
  EXPECT_LE(Resident(), kLimit);
  for (std::uint64_t page = 0; page < kPages; ++page) {
    const Slot slot = harness_.Entry(page).slot;
    ASSERT_TRUE(slot == kNoSlot || slot.value() > kPages) << page;
  }
  // The slots of the lease that no page lies in have been given back, and the image was left alone.
  EXPECT_TRUE(WaitUntil([&] { return harness_.arena().Present(Slot(kPages + 3)).load() == 0; }));
  for (std::uint32_t slot = 1; slot <= kFirstAway; ++slot) ASSERT_EQ(harness_.arena().Present(Slot(slot)).load(), 1);
  ExpectAll();
  engine().BringHome();
  ASSERT_TRUE(engine().WaitHome(Deadline::After(std::chrono::seconds(20))));
  ExpectAll();
  EXPECT_EQ(switches().violations.load(), 0U);
  EXPECT_EQ(switches().lost_reads.load(), 0U);
}

TEST_F(Drawn, AGuestThatWritesAllTheTimeLosesNothing) {
  Locate();
  engine().Open();
  test::ShadowWriters writers(harness_.guest(), 2);
  engine().Settle();
  EXPECT_TRUE(WaitUntil([&] { return engine().Drawn(); }, std::chrono::seconds(60)));
  EXPECT_TRUE(WaitUntil([&] { return writers.visits() > 20'000; }, std::chrono::seconds(60)));
  writers.Finish();
  EXPECT_EQ(writers.wrong(), 0U);
  EXPECT_EQ(switches().violations.load(), 0U);
}

TEST_F(Drawn, AnotherHecadGoesOnWhereverThisOneEnded) {
  Locate();
  engine().Open();
  for (std::uint64_t page = 0; page < 20; ++page) ASSERT_EQ(harness_.guest().Word(page), ValueOf(page));
  harness_.Stop();
  auto table = harness_.Table(StartMode::kTakeOver);
  ASSERT_TRUE(table.ok());
  ASSERT_TRUE(harness_.Start(StartMode::kTakeOver, std::move(*table), true).ok());
  EXPECT_GT(engine().Stats().lent_pages, 100U);
  EXPECT_FALSE(engine().Drawn());
  engine().Settle();
  ASSERT_TRUE(WaitUntil([&] { return engine().Stats().lent_pages < 150; }));
  harness_.Stop();
  ASSERT_TRUE(harness_.Start(StartMode::kTakeOver).ok()) << "settled before, so it draws at once";
  ASSERT_TRUE(WaitUntil([&] { return engine().Drawn(); }));
  ExpectAll();
}

TEST_F(Drawn, WhatTheImageSaysIsEmptyConcernsTheImageOnly) {
  Locate();
  engine().Open();
  ASSERT_TRUE(engine().Tell(News::kEmpty, {{PageIndex(kFirstAway - 10), 20}}, Deadline::After(std::chrono::seconds(10))).ok());
  EXPECT_EQ(harness_.guest().Word(kFirstAway - 1), 0U);
  EXPECT_EQ(harness_.guest().Word(kFirstAway), ValueOf(kFirstAway));
  EXPECT_EQ(engine().Stats().holes, 10U);
}

TEST_F(Drawn, APageThatIsLostHoldsUpNoOther) {
  Locate();
  harness_.arena().Present(SlotOf(77)) = 0;
  engine().Open();
  engine().Settle();
  EXPECT_TRUE(WaitUntil([&] { return engine().Stats().lent_pages == 1; }, std::chrono::seconds(30)));
  EXPECT_FALSE(engine().Drawn());
  harness_.arena().Present(SlotOf(77)) = 1;
  EXPECT_TRUE(WaitUntil([&] { return engine().Drawn(); }));
  ExpectAll();
}

TEST_F(Drawn, APlaceThatCannotBeIsRefused) {
  const auto locate = [&](std::uint64_t page, std::uint64_t pages, std::uint32_t slot) {
    const SlotRun run{PageIndex(page), pages, Slot(slot)};
    return engine().Locate({&run, 1}).code();
  };
  EXPECT_EQ(locate(0, 1, kPages), ErrorCode::kInvalidArgument) << "read-only";
  EXPECT_EQ(locate(0, 1, 0), ErrorCode::kInvalidArgument);
  EXPECT_EQ(locate(kPages, 1, kLease), ErrorCode::kInvalidArgument);
  EXPECT_EQ(locate(1, kPages, kLease), ErrorCode::kInvalidArgument);
  EXPECT_EQ(locate(0, 3, 2 * kPages + 199), ErrorCode::kInvalidArgument) << "beyond the store";
  EXPECT_EQ(locate(0, 2, 2 * kPages + 199), ErrorCode::kOk);
  EXPECT_EQ(locate(5, 1, 2 * kPages + 200), ErrorCode::kDataLoss) << "a slot for two pages";
  EXPECT_EQ(locate(1, 1, kLease), ErrorCode::kDataLoss) << "two slots for a page";
  engine().Open();
  EXPECT_EQ(locate(9, 1, kLease), ErrorCode::kFailedPrecondition);
}

}  // namespace
}  // namespace heca::fault
