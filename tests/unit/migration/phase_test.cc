// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/phase.h"

#include <gtest/gtest.h>

#include <set>
#include <string_view>

namespace heca::migration {
namespace {

using enum Phase;

constexpr Phase kAll[] = {kPrepare, kPreCopy, kStream, kStopped, kOpened, kArrived, kComplete, kAborted, kLost};

TEST(Phase, TheOrderIsKept) {
  const Phase way[] = {kPrepare, kPreCopy, kStream, kStopped, kOpened, kArrived, kComplete};
  for (std::size_t i = 0; i + 1 < std::size(way); ++i) EXPECT_TRUE(MayFollow(way[i], way[i + 1])) << ToString(way[i]);
}

TEST(Phase, AnAbortIsPossibleUpToTheSwitchAndNeverAfter) {
  for (const Phase phase : {kPrepare, kPreCopy, kStream, kStopped, kOpened}) {
    EXPECT_TRUE(MayFollow(phase, kAborted)) << ToString(phase);
  }
  for (const Phase phase : {kArrived, kComplete, kLost}) {
    EXPECT_FALSE(MayFollow(phase, kAborted)) << ToString(phase);
    for (const Phase back : {kPrepare, kPreCopy, kStream, kStopped, kOpened}) EXPECT_FALSE(MayFollow(phase, back)) << ToString(phase);
  }
}

TEST(Phase, EndsAreEnds) {
  for (const Phase end : {kComplete, kAborted, kLost}) {
    for (const Phase next : kAll) EXPECT_FALSE(MayFollow(end, next)) << ToString(end) << " -> " << ToString(next);
  }
}

TEST(Phase, EachHasAWordOfItsOwn) {
  std::set<std::string_view> words;
  for (const Phase phase : kAll) EXPECT_TRUE(words.insert(ToString(phase)).second) << ToString(phase);
}

}  // namespace
}  // namespace heca::migration
