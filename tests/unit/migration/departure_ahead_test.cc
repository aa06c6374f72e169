// SPDX-License-Identifier: LGPL-2.1-or-later
// The same where memory goes ahead of the VM (hybrid, pre-copy).
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "departure_rig.h"

namespace heca::migration {
namespace {

class AheadTest : public DepartureTest {
 protected:
  AheadTest() { plan_.mode = control::MigrationMode::kHybrid; }
};

TEST_F(AheadTest, EachRoundLearnsThenWaitsForDevicesThenTells) {
  vm_.written = {{{1, 200}}, {}};
  there_.ahead = {Left(4096, 0), Left(0, 4096), Left(0, 8192)};
  plan_.downtime_goal = Millis(1);
  const auto summary = Run();
  ASSERT_TRUE(summary.ok()) << summary.status().ToString();
  const Diary begin{"prepare", "note writes", "devices", "show", "told empty", "written", "devices", "told changed"};
  ASSERT_GT(diary_.size(), begin.size());
  EXPECT_EQ(Diary(diary_.begin(), diary_.begin() + static_cast<std::ptrdiff_t>(begin.size())), begin);
  const Diary end{"start", "stopped", "written last", "told changed", "image open", "open", "continue", "keep", "forget writes",
                  "restore", "fence"};
  ASSERT_GT(diary_.size(), end.size());
  EXPECT_EQ(Diary(diary_.end() - static_cast<std::ptrdiff_t>(end.size()), diary_.end()), end);
  EXPECT_EQ(there_.changed.back(), (control::PageRun{7, 2})) << "what was written last is told last";
  EXPECT_EQ(summary->mode, control::MigrationMode::kHybrid);
  EXPECT_GE(summary->rounds, 1U);
  EXPECT_GT(summary->ahead, Bytes(0));
}

TEST_F(AheadTest, AFailureInPreCopyCostsTheVmNothing) {
  vm_.note_writes = Broken("userfaultfd");
  EXPECT_FALSE(Run().ok());
  ExpectHere();
  EXPECT_FALSE(Has(diary_, "start"));
  EXPECT_TRUE(Has(diary_, "forget writes"));
  EXPECT_LT(At(diary_, "withdraw"), At(diary_, "forget writes")) << "first nobody may read what changes unseen";
}

TEST_F(AheadTest, ADestinationThatIsOutOfReachForAMomentIsAskedAgain) {
  there_.tells = {Broken("link"), Broken("link")};
  ASSERT_TRUE(Run().ok());
}

TEST_F(AheadTest, ADestinationThatStaysOutOfReachCallsItOff) {
  there_.tells.assign(100'000, Broken("link"));
  EXPECT_EQ(Run().status().code(), ErrorCode::kUnavailable);
  ExpectHere();
}

TEST_F(AheadTest, ADestinationThatForgetsItCallsItOff) {
  there_.tells.assign(100'000, Status(ErrorCode::kNotFound, "no such VM"));
  EXPECT_EQ(Run().status().code(), ErrorCode::kNotFound);
  ExpectHere();
}

TEST_F(AheadTest, WhatWasWrittenLastIsToldAtOnceOrTheVmGoesOnHere) {
  there_.tells = {Status(), Status(), Broken("link")};
  EXPECT_FALSE(Run().ok());
  ExpectHere();
  EXPECT_TRUE(Has(diary_, "written last"));
  EXPECT_FALSE(Has(diary_, "open"));
}

TEST_F(AheadTest, PreCopyOpensOnlyWhenAllIsThere) {
  plan_.mode = control::MigrationMode::kPreCopy;
  there_.ahead = {Left(0, 1), Left(4096, 1), Left(4096, 1), Left(0, 2)};
  ASSERT_TRUE(Run().ok());
  EXPECT_EQ(there_.ahead.size(), 1U) << "it opened before the last page was there";
}

TEST_F(AheadTest, PreCopyWhoseRestDoesNotComeGoesOnHere) {
  plan_.mode = control::MigrationMode::kPreCopy;
  plan_.downtime_goal = Millis(1);
  there_.ahead = {Left(0, 1), Left(4096, 1)};
  EXPECT_EQ(Run().status().code(), ErrorCode::kDeadlineExceeded);
  ExpectHere();
  EXPECT_FALSE(Has(diary_, "open"));
}

TEST_F(AheadTest, CancelledInPreCopy) {
  patient_.cancelled_at = "pre-copy";
  there_.ahead = {Left(4096, 0)};
  EXPECT_EQ(Run().status().code(), ErrorCode::kAborted);
  ExpectHere();
  EXPECT_FALSE(Has(diary_, "start"));
}

TEST_F(AheadTest, SwitchNowEndsTheRounds) {
  there_.ahead = {Left(4096, 0)};
  plan_.mode = control::MigrationMode::kPreCopy;
  steering_.SwitchNow();
  steering_.SetBandwidth(1234);
  ASSERT_TRUE(Run().ok());
  EXPECT_FALSE(Has(diary_, "written")) << "no round was awaited";
  EXPECT_TRUE(Has(diary_, "written last"));
  EXPECT_EQ(there_.bandwidth, 1234U);
}

TEST_F(AheadTest, AVmThatIsStoppedByWhoeverLeadsItIsSwitchedOver) {
  vm_.stops_by_itself = true;
  there_.ahead = {Left(4096, 0)};
  ASSERT_TRUE(Run().ok());
  EXPECT_TRUE(Has(diary_, "written last"));
}

TEST_F(AheadTest, ADestinationThatGaveUpCallsItOff) {
  there_.ahead = {In(ArrivalState::kFailed, 0, "its process has ended")};
  const auto summary = Run();
  EXPECT_NE(summary.status().message().find("its process has ended"), std::string::npos);
  ExpectHere();
}

}  // namespace
}  // namespace heca::migration
