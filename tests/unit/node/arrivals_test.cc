// SPDX-License-Identifier: LGPL-2.1-or-later
// The destination's table of states (control/migration_api.h), with a QEMU and a region that the test plays.
#include "node/arrivals.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"
#include "support/fake_vm.h"

namespace heca::node {
namespace {

using control::Arrival;
using control::ArrivalState;
using guest::testing::FakeVm;

constexpr const char* kVm = "vm";
constexpr const char* kIgnoreShared = "x-ignore-shared";

Deadline Soon() { return Deadline::After(std::chrono::seconds(10)); }

/// A region whose answers the test decides.
class FakeArriving final : public Arriving {
 public:
  explicit FakeArriving(std::shared_ptr<guest::Qmp> monitor) : monitor_(std::move(monitor)) {}

  Status OpenArrival() override {
    ++opens;
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_until(lock, Soon().when(), [&] { return !held_; }));
    return open;
  }
  Status Tell(control::PageNews news, const std::vector<control::PageRun>& runs) override {
    last_news = news;
    told = runs;
    return {};
  }
  void SetPace(Bytes a_second) override { pace = a_second; }
  Status Place(const control::Placement&) override { return {}; }
  Status Settle() override { return {}; }
  [[nodiscard]] bool came_governed() const override { return false; }
  [[nodiscard]] bool holds_image() const override { return false; }
  void BringArrivalHome() override { ++homecomings; }
  void CallOffArrival() override {
    ++called_off;
    ended_ = true;
  }
  [[nodiscard]] bool ended() const override { return ended_; }
  [[nodiscard]] bool detached() const override { return detached_; }
  [[nodiscard]] std::shared_ptr<guest::Qmp> Monitor() override { return monitor_; }
  [[nodiscard]] std::optional<fault::EngineStats> EngineNumbers() const override { return numbers; }

  void End(bool all_is_home) {
    detached_ = all_is_home;
    ended_ = true;
  }
  void HoldOpen(bool hold) {
    const std::lock_guard lock(mutex_);
    held_ = hold;
    changed_.notify_all();
  }

  std::atomic<int> opens{0}, homecomings{0}, called_off{0};
  Status open;
  control::PageNews last_news = control::PageNews::kInvalid;
  std::vector<control::PageRun> told;
  Bytes pace{0};
  std::optional<fault::EngineStats> numbers;

 private:
  const std::shared_ptr<guest::Qmp> monitor_;
  std::atomic<bool> ended_{false}, detached_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false;
};

class ArrivalsTest : public ::testing::Test {
 protected:
  Result<std::shared_ptr<Arriving>> Make() {
    if (!make_.ok()) return make_;
    std::shared_ptr<guest::Qmp> monitor;
    if (has_monitor_) {
      auto qmp = guest::Qmp::Connect(vm_.Path(), Soon());
      EXPECT_TRUE(qmp.ok()) << qmp.status().ToString();
      monitor = std::move(*qmp);
    }
    auto made = std::make_shared<FakeArriving>(std::move(monitor));
    region_ = made;
    return std::shared_ptr<Arriving>(std::move(made));
  }
  void Start(const ArrivalTimes& times) {
    arrivals_ = std::make_unique<Arrivals>(
        events_, [this](const control::PrepareRequest&) { return Make(); }, times);
  }
  void SetUp() override { Start({}); }

