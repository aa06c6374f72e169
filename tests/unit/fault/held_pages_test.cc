// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/held_pages.h"

#include <gtest/gtest.h>

#include <array>

namespace heca::fault {
namespace {

using Page = std::array<std::byte, 4096>;

Expected At(std::uint64_t page, region::Generation generation = 1) { return {PageIndex(page), generation}; }

TEST(HeldPages, AreFoundInTheirGenerationOnly) {
  HeldPages held(kBasePage);
  Page page;
  page.fill(std::byte{7});
  EXPECT_FALSE(held.Hold(At(5, 3), page.data()).has_value());
  const std::byte* found = held.Find(At(5, 3));
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found[4095], std::byte{7});
  EXPECT_EQ(held.Find(At(5, 4)), nullptr);
  EXPECT_EQ(held.Find(At(6, 3)), nullptr);
}

TEST(HeldPages, OfAnEarlierTimeAreForgotten) {
  HeldPages held(kBasePage);
  const Page page{};
  static_cast<void>(held.Hold(At(5), page.data()));
  held.Forget(PageIndex(5));
  EXPECT_EQ(held.Find(At(5)), nullptr);
  EXPECT_FALSE(held.Drop().has_value());
}

TEST(HeldPages, TheOldestMakesRoom) {
  HeldPages held(kBasePage);
  const Page page{};
  std::uint64_t next = 0;
  std::optional<Expected> gone;
  while (!(gone = held.Hold(At(next++), page.data()))) ASSERT_LT(next, 1000U);
  EXPECT_EQ(gone->page, PageIndex(0));
  EXPECT_EQ(held.Find(At(0)), nullptr);
  EXPECT_EQ(held.Drop()->page, PageIndex(1));
  std::uint64_t dropped = 1;
  while (held.Drop()) ++dropped;
  EXPECT_EQ(dropped, next - 1);
}

}  // namespace
}  // namespace heca::fault
