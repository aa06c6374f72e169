// SPDX-License-Identifier: LGPL-2.1-or-later
#include "region/slot_allocator.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <fstream>
#include <set>

namespace heca::region {
namespace {

TEST(SlotAllocator, HandsOutNeighboursAndEachOnce) {
  SlotAllocator slots(200);
  std::array<Slot, 64> run;
  ASSERT_EQ(slots.Allocate(run), 64U);
  for (std::size_t i = 0; i < run.size(); ++i) EXPECT_EQ(run[i], Slot(static_cast<std::uint32_t>(i + 1)));
  std::set<std::uint32_t> all;
  for (const Slot slot : run) all.insert(slot.value());
  while (const std::size_t got = slots.Allocate(run)) {
    for (std::size_t i = 0; i < got; ++i) EXPECT_TRUE(all.insert(run[i].value()).second) << run[i].value();
  }
  EXPECT_EQ(all.size(), 200U);
  EXPECT_EQ(*all.rbegin(), 200U);
  EXPECT_EQ(slots.free(), 0U);
}

TEST(SlotAllocator, ASlotIsFreeOnlyAfterItsReleaseIsConfirmed) {
  SlotAllocator slots(1);
  std::array<Slot, 1> one;
  ASSERT_EQ(slots.Allocate(one), 1U);
  slots.Condemn(one[0]);
  EXPECT_EQ(slots.Allocate(one), 0U);
  std::array<Slot, 4> taken;
  ASSERT_EQ(slots.TakeCondemned(taken), 1U);
  EXPECT_EQ(slots.releasing(), 1U);
  EXPECT_EQ(slots.Allocate(one), 0U);
  slots.Released({taken.data(), 1});
  EXPECT_EQ(slots.Allocate(one), 1U);
}

TEST(SlotAllocator, AFailedReleaseIsRepeated) {
  SlotAllocator slots(8);
  std::array<Slot, 2> two;
  ASSERT_EQ(slots.Allocate(two), 2U);
  slots.Condemn(two[0]);
  std::array<Slot, 4> taken;
  ASSERT_EQ(slots.TakeCondemned(taken), 1U);
  slots.ReleaseFailed({taken.data(), 1});
  EXPECT_EQ(slots.condemned(), 1U);
  EXPECT_EQ(slots.TakeCondemned(taken), 1U);
  EXPECT_EQ(taken[0], two[0]);
}

TEST(SlotAllocator, RecoveryCondemnsWhatNoPageNames) {
  SlotAllocator slots(100);
  slots.CondemnUpTo(Slot(10));
  ASSERT_TRUE(slots.MarkUsed(Slot(4)).ok());
  EXPECT_EQ(slots.condemned(), 9U);
  EXPECT_EQ(slots.used(), 1U);
  EXPECT_EQ(slots.free(), 90U);
  EXPECT_EQ(slots.MarkUsed(Slot(4)).code(), ErrorCode::kDataLoss);
  EXPECT_EQ(slots.MarkUsed(Slot(101)).code(), ErrorCode::kDataLoss);
  EXPECT_EQ(slots.MarkUsed(kNoSlot).code(), ErrorCode::kDataLoss);
}

TEST(SlotAllocator, Grows) {
  SlotAllocator slots(3);
  std::array<Slot, 80> run;
  ASSERT_EQ(slots.Allocate(run), 3U);
  slots.Grow(70);
  EXPECT_EQ(slots.Allocate(run), 67U);
  slots.Grow(10);
  EXPECT_EQ(slots.slot_count(), 70U);
}

std::uint64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  std::uint64_t size = 0, resident = 0;
  statm >> size >> resident;
  return resident * 4096;
}

TEST(SlotAllocator, SlotsThatWereNeverUsedTakeNoMemory) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "ThreadSanitizer takes memory of its own for every word that is looked at";
#endif
  const std::uint64_t before = ResidentBytes();
  SlotAllocator slots(1U << 26);  // 16 MiB if all of them were
  std::array<Slot, 64> some;
  ASSERT_EQ(slots.Allocate(some), 64U);
  slots.Grow(1U << 27);
  EXPECT_LT(ResidentBytes(), before + (8U << 20));
  EXPECT_EQ(slots.used(), 64U);
  EXPECT_EQ(slots.Allocate(some), 64U);
  EXPECT_EQ(some[0], Slot(65));
}

TEST(SlotAllocator, ReadOnlySlotsAreNeitherHandedOutNorReleased) {
  SlotAllocator slots(200, 100);
  EXPECT_EQ(slots.free(), 100U);
  ASSERT_TRUE(slots.MarkUsed(Slot(7)).ok());
  ASSERT_TRUE(slots.MarkUsed(Slot(100)).ok());
  EXPECT_EQ(slots.read_only_used(), 2U);
  EXPECT_EQ(slots.used(), 0U);
  EXPECT_EQ(slots.MarkUsed(Slot(7)).code(), ErrorCode::kDataLoss);
  slots.CondemnUpTo(Slot(110));  // a restart: of the read-only ones there is nothing to release
  EXPECT_EQ(slots.condemned(), 10U);
  slots.Condemn(Slot(7));
  EXPECT_EQ(slots.read_only_used(), 1U);
  EXPECT_EQ(slots.condemned(), 10U);
  std::array<Slot, 300> all;
  const std::size_t got = slots.Allocate(all);
  ASSERT_EQ(got, 90U);
  for (std::size_t i = 0; i < got; ++i) EXPECT_GT(all[i], Slot(110));
  EXPECT_EQ(slots.TakeCondemned(all), 10U);
  slots.Released({all.data(), 10});
  EXPECT_EQ(slots.Allocate(all), 10U);
  EXPECT_TRUE(slots.IsReadOnly(Slot(100)));
  EXPECT_FALSE(slots.IsReadOnly(Slot(101)));
  EXPECT_FALSE(slots.IsReadOnly(kNoSlot));
}

TEST(SlotAllocator, AStoreThatIsAllReadOnlyHandsOutNothingUntilItGrows) {
  SlotAllocator slots(128, 128);
  std::array<Slot, 4> run;
  EXPECT_EQ(slots.Allocate(run), 0U);
  EXPECT_EQ(slots.TakeCondemned(run), 0U);
  slots.Grow(130);
  ASSERT_EQ(slots.Allocate(run), 2U);
  EXPECT_EQ(run[0], Slot(129));
}

}  // namespace
}  // namespace heca::region
