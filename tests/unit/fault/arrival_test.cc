// SPDX-License-Identifier: LGPL-2.1-or-later
// A region whose memory comes ahead of its VM: what the store lends may still change, and nobody is answered before Open.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <memory>

#include "support/engine_harness.h"

namespace heca::fault {
namespace {

using region::PageState;
using test::EngineHarness;
using test::WaitUntil;

constexpr std::uint64_t kPages = 1024;

/// All pages at the store, page p in slot p + 1; its words hold p + 1.
class Arrival : public testing::Test {
 protected:
  Arrival() : harness_({.pages = kPages, .limit = kPages, .slots = kPages}) {
    for (std::uint64_t page = 0; page < kPages; ++page) Write(page, page + 1);
    auto table = region::PageTable::CreateAway(harness_.journal(), harness_.guest().Map(), test::kStoreName);
    HECA_CHECK(table.ok());
    HECA_CHECK(harness_.Start(StartMode::kArrival, std::move(*table)).ok());
  }

  std::atomic_ref<std::uint64_t> Word(std::uint64_t page) {
    auto* const words = reinterpret_cast<std::uint64_t*>(harness_.arena().Page(Slot(static_cast<std::uint32_t>(page) + 1)));
    return std::atomic_ref(words[8]);
  }
  void Write(std::uint64_t page, std::uint64_t value) {
    Word(page).store(value);
    harness_.arena().Present(Slot(static_cast<std::uint32_t>(page) + 1)).store(1);
  }
  std::uint64_t Left() {
    const auto counts = harness_.engine().table().Counts();
    return counts.Of(PageState::kAway) + counts.Of(PageState::kPrefetching) + counts.Of(PageState::kComing);
  }
  bool AllThere() { return WaitUntil([this] { return Left() == 0; }); }
  Status Tell(News news, std::vector<region::PageRun> runs) {
    return harness_.engine().Tell(news, std::move(runs), Deadline::After(test::kPatience));
  }
  /// The VM runs, everything comes, and the region ends.
  void GoOn() {
    harness_.engine().Open();
    harness_.engine().BringHome();
    ASSERT_TRUE(harness_.engine().WaitHome(Deadline::After(std::chrono::seconds(20))));
  }

  EngineHarness harness_;
};

TEST_F(Arrival, PagesComeAheadAndNobodyIsAnsweredBeforeOpen) {
  harness_.engine().Fill();
  ASSERT_TRUE(AllThere());
  EXPECT_EQ(harness_.guest().Peek(7), 8U);
  ASSERT_TRUE(harness_.guest().Punch(9));  // so that a touch faults, whatever was placed
  std::atomic<bool> touched{false};
  std::thread thread([&] {
    EXPECT_EQ(harness_.guest().Word(9), 0U);  // a page that was here and is not: discarded
    touched = true;
  });
  std::this_thread::sleep_for(Millis(200));
  EXPECT_FALSE(touched);
  harness_.engine().Open();
  EXPECT_TRUE(WaitUntil([&] { return touched.load(); }));
  thread.join();
  GoOn();
  for (std::uint64_t page = 0; page < kPages; ++page) {
    ASSERT_EQ(harness_.guest().Word(page), page == 9 ? 0 : page + 1);
  }
}

/// A thread of the destination's QEMU: a device model that reads guest memory while it is set up.
class EarlyThread {
 public:
  EarlyThread(test::GuestMemory& guest, std::uint64_t page)
      : thread_([this, &guest, page] {
          id_ = ::gettid();
          seen_ = guest.Word(page);
          done_ = true;
        }) {}
  ~EarlyThread() { thread_.join(); }
  [[nodiscard]] std::int32_t id() const { return id_; }
  [[nodiscard]] bool done() const { return done_; }
  [[nodiscard]] std::uint64_t seen() const { return seen_; }

