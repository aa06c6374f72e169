// SPDX-License-Identifier: LGPL-2.1-or-later
#include "os/probe_process.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace heca::os {
namespace {

TEST(ProbeProcessTest, RootMayDoAllOfIt) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const ProcessAbilities abilities = ProbeProcess();
  EXPECT_TRUE(abilities.inject && abilities.copy_fd && abilities.open_mapped && abilities.read_calls);
  EXPECT_EQ(abilities.missing, "");
}

TEST(ProbeProcessTest, AnotherUserIsToldWhatIsMissing) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to become another user";
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(1);
    const ProcessAbilities abilities = ProbeProcess();
    const bool told = !abilities.open_mapped && abilities.missing.find("map_files") != std::string::npos;
    ::_exit(told ? 0 : 2);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace heca::os
