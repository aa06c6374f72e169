// SPDX-License-Identifier: LGPL-2.1-or-later
#include "guest/vm_control.h"

#include <gtest/gtest.h>

#include "qemu_process.h"
#include "support/fake_qmp.h"

namespace heca::guest {
namespace {

using std::chrono::seconds;
using testing::QemuProcess;

Deadline Soon() { return Deadline::After(seconds(10)); }

class VmControlTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!QemuProcess::Installed()) GTEST_SKIP() << "qemu-system-x86_64 is not installed";
    qemu_ = std::make_unique<QemuProcess>(testing::SharedRam());
    auto qmp = qemu_->Connect();
    ASSERT_TRUE(qmp.ok()) << qmp.status().ToString();
    qmp_ = std::move(*qmp);
    ASSERT_TRUE(qmp_->Execute("cont", {}, Soon()).ok());
    control_ = std::make_unique<VmControl>(*qmp_);
  }
  void TearDown() override { control_.reset(); }
  std::string State() { return control_->QueryStatus(Soon()).value(); }
  void WaitForHold(bool hold) {
    const Deadline deadline = Soon();
    while (control_->HoldsStop() != hold) {
      ASSERT_FALSE(deadline.Passed());
      std::this_thread::yield();
    }
  }

  std::unique_ptr<QemuProcess> qemu_;
  std::unique_ptr<Qmp> qmp_;
  std::unique_ptr<VmControl> control_;
};

TEST_F(VmControlTest, StopsAndContinues) {
  control_->RequestStop();
  ASSERT_TRUE(control_->Wait(Soon()).ok());
  EXPECT_EQ(State(), "paused");
  EXPECT_TRUE(control_->HoldsStop());
  control_->RequestStop();  // twice is once
  ASSERT_TRUE(control_->Wait(Soon()).ok());
  control_->RequestResume();
  ASSERT_TRUE(control_->Wait(Soon()).ok());
  EXPECT_EQ(State(), "running");
  EXPECT_FALSE(control_->HoldsStop());
}

TEST_F(VmControlTest, LeavesAnOperatorsPauseAlone) {
  ASSERT_TRUE(qmp_->Execute("stop", {}, Soon()).ok());
  control_->RequestStop();
  ASSERT_TRUE(control_->Wait(Soon()).ok());
  EXPECT_FALSE(control_->HoldsStop());
  control_->RequestResume();
  ASSERT_TRUE(control_->Wait(Soon()).ok());
  EXPECT_EQ(State(), "paused");
}

TEST_F(VmControlTest, AnOperatorsContinueTakesOurStopBack) {
  control_->RequestStop();
  ASSERT_TRUE(control_->Wait(Soon()).ok());
  ASSERT_TRUE(qmp_->Execute("cont", {}, Soon()).ok());
  WaitForHold(false);
  ASSERT_TRUE(qmp_->Execute("stop", {}, Soon()).ok());
  control_->RequestResume();
  ASSERT_TRUE(control_->Wait(Soon()).ok());
  EXPECT_EQ(State(), "paused") << "the operator's second pause was ended";
}

TEST(VmControlFakeTest, AStopThatDoesNotComeBackIsStillOursToEnd) {
  // As when a vCPU waits for a page: QEMU has the stop and answers nothing until `cont` is queued behind it.
  std::string held;
  testing::FakeQmp server(testing::kGreeting, [&](const Json& r) {
    if (r["execute"] == "query-status") return testing::Return(r, {{"status", "running"}});
    if (r["execute"] == "stop") {
      held = testing::Return(r);
      return std::string();
    }
    if (r["execute"] == "cont") return std::exchange(held, "") + testing::Return(r);
    return testing::Return(r);
  });
  auto qmp = Qmp::Connect(server.Path(), Soon());
  ASSERT_TRUE(qmp.ok());
  VmControl control(**qmp);
  control.RequestStop();
  EXPECT_EQ(control.Wait(Soon()).code(), ErrorCode::kDeadlineExceeded);
  EXPECT_TRUE(control.HoldsStop());
  control.RequestResume();
  EXPECT_TRUE(control.Wait(Soon()).ok());
  EXPECT_FALSE(control.HoldsStop());
}

}  // namespace
}  // namespace heca::guest
