// SPDX-License-Identifier: LGPL-2.1-or-later
// VMs that libvirt leads away: hecad lends their memory, and takes everything back where libvirt or the destination does not
// go through with it.
#include "node/leavers.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "leaving_rig.h"

namespace heca::node {
namespace {

using control::Arrival;
using control::ArrivalState;
using control::EventKind;

class LeaversTest : public LeavingRig {
 protected:
  void SetUp() override { Start(std::chrono::seconds(20)); }
  void Start(Millis patience) {
    leavers_ = std::make_unique<Leavers>(
        events_, log_, helm_, [this](const control::DepartRequest&) { return Find(); }, patience);
    leavers_->Use(*images_, *departures_);
  }
  Result<Leaver> Find() {
    if (!find_.ok()) return find_;
    Leaver leaver;
    leaver.record = Record();
    leaver.monitor = std::shared_ptr<guest::Qmp>(guest::Qmp::Connect(vm_.Path(), Soon()).value());
    leaver.vm = std::make_shared<guest::MigratingVm>(leaver.monitor);
    leaver.blocks = {{"pc.ram", Bytes(kRamPages * kBasePage.value())}};
    leaver.image = Image();
    return leaver;
  }
  Result<control::Departing> Ask() {
    return leavers_->Depart({"vm", "uuid", "there", DestinationAddress(), control::MigrationMode::kPostCopy});
  }
  /// As far as the moment when libvirt may begin.
  void Depart() {
    const auto departing = Ask();
    ASSERT_TRUE(departing.ok()) << departing.status().ToString();
    EXPECT_EQ(departing->blocks.size(), 1U);
    lease_ = departing->image;
    PrepareThere(lease_.key);
  }
  /// libvirt has led QEMU to its switch-over: the destination is open.
  void Stop() {
    Depart();
    vm_.Stream("active");
    vm_.SetRunState("finish-migrate");
    vm_.Stream("pre-switchover");
    WaitUntil([&] { return StateThere() == ArrivalState::kOpen; });
  }
  [[nodiscard]] std::optional<ArrivalState> StateThere() {
    const auto arrival = there_.Look(kRegion, lease_.key, 0);
    if (!arrival.ok()) return std::nullopt;
    return arrival->state;
  }
  void ArriveThere(ArrivalState state) {
    Arrival arrival;
    arrival.state = state;
    there_.Arrive(kRegion, arrival);
  }
  void TickUntilOver() {
    WaitUntil([&] {
      leavers_->Tick();
      return !leavers_->Knows(lease_.key);
    });
  }
  /// The VM goes on here, nobody reads its memory, nothing is left behind.
  void ExpectHere() {
    TickUntilOver();
    EXPECT_FALSE(vm_.Capability(kIgnoreShared));
    EXPECT_FALSE(IsOffered(lease_.key.id));
    EXPECT_TRUE(Journal().empty());
    EXPECT_EQ(ram_.names(), 1U);
    EXPECT_EQ(StateThere(), std::nullopt) << "the destination was told";
    EXPECT_TRUE(Told(events_, EventKind::kAttachFailed));
    EXPECT_FALSE(Told(events_, EventKind::kDetached));
  }

