// SPDX-License-Identifier: LGPL-2.1-or-later
// Every failure of a departure, played: who may run the VM, and who may read its memory, at each moment.
#include "migration/departure.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "departure_rig.h"

namespace heca::migration {
namespace {

TEST_F(DepartureTest, GoesItsWay) {
  const auto summary = Run();
  ASSERT_TRUE(summary.ok()) << summary.status().ToString();
  EXPECT_EQ(diary_, (Diary{"prepare", "start", "stopped", "image open", "open", "continue", "keep", "restore", "fence"}));
  EXPECT_EQ(summary->memory, Bytes(256 * 4096));
  EXPECT_EQ(summary->moved, Bytes(8192));
  EXPECT_EQ(summary->blocktime, In(ArrivalState::kComplete).blocktime);
  EXPECT_EQ(there_.holes, (std::vector<control::PageRun>{{3, 4}}));
  EXPECT_EQ(patient_.phases.front(), "prepare");
  EXPECT_EQ(patient_.phases.back(), "post-copy");
}

TEST_F(DepartureTest, WhatFollowsIsHeldBackFromItsFirstPageOn) {
  steering_.SetBandwidth(1234);
  ASSERT_TRUE(Run().ok());
  EXPECT_EQ(there_.bandwidth_at_open, 1234U);
}

const control::Placement kAtFirst{{{1, 2, Slot(7)}, {3, 9, kNoSlot}}};
const control::Placement kElsewhere{{{3, 1, Slot(9)}}, true, Slot(9), 3};

class GovernedTest : public DepartureTest {
 protected:
  GovernedTest() {
    image_.moved = {kAtFirst};
    image_.rest = std::optional(kElsewhere);
  }
};

TEST_F(GovernedTest, WherePagesLieIsToldAheadAndWhatHasMovedSinceWhileTheVmIsStopped) {
  ASSERT_TRUE(Run().ok());
  EXPECT_EQ(diary_, (Diary{"prepare", "moved", "place", "start", "stopped", "rest", "place", "image open", "open", "continue",
                           "keep", "restore", "fence"}));
  ASSERT_EQ(there_.placed.size(), 2U);
  EXPECT_EQ(there_.placed.front().runs, kAtFirst.runs);
  EXPECT_EQ(there_.placed.back().runs, kElsewhere.runs);
  EXPECT_TRUE(there_.placed.back().complete);
  EXPECT_LT(there_.placed.front().number, there_.placed.back().number);
  EXPECT_FALSE(vm_.held_back);
}

TEST_F(GovernedTest, ARegionThatDoesNotComeToRestOrCannotBePlacedStays) {
  for (const bool rests : {false, true}) {
    diary_.clear();
    there_.places = {Status(), Broken("link")};
    if (!rests) image_.rest = Broken("region"); else image_.rest = std::optional(kElsewhere);
    EXPECT_FALSE(Run().ok());
    ExpectHere();
    EXPECT_FALSE(Has(diary_, "image open"));
    EXPECT_FALSE(Has(diary_, "open"));
    EXPECT_LT(At(diary_, "withdraw"), At(diary_, "cancel")) << "what the VM needs to go on is governed again first";
  }
}

TEST_F(GovernedTest, ADestinationThatIsNotPreparedYetIsAskedAgain) {
  there_.places = {Status(ErrorCode::kNotFound, "no such VM"), Broken("link")};
  ASSERT_TRUE(Run().ok());
  ASSERT_EQ(there_.placed.size(), 2U);
  EXPECT_EQ(there_.placed.front().runs, kAtFirst.runs);
}

TEST_F(GovernedTest, AheadOfItsVmEachRoundTellsWhatHasChangedAndWhereItLies) {
  plan_.mode = control::MigrationMode::kPreCopy;
  image_.moved = {kAtFirst, {{{3, 9, kNoSlot}, {1, 1, kNoSlot}}}, {}};
  there_.ahead = {Left(4096, 0), Left(0, 4096), Left(0, 8192), Left(4096, 8192), Left(0, 8192)};
  const auto summary = Run();
  ASSERT_TRUE(summary.ok()) << summary.status().ToString();
  EXPECT_TRUE(vm_.held_back);
  const Diary begin{"prepare", "changed", "place", "show", "told empty", "changed", "place"};
  ASSERT_GT(diary_.size(), begin.size());
  EXPECT_EQ(Diary(diary_.begin(), diary_.begin() + static_cast<std::ptrdiff_t>(begin.size())), begin);
  const Diary end{"start", "stopped", "rest", "place", "image open", "open", "continue", "keep", "restore", "fence"};
  ASSERT_GT(diary_.size(), end.size());
  EXPECT_EQ(Diary(diary_.end() - static_cast<std::ptrdiff_t>(end.size()), diary_.end()), end);
  EXPECT_FALSE(Has(diary_, "note writes")) << "the region does";
  EXPECT_EQ(there_.placed.back().runs, kElsewhere.runs);
  EXPECT_GT(summary->rounds, 0U);
}

TEST_F(GovernedTest, ListsAreNumberedAndOneThatIsToldAgainKeepsItsNumber) {
  plan_.mode = control::MigrationMode::kHybrid;
  there_.places = {Broken("link"), Status(), Broken("link"), Broken("link")};
  ASSERT_TRUE(Run().ok());
  std::uint64_t last = 0;
  for (const auto& placed : there_.placed) EXPECT_EQ(placed.number, ++last);
  EXPECT_GE(last, 3U);
}

TEST_F(GovernedTest, PreCopyWhoseRestDoesNotComeGoesOnHere) {
  plan_.mode = control::MigrationMode::kPreCopy;
  plan_.downtime_goal = Millis(1);
  image_.moved = {kAtFirst, {}};
  there_.ahead = {Left(0, 1), Left(4096, 1)};
  EXPECT_EQ(Run().status().code(), ErrorCode::kDeadlineExceeded);
  ExpectHere();
  EXPECT_FALSE(Has(diary_, "open"));
}

TEST_F(DepartureTest, ADestinationThatRefusesCostsTheVmNothing) {
  there_.prepare = Status(ErrorCode::kFailedPrecondition, "other RAM");
  const auto summary = Run();
  EXPECT_EQ(summary.status().code(), ErrorCode::kFailedPrecondition);
  EXPECT_EQ(diary_, (Diary{"prepare", "withdraw", "cancel", "restore"})) << "QEMU was told nothing that is not taken back";
}

TEST_F(DepartureTest, APreparationWhoseAnswerIsLostIsUndone) {
  there_.prepare = Status(ErrorCode::kDeadlineExceeded, "no answer", ErrorScope::kConnection);
  EXPECT_FALSE(Run().ok());
  EXPECT_EQ(diary_, (Diary{"prepare", "withdraw", "cancel", "restore", "abort"}));
}

TEST_F(DepartureTest, QemuRefusesToStart) {
  vm_.start = Broken("migrate");
  EXPECT_FALSE(Run().ok());
  ExpectHere();
  EXPECT_FALSE(Has(diary_, "image open"));
  EXPECT_TRUE(Has(diary_, "restore"));
  EXPECT_TRUE(Has(diary_, "abort"));
  EXPECT_NE(there_.reason.find("migrate is broken"), std::string::npos);
}

TEST_F(DepartureTest, AVmThatIsNeverStoppedIsGivenUp) {
  vm_.stopped = false;
  EXPECT_EQ(Run().status().code(), ErrorCode::kDeadlineExceeded);
  ExpectHere();
  EXPECT_TRUE(Has(diary_, "cancel"));
}

TEST_F(DepartureTest, CancelledByTheOperatorAtEachPhaseBeforeTheSwitch) {
  for (const char* phase : {"prepare", "stream"}) {
    diary_.clear();
    patient_ = Patient{};
    patient_.cancelled_at = phase;
    vm_.stopped = false;
    EXPECT_EQ(Run().status().code(), ErrorCode::kAborted) << phase;
    ExpectHere();
    EXPECT_TRUE(Has(diary_, "abort")) << phase;
    EXPECT_FALSE(Has(diary_, "continue")) << phase;
  }
}

TEST_F(DepartureTest, ADestinationThatCannotBeOpenedGetsNothing) {
  there_.open = Broken("link");
  vm_.decided = std::optional<bool>();  // it waits for our word
  EXPECT_FALSE(Run().ok());
  ExpectHere();
  EXPECT_FALSE(Has(diary_, "continue"));
  EXPECT_LT(At(diary_, "cancel"), At(diary_, "withdraw")) << "first it must be known whose the VM is";
}

TEST_F(DepartureTest, WhereQemuHasGoneOnByItselfTheDestinationIsToldUntilItHears) {
  there_.opens = {Broken("link"), Broken("link")};
  vm_.cancels = {false};  // libvirt has let it go on
  vm_.decided = std::optional<bool>();
  const auto summary = Run();
  ASSERT_TRUE(summary.ok()) << summary.status().ToString();
  EXPECT_EQ(std::count(diary_.begin(), diary_.end(), "open"), 3);
  EXPECT_FALSE(Has(diary_, "withdraw"));
}

TEST_F(DepartureTest, WhereQemuHasGoneOnToADestinationThatHasGivenUpNothingIsSaidToHaveArrived) {
  there_.open = Status(ErrorCode::kNotFound, "no VM is on its way");
  vm_.cancels = {false};
  vm_.decided = std::optional<bool>();
  image_.given_back = true;
  EXPECT_EQ(Run().status().code(), ErrorCode::kDataLoss);
  EXPECT_EQ(departure_->phase(), Phase::kLost);
  EXPECT_FALSE(Has(diary_, "fence")) << "all of it is here: who continues it by hand is right";
}

TEST_F(DepartureTest, QemuFailsInTheGap) {
  vm_.decided = std::optional<bool>(false);
  EXPECT_FALSE(Run().ok());
  ExpectHere();
  EXPECT_FALSE(Has(diary_, "cancel")) << "it has failed already";
}

TEST_F(DepartureTest, AnUndecidedQemuIsCancelledAndMayHaveCompletedAllTheSame) {
  vm_.decided = std::optional<bool>();
  vm_.cancels = {Broken("monitor"), false};
  const auto summary = Run();
  ASSERT_TRUE(summary.ok()) << summary.status().ToString();
  EXPECT_FALSE(Has(diary_, "withdraw")) << "the VM runs there, on this image";
  EXPECT_FALSE(Has(diary_, "abort"));
}

TEST_F(DepartureTest, AQemuThatDiesInTheGapCannotRunTheVmSoTheDestinationKnows) {
  vm_.decided = Broken("monitor");
  ASSERT_TRUE(Run().ok());
  EXPECT_FALSE(Has(diary_, "withdraw"));
}

TEST_F(DepartureTest, AfterTheSwitchTheImageStaysWhateverTheLinkDoes) {
  there_.looks = {Broken("link"), Broken("link"), Broken("link"), In(ArrivalState::kComplete)};
  ASSERT_TRUE(Run().ok());
  EXPECT_FALSE(Has(diary_, "withdraw"));
}

TEST_F(DepartureTest, ADestinationThatHasForgottenAndGivenBackIsDone) {
  there_.looks = {Status(ErrorCode::kNotFound, "no such VM")};
  image_.given_back = true;
  ASSERT_TRUE(Run().ok());
  EXPECT_EQ(departure_->phase(), Phase::kComplete);
}

TEST_F(DepartureTest, ADestinationThatHasForgottenAndGivenNothingBackIsWaitedFor) {
  there_.looks = {Status(ErrorCode::kNotFound, "no such VM"), Status(ErrorCode::kNotFound, "no such VM"),
                  In(ArrivalState::kComplete)};
  ASSERT_TRUE(Run().ok());
}

TEST_F(DepartureTest, AVmThatDiesThereIsReportedAndNotBroughtBack) {
  there_.looks = {In(ArrivalState::kFailed, 0, "its process has ended")};
  const auto summary = Run();
  EXPECT_EQ(summary.status().code(), ErrorCode::kDataLoss);
  EXPECT_NE(summary.status().message().find("its process has ended"), std::string::npos);
  EXPECT_EQ(departure_->phase(), Phase::kLost);
  EXPECT_FALSE(Has(diary_, "cancel"));
  EXPECT_TRUE(Has(diary_, "keep")) << "what is left of it is at the source only";
}

TEST_F(DepartureTest, WhoStopsWaitingAfterTheSwitchStopsNothing) {
  patient_.cancelled_at = "post-copy";
  there_.looks = {In(ArrivalState::kRunning)};
  EXPECT_EQ(Run().status().code(), ErrorCode::kAborted);
  EXPECT_EQ(departure_->phase(), Phase::kArrived);
  EXPECT_TRUE(Has(diary_, "keep"));
  EXPECT_FALSE(Has(diary_, "withdraw"));
  EXPECT_FALSE(Has(diary_, "cancel"));
}

/// QEMU is sending to one that waits for a page, with its lock held.
TEST_F(DepartureTest, AQemuThatDoesNotHearIsAskedAgainOnceItsDestinationIsCalledOff) {
  vm_.stopped = false;
  vm_.cancels = {Broken("monitor"), true};
  const auto summary = Run();
  ExpectHere();
  EXPECT_EQ(summary.status().message().find("monitor"), std::string::npos) << summary.status().ToString();
  const auto at = [this](const std::string& step) { return std::find(diary_.begin(), diary_.end(), step) - diary_.begin(); };
  EXPECT_LT(at("cancel"), at("abort"));
  EXPECT_LT(at("abort"), at("restore")) << "before that QEMU does not hear";
  EXPECT_EQ(std::count(diary_.begin(), diary_.end(), "cancel"), 2);
  EXPECT_EQ(std::count(diary_.begin(), diary_.end(), "abort"), 1);
}

TEST_F(DepartureTest, AnAbortBeforeAnythingBeganRestoresQemuToo) {
  patient_.cancelled_at = "prepare";
  EXPECT_FALSE(Run().ok());
  EXPECT_TRUE(Has(diary_, "restore")) << "where libvirt leads, QEMU had been told before";
}

}  // namespace
}  // namespace heca::migration
