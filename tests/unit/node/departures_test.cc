// SPDX-License-Identifier: LGPL-2.1-or-later
// What is journaled of a VM that leaves, and what the next hecad makes of it: the table of departures.h, row by row.
#include "node/departures.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "leaving_rig.h"

namespace heca::node {
namespace {

using control::EventKind;

class DeparturesTest : public LeavingRig {
 protected:
  /// A VM that is leaving, prepared for at its destination; as far as `stage`.
  void Leave(DepartureStage stage, bool ran = true, const RegionId& governed = "") {
    lease_ = images_->Offer(kRegion, Image()).value();
    PrepareThere(lease_.key);
    DepartureRecord record = Record();
    record.ran = ran;
    record.governed = governed;
    record.image = {"there", DestinationAddress(), lease_, {}};
    ASSERT_TRUE(departures_->Begin(std::move(record)).ok());
    guest::MigratingVm vm(std::shared_ptr<guest::Qmp>(guest::Qmp::Connect(vm_.Path(), Soon()).value()));
    ASSERT_TRUE(vm.Start("tcp:there:1", Soon()).ok());
    if (stage == DepartureStage::kOpened) {
      ASSERT_TRUE(departures_->NoteOpened(id()).ok());
      ASSERT_TRUE(images_->OpenImage(id()).ok());
    }
  }
  [[nodiscard]] LeaseId id() const { return lease_.key.id; }
  [[nodiscard]] std::string Link() const { return Journal().at(0).blocks.at(0).link; }
  /// Called off: the VM is this host's, nobody reads its memory, nothing is left behind.
  void ExpectHere() {
    WaitUntil([&] { return Journal().empty() && ram_.names() == 1; });
    EXPECT_FALSE(IsOffered(id()));
    EXPECT_FALSE(vm_.Capability(kIgnoreShared));
    EXPECT_EQ(there_.Look(kRegion, lease_.key, 0).status().code(), ErrorCode::kNotFound) << "the destination was told";
    EXPECT_NE(there_.last_why().find("restarted"), std::string::npos);
    EXPECT_TRUE(Told(events_, EventKind::kAttachFailed));
  }
  /// It has left: its memory is lent, and a name of its own, until the destination gives it back.
  void ExpectThere() {
    WaitUntil([&] { return Told(events_, EventKind::kRecovered); });
    EXPECT_EQ(ReadPage(lease_.key, 3).value(), 'x');
    ASSERT_EQ(Journal().size(), 1U);
    const std::string link = Link();
    EXPECT_TRUE(std::filesystem::exists(link));
    ASSERT_TRUE(images_->Free(lease_.key).ok());
    for (const LeaseId given_back : images_->Sweep()) departures_->GivenBack(given_back);
    EXPECT_TRUE(Journal().empty());
    EXPECT_FALSE(std::filesystem::exists(link));
  }

