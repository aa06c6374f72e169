// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/rounds.h"

#include <gtest/gtest.h>

namespace heca::migration {
namespace {

using control::MigrationMode;
using std::chrono::seconds;

Round Make(std::uint64_t copied_mib, Nanos copying, std::uint64_t written_mib, Nanos span = seconds(1)) {
  return {Bytes(copied_mib << 20), copying, Bytes(written_mib << 20), span};
}

TEST(Rounds, ChangesOverOnceTheRestFitsTheGoal) {
  for (const MigrationMode mode : {MigrationMode::kHybrid, MigrationMode::kPreCopy}) {
    Rounds rounds(mode, Millis(300));
    EXPECT_GT(rounds.predicted(), Millis(300)) << "nothing is known yet";
    EXPECT_EQ(rounds.After(Make(1000, seconds(1), 400)), Verdict::kAgain);
    EXPECT_EQ(std::chrono::duration_cast<Millis>(rounds.predicted()), Millis(400));
    EXPECT_EQ(rounds.After(Make(400, Millis(400), 250)), Verdict::kChangeOver);
    EXPECT_EQ(rounds.count(), 2U);
  }
}

TEST(Rounds, AVmThatWritesNothingChangesOverAtOnce) {
  Rounds rounds(MigrationMode::kPreCopy, Millis(1));
  EXPECT_EQ(rounds.After(Make(1000, seconds(10), 0)), Verdict::kChangeOver);
  Rounds empty(MigrationMode::kPreCopy, Millis(1));
  EXPECT_EQ(empty.After(Make(0, Nanos(0), 0)), Verdict::kChangeOver) << "a VM of zeros";
}

TEST(Rounds, ASmallRoundDoesNotSpoilTheRate) {
  Rounds rounds(MigrationMode::kPreCopy, Millis(100));
  EXPECT_EQ(rounds.After(Make(1000, seconds(1), 200)), Verdict::kAgain);
  EXPECT_EQ(rounds.After(Make(1, Millis(50), 90)), Verdict::kChangeOver) << "one page in 50 ms is latency, not bandwidth";
}

TEST(Rounds, HybridDoesNotWaitForAVmThatWritesFasterThanItIsCopied) {
  Rounds hybrid(MigrationMode::kHybrid, Millis(10));
  EXPECT_EQ(hybrid.After(Make(1000, seconds(1), 500)), Verdict::kAgain);
  EXPECT_EQ(hybrid.After(Make(500, Millis(500), 490)), Verdict::kAgain);
  EXPECT_EQ(hybrid.After(Make(490, Millis(490), 495)), Verdict::kChangeOver);
  Rounds pre_copy(MigrationMode::kPreCopy, Millis(10));
  for (int n = 0; n < 50; ++n) EXPECT_EQ(pre_copy.After(Make(500, Millis(500), 490)), Verdict::kAgain);
}

TEST(Rounds, HybridGoesOnAsLongAsRoundsShrink) {
  Rounds rounds(MigrationMode::kHybrid, Millis(10));
  EXPECT_EQ(rounds.After(Make(1000, seconds(1), 600)), Verdict::kAgain);
  for (const std::uint64_t left : {300, 150, 75, 37}) EXPECT_EQ(rounds.After(Make(left * 2, Millis(left), left)), Verdict::kAgain);
}

TEST(Rounds, HybridHasItsTime) {
  Rounds rounds(MigrationMode::kHybrid, Millis(1));
  EXPECT_EQ(rounds.After(Make(1000, seconds(30), 500, seconds(30))), Verdict::kAgain);
  EXPECT_EQ(rounds.After(Make(500, seconds(31), 100, seconds(31))), Verdict::kChangeOver);
}

}  // namespace
}  // namespace heca::migration
