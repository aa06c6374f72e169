// SPDX-License-Identifier: LGPL-2.1-or-later
// An engine tells what changes of its pages, so that another host can have a copy that is right to the byte.
#include "fault/change_notes.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "support/engine_harness.h"

namespace heca::fault {
namespace {

using region::PageState;
using region::SlotRun;
using test::EngineHarness;
using test::WaitUntil;

constexpr std::uint64_t kPages = 512;
constexpr std::uint64_t kWords = kBasePage.value() / sizeof(std::uint64_t);

Deadline Soon() { return Deadline::After(std::chrono::seconds(30)); }

/// Another host's copy, as it is told: of pages in the file the bytes, of others the slot.
class Copy {
 public:
  explicit Copy(EngineHarness& harness) : harness_(harness), slots_(kPages, kNoSlot), pages_(kPages * kWords) {}

  void Take(const ChangeNotes::Places& places, bool bytes = true) {
    for (const SlotRun& run : places) {
      for (std::uint64_t n = 0; n < run.pages; ++n) {
        const std::uint64_t page = run.first.value() + n;
        slots_[page] = run.slot == kNoSlot ? kNoSlot : Slot(run.slot.value() + static_cast<std::uint32_t>(n));
        if (run.slot == kNoSlot && bytes) Read(page);
      }
    }
  }
  /// All that may have been in the file at some time, as it is now.
  void ReadAll() {
    for (std::uint64_t page = 0; page < kPages; ++page) Read(page);
  }
  /// The store's bytes of what lies there, without which there is none.
  void Complete() {
    for (std::uint64_t page = 0; page < kPages; ++page) {
      if (slots_[page] == kNoSlot) continue;
      ASSERT_EQ(harness_.arena().Present(slots_[page]).load(), 1) << "page " << page << " in slot " << slots_[page].value();
      const auto* const words = reinterpret_cast<const std::uint64_t*>(harness_.arena().Page(slots_[page]));
      std::copy_n(words, kWords, &pages_[page * kWords]);
    }
  }
  [[nodiscard]] std::uint64_t Word(std::uint64_t page) const { return pages_[page * kWords + 8]; }
  [[nodiscard]] Slot slot(std::uint64_t page) const { return slots_[page]; }

 private:
  void Read(std::uint64_t page) {
    constexpr auto kSize = static_cast<ssize_t>(kBasePage.value());
    HECA_CHECK(::pread(harness_.guest().file(), &pages_[page * kWords], kBasePage.value(),
                       static_cast<off_t>(page * kBasePage.value())) == kSize);
  }
  EngineHarness& harness_;
  std::vector<Slot> slots_;
  std::vector<std::uint64_t> pages_;
};

class ChangeNotesTest : public testing::Test {
 protected:
  void Start(std::uint64_t limit, bool prefetch = false) {
    harness_.emplace(EngineHarness::Options{.pages = kPages, .limit = limit, .prefetch = prefetch});
    ASSERT_TRUE(harness_->Start().ok());
    ASSERT_TRUE(WaitUntil([&] { return engine().counted(); }));
  }
  RegionEngine& engine() { return harness_->engine(); }
  test::GuestMemory& guest() { return harness_->guest(); }
  ChangeNotes::Places Changed(bool written = true) {
    auto places = engine().Changed(written, Soon());
    HECA_CHECK(places.ok());
    return std::move(places).value();
  }
  std::vector<std::uint64_t> PagesOf(const ChangeNotes::Places& places) {
    std::vector<std::uint64_t> pages;
    for (const SlotRun& run : places) {
      for (std::uint64_t n = 0; n < run.pages; ++n) pages.push_back(run.first.value() + n);
    }
    return pages;
  }
  using List = std::vector<std::uint64_t>;