  control::Lease lease_;
};

TEST_F(DeparturesTest, TheFileGetsASecondNameOutsideOfItsDirectoryBeforeTheImageIsOpen) {
  Leave(DepartureStage::kStreaming);
  EXPECT_EQ(Journal().at(0).stage, DepartureStage::kStreaming);
  EXPECT_EQ(ram_.names(), 1U);
  ASSERT_TRUE(departures_->NoteOpened(id()).ok());
  EXPECT_EQ(Journal().at(0).stage, DepartureStage::kOpened);
  EXPECT_EQ(ram_.names(), 2U);
  EXPECT_EQ(std::filesystem::path(Link()).parent_path(), "/dev/shm");
  ram_.Remove();  // as libvirt does
  EXPECT_EQ(ram_.names(), 1U);
  departures_->Close(id(), Whereabouts::kStays);
  EXPECT_EQ(ram_.names(), 0U);
  EXPECT_TRUE(Journal().empty());
  departures_->Close(id(), Whereabouts::kStays);  // it may be closed by two who do not know of each other
}

/// By a destination whose hecad crashed before it was told to open: its next one does not know the VM.
TEST_F(DeparturesTest, AnImageThatIsGivenBackBeforeTheVmHasLeftEndsNothing) {
  Leave(DepartureStage::kOpened, true, "vm");
  departures_->GivenBack(id());
  EXPECT_EQ(Journal().size(), 1U);
  EXPECT_TRUE(regions_.ended().empty()) << "the VM may still run here, on this region";
  departures_->Close(id(), Whereabouts::kStays);
  EXPECT_EQ(regions_.ended(), (std::vector<Whereabouts>{Whereabouts::kStays}));
  EXPECT_TRUE(Journal().empty());
}

TEST_F(DeparturesTest, AnImageThatIsGivenBackBeforeItIsKnownThatTheVmHasLeftEndsItThen) {
  Leave(DepartureStage::kOpened, true, "vm");
  departures_->GivenBack(id());
  EXPECT_TRUE(regions_.ended().empty());
  departures_->NoteLeft(id());
  EXPECT_EQ(regions_.ended(), (std::vector<Whereabouts>{Whereabouts::kLeft}));
  EXPECT_TRUE(Journal().empty());
}

TEST_F(DeparturesTest, AnotherFileOfThatNameIsNotTakenForTheRam) {
  Leave(DepartureStage::kStreaming);
  std::filesystem::rename(ram_.path(), ram_.path() + ".old");
  std::filesystem::copy_file(ram_.path() + ".old", ram_.path());
  ASSERT_TRUE(departures_->NoteOpened(id()).ok());
  EXPECT_EQ(Link(), "") << "it cannot outlive hecad and QEMU together; all else goes on";
  EXPECT_EQ(ram_.names(), 1U);
}

TEST_F(DeparturesTest, OnlyWhatHasBegunIsOpened) {
  EXPECT_EQ(departures_->NoteOpened(LeaseId(store::kImageBit | 5)).code(), ErrorCode::kNotFound);
}

TEST_F(DeparturesTest, AFullJournalStopsADepartureBeforeItBegins) {
  std::filesystem::remove_all(journal_.path() + "/departures");
  lease_ = images_->Offer(kRegion, Image()).value();
  DepartureRecord record = Record();
  record.image.lease = lease_;
  EXPECT_FALSE(departures_->Begin(record).ok());
  EXPECT_EQ(departures_->NoteOpened(id()).code(), ErrorCode::kNotFound);
}

TEST_F(DeparturesTest, ATakeOverIsJournaledBeforeItCounts) {
  Leave(DepartureStage::kOpened);
  control::TakeOverRequest request{lease_.key, Epoch(2), {}, "there", "boot"};
  request.claim.fill(std::byte{9});
  ASSERT_TRUE(images_->TakeOver(request).ok());
  EXPECT_EQ(Journal().at(0).image.lease.key.epoch, Epoch(2));
  EXPECT_EQ(Journal().at(0).image.claim, request.claim);

  vm_.Stream("completed");
  Restart();
  EXPECT_EQ(images_->Renew(lease_.key, "b").status().code(), ErrorCode::kPermissionDenied) << "the owner before";
  lease_.key.epoch = Epoch(2);
  EXPECT_TRUE(images_->TakeOver(request).ok()) << "whose answer may have been lost";
  ExpectThere();
}

TEST_F(DeparturesTest, ATakeOverThatCannotBeJournaledDoesNotCount) {
  Leave(DepartureStage::kOpened);
  std::filesystem::rename(journal_.path() + "/departures", journal_.path() + "/away");
  control::TakeOverRequest request{lease_.key, Epoch(2), {}, "there", "boot"};
  EXPECT_FALSE(images_->TakeOver(request).ok());
  EXPECT_TRUE(images_->Renew(lease_.key, "b").ok()) << "the next hecad would not know of it";
  std::filesystem::rename(journal_.path() + "/away", journal_.path() + "/departures");
}

// The journal says streaming: whatever QEMU says, it is called off.
class DeparturesStreaming : public DeparturesTest, public ::testing::WithParamInterface<const char*> {};

INSTANTIATE_TEST_SUITE_P(All, DeparturesStreaming, ::testing::Values("none", "active", "pre_switchover", "failed", "cancelled"),
                         [](const auto& one) { return std::string(one.param); });

std::string Words(std::string status) {
  std::replace(status.begin(), status.end(), '_', '-');
  return status;
}

TEST_P(DeparturesStreaming, GoesOnHere) {
  Leave(DepartureStage::kStreaming);
  vm_.Stream(Words(GetParam()));
  if (Words(GetParam()) == "pre-switchover") vm_.SetRunState("finish-migrate");
  Restart();
  ExpectHere();
  EXPECT_EQ(vm_.RunState(), "running");
  EXPECT_FALSE(Told(events_, EventKind::kAlarm));
}

TEST_F(DeparturesTest, StreamingAndCompletedIsAnAlarm) {
  Leave(DepartureStage::kStreaming);
  vm_.Stream("completed");
  vm_.SetRunState("postmigrate");
  Restart();
  ExpectHere();
  EXPECT_TRUE(Told(events_, EventKind::kAlarm)) << "somebody has switched it over past hecad";
  EXPECT_EQ(vm_.RunState(), "postmigrate") << "it may run there: never twice";
}

TEST_F(DeparturesTest, StreamingAndQemuIsGone) {
  Leave(DepartureStage::kStreaming);
  DepartureRecord record = Journal().at(0);
  record.start_time += 1;  // the pid is another process's
  ASSERT_TRUE(departures_->Begin(record).ok());
  Restart();
  WaitUntil([&] { return Journal().empty(); });
  EXPECT_FALSE(IsOffered(id()));
  EXPECT_EQ(there_.Look(kRegion, lease_.key, 0).status().code(), ErrorCode::kNotFound);
}

// The journal says opened: QEMU decides, and the image is lent until it has.
class DeparturesOpened : public DeparturesTest, public ::testing::WithParamInterface<const char*> {};

INSTANTIATE_TEST_SUITE_P(All, DeparturesOpened, ::testing::Values("pre_switchover", "failed", "cancelled"),
                         [](const auto& one) { return std::string(one.param); });

TEST_P(DeparturesOpened, IsTakenBack) {
  Leave(DepartureStage::kOpened);
  vm_.Stream(Words(GetParam()));
  vm_.SetRunState("finish-migrate");
  Restart();
  ExpectHere();
  EXPECT_EQ(vm_.RunState(), "running");
}

TEST_F(DeparturesTest, OpenedAndCompletedIsLentUntilItIsGivenBack) {
  Leave(DepartureStage::kOpened);
  vm_.Stream("completed");
  vm_.SetRunState("postmigrate");
  Restart();
  EXPECT_EQ(ReadPage(lease_.key, 3).value(), 'x') << "lent when Resume returns";
  ExpectThere();
  EXPECT_EQ(there_.Look(kRegion, lease_.key, 0).value().state, control::ArrivalState::kOpen);
  EXPECT_FALSE(vm_.Capability(kIgnoreShared));
  EXPECT_EQ(vm_.RunState(), "postmigrate");
  EXPECT_EQ(vm_.Asked("cont"), 0U);
}

TEST_F(DeparturesTest, OpenedAndDeviceIsAskedAgainAndMayComplete) {
  Leave(DepartureStage::kOpened);
  vm_.Stream("device");
  vm_.SetRunState("finish-migrate");
  Restart();
  const std::size_t before = vm_.Asked("query-migrate");
  WaitUntil([&] { return vm_.Asked("query-migrate") > before + 1; });
  EXPECT_EQ(vm_.Asked("migrate_cancel"), 0U);
  EXPECT_EQ(there_.Look(kRegion, lease_.key, 0).value().state, control::ArrivalState::kOpen) << "or QEMU waits for ever";
  EXPECT_EQ(ReadPage(lease_.key, 3).value(), 'x');
  vm_.Stream("completed");
  ExpectThere();
}

TEST_F(DeparturesTest, OpenedAndDeviceOfADestinationThatHasGivenUpGoesOnHere) {
  Leave(DepartureStage::kOpened);
  ASSERT_TRUE(there_.Abort(kRegion, lease_.key, "its QEMU has ended").ok());
  vm_.Stream("device");
  Restart();
  WaitUntil([&] { return Journal().empty() && ram_.names() == 1; });
  EXPECT_EQ(vm_.Asked("migrate_cancel"), 1U);
  EXPECT_FALSE(IsOffered(id()));
  EXPECT_EQ(vm_.RunState(), "running");
}

TEST_F(DeparturesTest, OpenedAndDeviceOfADestinationOutOfReachIsAskedAgain) {
  Leave(DepartureStage::kOpened);
  there_.FailWith(Status(ErrorCode::kUnavailable, "link"));
  vm_.Stream("device");
  Restart();
  const std::size_t before = vm_.Asked("query-migrate");
  WaitUntil([&] { return vm_.Asked("query-migrate") > before + 1; });
  EXPECT_EQ(vm_.Asked("migrate_cancel"), 0U);
  there_.FailWith(Status());
  WaitUntil([&] { return there_.Look(kRegion, lease_.key, 0).value().state == control::ArrivalState::kOpen; });
  vm_.Stream("completed");
  ExpectThere();
}

TEST_F(DeparturesTest, OpenedAndDeviceMayFailToo) {
  Leave(DepartureStage::kOpened);
  vm_.Stream("device");
  vm_.SetRunState("finish-migrate");
  Restart();
  vm_.Stream("failed");
  ExpectHere();
  EXPECT_EQ(vm_.RunState(), "running");
}

TEST_F(DeparturesTest, OpenedAndTheCancellationComesTooLate) {
  Leave(DepartureStage::kOpened);
  vm_.Stream("pre-switchover");
  vm_.CompleteInsteadOfCancelling();
  Restart();
  ExpectThere();
  EXPECT_EQ(there_.last_why(), "") << "the destination is not called off";
}

TEST_F(DeparturesTest, OpenedAndQemuDoesNotAnswerIsAskedAgain) {
  Leave(DepartureStage::kOpened);
  vm_.Stream("completed");
  vm_.Refuse("query-migrate");
  Restart();
  WaitUntil([&] { return vm_.Asked("query-migrate") > 1; });
  EXPECT_EQ(ReadPage(lease_.key, 3).value(), 'x') << "the VM may run there";
  vm_.Allow("query-migrate");
  ExpectThere();
}

TEST_F(DeparturesTest, OpenedAndQemuDoesNotAnswerButTheDestinationHasAllOfIt) {
  Leave(DepartureStage::kOpened);
  vm_.Stream("completed");
  vm_.Refuse("query-migrate");
  Restart();
  WaitUntil([&] { return vm_.Asked("query-migrate") > 1; });
  departures_->GivenBack(id());
  WaitUntil([&] { return vm_.Asked("query-migrate") > 3; });
  EXPECT_EQ(Journal().size(), 1U) << "it waits for the VM, and knows nothing of it";
  control::Arrival all;
  all.state = control::ArrivalState::kComplete;
  there_.Arrive(kRegion, all);
  WaitUntil([&] { return Journal().empty(); });
}

TEST_F(DeparturesTest, OpenedAndBothQemuAndTheFileAreGone) {
  Leave(DepartureStage::kOpened);
  DepartureRecord record = Journal().at(0);
  record.start_time += 1;
  ASSERT_TRUE(departures_->Begin(record).ok());
  ram_.Remove();
  departures_.reset();
  images_.reset();
  ram_.Close();  // from here on only the second name holds the memory
  Restart();
  ExpectThere();
}

TEST_F(DeparturesTest, WithoutASecondNameTheFileIsFoundWhereQemuMapsIt) {
  void* const mapped = ::mmap(nullptr, kRamPages * kBasePage.value(), PROT_READ, MAP_SHARED, ram_.fd(), 0);
  ASSERT_NE(mapped, MAP_FAILED);
  Leave(DepartureStage::kOpened);
  DepartureRecord record = Journal().at(0);
  std::filesystem::remove(record.blocks.at(0).link);
  ram_.Remove();
  vm_.Stream("completed");
  Restart();
  EXPECT_EQ(ReadPage(lease_.key, 3).value(), 'x');
  ::munmap(mapped, kRamPages * kBasePage.value());
}

/// The crash of the hecad before was in between: after it had made the link, before the journal said so.
TEST_F(DeparturesTest, ALinkThatWasMadeAndNotJournaledIsRemoved) {
  Leave(DepartureStage::kStreaming);
  std::filesystem::create_hard_link(ram_.path(), Link());
  vm_.Stream("pre-switchover");
  Restart();
  ExpectHere();
}

TEST_F(DeparturesTest, WhatIsOverLeavesNoLinkAndIsNotLent) {
  Leave(DepartureStage::kOpened);
  DepartureRecord record = Journal().at(0);
  record.stage = DepartureStage::kOver;
  ASSERT_TRUE(DepartureJournal(journal_.path() + "/departures").Write(record).ok());
  ram_.Remove();
  Restart();
  EXPECT_TRUE(Journal().empty());
  EXPECT_EQ(ram_.names(), 0U);
  EXPECT_FALSE(IsOffered(id()));
}

TEST_F(DeparturesTest, WhatIsOverAndHasNoLinkAnyMoreIsNoLoss) {
  Leave(DepartureStage::kOpened);
  DepartureRecord record = Journal().at(0);
  record.stage = DepartureStage::kOver;
  ASSERT_TRUE(DepartureJournal(journal_.path() + "/departures").Write(record).ok());
  std::filesystem::remove(Link());
  ram_.Remove();
  Restart();
  EXPECT_TRUE(Journal().empty());
  EXPECT_FALSE(Told(events_, EventKind::kPagesLost));
}

TEST_F(DeparturesTest, MemoryThatIsGoneIsReportedAsLost) {
  Leave(DepartureStage::kOpened);
  std::filesystem::remove(Link());
  ram_.Remove();
  vm_.Stream("completed");
  Restart();
  EXPECT_TRUE(Told(events_, EventKind::kPagesLost));
  EXPECT_FALSE(IsOffered(id())) << "never as zeros";
}

TEST_F(DeparturesTest, AVmThatWasPausedStaysPaused) {
  vm_.SetRunState("paused");
  Leave(DepartureStage::kOpened, false);
  vm_.Stream("failed");
  Restart();
  ExpectHere();
  EXPECT_EQ(vm_.RunState(), "paused");
}

/// It may be sending to one that waits for a page, and hears again once that one has ended.
TEST_F(DeparturesTest, WhatIsStreamingIsCalledOffAtItsDestinationBeforeQemuIsAsked) {
  Leave(DepartureStage::kStreaming);
  vm_.Refuse("query-migrate");
  Restart();
  WaitUntil([&] { return vm_.Asked("query-migrate") > 0; });
  EXPECT_NE(there_.last_why().find("restarted"), std::string::npos);
  vm_.Allow("query-migrate");
  ExpectHere();
}

TEST_F(DeparturesTest, ACapabilityThatQemuKeepsIsClearedAsSoonAsItHearsAgain) {
  Leave(DepartureStage::kStreaming);
  vm_.Refuse("migrate-set-capabilities");
  Restart();
  WaitUntil([&] { return Told(events_, EventKind::kAlarm); });
  EXPECT_TRUE(vm_.Capability(kIgnoreShared));
  EXPECT_EQ(Journal().size(), 1U) << "the next hecad would have to see to it";
  DepartureRecord next = Record();
  next.image.lease = images_->Offer(kRegion, Image()).value();
  EXPECT_EQ(departures_->Begin(next).code(), ErrorCode::kBusy) << "what it sets would be cleared";
  vm_.Allow("migrate-set-capabilities");
  ExpectHere();
  EXPECT_TRUE(departures_->Begin(next).ok());
}

TEST_F(DeparturesTest, ACapabilityThatQemuKeepsIsNoMatterOnceQemuHasEnded) {
  Leave(DepartureStage::kStreaming);
  const pid_t qemu = ::fork();
  if (qemu == 0) {
    while (true) ::pause();
  }
  DepartureRecord record = Journal().at(0);
  record.pid = qemu;
  record.start_time = guest::IdentifyProcess(qemu).value().start_time;
  ASSERT_TRUE(departures_->Begin(record).ok());
  vm_.Refuse("migrate-set-capabilities");
  Restart();
  WaitUntil([&] { return Told(events_, EventKind::kAlarm); });
  ASSERT_EQ(::kill(qemu, SIGKILL), 0);
  ASSERT_EQ(::waitpid(qemu, nullptr, 0), qemu);
  WaitUntil([&] { return Journal().empty(); });
  EXPECT_FALSE(IsOffered(id()));
}

/// Who connects beside it waits for ever, and meanwhile the VM stands still at the switch-over.
TEST_F(DeparturesTest, WhatIsGovernedIsAskedByItsRegionsMonitorAsSoonAsThatIsConnected) {
  Leave(DepartureStage::kStreaming, true, "governed");
  vm_.Stream("pre-switchover");
  departures_.reset();  // lets go of the socket
  regions_.ConnectMonitor(std::shared_ptr<guest::Qmp>(guest::Qmp::Connect(vm_.Path(), Soon()).value()), 20);
  const auto begin = Clock::now();
  Restart();
  ExpectHere();
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(3));
}

TEST_F(DeparturesTest, WhatIsGovernedByARegionThatIsNotTakenBackIsAskedAllTheSame) {
  Leave(DepartureStage::kStreaming, true, "governed");
  vm_.Stream("pre-switchover");
  Restart();
  ExpectHere();
}

TEST_F(DeparturesTest, WhatIsUndecidedIsLeftToTheHecadAfterTheNext) {
  Leave(DepartureStage::kOpened);
  vm_.Stream("device");
  Restart();
  WaitUntil([&] { return vm_.Asked("query-migrate") > 0; });
  Restart();
  EXPECT_EQ(Journal().size(), 1U);
  EXPECT_EQ(ReadPage(lease_.key, 3).value(), 'x');
  vm_.Stream("completed");
  ExpectThere();
}

}  // namespace
}  // namespace heca::node
