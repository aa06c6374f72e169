// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node/memory_budget.h"

#include <gtest/gtest.h>

namespace heca::node {
namespace {

constexpr std::uint64_t kMiB = 1ULL << 20;
constexpr Bytes kSlack{MemoryBudget::kSlackBytes};

class FixedMemory final : public FreeMemory {
 public:
  explicit FixedMemory(std::uint64_t bytes) : bytes_(bytes) {}
  [[nodiscard]] Result<Bytes> Available(Bytes, int) const override { return Bytes(bytes_); }

 private:
  std::uint64_t bytes_;
};

std::function<Bytes()> Resident(std::uint64_t bytes) {
  return [bytes] { return Bytes(bytes); };
}

TEST(MemoryBudget, BooksUpToWhatIsFreeAndRefusesBeyondWithNumbers) {
  const FixedMemory memory(1000 * kMiB);
  MemoryBudget budget(memory);
  EXPECT_TRUE(budget.Book("a", kBasePage, -1, Bytes(984 * kMiB), Resident(0)).ok());
  const Status refused = budget.Book("b", kBasePage, -1, Bytes(1 * kMiB), Resident(0));
  EXPECT_EQ(refused.code(), ErrorCode::kResourceExhausted);
  EXPECT_NE(refused.message().find("1000"), std::string_view::npos) << refused.message();
  EXPECT_EQ(budget.Booked(), Bytes(1000 * kMiB));
}

TEST(MemoryBudget, WhatIsResidentIsNotCountedTwice) {
  const FixedMemory memory(100 * kMiB);
  MemoryBudget budget(memory);
  EXPECT_TRUE(budget.Book("a", kBasePage, -1, Bytes(500 * kMiB), Resident(450 * kMiB)).ok());
  // 66 MiB are promised to a; 34 are left.
  EXPECT_FALSE(budget.Book("b", kBasePage, -1, Bytes(20 * kMiB), Resident(0)).ok());
  EXPECT_TRUE(budget.Book("b", kBasePage, -1, Bytes(18 * kMiB), Resident(0)).ok());
}

TEST(MemoryBudget, ARefusedChangeLeavesTheFormerBooking) {
  const FixedMemory memory(100 * kMiB);
  MemoryBudget budget(memory);
  ASSERT_TRUE(budget.Book("a", kBasePage, -1, Bytes(50 * kMiB), Resident(0)).ok());
  EXPECT_FALSE(budget.Book("a", kBasePage, -1, Bytes(90 * kMiB), Resident(0)).ok());
  EXPECT_EQ(budget.Booked().value(), 50 * kMiB + kSlack.value());
  budget.Drop("a");
  EXPECT_EQ(budget.Booked().value(), 0u);
}

TEST(MemoryBudget, ACgroupThatIsTooSmallIsNamedWithItsNumbers) {
  const os::MemoryGroup group{"/sys/fs/cgroup/vm", Bytes(100 * kMiB), Bytes(70 * kMiB), Bytes(50 * kMiB)};
  EXPECT_TRUE(FitsGroup(group, "a", Bytes(80 * kMiB), Bytes(50 * kMiB)).ok());
  const Status refused = FitsGroup(group, "a", Bytes(81 * kMiB), Bytes(50 * kMiB));
  EXPECT_EQ(refused.code(), ErrorCode::kResourceExhausted);
  for (const char* part : {"31MiB more", "room for 30MiB", "70MiB of 100MiB", "/sys/fs/cgroup/vm"}) {
    EXPECT_NE(refused.message().find(part), std::string_view::npos) << refused.message();
  }
  // 60 MiB are here, and 10 of them were charged to somebody else: they come back into this group.
  EXPECT_FALSE(FitsGroup(group, "a", Bytes(81 * kMiB), Bytes(60 * kMiB)).ok());
}

TEST(MemoryBudget, TheHostTellsWhatItHas) {
  const auto free = HostFreeMemory().Available(kHugePage, -1);
  ASSERT_TRUE(free.ok());
  EXPECT_EQ(free->value() % kHugePage.value(), 0u);
}

}  // namespace
}  // namespace heca::node
