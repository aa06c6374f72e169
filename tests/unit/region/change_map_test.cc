// SPDX-License-Identifier: LGPL-2.1-or-later
#include "region/change_map.h"

#include <gtest/gtest.h>

namespace heca::region {
namespace {

TEST(ChangeMap, TakesNothingInUntilSomebodyAsks) {
  ChangeMap map;
  map.Set(PageIndex(5));
  EXPECT_FALSE(map.on());
  map.Begin(ChangeMap::AllOf(PageCount(130)));
  EXPECT_TRUE(map.on());
  map.End();
  EXPECT_FALSE(map.on());
}

TEST(ChangeMap, HasABitForEachPageAndNoneBehind) {
  ChangeMap map;
  map.Begin(ChangeMap::AllOf(PageCount(130)));
  ASSERT_EQ(map.words(), 3U);
  EXPECT_EQ(map.Word(1), ~std::uint64_t{0});
  EXPECT_EQ(map.Word(2), 3U);
  map.Clear(PageIndex(129));
  EXPECT_FALSE(map.IsSet(PageIndex(129)));
  map.Set(PageRun{PageIndex(127), 3});
  EXPECT_TRUE(map.IsSet(PageIndex(129)));
}

TEST(ChangeMap, WhatIsSetTwiceIsClearedTwice) {
  ChangeMap map;
  map.Begin(ChangeMap::AllOf(PageCount(64)));
  map.SetTwice(PageIndex(7));
  map.Clear(PageIndex(7));
  EXPECT_TRUE(map.IsSet(PageIndex(7)));
  map.Clear(PageIndex(7));
  EXPECT_FALSE(map.IsSet(PageIndex(7)));
}

}  // namespace
}  // namespace heca::region
