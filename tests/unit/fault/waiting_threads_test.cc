// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/waiting_threads.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "support/engine_harness.h"

namespace heca::fault {
namespace {

using region::PageRun;
using region::PageState;
using test::EngineHarness;
using test::WaitUntil;

class WaitingThreadsTest : public testing::Test {
 protected:
  void SetUp() override { waiting_.Follow(); }
  static Clock::time_point At(int ms) { return Clock::time_point() + Millis(ms); }
  static PageRun Page(std::uint64_t page) { return {PageIndex(page), 1}; }
  void Begin(std::int32_t thread, std::uint64_t page, int ms) { waiting_.Begin(thread, PageIndex(page), At(ms)); }
  void End(PageRun run, int ms) { waiting_.End(run, At(ms)); }
  BlocktimeNumbers Numbers() { return waiting_.Blocktime().value(); }

  WaitingThreads waiting_{std::vector<std::int32_t>{20, 10}};
};

TEST_F(WaitingThreadsTest, CountsEachVcpuAndAllAtOnce) {
  Begin(20, 1, 0);
  Begin(10, 2, 30);
  Begin(99, 3, 35);
  End(Page(2), 40);
  End(Page(3), 50);
  EXPECT_EQ(Numbers().vcpus, (std::vector<Nanos>{Nanos(0), Millis(10)})) << "what waits still is not counted yet";
  End(Page(1), 60);
  EXPECT_EQ(Numbers().vcpus, (std::vector<Nanos>{Millis(60), Millis(10)})) << "in the order in which they were named";
  EXPECT_EQ(Numbers().all_vcpus, Millis(10));
  EXPECT_EQ(Numbers().others, Millis(15));
  Begin(10, 5, 100);
  Begin(20, 5, 101);
  End(Page(5), 103);
  EXPECT_EQ(Numbers().vcpus, (std::vector<Nanos>{Millis(62), Millis(13)}));
  EXPECT_EQ(Numbers().all_vcpus, Millis(12));
}

TEST_F(WaitingThreadsTest, ARunEndsWhoWaitsWithinIt) {
  Begin(10, 7, 0);
  Begin(20, 8, 0);
  End({PageIndex(0), 7}, 5);
  End({PageIndex(9), 100}, 5);
  EXPECT_EQ(Numbers().all_vcpus, Nanos(0));
  End({PageIndex(6), 3}, 10);
  EXPECT_EQ(Numbers().vcpus, (std::vector<Nanos>{Millis(10), Millis(10)}));
  EXPECT_EQ(Numbers().all_vcpus, Millis(10));
}

TEST_F(WaitingThreadsTest, AThreadThatComesWithAnotherFaultNoLongerWaitsForTheFormer) {
  Begin(10, 1, 0);
  Begin(20, 2, 0);
  Begin(10, 3, 10);  // a signal took it out of its fault
  End(Page(1), 15);
  End(Page(3), 20);
  End(Page(2), 20);
  EXPECT_EQ(Numbers().vcpus, (std::vector<Nanos>{Millis(20), Millis(20)}));
  EXPECT_EQ(Numbers().all_vcpus, Millis(20));
}

TEST_F(WaitingThreadsTest, VcpusMayShareAThread) {
  WaitingThreads shared(std::vector<std::int32_t>{7, 7, 7});
  shared.Follow();
  shared.Begin(7, PageIndex(0), At(0));
  shared.End(Page(0), At(5));
  EXPECT_EQ(shared.Blocktime()->vcpus, (std::vector<Nanos>(3, Millis(5))));
  EXPECT_EQ(shared.Blocktime()->all_vcpus, Millis(5));
}

TEST_F(WaitingThreadsTest, MoreOthersThanItHasRoomForHarmNoVcpu) {
  for (int thread = 1000; thread < 2000; ++thread) Begin(thread, 1, 0);
  Begin(10, 1, 0);
  Begin(20, 1, 0);
  End(Page(1), 5);
  EXPECT_EQ(Numbers().vcpus, (std::vector<Nanos>{Millis(5), Millis(5)}));
  EXPECT_EQ(Numbers().others, 256 * Millis(5));
}

TEST_F(WaitingThreadsTest, WhatIsNotKnownIsNotZero) {
  EXPECT_EQ(WaitingThreads({}).Blocktime(), std::nullopt);
  ASSERT_TRUE(waiting_.Blocktime().has_value());
  Begin(0, 1, 0);
  EXPECT_FALSE(waiting_.Blocktime().has_value());
}

TEST_F(WaitingThreadsTest, TellsOnceOfThoseThatWaitForLong) {
  std::vector<std::pair<std::int32_t, std::uint64_t>> told;
  const auto tell = [&](int since) {
    told.clear();
    waiting_.TellOfThoseSince(At(since), [&](std::int32_t thread, PageIndex page) { told.emplace_back(thread, page.value()); });
    return told;
  };
  using Told = std::vector<std::pair<std::int32_t, std::uint64_t>>;
  Begin(10, 1, 0);
  Begin(99, 2, 5);
  Begin(98, 3, 6);
  End(Page(3), 7);
  EXPECT_EQ(tell(-1), Told());
  EXPECT_EQ(tell(4), (Told{{10, 1}}));
  EXPECT_EQ(tell(8), (Told{{99, 2}}));
  EXPECT_EQ(tell(100), Told());
}

/// A thread that touches one page when it is told to.
class Toucher {
 public:
  Toucher() : thread_([this] {
    id_ = ::gettid();
    while (page_ == kNotYet) std::this_thread::yield();
    if (page_ != kNever) seen_ = guest_->Word(static_cast<std::uint64_t>(page_));
  }) {
    HECA_CHECK(WaitUntil([this] { return id_ != 0; }));
  }
  ~Toucher() {
    std::int64_t untold = kNotYet;
    page_.compare_exchange_strong(untold, kNever);
    thread_.join();
  }
  [[nodiscard]] std::int32_t id() const { return id_; }
  void Touch(test::GuestMemory& guest, std::int64_t page) {
    guest_ = &guest;
    page_ = page;
  }