  std::optional<EngineHarness> harness_;
};

TEST_F(ChangeNotesTest, EveryPageIsToldOnceUntilItIsWrittenAgain) {
  Start(kPages);
  for (const std::uint64_t page : {3U, 4U, 5U, 100U}) guest().Word(page) = page;
  EXPECT_EQ(guest().Word(200), 0U);  // read: here, and zero
  EXPECT_EQ(PagesOf(Changed()), (List{3, 4, 5, 100, 200})) << "those never touched are known to be zero";
  EXPECT_EQ(PagesOf(Changed()), (List{}));
  guest().Word(4) = 44;
  guest().Word(200) = 1;
  guest().Word(300) = 1;
  EXPECT_EQ(guest().Word(3), 3U);
  EXPECT_EQ(PagesOf(Changed()), (List{4, 200, 300}));
  guest().Word(4) = 45;
  EXPECT_EQ(PagesOf(Changed()), (List{4})) << "armed anew";
  EXPECT_EQ(PagesOf(Changed()), (List{}));
}

TEST_F(ChangeNotesTest, WhereNothingIsCopiedAheadOnlyMovesAreToldAndNobodyWaits) {
  Start(kPages);
  guest().Word(3) = 3;
  EXPECT_EQ(PagesOf(Changed(false)), (List{3}));
  guest().Word(3) = 4;
  guest().Word(9) = 9;
  EXPECT_EQ(PagesOf(Changed(false)), (List{9}));
  EXPECT_EQ(engine().Stats().latency[static_cast<std::size_t>(AnswerSource::kWriteProtect)].total, 0U);
}

TEST_F(ChangeNotesTest, WhatIsEvictedIsToldWithItsSlotAndWhatComesBackWithout) {
  Start(128);
  for (std::uint64_t page = 0; page < kPages; ++page) guest().Word(page) = page + 1;
  ASSERT_TRUE(WaitUntil([&] { return engine().Stats().evictions > 300; }));
  Copy copy(*harness_);
  copy.Take(Changed());
  const std::uint64_t away = 0;
  ASSERT_NE(copy.slot(away), kNoSlot);
  EXPECT_EQ(guest().Word(away), 1U);
  copy.Take(Changed());
  EXPECT_EQ(copy.slot(away), kNoSlot);
  EXPECT_EQ(copy.Word(away), 1U);
  harness_->engine().Stop();
  copy.Take(engine().ChangedLast());
  copy.Complete();
  for (std::uint64_t page = 0; page < kPages; ++page) ASSERT_EQ(copy.Word(page), page + 1);
}

TEST_F(ChangeNotesTest, WithoutAQuestionBeforeTheLastAnswerSaysItAll) {
  Start(128);
  for (std::uint64_t page = 0; page < kPages; ++page) guest().Word(page) = page + 1;
  harness_->engine().Stop();
  Copy copy(*harness_);
  copy.Take(engine().ChangedLast());
  copy.Complete();
  for (std::uint64_t page = 0; page < kPages; ++page) ASSERT_EQ(copy.Word(page), page + 1);
}

TEST_F(ChangeNotesTest, ADeviceThatHadPinnedAPageIsWaitedOut) {
  Start(kPages);
  guest().Word(7) = 7;
  harness_->guard().Hold();
  EXPECT_EQ(engine().Changed(true, Deadline::After(Millis(300))).status().code(), ErrorCode::kDeadlineExceeded);
  EXPECT_GT(harness_->guard().marks(), 0U);
  harness_->guard().LetGo();
  EXPECT_EQ(PagesOf(Changed()), (List{7})) << "an answer that nobody waited for is not lost";
}

TEST_F(ChangeNotesTest, NothingIsToldWhileAThreadWaitsForAPage) {
  Start(128);
  for (std::uint64_t page = 0; page < kPages; ++page) guest().Word(page) = page + 1;
  ASSERT_TRUE(WaitUntil([&] { return harness_->Entry(0).state == PageState::kAway; }));
  harness_->Stop();  // with what it still had of it
  ASSERT_TRUE(harness_->Start(StartMode::kTakeOver).ok());
  (void)Changed();
  harness_->arena().switches().disconnected = true;
  std::thread reader([&] { EXPECT_EQ(guest().Word(0), 1U); });  // direct I/O that waits for a page has pinned others
  EXPECT_TRUE(WaitUntil([&] { return harness_->Entry(0).state == PageState::kComing; }));
  std::this_thread::sleep_for(Millis(150));  // until it counts as a stall
  const std::uint64_t marks = harness_->guard().marks();
  EXPECT_EQ(engine().Changed(true, Deadline::After(Millis(500))).status().code(), ErrorCode::kDeadlineExceeded);
  harness_->arena().switches().disconnected = false;
  reader.join();
  (void)Changed();
  EXPECT_GT(harness_->guard().marks(), marks + 1) << "marked anew once it was through";
}

TEST_F(ChangeNotesTest, DiscardedPagesAreZeroAndWrittenOnesAreTold) {
  Start(kPages);
  for (std::uint64_t page = 10; page < 30; ++page) guest().Word(page) = page;
  Copy copy(*harness_);
  copy.Take(Changed());
  ASSERT_EQ(::madvise(guest().At(10), 10 * kBasePage.value(), MADV_REMOVE), 0);
  guest().Word(12) = 1212;
  copy.Take(Changed());
  EXPECT_EQ(copy.Word(11), 0U);
  EXPECT_EQ(copy.Word(12), 1212U);
  guest().Word(13) = 1313;
  copy.Take(Changed());
  EXPECT_EQ(copy.Word(13), 1313U);
  EXPECT_EQ(copy.Word(25), 25U);
}

TEST_F(ChangeNotesTest, AGuestThatWritesInOrderWaitsForFewOfItsPages) {
  Start(2 * kPages);  // nothing is evicted
  for (std::uint64_t page = 0; page < kPages; ++page) guest().Word(page) = 1;
  (void)Changed();
  const auto faults = [&] {
    return engine().Stats().latency[static_cast<std::size_t>(AnswerSource::kWriteProtect)].total;
  };
  const std::uint64_t before = faults();
  for (std::uint64_t page = 64; page < 320; ++page) guest().Word(page) = 2;
  EXPECT_LT(faults() - before, 40U);
  const List told = PagesOf(Changed());
  EXPECT_GE(told.size(), 256U);
  EXPECT_LE(told.size(), 256U + 16U);
}

/// A VM that stays after all: it goes on, leaves later, or is detached.
TEST_F(ChangeNotesTest, AVmThatStaysGoesOnAndMayLeaveAnotherTime) {
  Start(128);
  for (std::uint64_t page = 0; page < kPages; ++page) guest().Word(page) = page + 1;
  (void)Changed();
  engine().ForgetChanges();
  test::ShadowWriters writers(guest(), 2);
  ASSERT_TRUE(WaitUntil([&] { return writers.visits() > 5000; }, std::chrono::seconds(60)));
  Copy copy(*harness_);
  copy.Take(Changed());
  writers.Finish();
  EXPECT_EQ(writers.wrong(), 0U);
  harness_->engine().Stop();
  copy.Take(engine().ChangedLast());
  copy.Complete();
  harness_->Stop();
  ASSERT_TRUE(harness_->Start(StartMode::kTakeOver).ok());
  for (std::uint64_t page = 0; page < kPages; ++page) ASSERT_EQ(guest().Word(page), copy.Word(page)) << page;
}

TEST_F(ChangeNotesTest, AnotherHecadAnswersWritersOfWhatWasArmed) {
  Start(kPages);
  for (std::uint64_t page = 0; page < kPages; ++page) guest().Word(page) = 1;
  (void)Changed();
  harness_->Stop();
  std::atomic<bool> written{false};
  std::thread writer([&] {
    for (std::uint64_t page = 0; page < kPages; ++page) guest().Word(page) = page;
    written = true;
  });
  ASSERT_TRUE(harness_->Start(StartMode::kTakeOver).ok());
  EXPECT_TRUE(WaitUntil([&] { return written.load(); }));
  writer.join();
  (void)Changed();  // armed once more
  engine().BringHome();
  ASSERT_TRUE(engine().WaitHome(Soon()));
  for (std::uint64_t page = 0; page < kPages; ++page) {
    EXPECT_EQ(guest().Word(page), page);
    guest().Word(page) = 1;  // nobody is asked any more
  }
}

/// What a migration does, while the guest writes, pages come and go, and parts of the memory are given up. Slots are used
/// again by others meanwhile, so what lies at the store is only read when all is at rest.
void Hammer(bool arm_before_copy, std::uint64_t& wrong) {
  EngineHarness harness({.pages = kPages, .limit = 160, .slots = 700});
  ASSERT_TRUE(harness.Start().ok());
  ASSERT_TRUE(WaitUntil([&] { return harness.engine().counted(); }));
  const std::uint64_t discarded = kPages - 64;  // from here on
  Copy copy(harness);
  {
    test::ShadowWriters writers(harness.guest(), 2, 4, false, discarded);
    std::atomic<bool> stop{false};
    std::thread giver([&] {
      for (std::uint64_t n = 1; !stop; ++n) {
        const std::uint64_t page = discarded + n % 64;
        harness.guest().Word(page) = n;
        if (n % 16 == 0) HECA_CHECK(::madvise(harness.guest().At(page), kBasePage.value(), MADV_REMOVE) == 0);
      }
    });
    ASSERT_TRUE(WaitUntil([&] { return writers.visits() > 2000; }, std::chrono::seconds(60)));
    for (int round = 0; round < 30; ++round) {
      if (!arm_before_copy) {
        copy.ReadAll();
        const std::uint64_t visits = writers.visits();
        ASSERT_TRUE(WaitUntil([&] { return writers.visits() > visits + 100; }));
      }
      auto places = harness.engine().Changed(true, Soon());
      ASSERT_TRUE(places.ok()) << places.status().ToString();
      copy.Take(*places, arm_before_copy);
    }
    writers.Finish();
    stop = true;
    giver.join();
    EXPECT_EQ(writers.wrong(), 0U);
  }
  harness.engine().Stop();
  copy.Take(harness.engine().ChangedLast());
  copy.Complete();
  harness.Stop();
  ASSERT_TRUE(harness.Start(StartMode::kTakeOver).ok());
  wrong = 0;
  for (std::uint64_t page = 0; page < kPages; ++page) wrong += harness.guest().Word(page) == copy.Word(page) ? 0 : 1;
}

TEST(ChangeNotesHammer, ACopyMadeOfWhatIsToldIsTheMemory) {
  std::uint64_t wrong = 0;
  Hammer(true, wrong);
  EXPECT_EQ(wrong, 0U);
}

/// That the test above can fail.
TEST(ChangeNotesHammer, ArmingAfterTheCopyLoses) {
  std::uint64_t wrong = 0;
  Hammer(false, wrong);
  EXPECT_GT(wrong, 0U);
}

}  // namespace
}  // namespace heca::fault
