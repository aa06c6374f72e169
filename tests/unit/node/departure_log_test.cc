// SPDX-License-Identifier: LGPL-2.1-or-later
// What is remembered of VMs that leave, and the watch that writes it down.
#include "node/departure_log.h"

#include <gtest/gtest.h>

#include "node/departure_watch.h"
#include "support/fake_migration.h"

namespace heca::node {
namespace {

using migration::Phase;

Clock::time_point now_is{};

control::Lease Image(std::uint64_t id, std::uint32_t pages = 100) {
  control::Lease lease;
  lease.key.id = LeaseId(id);
  lease.page_size = kBasePage;
  lease.slots = pages;
  return lease;
}

control::MigrationInfo Named(const std::string& name) {
  control::MigrationInfo info;
  info.domain = info.reached.region = name;
  info.destination = "there";
  info.reached.mode = control::MigrationMode::kPostCopy;
  return info;
}

class Departing : public ::testing::Test {
 protected:
  void SetUp() override { now_is = Clock::time_point(std::chrono::hours(1)); }
  control::MigrationInfo Only() {
    const auto all = log_.List();
    EXPECT_EQ(all.size(), 1U);
    return all.empty() ? control::MigrationInfo() : all.front();
  }
  DepartureLog log_{[] { return now_is; }};
};

TEST_F(Departing, IsFollowedToItsEnd) {
  log_.Begin(Image(1), Named("vm"));
  EXPECT_EQ(Only().progress.phase, "prepare");
  EXPECT_EQ(Only().reached.memory, Bytes(409600));
  log_.Note(LeaseId(1), control::Progress{"post-copy", 4096, 409600, ""});
  control::Arrival arrival;
  arrival.moved = Bytes(4096);
  arrival.faults = 3;
  arrival.blocktime = control::Blocktime{{Nanos(7), Nanos(8)}, Nanos(5), Nanos(6)};
  log_.Note(LeaseId(1), arrival);
  log_.NoteDowntime(LeaseId(1), Nanos(7));
  now_is += Millis(250);
  EXPECT_EQ(Only().progress.done, 4096U);
  EXPECT_EQ(Only().reached.faults, 3U);
  EXPECT_EQ(Only().reached.blocktime, arrival.blocktime);
  EXPECT_EQ(Only().reached.downtime, Nanos(7));
  EXPECT_EQ(Only().reached.total, Millis(250));
  EXPECT_FALSE(Only().over);
  log_.GivenBack(LeaseId(1));
  EXPECT_FALSE(Only().over) << "who watches it has not told the last numbers yet";
  control::MigrationSummary summary;
  summary.region = "vm";
  summary.memory = Bytes(409600);
  summary.total = Millis(300);
  summary.faults = 9;
  log_.End(LeaseId(1), summary);
  now_is += Millis(5000);
  EXPECT_TRUE(Only().over);
  EXPECT_TRUE(Only().ok);
  EXPECT_EQ(Only().progress.phase, "complete");
  EXPECT_EQ(Only().progress.done, 409600U);
  EXPECT_EQ(Only().reached.faults, 9U);
  EXPECT_EQ(Only().reached.mode, control::MigrationMode::kPostCopy);
  EXPECT_EQ(Only().reached.total, Millis(300));
  log_.End(LeaseId(1), Phase::kLost, Status(ErrorCode::kDataLoss, "late"));
  EXPECT_TRUE(Only().ok) << "its end stands";
}

TEST_F(Departing, AFailureSaysWhy) {
  log_.Begin(Image(1), Named("vm"));
  now_is += Millis(40);
  log_.End(LeaseId(1), Phase::kAborted, Status(ErrorCode::kUnavailable, "no route"));
  now_is += Millis(40);
  EXPECT_TRUE(Only().over);
  EXPECT_FALSE(Only().ok);
  EXPECT_EQ(Only().progress.phase, "aborted");
  EXPECT_EQ(Only().trouble, "no route");
  EXPECT_EQ(Only().reached.total, Millis(40));
}

TEST_F(Departing, OneThatNobodyWatchesIsOverWhenItsImageIsGivenBack) {
  log_.Begin(Image(1), Named("waited-for"));
  log_.Unwatch(LeaseId(1));
  EXPECT_FALSE(Only().over);
  log_.GivenBack(LeaseId(1));
  EXPECT_TRUE(Only().ok);
  log_.Begin(Image(2), Named("other"));
  log_.GivenBack(LeaseId(2));
  log_.Unwatch(LeaseId(2));
  EXPECT_TRUE(log_.List().back().ok) << "in whichever order";
}

TEST_F(Departing, IsForgottenTenMinutesAfterItsEnd) {
  log_.Begin(Image(1), Named("ended"));
  log_.Begin(Image(2), Named("goes on"));
  log_.End(LeaseId(1), Phase::kAborted, Status(ErrorCode::kAborted, "x"));
  now_is += DepartureLog::kKept;
  EXPECT_EQ(log_.List().size(), 2U);
  now_is += Millis(1);
  EXPECT_EQ(Only().domain, "goes on");
}

TEST_F(Departing, OnlySoManyEndsAreKeptWhateverPeersDo) {
  log_.Begin(Image(1), Named("goes on"));
  for (std::uint64_t id = 2; id < 3 * DepartureLog::kMostOver; ++id) {
    log_.Begin(Image(id), Named("vm"));
    log_.End(LeaseId(id), Phase::kAborted, Status(ErrorCode::kAborted, "x"));
  }
  const auto all = log_.List();
  EXPECT_EQ(all.size(), DepartureLog::kMostOver + 1);
  EXPECT_EQ(all.front().domain, "goes on");
  EXPECT_EQ(all.back().image, LeaseId(3 * DepartureLog::kMostOver - 1)) << "the newest";
}

/// Only says when it stopped.
class StoppedVm final : public migration::LeavingVm {
 public:
  Status HoldBack() override { return {}; }
  Status NoteWrites() override { return {}; }
  Result<std::vector<control::PageRun>> Written() override { return std::vector<control::PageRun>(); }
  Result<std::vector<control::PageRun>> WrittenLast() override { return std::vector<control::PageRun>(); }
  Status AwaitDevices() override { return {}; }
  Status ForgetWrites() override { return {}; }
  Status Start() override { return {}; }
  Result<bool> WaitStopped(Deadline) override { return true; }
  [[nodiscard]] Clock::time_point stopped_at() const override { return stopped; }
  Status Continue() override { return {}; }
  Result<std::optional<bool>> WaitDecided(Deadline) override { return std::optional<bool>(true); }
  Result<bool> Cancel() override { return true; }
  Status Fence() override { return {}; }
  Status Restore() override { return {}; }
  Clock::time_point stopped = Clock::now();
};

class Asker final : public control::ProgressSink {
 public:
  void OnProgress(const control::Progress& progress) override { phases.push_back(progress.phase); }
  [[nodiscard]] bool Cancelled() const override { return cancelled; }
  std::vector<std::string> phases;
  bool cancelled = false;
};

TEST_F(Departing, TheWatchWritesDownWhatPasses) {
  testing::FakeMigration there;
  StoppedVm vm;
  Asker asker;
  const control::Lease image = Image(1);
  control::PrepareRequest prepare;
  prepare.region = "vm";
  prepare.image = image;
  ASSERT_TRUE(there.Prepare(prepare).ok());
  {
    DepartureWatch watch(log_, image, Named("vm"), there, asker, vm);
    watch.OnProgress({"stream", 0, 0, ""});
    EXPECT_EQ(Only().progress.phase, "stream");
    EXPECT_FALSE(watch.Cancelled());
    asker.cancelled = true;
    EXPECT_TRUE(watch.Cancelled());
    vm.stopped = Clock::now() - Millis(30);
    ASSERT_TRUE(watch.Open("vm", image.key).ok());
    EXPECT_EQ(Only().progress.phase, "switch-over");
    control::Arrival arrival;
    arrival.state = control::ArrivalState::kRunning;
    arrival.faults = 5;
    there.Arrive("vm", arrival);
    ASSERT_TRUE(watch.Look("vm", image.key, 0).ok());
    EXPECT_EQ(Only().reached.downtime, Nanos(0)) << "it does not run there yet";
    arrival.open_to_resume = Millis(12);
    there.Arrive("vm", arrival);
    ASSERT_TRUE(watch.Look("vm", image.key, 0).ok());
    EXPECT_GE(Only().reached.downtime, Millis(42));
    EXPECT_EQ(Only().reached.faults, 5U);
    watch.Ended(Status(ErrorCode::kAborted, "nobody waits any more"), Phase::kArrived);
    EXPECT_FALSE(Only().over) << "the rest goes on";
  }
  EXPECT_EQ(asker.phases, (std::vector<std::string>{"stream", "switch-over"}));
  log_.GivenBack(LeaseId(1));
  EXPECT_TRUE(Only().ok);
}

}  // namespace
}  // namespace heca::node
