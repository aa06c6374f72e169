// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/lock_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <thread>

#include "base/unique_fd.h"
#include "support/ending_process.h"

namespace heca {
namespace {

class LockFileTest : public testing::Test {
 protected:
  LockFileTest() : path_(testing::TempDir() + "lock-" + std::to_string(::getpid())) {}
  ~LockFileTest() override { ::unlink(path_.c_str()); }
  [[nodiscard]] unique_fd Open() const { return unique_fd(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)); }

  const std::string path_;
};

TEST_F(LockFileTest, OneHolderAtATime) {
  const unique_fd first = Open();
  ASSERT_TRUE(LockFile(first.get()).ok());
  const unique_fd second = Open();
  const Status busy = LockFile(second.get(), {.running = Millis(20)});
  EXPECT_EQ(busy.code(), ErrorCode::kBusy);
  EXPECT_EQ(busy.message(), "held by pid " + std::to_string(::getpid()));
}

TEST_F(LockFileTest, AHolderThatHasNotMetItsSignalYetIsWaitedFor) {
  unique_fd first = Open();
  ASSERT_TRUE(LockFile(first.get()).ok());
  std::thread dying([&first] {
    std::this_thread::sleep_for(Millis(50));
    first.reset();
  });
  const unique_fd second = Open();
  EXPECT_TRUE(LockFile(second.get()).ok());
  dying.join();
}

TEST_F(LockFileTest, AHolderThatRunsNoMoreIsWaitedForAsLongAsItsFilesAreOpen) {
  const test::EndingProcess first(Millis(500), [this] {
    return LockFile(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)).ok();
  });
  const unique_fd second = Open();
  EXPECT_TRUE(LockFile(second.get(), {.running = Millis(20)}).ok());
}

TEST_F(LockFileTest, WhatIsNoFileIsSaid) {
  const Status bad = LockFile(-1);
  EXPECT_EQ(bad.sys_errno(), EBADF);
}

}  // namespace
}  // namespace heca