 private:
  std::atomic<std::int32_t> id_{0};
  std::atomic<std::uint64_t> seen_{0};
  std::atomic<bool> done_{false};
  std::thread thread_;
};

TEST_F(Arrival, AThreadThatTouchesItTooEarlyIsToldOfOnceAndServedAtOpen) {
  const auto began = Clock::now();
  EarlyThread thread(harness_.guest(), 7);
  const auto told = [&] { return harness_.events().Count(EngineEventKind::kEarlyFault); };
  ASSERT_TRUE(WaitUntil([&] {
    harness_.engine().WatchClosed();
    return told() > 0;
  }));
  EXPECT_GE(Clock::now() - began, std::chrono::seconds(1));
  EXPECT_EQ(harness_.events().Last(EngineEventKind::kEarlyFault).page, PageIndex(7));
  EXPECT_EQ(harness_.events().Last(EngineEventKind::kEarlyFault).thread, thread.id());
  for (int i = 0; i < 100; ++i) harness_.engine().WatchClosed();
  EXPECT_EQ(told(), 1);
  EXPECT_FALSE(thread.done());
  harness_.engine().Open();
  EXPECT_TRUE(WaitUntil([&] { return thread.done(); }));
  EXPECT_EQ(thread.seen(), 8U);
  harness_.engine().WatchClosed();  // its loop has it by now
  GoOn();
}

TEST_F(Arrival, SoItIsWhilePagesComeAhead) {
  harness_.arena().switches().disconnected = true;
  harness_.engine().Fill();
  EarlyThread thread(harness_.guest(), 7);
  ASSERT_TRUE(WaitUntil([&] { return harness_.events().Count(EngineEventKind::kEarlyFault) == 1; }));
  EXPECT_EQ(harness_.events().Last(EngineEventKind::kEarlyFault).thread, thread.id());
  harness_.engine().Open();
  harness_.arena().switches().disconnected = false;
  EXPECT_TRUE(WaitUntil([&] { return thread.done(); }));
  EXPECT_EQ(thread.seen(), 8U);
  GoOn();
  EXPECT_EQ(harness_.events().Count(EngineEventKind::kEarlyFault), 1);
}

TEST_F(Arrival, AFaultThatWasReadEarlyIsNotForgottenByFill) {
  EarlyThread thread(harness_.guest(), 7);
  ASSERT_TRUE(WaitUntil([&] {
    harness_.engine().WatchClosed();
    return harness_.events().Count(EngineEventKind::kEarlyFault) > 0;
  }));
  harness_.arena().switches().disconnected = true;
  harness_.engine().Fill();
  harness_.engine().Open();
  harness_.arena().switches().disconnected = false;
  EXPECT_TRUE(WaitUntil([&] { return thread.done(); }));
  EXPECT_EQ(thread.seen(), 8U);
  GoOn();
}

TEST_F(Arrival, WatchingWhileItOpensLosesNoFault) {
  std::vector<std::unique_ptr<EarlyThread>> threads;
  std::atomic<bool> over{false};
  std::thread watcher([&] {
    while (!over) harness_.engine().WatchClosed();
  });
  for (std::uint64_t page = 0; page < 32; ++page) {
    threads.push_back(std::make_unique<EarlyThread>(harness_.guest(), page * 31));
    if (page == 16) harness_.engine().Open();
  }
  for (std::uint64_t page = 0; page < 32; ++page) {
    EXPECT_TRUE(WaitUntil([&] { return threads[page]->done(); })) << page;
    EXPECT_EQ(threads[page]->seen(), page * 31 + 1);
  }
  over = true;
  watcher.join();
  GoOn();
}

TEST_F(Arrival, WhatIsGivenUpBeforeOpenTakesEffectThen) {
  std::atomic<bool> done{false};
  std::thread thread([&] {
    EXPECT_EQ(::madvise(harness_.guest().At(9), kBasePage.value(), MADV_REMOVE), 0);
    done = true;
  });
  EarlyThread beside(harness_.guest(), 7);
  ASSERT_TRUE(WaitUntil([&] {
    harness_.engine().WatchClosed();
    return harness_.events().Count(EngineEventKind::kEarlyFault) > 0;
  }));
  EXPECT_EQ(harness_.Entry(9).state, PageState::kAway) << "only faults are read";
  EXPECT_FALSE(done);
  harness_.engine().Open();
  EXPECT_TRUE(WaitUntil([&] { return done && beside.done(); }));
  thread.join();
  EXPECT_EQ(harness_.guest().Word(9), 0U);
  GoOn();
}

TEST_F(Arrival, WhatChangedComesAgain) {
  harness_.engine().Fill();
  ASSERT_TRUE(AllThere());
  for (std::uint64_t page = 100; page < 300; ++page) Write(page, 5000 + page);
  Write(1023, 7);
  ASSERT_TRUE(Tell(News::kChanged, {{PageIndex(100), 200}, {PageIndex(1023), 1}}).ok());
  ASSERT_TRUE(AllThere());
  GoOn();
  EXPECT_EQ(harness_.guest().Word(99), 100U);
  for (std::uint64_t page = 100; page < 300; ++page) ASSERT_EQ(harness_.guest().Word(page), 5000 + page);
  EXPECT_EQ(harness_.guest().Word(1023), 7U);
}

TEST_F(Arrival, WhatChangedLastIsThereOrComesWhenTheVmRuns) {
  harness_.engine().Fill();
  ASSERT_TRUE(AllThere());
  harness_.arena().switches().disconnected = true;
  for (std::uint64_t page = 0; page < kPages; page += 3) Write(page, 9000 + page);
  std::vector<region::PageRun> runs;
  for (std::uint64_t page = 0; page < kPages; page += 3) runs.push_back({PageIndex(page), 1});
  ASSERT_TRUE(Tell(News::kChanged, runs).ok());
  for (std::uint64_t page = 0; page < kPages; page += 3) ASSERT_FALSE(harness_.guest().InFile(page)) << page;
  harness_.engine().Open();
  harness_.arena().switches().disconnected = false;
  for (std::uint64_t page = 0; page < kPages; ++page) {
    ASSERT_EQ(harness_.guest().Word(page), page % 3 == 0 ? 9000 + page : page + 1);
  }
  GoOn();
}

TEST_F(Arrival, AnAnswerFromBeforeTheChangeIsNotPlaced) {
  harness_.arena().switches().read_at_start = true;
  harness_.arena().switches().disconnected = true;  // what was read stays on its way
  harness_.engine().Fill();
  ASSERT_TRUE(WaitUntil([this] { return harness_.Entry(5).state == PageState::kPrefetching; }));
  Write(5, 77);  // what is on its way still says 6
  ASSERT_TRUE(Tell(News::kChanged, {{PageIndex(5), 1}}).ok());
  harness_.arena().switches().disconnected = false;
  ASSERT_TRUE(AllThere());
  GoOn();
  EXPECT_EQ(harness_.guest().Word(5), 77U);
  EXPECT_GT(harness_.engine().Stats().stale_answers, 0U);
}

TEST_F(Arrival, APageThatWasEmptyAndIsWrittenLaterComes) {
  harness_.arena().switches().disconnected = true;
  harness_.engine().Fill();
  for (std::uint64_t page = 600; page < 700; ++page) Write(page, 0);
  ASSERT_TRUE(Tell(News::kEmpty, {{PageIndex(600), 100}}).ok());
  harness_.arena().switches().disconnected = false;
  ASSERT_TRUE(WaitUntil([this] { return Left() == 0; }));
  Write(650, 42);
  ASSERT_TRUE(Tell(News::kChanged, {{PageIndex(650), 1}}).ok());
  ASSERT_TRUE(AllThere());
  GoOn();
  EXPECT_EQ(harness_.guest().Word(650), 42U);
  EXPECT_EQ(harness_.guest().Word(651), 0U);
}

TEST_F(Arrival, NothingChangesBeforeFillOrAfterOpen) {
  EXPECT_EQ(Tell(News::kChanged, {{PageIndex(1), 1}}).code(), ErrorCode::kFailedPrecondition);
  harness_.engine().Fill();
  ASSERT_TRUE(Tell(News::kChanged, {{PageIndex(1), 1}}).ok());
  harness_.engine().Open();
  EXPECT_EQ(Tell(News::kChanged, {{PageIndex(1), 1}}).code(), ErrorCode::kFailedPrecondition);
  GoOn();
}

TEST_F(Arrival, ALenderThatEndsBeforeOpenIsNoLoss) {
  harness_.arena().switches().over = true;
  harness_.engine().Fill();
  std::this_thread::sleep_for(Millis(300));
  EXPECT_EQ(harness_.engine().Stats().pages_lost, 0U);
  EXPECT_EQ(harness_.events().Count(EngineEventKind::kPagesLost), 0);
}

TEST_F(Arrival, ThePaceIsKept) {
  harness_.engine().SetPace(Bytes(8 << 20));
  const auto begin = Clock::now();
  harness_.engine().Fill();
  ASSERT_TRUE(AllThere());
  EXPECT_GT(Clock::now() - begin, Millis(400));  // 4 MiB at 8 MiB/s
  EXPECT_LT(Clock::now() - begin, Millis(2500));
  GoOn();
}

TEST_F(Arrival, AnotherDaemonTakesItOverAfterOpen) {
  harness_.engine().Fill();
  ASSERT_TRUE(AllThere());
  Write(10, 1010);
  Write(11, 1011);
  harness_.arena().switches().disconnected = true;
  ASSERT_TRUE(Tell(News::kChanged, {{PageIndex(10), 2}}).ok());
  harness_.engine().Open();
  harness_.Stop();
  harness_.arena().switches().disconnected = false;
  ASSERT_TRUE(harness_.Start(StartMode::kTakeOver).ok());
  EXPECT_EQ(harness_.guest().Word(10), 1010U);
  harness_.engine().BringHome();
  ASSERT_TRUE(harness_.engine().WaitHome(Deadline::After(std::chrono::seconds(20))));
  for (std::uint64_t page = 0; page < kPages; ++page) {
    ASSERT_EQ(harness_.guest().Word(page), page == 10 || page == 11 ? page + 1000 : page + 1);
  }
}

/// Writers at the source, rounds as a migration makes them; the last one after they have stopped.
TEST_F(Arrival, RoundsUnderLoadLoseNothing) {
  std::array<std::atomic<bool>, kPages> written{};
  std::atomic<bool> stop{false};
  std::vector<std::thread> writers;
  for (unsigned k = 0; k < 4; ++k) {
    writers.emplace_back([&, k] {
      std::uint64_t random = k + 1;
      for (std::uint64_t n = 1; !stop; ++n) {
        random = random * 6364136223846793005U + 1442695040888963407U;
        const std::uint64_t page = (random >> 33) % (kPages / 4) * 4 + k;
        Word(page).store(n);
        written[page].store(true);
        if (n % 64 == 0) std::this_thread::sleep_for(std::chrono::microseconds(50));
      }
    });
  }
  const auto collect = [&] {
    std::vector<region::PageRun> runs;
    for (std::uint64_t page = 0; page < kPages; ++page) {
      if (written[page].exchange(false)) runs.push_back({PageIndex(page), 1});
    }
    return runs;
  };
  (void)collect();
  harness_.engine().Fill();
  for (int round = 0; round < 40; ++round) {
    std::this_thread::sleep_for(Millis(round % 4));
    ASSERT_TRUE(Tell(News::kChanged, collect()).ok());
  }
  stop = true;
  for (std::thread& writer : writers) writer.join();
  ASSERT_TRUE(Tell(News::kChanged, collect()).ok());
  harness_.engine().Open();
  for (std::uint64_t page = 0; page < kPages; ++page) ASSERT_EQ(harness_.guest().Word(page), Word(page).load()) << page;
  GoOn();
}

}  // namespace
}  // namespace heca::fault
