// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/fail_points.h"

#include <gtest/gtest.h>

#include <csignal>

namespace heca {
namespace {

class FailPoints : public ::testing::Test {
 protected:
  void TearDown() override { fail_points::DisarmAll(); }
};

TEST_F(FailPoints, UnarmedNeverHits) { EXPECT_FALSE(FailPointHit(FailPoint::kSkipIoGuard)); }

TEST_F(FailPoints, HitsFromTheNthPassOn) {
  ASSERT_TRUE(fail_points::Arm("skip-io-guard=on@3").ok());
  EXPECT_FALSE(FailPointHit(FailPoint::kSkipIoGuard));
  EXPECT_FALSE(FailPointHit(FailPoint::kSkipIoGuard));
  EXPECT_TRUE(FailPointHit(FailPoint::kSkipIoGuard));
  EXPECT_TRUE(FailPointHit(FailPoint::kSkipIoGuard));
  EXPECT_FALSE(FailPointHit(FailPoint::kCrashAfterArm));
}

TEST_F(FailPoints, BadSpecificationsArmNothing) {
  for (const char* bad : {"no-such-point=on", "skip-io-guard", "skip-io-guard=maybe", "skip-io-guard=on@0",
                          "skip-io-guard=on,crash-after-arm=on@x"}) {
    EXPECT_EQ(fail_points::Arm(bad).code(), ErrorCode::kInvalidArgument) << bad;
    EXPECT_FALSE(FailPointHit(FailPoint::kSkipIoGuard)) << bad;
  }
}

TEST_F(FailPoints, CrashKillsTheProcess) {
  EXPECT_EXIT(
      {
        if (fail_points::Arm("crash-before-punch=crash").ok()) (void)FailPointHit(FailPoint::kCrashBeforePunch);
      },
      ::testing::KilledBySignal(SIGKILL), "");
}

TEST(FailPointNames, EveryPointHasOneOfItsOwn) {
  for (std::uint8_t i = 0; i < static_cast<std::uint8_t>(FailPoint::kCount); ++i) {
    EXPECT_NE(ToString(static_cast<FailPoint>(i)), "unknown") << int{i};
  }
}

}  // namespace
}  // namespace heca
