// SPDX-License-Identifier: LGPL-2.1-or-later
#include "region/page_state.h"

#include <gtest/gtest.h>

#include "region/page_entry.h"

namespace heca::region {
namespace {

using enum PageState;

TEST(PageState, NoWayFromAwayToHereButThroughAClaim) {
  EXPECT_FALSE(IsLegalMove(kAway, kHere));
  EXPECT_TRUE(IsLegalMove(kAway, kComing));
  EXPECT_TRUE(IsLegalMove(kComing, kHere));
}

TEST(PageState, NoWayOutButThroughDropping) {
  for (const PageState from : {kZero, kHere, kLeaving, kCancel}) EXPECT_FALSE(IsLegalMove(from, kAway)) << ToString(from);
  EXPECT_TRUE(IsLegalMove(kDropping, kAway));
}

TEST(PageState, AWriteWhileLeavingGoesThroughCancel) {
  EXPECT_TRUE(IsLegalMove(kLeaving, kCancel));
  EXPECT_TRUE(IsLegalMove(kCancel, kHere));
  EXPECT_FALSE(IsLegalMove(kCancel, kDropping));
  EXPECT_FALSE(IsLegalMove(kCancel, kLeaving));
}

TEST(PageState, LossIsNeverAnsweredByItself) {
  EXPECT_FALSE(IsLegalMove(kLost, kHere));
  EXPECT_TRUE(IsLegalMove(kLost, kAway));
}

TEST(PageState, EveryStateHasANameAndMayStay) {
  for (std::size_t state = 0; state < kPageStates; ++state) {
    EXPECT_NE(ToString(static_cast<PageState>(state)), "invalid");
    EXPECT_TRUE(IsLegalMove(static_cast<PageState>(state), static_cast<PageState>(state)));
  }
}

TEST(PageEntry, EveryFieldSurvivesTheEightBytes) {
  const PageEntry entry{kPoisoned, 0x7, true, 0xA5, 0xBEEF, Slot(0xDEADBEEF)};
  EXPECT_EQ(PageEntry::Decode(entry.Encode()), entry);
  EXPECT_EQ(PageEntry{}.Encode(), 0U);
  EXPECT_EQ(PageEntry::Decode(0), PageEntry{});
}

TEST(PageEntry, TheGenerationWraps) {
  PageEntry entry;
  entry.generation = 0xFFFF;
  EXPECT_EQ(entry.NextGeneration(), 0);
}

}  // namespace
}  // namespace heca::region
