// SPDX-License-Identifier: LGPL-2.1-or-later
// The limit, the write-protect window, I/O in flight, and local memory that runs out.
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <fstream>

#include "support/engine_harness.h"

namespace heca::fault {
namespace {

using region::PageState;
using test::EngineHarness;
using test::ShadowWriters;
using test::WaitUntil;

TEST(EngineLimit, ChangesWhileTheGuestWrites) {
  EngineHarness harness({.pages = 2048, .limit = 2048});
  ASSERT_TRUE(harness.Start().ok());
  ShadowWriters writers(harness.guest(), 4);
  for (const std::uint64_t limit : {1024U, 128U, 2048U, 64U, 512U, 100U}) {
    harness.engine().SetLimit(PageCount(limit));
    const std::uint64_t visits = writers.visits();
    EXPECT_TRUE(WaitUntil([&] { return harness.engine().table().Resident() <= limit; })) << limit;
    EXPECT_TRUE(WaitUntil([&] { return writers.visits() > visits + 500; })) << "the guest stalls at " << limit;
    // The bound that faults run into: the limit and its slack.
    EXPECT_LE(harness.engine().table().Resident(), limit + std::max<std::uint64_t>(16, limit / 16) + 8);
  }
  writers.Finish();
  EXPECT_EQ(writers.wrong(), 0U);
}

TEST(EngineLimit, NeverBelowTheMinimum) {
  EngineHarness harness({.pages = 256, .limit = 1});
  ASSERT_TRUE(harness.Start().ok());
  EXPECT_EQ(harness.engine().Stats().limit, PageCount(kMinLimit));
}

TEST(EngineLimit, NothingIsCopiedBeforeTheIoIsOver) {
  EngineHarness harness({.pages = 256, .limit = 64});
  harness.guard().Hold();
  ASSERT_TRUE(harness.Start().ok());
  std::thread guest([&] {
    for (std::uint64_t page = 0; page < 256; ++page) harness.guest().Word(page) = page + 1;
  });
  ASSERT_TRUE(WaitUntil([&] { return harness.engine().table().CountOf(PageState::kLeaving) > 8; }));
  ASSERT_TRUE(WaitUntil([&] { return harness.events().Count(EngineEventKind::kLimitReached) > 0; }));
  EXPECT_EQ(harness.arena().switches().written.load(), 0U);
  EXPECT_EQ(harness.engine().Stats().evictions, 0U);
  ASSERT_TRUE(WaitUntil([&] { return harness.engine().Stats().io_waits > 0; })) << "the guard was not asked";
  harness.guard().LetGo();
  guest.join();
  for (std::uint64_t page = 0; page < 256; ++page) ASSERT_EQ(harness.guest().Word(page), page + 1);
  EXPECT_GT(harness.engine().Stats().io_waits, 0U);
}

TEST(EngineLimit, CallsHomeABatchOfOneThatWasJustStored) {
  for (int round = 0; round < 20; ++round) {
    // One page is old enough to leave: a batch of one.
    EngineHarness harness({.pages = 128, .limit = 64, .prefetch = false, .min_residence = std::chrono::hours(1)});
    const std::uint64_t value = 4711;
    ASSERT_EQ(::pwrite(harness.guest().file(), &value, 8, 64), 8);
    ASSERT_TRUE(harness.Start().ok());
    for (std::uint64_t page = 1; page < 63; ++page) harness.guest().Word(page) = page;
    const Deadline deadline = Deadline::After(std::chrono::seconds(5));
    while (harness.arena().switches().written.load() == 0 && !deadline.Passed()) {
    }
    harness.engine().BringHome();  // as a rule the loop finds this and the store's answer in one round
    ASSERT_TRUE(harness.engine().WaitHome(Deadline::After(std::chrono::seconds(5)))) << "round " << round;
    ASSERT_EQ(harness.guest().Word(0), value);
    ASSERT_EQ(harness.arena().CountPresent(), 0U);
  }
}

TEST(EngineLimit, AWriteInTheWindowCancels) {
  EngineHarness harness({.pages = 256, .limit = 128});
  ASSERT_TRUE(harness.Start().ok());
  for (std::uint64_t page = 0; page < 100; ++page) harness.guest().Word(page) = page + 1;
  harness.guard().Hold();
  harness.engine().SetLimit(PageCount(64));
  ASSERT_TRUE(WaitUntil([&] { return harness.engine().table().CountOf(PageState::kLeaving) >= 30; }));
  std::uint64_t written = 0;
  for (std::uint64_t page = 0; page < 100; ++page) {
    if (harness.Entry(page).state != PageState::kLeaving) continue;
    ++written;
    EXPECT_TRUE(WaitUntil([&] {  // again and again: a page that is marked and not armed yet takes a write unseen
      harness.guest().Word(page) = page + 1000;
      return harness.Entry(page).state == PageState::kHere;
    }));
  }
  EXPECT_GE(harness.engine().Stats().cancels, written);
  EXPECT_GT(written, 0U);
  harness.guard().LetGo();
  EXPECT_TRUE(WaitUntil([&] { return harness.engine().table().Resident() <= 64; }));
  std::uint64_t changed = 0;
  for (std::uint64_t page = 0; page < 100; ++page) {
    const std::uint64_t value = harness.guest().Word(page);
    ASSERT_TRUE(value == page + 1 || value == page + 1000) << page;
    changed += value == page + 1000 ? 1 : 0;
  }
  EXPECT_EQ(changed, written);
}

TEST(EngineLimit, AFullTmpfsIsSurvived) {
  const std::string directory = "/dev/shm/heca-small-" + std::to_string(::getpid());
  ASSERT_EQ(::mkdir(directory.c_str(), 0700), 0);
  if (::mount("tmpfs", directory.c_str(), "tmpfs", 0, "size=1m") != 0) {
    ::rmdir(directory.c_str());
    GTEST_SKIP() << "needs the right to mount a tmpfs: " << std::strerror(errno);
  }
  {
    const int file = ::open((directory + "/ram").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    // 256 pages fit; the limit allows more than there is.
    EngineHarness harness({.pages = 1024, .limit = 512, .file = file});
    ASSERT_TRUE(harness.Start().ok());
    for (std::uint64_t page = 0; page < 1024; ++page) harness.guest().Word(page) = page + 1;
    for (std::uint64_t page = 0; page < 1024; ++page) ASSERT_EQ(harness.guest().Word(page), page + 1);
    EXPECT_GT(harness.engine().Stats().no_memory, 0U);
    EXPECT_GT(harness.events().Count(EngineEventKind::kNoMemory), 0);
  }
  EXPECT_EQ(::umount(directory.c_str()), 0);
  ::rmdir(directory.c_str());
}

TEST(EngineLimit, ZeroPagesCostNothing) {
  EngineHarness harness({.pages = 512, .limit = 64});
  ASSERT_TRUE(harness.Start().ok());
  for (std::uint64_t page = 0; page < 512; ++page) {
    harness.guest().Word(page) = 1;
    harness.guest().Word(page) = 0;
  }
  for (std::uint64_t page = 0; page < 512; ++page) ASSERT_EQ(harness.guest().Word(page), 0U);
  EXPECT_GT(harness.engine().Stats().zero_drops, 200U);
  EXPECT_LT(harness.arena().switches().written.load(), 64U);
}

TEST(EngineLimit, AScanIsPrefetched) {
  EngineHarness harness({.pages = 2048, .limit = 512});
  ASSERT_TRUE(harness.Start().ok());
  for (std::uint64_t page = 0; page < 2048; ++page) harness.guest().Word(page) = page + 1;
  for (std::uint64_t page = 0; page < 2048; ++page) ASSERT_EQ(harness.guest().Word(page), page + 1);
  EXPECT_GT(harness.engine().Stats().prefetch_placed, 500U);
}

TEST(EngineLimit, PagesThatWereThereBeforeAttachAreFound) {
  EngineHarness harness({.pages = 512, .limit = 64});
  for (std::uint64_t page = 0; page < 400; ++page) harness.guest().Word(page) = page + 1;  // no engine yet
  ASSERT_TRUE(harness.Start().ok());
  EXPECT_TRUE(WaitUntil([&] { return harness.engine().table().CountOf(PageState::kAway) > 400 - 64; }));
  for (std::uint64_t page = 0; page < 512; ++page) ASSERT_EQ(harness.guest().Word(page), page < 400 ? page + 1 : 0);
}

TEST(EngineLimit, ASparseRegionOf256GiBAttachesInMilliseconds) {
  EngineHarness harness({.pages = std::uint64_t{64} << 20, .limit = 1024, .slots = 4096});
  harness.guest().Word(std::uint64_t{50} << 20) = 5;
  const Clock::time_point start = Clock::now();
  ASSERT_TRUE(harness.Start().ok());
  EXPECT_TRUE(harness.WaitState(std::uint64_t{50} << 20, PageState::kHere));
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(1));
  RecordProperty("attach_us", static_cast<int>((Clock::now() - start).count() / 1000));
}

/// Huge pages reserved for the test, on top of what is reserved already.
class HugePagePool {
 public:
  explicit HugePagePool(int pages) : before_(Read()) {
    Write(before_ + pages);
    got_ = Read() - before_;
  }
  ~HugePagePool() { Write(before_); }
  HugePagePool(const HugePagePool&) = delete;
  HugePagePool& operator=(const HugePagePool&) = delete;
  [[nodiscard]] int got() const { return got_; }