  static control::PrepareRequest Request() {
    control::PrepareRequest request;
    request.region = kVm;
    request.source_node = "source";
    request.image.key = Key();
    request.image.slots = 256;
    request.image.page_size = kBasePage;
    request.uri = "tcp:0:1";
    return request;
  }
  static control::LeaseKey Key() {
    control::LeaseKey key{LeaseId(7), Epoch(1), {}};
    key.secret.fill(std::byte{0x5a});
    return key;
  }
  void Prepare() {
    const Status prepared = arrivals_->Prepare(Request());
    ASSERT_TRUE(prepared.ok()) << prepared.ToString();
  }
  void Open() {
    Prepare();
    const Status opened = arrivals_->Open(kVm, Key());
    ASSERT_TRUE(opened.ok()) << opened.ToString();
  }
  void Run() {
    Open();
    vm_.Resume();
    TickUntil(ArrivalState::kRunning);
  }
  [[nodiscard]] ArrivalState State() { return arrivals_->Look(kVm, Key(), 0).value().state; }
  Status Abort(const std::string& why = "the source has thought better of it") { return arrivals_->Abort(kVm, Key(), why); }
  void TickUntil(const std::function<bool()>& done) {
    const Deadline deadline = Soon();
    while (!done()) {
      ASSERT_FALSE(deadline.Passed());
      arrivals_->Tick();
      std::this_thread::yield();
    }
  }
  void TickUntil(ArrivalState state) {
    TickUntil([&] { return State() == state; });
  }
  /// More often than anything takes.
  void TickOften() {
    for (int i = 0; i < 5; ++i) arrivals_->Tick();
  }
  [[nodiscard]] std::shared_ptr<FakeArriving> region() const {
    auto there = region_.lock();
    HECA_CHECK(there != nullptr);
    return there;
  }
  [[nodiscard]] bool LetGo() const { return region_.expired(); }