  Status find_;
  Helm helm_;
  control::Lease lease_;
  std::unique_ptr<Leavers> leavers_;  ///< ends before what it uses
};

TEST_F(LeaversTest, GoesItsWay) {
  Depart();
  EXPECT_TRUE(vm_.Capability(kIgnoreShared));
  EXPECT_FALSE(vm_.Capability("pause-before-switchover")) << "that is libvirt's";
  EXPECT_TRUE(leavers_->Knows(lease_.key));
  EXPECT_EQ(Journal().at(0).stage, DepartureStage::kStreaming);
  EXPECT_FALSE(ReadPage(lease_.key, 3).ok()) << "the VM still runs";

  vm_.Stream("active");
  vm_.SetRunState("finish-migrate");
  vm_.Stream("pre-switchover");
  WaitUntil([&] { return StateThere() == ArrivalState::kOpen; });
  EXPECT_EQ(Journal().at(0).stage, DepartureStage::kOpened);
  EXPECT_EQ(ReadPage(lease_.key, 3).value(), 'x');
  EXPECT_EQ(vm_.Asked("migrate-continue"), 0U) << "that is libvirt's";

  vm_.Stream("device");
  vm_.Stream("completed");
  ArriveThere(ArrivalState::kRunning);
  WaitUntil([&] { return !vm_.Capability(kIgnoreShared); });
  WaitUntil([&] { return !there_.told().empty(); });
  leavers_->Tick();
  EXPECT_TRUE(leavers_->Knows(lease_.key)) << "memory follows";
  ASSERT_TRUE(images_->Free(lease_.key).ok());
  ArriveThere(ArrivalState::kComplete);
  TickUntilOver();
  EXPECT_TRUE(Told(events_, EventKind::kDetached));
  EXPECT_TRUE(Journal().empty());
  EXPECT_EQ(ram_.names(), 1U);
}

TEST_F(LeaversTest, ADomainThatCannotLeaveIsRefusedAndNothingIsOffered) {
  find_ = Status(ErrorCode::kNotFound, "no such domain");
  EXPECT_EQ(Ask().status().message(), "no such domain");
  EXPECT_TRUE(images_->List().empty());
  EXPECT_TRUE(Journal().empty());
}

TEST_F(LeaversTest, AQemuThatDoesNotLeaveItsRamOutStaysAsItIs) {
  vm_.Refuse("migrate-set-capabilities");
  EXPECT_EQ(Ask().status().code(), ErrorCode::kFailedPrecondition);
  EXPECT_TRUE(images_->List().empty());
  EXPECT_TRUE(Journal().empty());
}

TEST_F(LeaversTest, AJournalThatCannotBeWrittenLeavesQemuUntouched) {
  std::filesystem::remove_all(journal_.path() + "/departures");
  EXPECT_FALSE(Ask().ok());
  EXPECT_TRUE(images_->List().empty());
  EXPECT_EQ(vm_.Asked("migrate-set-capabilities"), 0U);
}

TEST_F(LeaversTest, AMigrationThatDoesNotBeginIsTakenBack) {
  Start(Millis(50));
  const auto departing = Ask();
  ASSERT_TRUE(departing.ok()) << departing.status().ToString();
  lease_ = departing->image;
  TickUntilOver();
  EXPECT_FALSE(vm_.Capability(kIgnoreShared));
  EXPECT_FALSE(IsOffered(lease_.key.id));
  EXPECT_TRUE(Journal().empty());
  EXPECT_EQ(there_.calls(), 1) << "the destination was told";
  EXPECT_EQ(vm_.RunState(), "running");
}

TEST_F(LeaversTest, SoIsOneThatLibvirtGivesUp) {
  Depart();
  vm_.Stream("active");
  vm_.Stream("cancelled");
  ExpectHere();
}

TEST_F(LeaversTest, AndOneWhoseDestinationCannotTakeIt) {
  Depart();
  ASSERT_TRUE(leavers_->Abort(lease_.key, "no room").ok());
  ExpectHere();
}

TEST_F(LeaversTest, AnotherKeyCallsNothingOff) {
  Depart();
  control::LeaseKey other = lease_.key;
  other.secret[0] ^= std::byte{1};
  EXPECT_FALSE(leavers_->Knows(other)) << "who does not know the secret is not let in";
  other = lease_.key;
  other.id = LeaseId(store::kImageBit | 1);
  EXPECT_FALSE(leavers_->Knows(other));
  EXPECT_TRUE(leavers_->Abort(other, "").ok());
  leavers_->Tick();
  EXPECT_TRUE(leavers_->Knows(lease_.key));
  EXPECT_TRUE(vm_.Capability(kIgnoreShared));
}

TEST_F(LeaversTest, ADestinationThatDoesNotOpenGetsNothing) {
  Depart();
  there_.FailWith(Status(ErrorCode::kFailedPrecondition, "called off"));
  vm_.SetRunState("finish-migrate");
  vm_.Stream("pre-switchover");
  WaitUntil([&] { return vm_.Asked("migrate_cancel") > 0; });
  there_.FailWith(Status());
  TickUntilOver();
  EXPECT_EQ(vm_.RunState(), "running");
  EXPECT_FALSE(vm_.Capability(kIgnoreShared));
  EXPECT_FALSE(IsOffered(lease_.key.id));
  EXPECT_TRUE(Journal().empty());
}

TEST_F(LeaversTest, AQemuThatFailsInTheGapKeepsItsVm) {
  Stop();
  vm_.Stream("device");
  vm_.Stream("failed");
  ExpectHere();
}

TEST_F(LeaversTest, AnAbortAfterTheSwitchStopsNothing) {
  Stop();
  vm_.Stream("completed");
  ArriveThere(ArrivalState::kRunning);
  WaitUntil([&] { return !vm_.Capability(kIgnoreShared); });
  ASSERT_TRUE(leavers_->Abort(lease_.key, "too late").ok());
  TickUntilOver();
  EXPECT_EQ(ReadPage(lease_.key, 3).value(), 'x') << "the VM runs there, on this memory";
  EXPECT_EQ(Journal().size(), 1U);
  departures_->Close(lease_.key.id, Whereabouts::kLeft);
}

TEST_F(LeaversTest, AHecadThatEndsCallsOffWhatHasNotBeenSwitchedOver) {
  for (const bool streams : {false, true}) {  // without a stream the departure may not have begun yet
    Start(std::chrono::seconds(20));
    Depart();
    if (streams) vm_.Stream("active");
    leavers_.reset();
    EXPECT_FALSE(vm_.Capability(kIgnoreShared)) << streams;
    EXPECT_FALSE(IsOffered(lease_.key.id));
    EXPECT_TRUE(Journal().empty());
    EXPECT_EQ(StateThere(), std::nullopt);
  }
}

TEST_F(LeaversTest, AQemuThatKeepsTheCapabilityIsAnAlarmAndAskedUntilItLetsGo) {
  Depart();
  vm_.Refuse("migrate-set-capabilities");
  vm_.Stream("active");
  vm_.Stream("cancelled");
  TickUntilOver();
  EXPECT_TRUE(vm_.Capability(kIgnoreShared));
  EXPECT_TRUE(Told(events_, EventKind::kAlarm));
  EXPECT_FALSE(IsOffered(lease_.key.id));
  EXPECT_EQ(Journal().size(), 1U) << "if this hecad ends now, the next one sees to it";
  EXPECT_EQ(Ask().status().code(), ErrorCode::kBusy);
  EXPECT_FALSE(log_.List().at(0).over) << "a save must wait for it";
  vm_.Allow("migrate-set-capabilities");
  WaitUntil([&] { return Journal().empty(); });
  EXPECT_TRUE(log_.List().at(0).over);
  EXPECT_NE(log_.List().at(0).trouble.find("failed"), std::string::npos) << log_.List().at(0).trouble;
  EXPECT_FALSE(vm_.Capability(kIgnoreShared));
}

TEST_F(LeaversTest, AHecadThatEndsLeavesTheRestToTheNext) {
  Stop();
  vm_.Stream("completed");
  ArriveThere(ArrivalState::kRunning);
  WaitUntil([&] { return !vm_.Capability(kIgnoreShared); });
  leavers_.reset();
  EXPECT_TRUE(IsOffered(lease_.key.id));
  EXPECT_EQ(ram_.names(), 2U);
  Restart();
  EXPECT_EQ(ReadPage(lease_.key, 3).value(), 'x');
  WaitUntil([&] { return Told(events_, EventKind::kRecovered); });
  departures_->Close(lease_.key.id, Whereabouts::kLeft);
}

}  // namespace
}  // namespace heca::node