 private:
  static constexpr const char* kPath = "/proc/sys/vm/nr_hugepages";
  static int Read() {
    int pages = 0;
    std::ifstream(kPath) >> pages;
    return pages;
  }
  static void Write(int pages) { std::ofstream(kPath) << pages; }
  int before_;
  int got_ = 0;
};

TEST(EngineLimit, HugePages) {
  constexpr std::uint64_t kPages = 96;
  const HugePagePool pool(100);
  if (pool.got() < 100) GTEST_SKIP() << "needs 100 free huge pages of 2 MiB, got " << pool.got();
  {
    EngineHarness harness({.pages = kPages, .limit = 64, .page_size = kHugePage});
    ASSERT_TRUE(harness.Start().ok());
    {
      ShadowWriters writers(harness.guest(), 3);
      ASSERT_TRUE(WaitUntil([&] { return writers.visits() > 300 && harness.engine().Stats().evictions > 50; },
                            std::chrono::seconds(60)));
      writers.Finish();
      EXPECT_EQ(writers.wrong(), 0U);
    }
    harness.guest().Word(3) = 33;
    ASSERT_TRUE(harness.guest().Punch(3));
    EXPECT_EQ(harness.guest().Word(3), 0U);
    for (std::uint64_t page = 0; page < kPages; ++page) harness.guest().Word(page, 100000) = page + 1;
    harness.Stop();
    ASSERT_TRUE(harness.Start(StartMode::kTakeOver).ok());
    for (std::uint64_t page = 0; page < kPages; ++page) ASSERT_EQ(harness.guest().Word(page, 100000), page + 1);
    EXPECT_EQ(harness.engine().Stats().kernel_errors, 0U);
    harness.engine().BringHome();
    EXPECT_TRUE(harness.engine().WaitHome(Deadline::After(std::chrono::seconds(20))));
  }
}

}  // namespace
}  // namespace heca::fault
