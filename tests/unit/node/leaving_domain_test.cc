// SPDX-License-Identifier: LGPL-2.1-or-later
// A QEMU that libvirt leads is held back: its stream must find the speed limit there when it begins.
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "leaving_rig.h"
#include "node/leaving.h"

namespace heca::node {
namespace {

constexpr const char* kSpeed = "migrate-set-parameters";

/// Threads of this process.
int ThatRunFirst() {
  int count = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    const int policy = ::sched_getscheduler(std::atoi(task.path().filename().c_str()));
    count += policy == SCHED_RR ? 1 : 0;
  }
  return count;
}

class LeavingDomainTest : public ::testing::Test {
 protected:
  LeavingDomainTest() {
    auto qmp = guest::Qmp::Connect(vm_.Path(), Soon());
    EXPECT_TRUE(qmp.ok()) << qmp.status().ToString();
    leaving_ = std::make_unique<LeavingDomain>(
        std::make_shared<guest::MigratingVm>(std::shared_ptr<guest::Qmp>(std::move(*qmp))), WriteNotes());
  }

  guest::testing::FakeVm vm_;
  std::unique_ptr<LeavingDomain> leaving_;
};

TEST_F(LeavingDomainTest, TheLimitIsSetAgainAndAgainUntilItBeginsAndOnceAfter) {
  ASSERT_TRUE(leaving_->HoldBack().ok());
  WaitUntil([&] { return vm_.Asked(kSpeed) > 5; });
  vm_.Stream("active");
  WaitUntil([&] {
    const std::size_t before = vm_.Asked(kSpeed);
    std::this_thread::sleep_for(Millis(50));
    return vm_.Asked(kSpeed) == before;
  });
  const std::size_t held = vm_.Asked(kSpeed);
  ASSERT_TRUE(leaving_->Start().ok());
  EXPECT_EQ(vm_.Asked(kSpeed), held + 1) << "it is let go, once";
}

TEST_F(LeavingDomainTest, ThoseWhoHoldItRunFirstUntilItHasBegun) {
  if (::geteuid() != 0) GTEST_SKIP() << "not root";
  EXPECT_EQ(ThatRunFirst(), 0);
  ASSERT_TRUE(leaving_->HoldBack().ok());
  WaitUntil([] { return ThatRunFirst() == 3; });
  vm_.Stream("active");
  WaitUntil([] { return ThatRunFirst() == 0; });
  ASSERT_TRUE(leaving_->Start().ok());
}

TEST_F(LeavingDomainTest, AndNoLongerThanItIsWanted) {
  if (::geteuid() != 0) GTEST_SKIP() << "not root";
  ASSERT_TRUE(leaving_->HoldBack().ok());
  WaitUntil([] { return ThatRunFirst() == 3; });
  ASSERT_TRUE(leaving_->Cancel().ok());
  EXPECT_EQ(ThatRunFirst(), 0);
}

}  // namespace
}  // namespace heca::node