 private:
  static constexpr std::int64_t kNotYet = -1;
  static constexpr std::int64_t kNever = -2;
  test::GuestMemory* guest_ = nullptr;
  std::atomic<std::int64_t> page_{kNotYet};
  std::atomic<std::int32_t> id_{0};
  std::uint64_t seen_ = 0;
  std::thread thread_;
};

TEST(EngineBlocktime, AnArrivalTellsForHowLongItsVcpusWaited) {
  std::unique_ptr<EngineHarness> harness;
  BlocktimeNumbers numbers;
  {
    std::array<Toucher, 3> threads;  // two vCPUs and another one
    EngineHarness::Options options{.pages = 64, .limit = 64, .slots = 64};
    options.vcpu_threads = {threads[0].id(), threads[1].id()};
    harness = std::make_unique<EngineHarness>(options);
    for (std::uint32_t slot = 1; slot <= 64; ++slot) harness->arena().Present(Slot(slot)).store(1);
    auto table = region::PageTable::CreateAway(harness->journal(), harness->guest().Map(), test::kStoreName);
    ASSERT_TRUE(table.ok());
    ASSERT_TRUE(harness->Start(StartMode::kArrival, std::move(*table)).ok());
    harness->arena().switches().disconnected = true;
    harness->engine().Open();
    // Each is known to wait before the next one begins to.
    std::array<Clock::time_point, 3> waits;
    for (std::size_t n : {0U, 1U, 2U}) {
      threads[n].Touch(harness->guest(), static_cast<std::int64_t>(20 * n));
      ASSERT_TRUE(harness->WaitState(20 * n, PageState::kComing));
      waits[n] = Clock::now();
      ASSERT_TRUE(WaitUntil([&] { return Clock::now() > waits[n] + Millis(20); }));
    }
    EXPECT_EQ(harness->engine().Stats().blocktime->all_vcpus, Nanos(0));
    const Clock::time_point reconnected = Clock::now();
    harness->arena().switches().disconnected = false;
    ASSERT_TRUE(WaitUntil([&] { return harness->engine().Stats().blocktime->others.count() > 0; }));
    ASSERT_TRUE(WaitUntil([&] { return harness->engine().Stats().blocktime->vcpus[0].count() > 0; }));
    ASSERT_TRUE(WaitUntil([&] { return harness->engine().Stats().blocktime->vcpus[1].count() > 0; }));
    numbers = harness->engine().Stats().blocktime.value();
    EXPECT_GE(numbers.vcpus.at(0), reconnected - waits[0]);
    EXPECT_GE(numbers.vcpus.at(1), reconnected - waits[1]);
    EXPECT_GE(numbers.others, reconnected - waits[2]);
    EXPECT_GE(numbers.all_vcpus, reconnected - waits[1]);
  }
  EXPECT_GT(numbers.vcpus[0], numbers.vcpus[1]);
  EXPECT_LE(numbers.all_vcpus, numbers.vcpus[1]);
}

/// An arrival of a page that the store has, for this very thread.
class EngineThatMayNotKnow : public testing::Test {
 protected:
  static EngineHarness::Options Options() {
    EngineHarness::Options options{.pages = 64, .limit = 64, .slots = 64};
    options.vcpu_threads = {::gettid()};
    return options;
  }
  void Arrive() {
    for (std::uint32_t slot = 1; slot <= 64; ++slot) harness_.arena().Present(Slot(slot)).store(1);
    auto table = region::PageTable::CreateAway(harness_.journal(), harness_.guest().Map(), test::kStoreName);
    ASSERT_TRUE(table.ok());
    ASSERT_TRUE(harness_.Start(StartMode::kArrival, std::move(*table)).ok());
    harness_.engine().Open();
    EXPECT_EQ(harness_.guest().Word(3), 0U);
  }
  std::optional<BlocktimeNumbers> Blocktime() { return harness_.engine().Stats().blocktime; }
  void GoHome() {
    harness_.engine().BringHome();
    EXPECT_TRUE(harness_.engine().WaitHome(Deadline::After(test::kPatience)));
  }

  EngineHarness harness_{Options()};
};

TEST_F(EngineThatMayNotKnow, AnotherDaemonDoesNotKnowWhatWasBefore) {
  Arrive();
  EXPECT_TRUE(Blocktime().has_value());
  harness_.Stop();
  ASSERT_TRUE(harness_.Start(StartMode::kTakeOver).ok());
  EXPECT_EQ(harness_.guest().Word(5), 0U);
  EXPECT_EQ(Blocktime(), std::nullopt);
  GoHome();
}

TEST_F(EngineThatMayNotKnow, ADescriptorThatNamesNoThreadsServesAllTheSame) {
  os::Uffd uffd(unique_fd(::fcntl(harness_.uffd(), F_DUPFD_CLOEXEC, 0)));
  ASSERT_TRUE(uffd.Handshake(os::RequiredUffdFeatures()).ok());
  Arrive();
  EXPECT_EQ(Blocktime(), std::nullopt);
  GoHome();
}

}  // namespace
}  // namespace heca::fault
