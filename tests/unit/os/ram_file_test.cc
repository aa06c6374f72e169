// SPDX-License-Identifier: LGPL-2.1-or-later
#include "os/ram_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>

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
