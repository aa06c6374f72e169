// SPDX-License-Identifier: LGPL-2.1-or-later
#include "os/page_scan.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <optional>

#include "os/probe_uffd.h"

namespace heca::os {
namespace {

constexpr std::uint64_t kPages = 32768;  // twice as many runs of one page as two vectors hold

/// Memory of this process, registered for tracking and armed.
class PageScanTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto abilities = ProbeUffd();
    ASSERT_TRUE(abilities.ok());
    if (!abilities->page_scan) GTEST_SKIP() << "needs Linux 6.7 (PAGEMAP_SCAN)";
    file_.reset(::memfd_create("ram", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(file_.get(), kPages * 4096), 0);
    void* memory = ::mmap(nullptr, kPages * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0);
    ASSERT_NE(memory, MAP_FAILED);
    memory_ = static_cast<char*>(memory);
    uffd_.emplace(Uffd::OpenForSelf().value());
    ASSERT_EQ(uffd_->Handshake(AsyncTrackingFeatures()).value(), UffdHandshake::kFresh);
    ASSERT_TRUE(uffd_->RegisterWriteProtect(Page(0), Bytes(kPages * 4096)).ok());
    scan_.emplace(PageScan::Open(::getpid()).value());
    ASSERT_TRUE(scan_->ArmAll(Page(0), Bytes(kPages * 4096)).ok());
  }
  void TearDown() override {
    uffd_.reset();
    if (memory_ != nullptr) ::munmap(memory_, kPages * 4096);
  }
  [[nodiscard]] TargetAddress Page(std::uint64_t page) const {
    return TargetAddress(reinterpret_cast<std::uintptr_t>(memory_) + page * 4096);
  }
  void Write(std::uint64_t page) const { const_cast<volatile char*>(memory_)[page * 4096] = 1; }
  std::vector<WrittenRun> Scan(Arm rearm) const {
    std::vector<WrittenRun> runs;
    const Status status = scan_->Written(Page(0), Bytes(kPages * 4096), rearm, runs);
    EXPECT_TRUE(status.ok()) << status.ToString();
    return runs;
  }

  unique_fd file_;
  char* memory_ = nullptr;
  std::optional<Uffd> uffd_;
  std::optional<PageScan> scan_;
};

TEST_F(PageScanTest, TellsWhatWasWrittenUntilItIsArmedAgain) {
  EXPECT_TRUE(Scan(Arm::kNo).empty()) << "holes are armed, too";
  Write(3);
  Write(4);
  Write(9);
  for (const Arm rearm : {Arm::kNo, Arm::kYes}) {
    const auto runs = Scan(rearm);
    ASSERT_EQ(runs.size(), 2U);
    EXPECT_EQ(runs[0].start, Page(3));
    EXPECT_EQ(runs[0].end, Page(5));
    EXPECT_EQ(runs[1].start, Page(9));
  }
  EXPECT_TRUE(Scan(Arm::kYes).empty());
  Write(4);
  EXPECT_EQ(Scan(Arm::kYes).size(), 1U);
}

TEST_F(PageScanTest, GoesOnWhereTheKernelsAnswerIsFull) {
  for (std::uint64_t page = 0; page < kPages; page += 2) Write(page);
  const auto runs = Scan(Arm::kYes);
  ASSERT_EQ(runs.size(), kPages / 2);
  for (std::uint64_t i = 0; i < runs.size(); ++i) ASSERT_EQ(runs[i].start, Page(2 * i));
  EXPECT_TRUE(Scan(Arm::kNo).empty()) << "told and not armed";
}

/// Without PM_SCAN_CHECK_WPASYNC the kernel answers "nothing is written" here.
TEST_F(PageScanTest, MemoryThatIsNotWatchedIsRefused) {
  ASSERT_TRUE(uffd_->Unregister(Page(0), Bytes(kPages * 4096)).ok());
  auto sync = Uffd::OpenForSelf();
  ASSERT_TRUE(sync.ok() && sync->Handshake(SyncTrackingFeatures()).ok());
  for (int registered = 0; registered < 2; ++registered) {
    std::vector<WrittenRun> runs;
    for (const Arm rearm : {Arm::kNo, Arm::kYes}) {
      EXPECT_EQ(scan_->Written(Page(0), Bytes(kPages * 4096), rearm, runs).code(), ErrorCode::kPermissionDenied);
    }
    EXPECT_EQ(scan_->ArmAll(Page(0), kBasePage).code(), ErrorCode::kPermissionDenied);
    EXPECT_TRUE(runs.empty());
    ASSERT_TRUE(sync->RegisterWriteProtect(Page(0), Bytes(kPages * 4096)).ok());
  }
}

TEST(PageScan, NoSuchProcess) { EXPECT_EQ(PageScan::Open(0x3ffffff0).status().code(), ErrorCode::kNotFound); }

}  // namespace
}  // namespace heca::os
