// SPDX-License-Identifier: LGPL-2.1-or-later
// Every failure of a departure, played: who may run the VM, and who may read its memory, at each moment.
#include "migration/departure.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace heca::migration {
namespace {

using control::Arrival;
using control::ArrivalState;

/// What happened, in order, across all three.
using Diary = std::vector<std::string>;

Arrival In(ArrivalState state, std::uint64_t moved = 0, std::string trouble = "") {
  Arrival arrival;
  arrival.state = state;
  arrival.moved = Bytes(moved);
  arrival.blocktime = control::Blocktime{{Nanos(20), Nanos(30)}, Nanos(10), Nanos(0)};
  arrival.trouble = std::move(trouble);
  return arrival;
}

Arrival Left(std::uint64_t left, std::uint64_t moved) {
  Arrival arrival = In(ArrivalState::kPrepared, moved);
  arrival.left = Bytes(left);
  return arrival;
}

bool Has(const Diary& diary, const std::string& entry) {
  return std::find(diary.begin(), diary.end(), entry) != diary.end();
}
std::size_t At(const Diary& diary, const std::string& entry) {
  return static_cast<std::size_t>(std::find(diary.begin(), diary.end(), entry) - diary.begin());
}

Status Broken(const std::string& what) { return {ErrorCode::kUnavailable, what + " is broken"}; }

struct FakeVm final : LeavingVm {
  explicit FakeVm(Diary& shared) : diary(shared) {}
  Status HoldBack() override {
    held_back = true;
    return {};
  }
  Status NoteWrites() override {
    diary.push_back("note writes");
    return note_writes;
  }
  Result<std::vector<control::PageRun>> Written() override {
    diary.push_back("written");
    if (written.empty()) return std::vector<control::PageRun>{};
    auto answer = written.front();
    if (written.size() > 1) written.erase(written.begin());
    return answer;
  }
  Result<std::vector<control::PageRun>> WrittenLast() override {
    diary.push_back("written last");
    return std::vector<control::PageRun>{{7, 2}};
  }
  Status AwaitDevices() override {
    diary.push_back("devices");
    return {};
  }
  Status ForgetWrites() override {
    diary.push_back("forget writes");
    return {};
  }
  Status Start() override {
    diary.push_back("start");
    return start;
  }
  Result<bool> WaitStopped(Deadline) override {
    if (!stopped.ok()) return stopped.status();
    if (!Has(diary, "start") && !stops_by_itself) return false;
    if (*stopped) diary.push_back("stopped");
    return stopped;
  }
  Clock::time_point stopped_at() const override { return when; }
  Status Continue() override {
    diary.push_back("continue");
    return {};
  }
  Result<std::optional<bool>> WaitDecided(Deadline) override { return decided; }
  Result<bool> Cancel() override {
    diary.push_back("cancel");
    if (!cancels.empty()) {
      const auto answer = cancels.front();
      if (cancels.size() > 1) cancels.erase(cancels.begin());
      return answer;
    }
    return true;
  }
  Status Fence() override {
    diary.push_back("fence");
    return {};
  }
  Status Restore() override {
    diary.push_back("restore");
    return {};
  }
  Diary& diary;
  Status start, note_writes;
  std::vector<std::vector<control::PageRun>> written;
  Result<bool> stopped = true;
  Result<std::optional<bool>> decided = std::optional<bool>(true);
  std::vector<Result<bool>> cancels;
  bool held_back = false;
  bool stops_by_itself = false;  ///< somebody else leads QEMU's stream
  Clock::time_point when = Clock::now();
};

struct FakeImage final : LentImage {
  explicit FakeImage(Diary& shared) : diary(shared) {
    the_lease.slots = 256;
    the_lease.page_size = kBasePage;
  }
  const control::Lease& lease() const override { return the_lease; }
  Status Show() override {
    diary.push_back("show");
    return {};
  }
  Result<std::optional<control::Placement>> Moved(bool copied) override {
    if (moved.empty()) return std::optional<control::Placement>();
    diary.push_back(copied ? "changed" : "moved");
    auto answer = moved.front();
    if (moved.size() > 1) moved.erase(moved.begin());
    return std::optional(answer);
  }
  Result<std::optional<control::Placement>> Rest() override {
    if (rest.ok() && !*rest) return rest;
    diary.push_back("rest");
    return rest;
  }
  Status Open() override {
    diary.push_back("image open");
    return {};
  }
  Result<std::vector<control::PageRun>> Holes() const override { return std::vector<control::PageRun>{{3, 4}}; }
  void Withdraw() override { diary.push_back("withdraw"); }
  void Keep() override { diary.push_back("keep"); }
  bool GivenBack() const override { return given_back; }
  Diary& diary;
  control::Lease the_lease;
  bool given_back = false;
  std::vector<control::Placement> moved;  ///< none: not governed
  Result<std::optional<control::Placement>> rest = std::optional<control::Placement>();
};

struct FakeDestination final : control::MigrationApi {
  explicit FakeDestination(Diary& shared) : diary(shared) {}
  Result<control::Departing> Depart(const control::DepartRequest&) override { return Broken("not asked here"); }
  Status Prepare(const control::PrepareRequest&) override {
    diary.push_back("prepare");
    return prepare;
  }
  Status Place(const RegionId&, const control::LeaseKey&, const control::Placement& placement) override {
    diary.push_back("place");
    if (!places.empty()) {
      const Status answer = places.front();
      places.erase(places.begin());
      if (!answer.ok()) return answer;
    }
    placed.push_back(placement);
    return place;
  }
  Status Open(const RegionId&, const control::LeaseKey&) override {
    diary.push_back("open");
    if (!opens.empty()) {
      const Status answer = opens.front();
      opens.erase(opens.begin());
      return answer;
    }
    return open;
  }
  Status Tell(const RegionId&, const control::LeaseKey&, control::PageNews news,
              const std::vector<control::PageRun>& runs) override {
    if (!tells.empty()) {
      const Status answer = tells.front();
      tells.erase(tells.begin());
      if (!answer.ok()) return answer;
    }
    if (news == control::PageNews::kEmpty) {
      holes = runs;
      if (!Has(diary, "open")) diary.push_back("told empty");
    } else {
      changed.insert(changed.end(), runs.begin(), runs.end());
      diary.push_back("told changed");
    }
    return {};
  }
  Result<Arrival> Look(const RegionId&, const control::LeaseKey&, std::uint64_t pace) override {
    bandwidth = pace;
    if (!Has(diary, "open")) {
      Arrival answer = In(ArrivalState::kPrepared, 4096);
      if (!ahead.empty()) {
        answer = ahead.front();
        if (ahead.size() > 1) ahead.erase(ahead.begin());
      }
      return answer;
    }
    if (looks.empty()) return Broken("link");
    const auto answer = looks.front();
    if (looks.size() > 1) looks.erase(looks.begin());
    return answer;
  }
  Status Abort(const RegionId&, const control::LeaseKey&, const std::string& why) override {
    diary.push_back("abort");
    reason = why;
    return {};
  }
  Diary& diary;
  Status prepare, place, open;
  std::vector<Status> places, opens;
  std::vector<control::Placement> placed;
  std::vector<control::PageRun> holes, changed;
  std::vector<Status> tells;
  std::vector<Arrival> ahead;  ///< what Look says before Open; the last for ever; none: all is there
  std::uint64_t bandwidth = 0;
  std::vector<Result<Arrival>> looks{In(ArrivalState::kRunning),
                                     In(ArrivalState::kComplete, 8192)};
  std::string reason;
};

struct Patient final : control::ProgressSink {
  void OnProgress(const control::Progress& progress) override { phases.push_back(progress.phase); }
  bool Cancelled() const override { return cancelled_at == "" ? false : !phases.empty() && phases.back() == cancelled_at; }
  std::vector<std::string> phases;
  std::string cancelled_at;
};

class DepartureTest : public ::testing::Test {
 protected:
  Result<control::MigrationSummary> Run() {
    control::PrepareRequest request;
    request.region = "vm";
    departure_.emplace(vm_, image_, there_, std::move(request), plan_, steering_,
                       DepartureTimes{.stream = Millis(50),
                                      .decide = Millis(20),
                                      .look = Millis(1),
                                      .ahead = {.contact = Millis(100), .welcome = Millis(50), .look = Millis(1)}});
    return departure_->Run(patient_);
  }
  /// The VM runs here again, and nobody can read what it changes.
  void ExpectHere() {
    EXPECT_FALSE(Has(diary_, "fence"));
    EXPECT_EQ(departure_->phase(), Phase::kAborted);
    EXPECT_TRUE(Has(diary_, "withdraw"));
    EXPECT_FALSE(Has(diary_, "keep"));
  }

  Diary diary_;
  FakeVm vm_{diary_};
  FakeImage image_{diary_};
  FakeDestination there_{diary_};
  Patient patient_;
  Plan plan_;
  Steering steering_;
  std::optional<Departure> departure_;
};

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

TEST_F(DepartureTest, AnAbortBeforeAnythingBeganRestoresQemuToo) {
  patient_.cancelled_at = "prepare";
  EXPECT_FALSE(Run().ok());
  EXPECT_TRUE(Has(diary_, "restore")) << "where libvirt leads, QEMU had been told before";
}

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
