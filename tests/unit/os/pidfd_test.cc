// SPDX-License-Identifier: LGPL-2.1-or-later
#include "os/pidfd.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace heca::os {
namespace {

TEST(PidfdTest, CopiesADescriptorAndSeesTheEnd) {
  int pipe_fds[2];
  ASSERT_EQ(::pipe(pipe_fds), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    for (;;) ::pause();
  }
  const auto pidfd = PidfdOpen(child);
  ASSERT_TRUE(pidfd.ok()) << pidfd.status().ToString();
  EXPECT_TRUE(PidfdAlive(*pidfd));
  const auto copy = PidfdGetfd(*pidfd, pipe_fds[1]);
  ASSERT_TRUE(copy.ok()) << copy.status().ToString();
  EXPECT_EQ(::write(copy->get(), "x", 1), 1);
  char byte = 0;
  EXPECT_EQ(::read(pipe_fds[0], &byte, 1), 1);
  EXPECT_NE(::fcntl(copy->get(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_EQ(PidfdGetfd(*pidfd, 999).status().sys_errno(), EBADF);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_FALSE(PidfdAlive(*pidfd));
  EXPECT_EQ(PidfdGetfd(*pidfd, pipe_fds[1]).status().code(), ErrorCode::kNotFound);
  ::close(pipe_fds[0]);
  ::close(pipe_fds[1]);
}

TEST(PidfdTest, AProcessThatIsNotThereIsNotFound) {
  EXPECT_EQ(PidfdOpen(0x3ffffff0).status().code(), ErrorCode::kNotFound);
}

}  // namespace
}  // namespace heca::os
