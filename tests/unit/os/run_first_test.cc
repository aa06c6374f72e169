// SPDX-License-Identifier: LGPL-2.1-or-later
#include "os/run_first.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thread>
#include <utility>

namespace heca::os {
namespace {

int PolicyOf(pthread_t thread) {
  int policy = -1;
  sched_param parameter{};
  EXPECT_EQ(::pthread_getschedparam(thread, &policy, &parameter), 0);
  return policy;
}

TEST(RunFirst, AsLongAsItIsWanted) {
  if (::geteuid() != 0) GTEST_SKIP() << "not root";
  {
    auto first = RunFirst::Request({::pthread_self()});
    ASSERT_TRUE(first.ok()) << first.status().ToString();
    EXPECT_EQ(PolicyOf(::pthread_self()), SCHED_RR);
    const RunFirst moved = std::move(*first);
    EXPECT_EQ(PolicyOf(::pthread_self()), SCHED_RR);
  }
  EXPECT_EQ(PolicyOf(::pthread_self()), SCHED_OTHER);
}

TEST(RunFirst, WhoMayNotIsTold) {
  if (::geteuid() != 0) GTEST_SKIP() << "not root";
  const rlimit none{0, 0};
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_RTPRIO, &before), 0);
  ASSERT_EQ(::setrlimit(RLIMIT_RTPRIO, &none), 0);
  // Of one thread only, as the call of the kernel does it: with another user's id it has no CAP_SYS_NICE.
  std::thread([] {
    ASSERT_EQ(::syscall(SYS_setresuid, 65534, 65534, 65534), 0);
    const auto first = RunFirst::Request({::pthread_self()});
    EXPECT_EQ(first.status().code(), ErrorCode::kPermissionDenied) << first.status().ToString();
    EXPECT_EQ(PolicyOf(::pthread_self()), SCHED_OTHER);
  }).join();
  EXPECT_EQ(::setrlimit(RLIMIT_RTPRIO, &before), 0);
}

}  // namespace
}  // namespace heca::os
