// SPDX-License-Identifier: LGPL-2.1-or-later
// A page that lost its page table entry, as reclaim and compaction take it, and is mapped anew: its first write is seen
// all the same. Run as this kernel is, and as one before 6.4 is, where a page that is mapped anew cannot be armed.
#include <gtest/gtest.h>

#include "support/engine_harness.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

namespace heca::fault {
namespace {

using region::PageState;
using test::EngineHarness;
using test::WaitUntil;

constexpr std::uint64_t kPages = 512;
constexpr std::uint64_t kPage = 77;

bool Mapped(const void* at) {
  const unique_fd pagemap(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  std::uint64_t entry = 0;
  const auto offset = static_cast<off_t>(reinterpret_cast<std::uintptr_t>(at) / 4096 * 8);
  HECA_CHECK(::pread(pagemap.get(), &entry, sizeof entry, offset) == sizeof entry);
  return (entry >> 63) != 0;
}

/// As reclaim does it; false if this kernel will not.
bool Unmap(void* at) {
  return WaitUntil([&] { return ::madvise(at, 4096, MADV_PAGEOUT) == 0 && !Mapped(at); }, std::chrono::seconds(2));
}

class EngineMinor : public testing::TestWithParam<bool> {
 protected:
  /// Every page written with its number plus one, and here: the limit is far enough for nothing to leave ahead of need.
  void SetUp() override {
    harness_ = std::make_unique<EngineHarness>(EngineHarness::Options{
        .pages = kPages, .limit = 2 * kPages, .prefetch = false, .continue_protected = GetParam()});
    ASSERT_TRUE(harness_->Start().ok());
    for (std::uint64_t page = 0; page < kPages; ++page) guest().Word(page) = page + 1;
  }
  /// Page kPage comes back by a read and stays.
  void BecomeClean() {
    harness_->engine().SetLimit(PageCount(64));
    ASSERT_TRUE(harness_->WaitState(kPage, PageState::kAway));
    harness_->engine().SetLimit(PageCount(2 * kPages));
    ASSERT_EQ(guest().Word(kPage), kPage + 1);
    ASSERT_TRUE(harness_->WaitState(kPage, PageState::kHere));
    ASSERT_TRUE(harness_->Entry(kPage).clean);
  }
  test::GuestMemory& guest() { return harness_->guest(); }
  [[nodiscard]] std::uint64_t MappedAnew() const {
    return harness_->engine().Stats().latency[static_cast<std::size_t>(AnswerSource::kMinor)].total;
  }
  void SendAway(std::uint64_t page = kPage) {
    harness_->engine().SetLimit(PageCount(64));
    std::uint64_t other = 0;  // the others are touched, so that this one is the oldest
    ASSERT_TRUE(WaitUntil([&] {
      other = (other + 1) % kPages;
      if (other != page) guest().Word(other, 9) = other;
      return harness_->Entry(page).state == PageState::kAway;
    }));
  }
  void ExpectInOrder() {
    EXPECT_EQ(harness_->engine().Stats().kernel_errors, 0U);
    EXPECT_EQ(harness_->engine().Stats().stray_pages, 0U);
    EXPECT_EQ(harness_->arena().switches().lost_reads.load(), 0U);
  }
  std::unique_ptr<EngineHarness> harness_;
};

TEST_P(EngineMinor, AWriteAfterTheReadThatMappedACleanPageIsKept) {
  ASSERT_NO_FATAL_FAILURE(BecomeClean());
  if (!Unmap(guest().At(kPage))) GTEST_SKIP() << "MADV_PAGEOUT does not unmap here";
  const std::uint64_t before = MappedAnew();
  ASSERT_EQ(guest().Word(kPage), kPage + 1);
  ASSERT_TRUE(WaitUntil([&] { return MappedAnew() == before + 1; }));
  EXPECT_EQ(harness_->Entry(kPage).clean, GetParam() && EngineHarness::Abilities().continue_protected);
  guest().Word(kPage) = 4711;
  SendAway();
  EXPECT_EQ(guest().Word(kPage), 4711U) << "dropped as if nobody had written it";
  ExpectInOrder();
}

TEST_P(EngineMinor, AWriteThatMapsACleanPageIsKept) {
  ASSERT_NO_FATAL_FAILURE(BecomeClean());
  if (!Unmap(guest().At(kPage))) GTEST_SKIP() << "MADV_PAGEOUT does not unmap here";
  guest().Word(kPage) = 4711;
  EXPECT_FALSE(harness_->Entry(kPage).clean);
  SendAway();
  EXPECT_EQ(guest().Word(kPage), 4711U);
  ExpectInOrder();
}

TEST_P(EngineMinor, AWriteAfterTheReadThatMappedALeavingPageIsKept) {
  harness_->arena().switches().delay_ns = 500'000'000;
  harness_->engine().SetLimit(PageCount(kPages - 32));
  const auto& offered = harness_->arena().switches().last_offered;
  ASSERT_TRUE(WaitUntil([&] { return offered.load() != kNoSlot.value(); }));
  std::uint64_t page = 0;  // it has been copied, and is not acknowledged for a while
  while (page < kPages && harness_->Entry(page).slot.value() != offered.load()) ++page;
  ASSERT_LT(page, kPages);
  const bool unmapped = Unmap(guest().At(page));
  EXPECT_EQ(guest().Word(page), page + 1);
  guest().Word(page) = 4712;
  const bool still_leaving = harness_->arena().switches().written.load() == 0;
  harness_->arena().switches().delay_ns = 0;
  if (!unmapped) GTEST_SKIP() << "MADV_PAGEOUT does not unmap here";
  EXPECT_TRUE(still_leaving) << "too slow: the write came after the page had left";
  SendAway(page);
  EXPECT_EQ(guest().Word(page), 4712U) << "dropped although it was written after it was copied";
  ExpectInOrder();
}

INSTANTIATE_TEST_SUITE_P(Kernels, EngineMinor, testing::Bool(),
                         [](const auto& row) { return row.param ? "AsItIs" : "Before6x4"; });

}  // namespace
}  // namespace heca::fault