  FakeVm vm_{"inmigrate"};
  EventLog events_;
  Status make_;
  bool has_monitor_ = true;
  std::weak_ptr<FakeArriving> region_;
  std::unique_ptr<Arrivals> arrivals_;
};

TEST_F(ArrivalsTest, GoesItsWay) {
  Prepare();
  EXPECT_TRUE(vm_.Capability(kIgnoreShared));
  Arrival arrival = arrivals_->Look(kVm, Key(), 0).value();
  EXPECT_EQ(arrival.state, ArrivalState::kPrepared);
  EXPECT_EQ(arrival.left, Bytes(256 * 4096));
  EXPECT_EQ(region()->opens, 0);

  ASSERT_TRUE(arrivals_->Open(kVm, Key()).ok());
  EXPECT_EQ(State(), ArrivalState::kOpen);
  arrivals_->Tick();
  EXPECT_EQ(region()->homecomings, 0) << "what the VM waits for comes first";
  EXPECT_TRUE(vm_.Capability(kIgnoreShared)) << "its stream has not ended";

  vm_.Resume();
  TickUntil(ArrivalState::kRunning);
  TickUntil([&] { return !vm_.Capability(kIgnoreShared); });
  EXPECT_EQ(region()->homecomings, 1);
  EXPECT_GT(arrivals_->Look(kVm, Key(), 0).value().open_to_resume, Nanos(0));

  region()->End(true);
  TickUntil(ArrivalState::kComplete);
  TickUntil([&] { return LetGo(); });
  arrival = arrivals_->Look(kVm, Key(), 0).value();
  EXPECT_EQ(arrival.state, ArrivalState::kComplete);
  EXPECT_EQ(arrival.left, Bytes(0));
  EXPECT_TRUE(guest::Qmp::Connect(vm_.Path(), Soon()).ok()) << "the monitor is free for the next client";
}

TEST_F(ArrivalsTest, TellsWhatTheEngineHasDone) {
  Open();
  fault::EngineStats numbers;
  numbers.bytes_fetched = 3 * 4096;
  numbers.holes = 5;
  auto& fetched = numbers.latency[static_cast<std::size_t>(fault::AnswerSource::kStore)];
  fetched.total = 2;
  fetched.sum_ns = 70'000;
  numbers.latency[static_cast<std::size_t>(fault::AnswerSource::kPrefetched)].sum_ns = 5'000;
  numbers.blocktime = fault::BlocktimeNumbers{{Nanos(40'000), Nanos(30'000)}, Nanos(20'000), Nanos(5'000)};
  region()->numbers = numbers;
  const Arrival arrival = arrivals_->Look(kVm, Key(), 0).value();
  EXPECT_EQ(arrival.moved, Bytes(3 * 4096));
  EXPECT_EQ(arrival.zero, Bytes(5 * 4096));
  EXPECT_EQ(arrival.faults, 2U);
  EXPECT_EQ(arrival.blocked, Nanos(75'000)) << "whatever the answer came from";
  EXPECT_EQ(arrival.blocktime, (control::Blocktime{{Nanos(40'000), Nanos(30'000)}, Nanos(20'000), Nanos(5'000)}));
  numbers.blocktime.reset();
  region()->numbers = numbers;
  EXPECT_EQ(arrivals_->Look(kVm, Key(), 0).value().blocktime, std::nullopt) << "not known, which is not zero";
}

TEST_F(ArrivalsTest, WhatCannotBeReceivedIsNotKnownAfterwards) {
  make_ = Status(ErrorCode::kFailedPrecondition, "other RAM");
  EXPECT_EQ(arrivals_->Prepare(Request()).message(), "other RAM");
  EXPECT_EQ(arrivals_->Look(kVm, Key(), 0).status().code(), ErrorCode::kNotFound);
}

TEST_F(ArrivalsTest, AQemuWithoutAMonitorIsLetGo) {
  has_monitor_ = false;
  std::shared_ptr<FakeArriving> kept;
  arrivals_ = std::make_unique<Arrivals>(events_, [&](const control::PrepareRequest&) {
    auto made = Make();
    kept = region();
    return made;
  });
  EXPECT_EQ(arrivals_->Prepare(Request()).code(), ErrorCode::kFailedPrecondition);
  EXPECT_EQ(kept->called_off, 1);
  EXPECT_EQ(arrivals_->Look(kVm, Key(), 0).status().code(), ErrorCode::kNotFound);
}

TEST_F(ArrivalsTest, AQemuThatDoesNotListenIsLetGoWithoutTheCapability) {
  vm_.Refuse("migrate-incoming");
  EXPECT_EQ(arrivals_->Prepare(Request()).code(), ErrorCode::kFailedPrecondition);
  EXPECT_FALSE(vm_.Capability(kIgnoreShared));
  EXPECT_TRUE(LetGo());
  EXPECT_EQ(arrivals_->Look(kVm, Key(), 0).status().code(), ErrorCode::kNotFound);
}

TEST_F(ArrivalsTest, AWrongKeyOpensEndsAndTellsNothing) {
  Prepare();
  control::LeaseKey other_lease = Key();
  other_lease.id = LeaseId(8);
  control::LeaseKey guessed = Key();
  guessed.secret.fill(std::byte{0});
  for (const auto& key : {other_lease, guessed}) {
    EXPECT_EQ(arrivals_->Open(kVm, key).code(), ErrorCode::kPermissionDenied);
    EXPECT_EQ(arrivals_->Tell(kVm, key, control::PageNews::kEmpty, {{0, 1}}).code(), ErrorCode::kPermissionDenied);
    EXPECT_EQ(arrivals_->Look(kVm, key, 0).status().code(), ErrorCode::kPermissionDenied);
    EXPECT_EQ(arrivals_->Abort(kVm, key, "").code(), ErrorCode::kPermissionDenied);
  }
  EXPECT_EQ(State(), ArrivalState::kPrepared);
  EXPECT_EQ(region()->opens, 0);
  EXPECT_EQ(region()->called_off, 0);
}

TEST_F(ArrivalsTest, OneThatCameBeforeIsNotTakenForTheNext) {
  Open();
  vm_.Resume();
  TickUntil(ArrivalState::kRunning);
  region()->End(true);
  TickUntil([&] { return LetGo(); });
  control::LeaseKey next = Key();
  next.id = LeaseId(99);
  EXPECT_EQ(arrivals_->Look(kVm, next, 0).status().code(), ErrorCode::kNotFound) << "its source asks until it is announced";
  EXPECT_EQ(State(), ArrivalState::kComplete) << "and the former one is remembered";
}

TEST_F(ArrivalsTest, NothingIsKnownOfAVmThatWasNotAnnounced) {
  EXPECT_EQ(arrivals_->Open(kVm, Key()).code(), ErrorCode::kNotFound);
  EXPECT_EQ(arrivals_->Tell(kVm, Key(), control::PageNews::kEmpty, {}).code(), ErrorCode::kNotFound);
  EXPECT_EQ(arrivals_->Look(kVm, Key(), 0).status().code(), ErrorCode::kNotFound);
  EXPECT_EQ(Abort().code(), ErrorCode::kNotFound);
}

TEST_F(ArrivalsTest, AnOpenWhoseAnswerWasLostMayBeRepeated) {
  Open();
  EXPECT_TRUE(arrivals_->Open(kVm, Key()).ok());
  EXPECT_EQ(region()->opens, 1);
  vm_.Resume();
  TickUntil(ArrivalState::kRunning);
  EXPECT_TRUE(arrivals_->Open(kVm, Key()).ok());
  EXPECT_EQ(State(), ArrivalState::kRunning);
}

TEST_F(ArrivalsTest, AnOpenThatFailsLeavesItPrepared) {
  Prepare();
  region()->open = Status(ErrorCode::kResourceExhausted, "the journal is full");
  EXPECT_EQ(arrivals_->Open(kVm, Key()).code(), ErrorCode::kResourceExhausted);
  EXPECT_EQ(State(), ArrivalState::kPrepared);
  region()->open = Status();
  EXPECT_TRUE(arrivals_->Open(kVm, Key()).ok());
  EXPECT_EQ(State(), ArrivalState::kOpen);
}

TEST_F(ArrivalsTest, PagesChangeBeforeOpenOnly) {
  Prepare();
  EXPECT_TRUE(arrivals_->Tell(kVm, Key(), control::PageNews::kEmpty, {{1, 2}}).ok());
  EXPECT_TRUE(arrivals_->Tell(kVm, Key(), control::PageNews::kChanged, {{3, 4}}).ok());
  EXPECT_EQ(region()->last_news, control::PageNews::kChanged);
  EXPECT_EQ(region()->told, (std::vector<control::PageRun>{{3, 4}}));
  ASSERT_TRUE(arrivals_->Look(kVm, Key(), 5000).ok());
  EXPECT_EQ(region()->pace, Bytes(5000));
  ASSERT_TRUE(arrivals_->Open(kVm, Key()).ok());
  EXPECT_EQ(arrivals_->Tell(kVm, Key(), control::PageNews::kChanged, {{5, 6}}).code(), ErrorCode::kFailedPrecondition);
  vm_.Resume();
  TickUntil(ArrivalState::kRunning);
  region()->End(true);
  TickUntil([&] { return LetGo(); });
  EXPECT_TRUE(arrivals_->Tell(kVm, Key(), control::PageNews::kEmpty, {{1, 2}}).ok()) << "all is here already";
}

/// A call that the source has given up, and that is carried out late, must not make zeros of what was written since.
TEST_F(ArrivalsTest, PagesThatMayHaveChangedAreNotSaidToBeEmpty) {
  Prepare();
  const auto say_empty = [&] { return arrivals_->Tell(kVm, Key(), control::PageNews::kEmpty, {{1, 2}}); };
  EXPECT_TRUE(say_empty().ok());
  EXPECT_TRUE(say_empty().ok()) << "repeated, because the answer was lost";
  ASSERT_TRUE(arrivals_->Tell(kVm, Key(), control::PageNews::kChanged, {{1, 1}}).ok());
  EXPECT_EQ(say_empty().code(), ErrorCode::kFailedPrecondition);
  ASSERT_TRUE(arrivals_->Open(kVm, Key()).ok());
  EXPECT_EQ(say_empty().code(), ErrorCode::kFailedPrecondition);
  EXPECT_EQ(region()->told, (std::vector<control::PageRun>{{1, 1}}));
}

TEST_F(ArrivalsTest, PagesOfAGovernedVmThatMayHaveMovedAreNotSaidToBeEmpty) {
  Prepare();
  const auto say_empty = [&] { return arrivals_->Tell(kVm, Key(), control::PageNews::kEmpty, {{1, 2}}); };
  ASSERT_TRUE(arrivals_->Place(kVm, Key(), {}).ok());
  EXPECT_TRUE(say_empty().ok()) << "nothing had come ahead";
  ASSERT_TRUE(arrivals_->Place(kVm, Key(), {}).ok());
  EXPECT_EQ(say_empty().code(), ErrorCode::kFailedPrecondition);
}

TEST_F(ArrivalsTest, WhereNothingComesAheadEmptyPagesAreNamedAfterOpen) {
  Prepare();
  ASSERT_TRUE(arrivals_->Place(kVm, Key(), {}).ok());
  ASSERT_TRUE(arrivals_->Place(kVm, Key(), {}).ok());
  ASSERT_TRUE(arrivals_->Open(kVm, Key()).ok());
  EXPECT_TRUE(arrivals_->Tell(kVm, Key(), control::PageNews::kEmpty, {{1, 2}}).ok());
  EXPECT_EQ(region()->told, (std::vector<control::PageRun>{{1, 2}}));
}

TEST_F(ArrivalsTest, WhatIsCalledOffIsToldNothing) {
  Prepare();
  ASSERT_TRUE(Abort("no luck").ok());
  const Status told = arrivals_->Tell(kVm, Key(), control::PageNews::kChanged, {{3, 4}});
  EXPECT_TRUE(told.ok() || told.code() == ErrorCode::kFailedPrecondition) << told.ToString();
  EXPECT_TRUE(region()->told.empty());
}

TEST_F(ArrivalsTest, CalledOffBeforeItIsOpened) {
  Prepare();
  ASSERT_TRUE(Abort("no luck").ok());
  const Arrival arrival = arrivals_->Look(kVm, Key(), 0).value();
  EXPECT_EQ(arrival.state, ArrivalState::kFailed);
  EXPECT_EQ(arrival.trouble, "no luck");
  EXPECT_FALSE(vm_.Capability(kIgnoreShared));
  EXPECT_EQ(region()->called_off, 1);
  EXPECT_TRUE(Abort().ok()) << "the answer may have been lost";
  EXPECT_EQ(region()->called_off, 1);
  EXPECT_EQ(arrivals_->Open(kVm, Key()).code(), ErrorCode::kFailedPrecondition);
  TickUntil([&] { return LetGo(); });
  EXPECT_EQ(arrivals_->Open(kVm, Key()).code(), ErrorCode::kFailedPrecondition);
}

TEST_F(ArrivalsTest, CalledOffAfterItIsOpenedItIsLeftAlone) {
  Start({.pull_anyway = Millis(1)});
  Open();
  ASSERT_TRUE(Abort().ok());
  EXPECT_EQ(region()->called_off, 1);
  TickUntil([&] { return LetGo(); });
  // Long after the time at which the pages of a VM that is not seen to run would be brought.
  const Deadline past = Deadline::After(Millis(20));
  while (!past.Passed()) arrivals_->Tick();
  EXPECT_EQ(State(), ArrivalState::kFailed);
  EXPECT_EQ(arrivals_->Open(kVm, Key()).code(), ErrorCode::kFailedPrecondition) << "its QEMU was ended";
}

TEST_F(ArrivalsTest, AVmThatRunsHereIsNotCalledOff) {
  Run();
  EXPECT_EQ(Abort().code(), ErrorCode::kFailedPrecondition);
  EXPECT_EQ(region()->called_off, 0);
  region()->End(true);
  TickUntil(ArrivalState::kComplete);
  EXPECT_EQ(Abort().code(), ErrorCode::kFailedPrecondition);
}

TEST_F(ArrivalsTest, AVmThatHasJustBegunToRunIsNotCalledOffEither) {
  Open();
  vm_.Resume();
  const Deadline deadline = Soon();
  while (State() != ArrivalState::kRunning) ASSERT_FALSE(deadline.Passed());  // no Tick has seen it
  EXPECT_EQ(Abort().code(), ErrorCode::kFailedPrecondition);
  EXPECT_EQ(region()->called_off, 0);
}

TEST_F(ArrivalsTest, AnAbortDuringOpenIsCarriedOutAfterIt) {
  Prepare();
  const auto open_region = region();
  open_region->HoldOpen(true);
  Status opened;
  std::thread opening([&] { opened = arrivals_->Open(kVm, Key()); });
  const Deadline deadline = Soon();
  while (open_region->opens == 0 && !deadline.Passed()) std::this_thread::yield();
  EXPECT_EQ(arrivals_->Open(kVm, Key()).code(), ErrorCode::kFailedPrecondition) << "one at a time";
  EXPECT_TRUE(Abort("the source did not hear the answer").ok());
  EXPECT_EQ(open_region->called_off, 0) << "not under the feet of Open";
  TickOften();
  open_region->HoldOpen(false);
  opening.join();
  EXPECT_EQ(opened.code(), ErrorCode::kAborted);
  EXPECT_EQ(arrivals_->Open(kVm, Key()).code(), ErrorCode::kFailedPrecondition);
  TickUntil(ArrivalState::kFailed);
  EXPECT_EQ(open_region->called_off, 1);
  EXPECT_EQ(arrivals_->Look(kVm, Key(), 0).value().trouble, "the source did not hear the answer");
  EXPECT_FALSE(vm_.Capability(kIgnoreShared));
}

TEST_F(ArrivalsTest, AQemuThatEndsIsAFailureInEachState) {
  for (const ArrivalState state : {ArrivalState::kPrepared, ArrivalState::kOpen, ArrivalState::kRunning}) {
    vm_.SetRunState("inmigrate");
    if (state == ArrivalState::kPrepared) Prepare();
    if (state == ArrivalState::kOpen) Open();
    if (state == ArrivalState::kRunning) Run();
    region()->End(false);
    TickUntil(ArrivalState::kFailed);
    EXPECT_EQ(arrivals_->Look(kVm, Key(), 0).value().trouble, "its process has ended");
    EXPECT_EQ(arrivals_->Open(kVm, Key()).code(), ErrorCode::kFailedPrecondition);
    TickUntil([&] { return LetGo(); });
  }
}

TEST_F(ArrivalsTest, AVmThatWasPausedGetsItsPagesAndIsFreedOfTheCapability) {
  Start({.pull_anyway = Millis(1)});
  Open();
  TickUntil([&] { return region()->homecomings == 1; });
  EXPECT_EQ(State(), ArrivalState::kOpen);
  region()->End(true);
  TickUntil(ArrivalState::kComplete);
  TickOften();
  EXPECT_TRUE(vm_.Capability(kIgnoreShared)) << "QEMU still waits for its stream";
  vm_.SetRunState("paused");
  TickUntil([&] { return LetGo(); });
  EXPECT_FALSE(vm_.Capability(kIgnoreShared));
}

TEST_F(ArrivalsTest, TheCapabilityIsClearedAsSoonAsQemuLets) {
  Open();
  vm_.Refuse("migrate-set-capabilities");
  vm_.Resume();
  TickUntil([&] { return vm_.Asked("migrate-set-capabilities") >= 3; });
  EXPECT_TRUE(vm_.Capability(kIgnoreShared));
  region()->End(true);
  TickUntil(ArrivalState::kComplete);
  TickOften();
  EXPECT_FALSE(LetGo()) << "it is not forgotten before";
  vm_.Allow("migrate-set-capabilities");
  TickUntil([&] { return LetGo(); });
  EXPECT_FALSE(vm_.Capability(kIgnoreShared));
}

TEST_F(ArrivalsTest, ASourceThatFallsSilentIsNotWaitedForForEver) {
  Start({.silence = Millis(20)});
  Prepare();
  EXPECT_EQ(State(), ArrivalState::kPrepared) << "a source that looks is not silent";
  TickUntil([&] { return region()->called_off == 1; });  // not by a Look
  EXPECT_EQ(State(), ArrivalState::kFailed);
  EXPECT_FALSE(vm_.Capability(kIgnoreShared));
  EXPECT_NE(arrivals_->Look(kVm, Key(), 0).value().trouble.find("said nothing"), std::string::npos);
}

TEST_F(ArrivalsTest, AnOpenOneIsWaitedForHoweverLong) {
  Start({.silence = Millis(1)});
  Open();
  const Deadline past = Deadline::After(Millis(20));
  while (!past.Passed()) arrivals_->Tick();
  EXPECT_EQ(State(), ArrivalState::kOpen) << "the VM may be here: only the source and QEMU know";
  EXPECT_EQ(region()->called_off, 0);
}

TEST_F(ArrivalsTest, TheEndIsForgottenInTheEnd) {
  Start({.memory = Millis(1)});
  Prepare();
  ASSERT_TRUE(Abort().ok());
  TickUntil([&] { return arrivals_->Look(kVm, Key(), 0).status().code() == ErrorCode::kNotFound; });
}

TEST_F(ArrivalsTest, AVmMayComeAgainUnderItsName) {
  Prepare();
  ASSERT_TRUE(Abort().ok());
  TickUntil([&] { return LetGo(); });
  Open();
  EXPECT_EQ(State(), ArrivalState::kOpen);
}

}  // namespace
}  // namespace heca::node
