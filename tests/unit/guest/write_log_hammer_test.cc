// SPDX-License-Identifier: LGPL-2.1-or-later
// A log raced by writers: what is copied after each Collect, and at last after Final, is the memory.
#include <gtest/gtest.h>

#include <array>

#include "guest/write_log.h"
#include "write_log_kinds.h"
#include "written_process.h"

namespace heca::guest {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Abilities;
using testing::Soon;
using testing::WrittenProcess;

constexpr std::uint64_t kPages = 2048;  ///< of the larger hammer
constexpr unsigned kWriters = 8;
constexpr std::size_t kWord = 8;  ///< bytes that one writer owns in each page
constexpr std::uint64_t kVisits = 8;  ///< pages that a writer visits in one go

/// What the writers share with the test; in memory that is not logged.
struct Control {
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> visits{0};
  std::array<std::array<std::uint64_t, kPages>, kWriters> shadow{};  ///< what each writer last wrote to each page
};
Control* g_control = nullptr;

/// A deed: writers that own one word of each of so many pages and count it up at random, until they are to stop.
void WriteAll(char* memory, int, std::uint64_t pages, std::uint64_t) {
  std::vector<std::thread> writers;
  for (unsigned writer = 0; writer < kWriters; ++writer) {
    writers.emplace_back([memory, pages, writer] {
      std::uint64_t random = writer + 1;
      while (!g_control->stop.load(std::memory_order_relaxed)) {
        for (std::uint64_t i = 0; i < kVisits; ++i) {
          random = random * 6364136223846793005U + 1442695040888963407U;
          const std::uint64_t page = (random >> 33) % pages;
          const std::uint64_t value = ++g_control->shadow[writer][page];
          *reinterpret_cast<volatile std::uint64_t*>(memory + page * 4096 + writer * kWord) = value;
        }
        g_control->visits.fetch_add(kVisits, std::memory_order_relaxed);
        std::this_thread::yield();
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
}

enum class Order { kCollectThenCopy, kCopyThenCollect };

class WriteLogHammer : public testing::EachKind {
 protected:
  void SetUp() override {
    EachKind::SetUp();
    if (IsSkipped()) return;
    void* shared = ::mmap(nullptr, sizeof(Control), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(shared, MAP_FAILED);
    g_control = new (shared) Control;
  }
  void TearDown() override {
    if (g_control != nullptr) ::munmap(g_control, sizeof(Control));
    g_control = nullptr;
  }

  std::unique_ptr<WriteLog> Start(WrittenProcess& process) {
    process.Begin(WriteAll, process.ram()[0].size.value() / 4096);
    auto log = StartWriteLog(process.pid(), nullptr, process.ram(), kBasePage, Abilities(), GetParam(), Soon());
    EXPECT_TRUE(log.ok()) << log.status().ToString();
    return std::move(log).value();
  }
  /// Until the writers have visited so many pages more: they have their turn, however few CPUs there are.
  static void LetThemWrite(std::uint64_t visits) {
    const std::uint64_t before = g_control->visits.load();
    const Deadline deadline = Soon();
    while (g_control->visits.load() - before < visits) {
      ASSERT_FALSE(deadline.Passed()) << "the writers stand still";
      std::this_thread::yield();
    }
  }
  /// Rounds for that long, two at least; returns how many words of the mirror are not what was written last.
  std::uint64_t LostWords(Order order, Nanos span, std::uint64_t pages = kPages) {
    WrittenProcess process({pages});
    std::vector<char> mirror(pages * 4096);
    const auto copy = [&](const Result<std::vector<PageSpan>>& spans) {
      ASSERT_TRUE(spans.ok()) << spans.status().ToString();
      for (const PageSpan& part : *spans) {
        const std::uint64_t at = part.first.value() * 4096;
        const std::uint64_t length = part.pages.value() * 4096;
        ASSERT_EQ(::pread(process.file(), mirror.data() + at, length, static_cast<off_t>(at)),
                  static_cast<ssize_t>(length));
      }
    };
    const auto log = Start(process);
    copy(std::vector<PageSpan>{{PageIndex(0), PageCount(pages)}});
    const std::uint64_t visits = std::min<std::uint64_t>(pages / 32, 64);
    const Deadline deadline = Deadline::After(span);
    int rounds = 0;
    for (; rounds < 2 || !deadline.Passed(); ++rounds) {
      LetThemWrite(visits);
      if (order == Order::kCollectThenCopy) {
        copy(log->Collect());
      } else {
        copy(log->Final());
        LetThemWrite(visits);
        EXPECT_TRUE(log->Collect().ok());
      }
    }
    RecordProperty("rounds", rounds);
    if (order == Order::kCopyThenCollect) {
      copy(log->Final());
      LetThemWrite(visits);
    }
    g_control->stop = true;
    EXPECT_TRUE(process.Done());
    // With nobody who writes on: what this order loses would be written again, and told, before the writers see the end.
    if (order == Order::kCopyThenCollect) {
      EXPECT_TRUE(log->Collect().ok());
    }
    copy(log->Final());
    EXPECT_TRUE(log->Stop(Soon()).ok());
    std::uint64_t lost = 0;
    for (unsigned writer = 0; writer < kWriters; ++writer) {
      for (std::uint64_t page = 0; page < pages; ++page) {
        std::uint64_t value = 0;
        std::memcpy(&value, mirror.data() + page * 4096 + writer * kWord, sizeof value);
        lost += value == g_control->shadow[writer][page] ? 0 : 1;
      }
    }
    return lost;
  }
};
INSTANTIATE_TEST_SUITE_P(Kinds, WriteLogHammer, testing::kEachKind, testing::KindName);

TEST_P(WriteLogHammer, NothingIsLost) { EXPECT_EQ(LostWords(Order::kCollectThenCopy, seconds(3)), 0U); }

/// Every Collect meets faults of the one run that there is: a page whose mark is taken between its marking and its
/// unprotecting would never be told again.
TEST_P(WriteLogHammer, NothingIsLostOfASingleRun) { EXPECT_EQ(LostWords(Order::kCollectThenCopy, seconds(3), 16), 0U); }

/// Shows that this hammer finds a loss: what is written between the copy and the arm is in no answer.
TEST_P(WriteLogHammer, ArmingAfterTheCopyLoses) {
  EXPECT_GT(LostWords(Order::kCopyThenCollect, milliseconds(100)), 0U);
}

TEST_P(WriteLogHammer, StopFreesEveryWriter) {
  WrittenProcess process({kPages});
  for (int again = 0; again < 5; ++again) {
    g_control->stop = false;
    const auto log = Start(process);
    LetThemWrite(64);
    EXPECT_TRUE(log->Collect().ok());
    EXPECT_TRUE(log->Stop(Soon()).ok());
    LetThemWrite(1000);
    g_control->stop = true;
    EXPECT_TRUE(process.Done()) << "a writer waits for ever";
  }
}

}  // namespace
}  // namespace heca::guest
