// SPDX-License-Identifier: LGPL-2.1-or-later
// A governed VM that has come from another host: some pages lie in read-only slots (the image that its former host lends),
// others in slots of the lease that came with it.
#include <gtest/gtest.h>

#include <map>
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
    const SlotRun run{PageIndex(kFirstAway), kPages - kFirstAway, Slot(kLease)};
    ASSERT_TRUE(Place({run}).ok());
    ASSERT_TRUE(Place({run}, Slot(kLease + kPages - kFirstAway)).ok()) << "it may be repeated";
    EXPECT_EQ(engine().Placed().pages, kPages - kFirstAway);
    EXPECT_EQ(engine().Placed().twice, 0U);
  }
  Status Place(std::vector<SlotRun> runs, Slot mark = kNoSlot) {
    return engine().Place(std::move(runs), mark, Deadline::After(test::kPatience));
  }
  /// Where the page is from now on, and holds `value`.
  void Move(std::uint64_t page, Slot slot, std::uint64_t value) {
    Put(slot, value);
    values_[page] = value;
    ASSERT_TRUE(Place({{PageIndex(page), 1, slot.value() > kPages ? slot : kNoSlot}}).ok());
  }
  void ExpectItComesHomeWhole() {
    engine().BringHome();
    ASSERT_TRUE(engine().WaitHome(Deadline::After(std::chrono::seconds(20))));
    ExpectAll();
    EXPECT_EQ(switches().violations.load(), 0U);
    EXPECT_EQ(switches().lost_reads.load(), 0U);
  }
  void ExpectAll() {
    for (std::uint64_t page = 0; page < kPages; ++page) {
      ASSERT_EQ(harness_.guest().Word(page), values_.contains(page) ? values_[page] : ValueOf(page)) << page;
    }
  }
  bool AllAhead() { return WaitUntil([&] { return engine().Stats().ahead_pages == 0; }); }
  std::uint64_t Resident() { return engine().table().Resident(); }

  EngineHarness harness_;
  std::map<std::uint64_t, std::uint64_t> values_;  ///< of pages that have moved
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
  ExpectItComesHomeWhole();
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
  ASSERT_TRUE(engine().Tell(News::kEmpty, {{PageIndex(kFirstAway - 10), 20}}, Deadline::After(test::kPatience)).ok());
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
    return Place({{PageIndex(page), pages, Slot(slot)}}).code();
  };
  EXPECT_EQ(locate(0, 1, kPages), ErrorCode::kInvalidArgument) << "read-only";
  EXPECT_EQ(locate(kPages, 1, kLease), ErrorCode::kInvalidArgument);
  EXPECT_EQ(locate(1, kPages, kLease), ErrorCode::kInvalidArgument);
  EXPECT_EQ(locate(0, 3, 2 * kPages + 199), ErrorCode::kInvalidArgument) << "beyond the store";
  EXPECT_EQ(engine().Placed().pages, 0U);
  EXPECT_EQ(locate(0, 2, 2 * kPages + 199), ErrorCode::kOk);
  EXPECT_EQ(locate(5, 1, 2 * kPages + 200), ErrorCode::kOk);
  EXPECT_EQ(engine().Placed().pages, 3U);
  EXPECT_EQ(engine().Placed().twice, 1U) << "a slot for two pages";
  EXPECT_EQ(locate(1, 1, 0), ErrorCode::kOk) << "one of them has left it";
  EXPECT_EQ(engine().Placed().pages, 2U);
  EXPECT_EQ(engine().Placed().twice, 0U);
  engine().Open();
  EXPECT_EQ(locate(9, 1, kLease), ErrorCode::kFailedPrecondition);
}

TEST_F(Drawn, PagesOfTheImageComeAheadWithinTheLimitAndTheLeaseIsLeftAlone) {
  for (std::uint64_t page = kFirstAway; page < kPages; ++page) harness_.arena().Present(SlotOf(page)) = 0;  // not ours yet
  Locate();
  engine().Fill();
  ASSERT_TRUE(AllAhead());
  EXPECT_EQ(Resident(), kFirstAway);
  EXPECT_EQ(switches().lost_reads.load(), 0U);
  EXPECT_EQ(harness_.guest().Peek(7), ValueOf(7));
  for (std::uint64_t page = kFirstAway; page < kPages; ++page) harness_.arena().Present(SlotOf(page)) = 1;
  const std::uint64_t read = switches().read.load();
  engine().Open();
  EXPECT_TRUE(WaitUntil([&] { return engine().Stats().lent_pages == 0; })) << "what has come needs the image no more";
  EXPECT_EQ(switches().read.load(), read);
  engine().Settle();
  ExpectAll();
  EXPECT_TRUE(WaitUntil([&] { return Resident() <= kLimit; }));
  ExpectAll();
  EXPECT_EQ(switches().violations.load(), 0U);
}

