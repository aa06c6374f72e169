// SPDX-License-Identifier: LGPL-2.1-or-later
#include "os/ram_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>
#include <chrono>

namespace heca::os {
namespace {

unique_fd SixteenPages() {
  unique_fd fd(::memfd_create("ram", MFD_CLOEXEC));
  EXPECT_EQ(::ftruncate(fd.get(), 16 * 4096), 0);
  return fd;
}

TEST(RamFile, FindsRunsOfPresentPagesAndReadsHolesWithoutFillingThem) {
  auto file = RamFile::Create(SixteenPages());
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(file->page_size(), kBasePage);
  const FileOffset end(16 * 4096);
  auto none = file->NextData(FileOffset(0), end);
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(none->start, none->end);
  for (const off_t page : {3, 4, 9}) ASSERT_EQ(::pwrite(file->fd(), "y", 1, page * 4096), 1);
  auto run = file->NextData(FileOffset(0), end);
  ASSERT_TRUE(run.ok());
  EXPECT_EQ(run->start, FileOffset(3 * 4096));
  EXPECT_EQ(run->end, FileOffset(5 * 4096));
  std::array<std::byte, 2 * 4096> bytes;
  ASSERT_TRUE(file->ReadAt(FileOffset(4 * 4096), bytes).ok());
  EXPECT_EQ(bytes[0], std::byte{'y'});
  EXPECT_EQ(bytes[4096], std::byte{0});
  auto clipped = file->NextData(FileOffset(4 * 4096), FileOffset(5 * 4096));
  ASSERT_TRUE(clipped.ok());
  EXPECT_EQ(clipped->end, FileOffset(5 * 4096));
  ASSERT_TRUE(file->Punch(FileOffset(3 * 4096), Bytes(2 * 4096)).ok());
  auto next = file->NextData(FileOffset(0), end);
  ASSERT_TRUE(next.ok());
  EXPECT_EQ(next->start, FileOffset(9 * 4096)) << "reading page 5 has made it present";
}

TEST(RamFile, APageOfALongRunCostsNoMoreThanOneOfAShortRun) {
  constexpr std::uint64_t kPages = 65536;
  unique_fd fd(::memfd_create("ram", MFD_CLOEXEC));
  for (std::uint64_t page = 0; page < kPages; ++page) {
    ASSERT_EQ(::pwrite(fd.get(), "y", 1, static_cast<off_t>(page * 4096)), 1);
  }
  auto file = RamFile::Create(std::move(fd));
  ASSERT_TRUE(file.ok());
  const auto ask = [&](std::uint64_t page) {
    int found = 0;
    const auto began = std::chrono::steady_clock::now();
    for (int i = 0; i < 200; ++i) {
      const auto run = file->NextData(FileOffset(page * 4096), FileOffset((page + 1) * 4096));
      found += run.ok() && run->start == FileOffset(page * 4096) ? 1 : 0;
    }
    const auto took = std::chrono::steady_clock::now() - began;
    EXPECT_EQ(found, 200);
    return took;
  };
  (void)ask(0);
  // Where the kernel walks over the run, it is some thousand times as much.
  EXPECT_LT(ask(0), 20 * ask(kPages - 1) + std::chrono::milliseconds(10));
  const auto piece = file->NextData(FileOffset(0), FileOffset(kPages * 4096));
  ASSERT_TRUE(piece.ok());
  EXPECT_EQ(piece->end, FileOffset(RamFile::kLongestRun * 4096));
}

TEST(RamFile, RefusesAFileOnDisk) {
  EXPECT_EQ(RamFile::Create(unique_fd(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC))).status().code(),
            ErrorCode::kFailedPrecondition);
}

TEST(RamFile, AShortFileIsAnError) {
  auto file = RamFile::Create(SixteenPages());
  ASSERT_TRUE(file.ok());
  std::array<std::byte, 4096> bytes;
  EXPECT_FALSE(file->ReadAt(FileOffset(16 * 4096), bytes).ok());
}

TEST(RamFile, APartOfAPageIsNeverPunched) {
  auto file = RamFile::Create(SixteenPages());
  ASSERT_TRUE(file.ok());
  EXPECT_DEATH((void)file->Punch(FileOffset(0), Bytes(100)), "page_size_");
}

}  // namespace
}  // namespace heca::os
