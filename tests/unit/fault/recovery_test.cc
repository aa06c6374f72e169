// SPDX-License-Identifier: LGPL-2.1-or-later
// The recovery table, row by row: a journal and a RAM file made by hand, as a SIGKILL would leave them.
#include <gtest/gtest.h>

#include "support/engine_harness.h"

namespace heca::fault {
namespace {

using region::PageEntry;
using region::PageState;
using test::EngineHarness;

constexpr std::uint64_t kStored = 0x5707ED;  // what the store holds
constexpr std::uint64_t kLocal = 0x10CA1;    // what the file holds
constexpr std::uint64_t kPage = 5;

struct Row {
  const char* name;
  PageState state;
  bool clean;
  bool has_slot;
  bool in_file;
  PageState becomes;
  std::uint64_t guest_reads;
};

class RecoveryRow : public testing::TestWithParam<Row> {};

TEST_P(RecoveryRow, IsRight) {
  const Row& row = GetParam();
  EngineHarness harness({.pages = 64, .limit = 64});
  const Slot slot(7);
  {
    auto table = harness.Table(StartMode::kFresh);
    ASSERT_TRUE(table.ok());
    table->RaiseSlotMark(Slot(20));
    for (std::uint32_t other : {7U, 9U}) {  // slot 9 belongs to no page: a write-back that was half done
      *reinterpret_cast<std::uint64_t*>(harness.arena().Page(Slot(other)) + 64) = kStored;
      harness.arena().Present(Slot(other)).store(1);
    }
    PageEntry entry;
    entry.generation = 41;
    // The journal's way to each state.
    const auto move = [&](PageState state) {
      entry.state = state;
      table->Move(PageIndex(kPage), entry);
    };
    if (row.state != PageState::kZero) move(PageState::kHere);
    entry.slot = row.has_slot ? slot : kNoSlot;
    switch (row.state) {
      case PageState::kZero: break;
      case PageState::kHere:
        entry.clean = row.clean;
        move(PageState::kHere);
        break;
      case PageState::kLeaving: move(PageState::kLeaving); break;
      case PageState::kCancel: move(PageState::kLeaving); move(PageState::kCancel); break;
      case PageState::kDropping: move(PageState::kDropping); break;
      default:
        move(PageState::kDropping);
        move(PageState::kAway);
        if (row.state == PageState::kComing || row.state == PageState::kPrefetching) move(row.state);
        if (row.state == PageState::kLost) move(PageState::kComing), move(PageState::kLost);
    }
  }
  if (row.in_file) {
    ASSERT_EQ(::pwrite(harness.guest().file(), &kLocal, 8, kPage * 4096 + 64), 8);
  }
  ASSERT_TRUE(harness.Start(StartMode::kTakeOver).ok());
  EXPECT_EQ(ToString(harness.Entry(kPage).state), ToString(row.becomes));
  EXPECT_EQ(harness.guest().Word(kPage), row.guest_reads);
  harness.guest().Word(kPage) = 77;
  EXPECT_EQ(harness.guest().Word(kPage), 77U);
  EXPECT_TRUE(test::WaitUntil([&] { return harness.arena().Present(Slot(9)).load() == 0; })) << "an orphan slot stays";
  EXPECT_EQ(harness.arena().switches().lost_reads.load(), 0U);
}

INSTANTIATE_TEST_SUITE_P(
    Hole16, RecoveryRow,
    testing::Values(Row{"ZeroHole", PageState::kZero, false, false, false, PageState::kZero, 0},
                    Row{"ZeroPage", PageState::kZero, false, false, true, PageState::kHere, kLocal},
                    Row{"HereDirtyPage", PageState::kHere, false, false, true, PageState::kHere, kLocal},
                    Row{"HereDirtyHole", PageState::kHere, false, false, false, PageState::kZero, 0},
                    Row{"HereCleanPage", PageState::kHere, true, true, true, PageState::kHere, kLocal},
                    Row{"HereCleanHole", PageState::kHere, true, true, false, PageState::kZero, 0},
                    Row{"LeavingPage", PageState::kLeaving, false, true, true, PageState::kHere, kLocal},
                    Row{"LeavingHole", PageState::kLeaving, false, true, false, PageState::kZero, 0},
                    Row{"CancelPage", PageState::kCancel, false, false, true, PageState::kHere, kLocal},
                    Row{"DroppingPage", PageState::kDropping, false, true, true, PageState::kHere, kLocal},
                    Row{"DroppingHole", PageState::kDropping, false, true, false, PageState::kAway, kStored},
                    Row{"DroppingZeroHole", PageState::kDropping, false, false, false, PageState::kZero, 0},
                    Row{"AwayHole", PageState::kAway, false, true, false, PageState::kAway, kStored},
                    Row{"AwayStray", PageState::kAway, false, true, true, PageState::kAway, kStored},
                    Row{"ComingPage", PageState::kComing, false, true, true, PageState::kHere, kLocal},
                    Row{"ComingHole", PageState::kComing, false, true, false, PageState::kAway, kStored},
                    Row{"PrefetchingPage", PageState::kPrefetching, false, true, true, PageState::kHere, kLocal},
                    Row{"PrefetchingHole", PageState::kPrefetching, false, true, false, PageState::kAway, kStored},
                    Row{"Lost", PageState::kLost, false, true, false, PageState::kAway, kStored}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(Recovery, RefusesASlotNamedTwice) {
  EngineHarness harness({.pages = 64, .limit = 64});
  {
    auto table = harness.Table(StartMode::kFresh);
    ASSERT_TRUE(table.ok());
    table->RaiseSlotMark(Slot(20));
    for (std::uint64_t page : {1U, 2U}) {
      PageEntry entry;
      for (PageState state : {PageState::kHere, PageState::kDropping, PageState::kAway}) {
        entry.state = state;
        entry.slot = state == PageState::kHere ? kNoSlot : Slot(3);
        table->Move(PageIndex(page), entry);
      }
    }
  }
  EXPECT_EQ(harness.Start(StartMode::kTakeOver).code(), ErrorCode::kDataLoss);
}

TEST(Recovery, StopWithoutDetachAndTakeOver) {
  EngineHarness harness({.pages = 512, .limit = 96});
  ASSERT_TRUE(harness.Start().ok());
  for (std::uint64_t page = 0; page < 512; ++page) harness.guest().Word(page) = page + 1;
  harness.Stop();
  ASSERT_TRUE(harness.Start(StartMode::kTakeOver).ok());
  for (std::uint64_t page = 0; page < 512; ++page) ASSERT_EQ(harness.guest().Word(page), page + 1);
  harness.engine().BringHome();
  EXPECT_TRUE(harness.engine().WaitHome(Deadline::After(test::kPatience)));
  EXPECT_EQ(harness.arena().CountPresent(), 0U);
}

}  // namespace
}  // namespace heca::fault
