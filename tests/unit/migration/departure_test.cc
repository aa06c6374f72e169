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
  arrival.trouble = std::move(trouble);
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
  Status Start() override {
    diary.push_back("start");
    return start;
  }
  Result<bool> WaitStopped(Deadline) override {
    if (!stopped.ok()) return stopped.status();
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
  Status start;
  Result<bool> stopped = true;
  Result<std::optional<bool>> decided = std::optional<bool>(true);
  std::vector<Result<bool>> cancels;
  Clock::time_point when = Clock::now();
};

struct FakeImage final : LentImage {
  explicit FakeImage(Diary& shared) : diary(shared) {
    the_lease.slots = 256;
    the_lease.page_size = kBasePage;
  }
  const control::Lease& lease() const override { return the_lease; }
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
};

struct FakeDestination final : control::MigrationApi {
  explicit FakeDestination(Diary& shared) : diary(shared) {}
  Result<control::Departing> Depart(const control::DepartRequest&) override { return Broken("not asked here"); }
  Status Prepare(const control::PrepareRequest&) override {
    diary.push_back("prepare");
    return prepare;
  }
  Status Open(const RegionId&, const control::LeaseKey&) override {
    diary.push_back("open");
    return open;
  }
  Status DeclareHoles(const RegionId&, const control::LeaseKey&, const std::vector<control::PageRun>& runs) override {
    holes = runs;
    return {};
  }
  Result<Arrival> Look(const RegionId&, const control::LeaseKey&) override {
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
  Status prepare, open;
  std::vector<control::PageRun> holes;
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
    departure_.emplace(vm_, image_, there_, std::move(request),
                       DepartureTimes{.stream = Millis(50), .decide = Millis(20), .look = Millis(1)});
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
  std::optional<Departure> departure_;
};

TEST_F(DepartureTest, GoesItsWay) {
  const auto summary = Run();
  ASSERT_TRUE(summary.ok()) << summary.status().ToString();
  EXPECT_EQ(diary_, (Diary{"prepare", "start", "stopped", "image open", "open", "continue", "keep", "restore", "fence"}));
  EXPECT_EQ(summary->memory, Bytes(256 * 4096));
  EXPECT_EQ(summary->moved, Bytes(8192));
  EXPECT_EQ(there_.holes, (std::vector<control::PageRun>{{3, 4}}));
  EXPECT_EQ(patient_.phases.front(), "prepare");
  EXPECT_EQ(patient_.phases.back(), "post-copy");
}

TEST_F(DepartureTest, ADestinationThatRefusesCostsTheVmNothing) {
  there_.prepare = Status(ErrorCode::kFailedPrecondition, "other RAM");
  const auto summary = Run();
  EXPECT_EQ(summary.status().code(), ErrorCode::kFailedPrecondition);
  EXPECT_EQ(diary_, (Diary{"prepare", "withdraw"}));
}

TEST_F(DepartureTest, APreparationWhoseAnswerIsLostIsUndone) {
  there_.prepare = Status(ErrorCode::kDeadlineExceeded, "no answer", ErrorScope::kConnection);
  EXPECT_FALSE(Run().ok());
  EXPECT_EQ(diary_, (Diary{"prepare", "withdraw", "abort"}));
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

}  // namespace
}  // namespace heca::migration