TEST_F(Drawn, NoMoreComesAheadThanTheLimitHasRoomFor) {
  for (std::uint64_t page = kFirstAway; page < kPages; ++page) Put(Slot(static_cast<std::uint32_t>(page) + 1), 1);
  engine().Fill();
  ASSERT_TRUE(AllAhead()) << "of all 1024 that lie in the image";
  EXPECT_EQ(Resident(), kLimit);
  Locate();
  engine().Open();
  engine().Settle();
  ASSERT_TRUE(WaitUntil([&] { return engine().Drawn(); }));
  ExpectAll();
}

TEST_F(Drawn, WhereAPageLiesMayChangeAgainAndAgainBeforeOpen) {
  for (const bool fill : {false, true}) {
    Locate();
    if (fill) {
      engine().Fill();
      ASSERT_TRUE(AllAhead());
    }
    // Evicted, so that its former host finds a hole in the file before it tells where the page is.
    ASSERT_TRUE(engine().Tell(News::kEmpty, {{PageIndex(3), 1}}, Deadline::After(test::kPatience)).ok());
    Move(3, Slot(kPages + 5), 33);
    Move(400, Slot(401), 44);                   // fetched and written
    Move(5, SlotOf(400), 55);                   // evicted into the slot that is free now
    Move(6, Slot(7), 66);                       // written
    Move(7, SlotOf(401), 77);                   // evicted, before it is known that 401 has left its slot
    EXPECT_EQ(engine().Placed().twice, 1U);
    Move(401, Slot(402), 78);
    Move(3, Slot(4), 333);                      // and back
    EXPECT_EQ(engine().Placed().twice, 0U);
    EXPECT_EQ(engine().Placed().pages, kPages - kFirstAway);
    ASSERT_TRUE(Place({}, Slot(kLease + kPages)).ok());
    if (fill) {
      ASSERT_TRUE(AllAhead());
      EXPECT_EQ(harness_.guest().Peek(6), 66U);
      EXPECT_FALSE(harness_.guest().InFile(7));
      break;
    }
    // The same told anew, and once more after pages have come.
    ASSERT_TRUE(Place({{PageIndex(5), 1, kNoSlot}, {PageIndex(7), 1, kNoSlot}, {PageIndex(400), 2, SlotOf(400)}}).ok());
  }
  engine().Open();
  engine().Settle();
  ASSERT_TRUE(WaitUntil([&] { return engine().Drawn(); }));
  ExpectAll();
  ExpectItComesHomeWhole();
}

TEST_F(Drawn, AnAnswerFromBeforeAPageMovedIsNotPlaced) {
  Locate();
  switches().read_at_start = true;
  switches().disconnected = true;  // no answer comes
  engine().Fill();
  ASSERT_TRUE(WaitUntil([&] { return harness_.Entry(5).state == PageState::kPrefetching; }));
  Move(5, Slot(kPages + 7), 77);
  Move(6, Slot(7), 88);
  switches().disconnected = false;
  ASSERT_TRUE(AllAhead());
  engine().Open();
  engine().Settle();
  ExpectAll();
  EXPECT_GT(engine().Stats().stale_answers, 0U);
}

TEST_F(Drawn, AnotherHecadTakesOverWhatCameAhead) {
  Locate();
  engine().Fill();
  ASSERT_TRUE(AllAhead());
  Move(10, Slot(11), 1010);
  switches().disconnected = true;
  Move(11, Slot(12), 1111);
  engine().Open();
  harness_.Stop();
  switches().disconnected = false;
  auto table = harness_.Table(StartMode::kTakeOver);
  ASSERT_TRUE(table.ok());
  ASSERT_TRUE(harness_.Start(StartMode::kTakeOver, std::move(*table), true).ok());
  engine().Settle();
  ASSERT_TRUE(WaitUntil([&] { return engine().Drawn(); }));
  ExpectAll();
  EXPECT_EQ(switches().violations.load(), 0U);
}

}  // namespace
}  // namespace heca::fault
