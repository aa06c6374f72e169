// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node/helm.h"

#include <gtest/gtest.h>

namespace heca::node {
namespace {

using control::MigrationMode;

TEST(Helm, AMigrationGoesAsItWasMeantWhereNothingWasOrdered) {
  Helm helm;
  const auto course = helm.Take("vm", {MigrationMode::kHybrid, Millis(70)}, 5);
  EXPECT_EQ(course.plan.mode, MigrationMode::kHybrid);
  EXPECT_EQ(course.plan.downtime_goal, Millis(70));
  EXPECT_EQ(course.steering->bandwidth(), 5U);
  EXPECT_FALSE(course.steering->switch_now());
}

TEST(Helm, AnOrderHoldsForTheNextOneOfThatNameAndOnce) {
  Helm helm;
  ASSERT_TRUE(helm.Steer({.region = "vm", .bandwidth = 9, .mode = MigrationMode::kPreCopy, .downtime_goal = Millis(50)}).ok());
  EXPECT_EQ(helm.Take("other", {}, 0).plan.mode, MigrationMode::kPostCopy);
  const auto course = helm.Take("vm", {}, 0);
  EXPECT_EQ(course.plan.mode, MigrationMode::kPreCopy);
  EXPECT_EQ(course.plan.downtime_goal, Millis(50));
  EXPECT_EQ(course.steering->bandwidth(), 9U);
  EXPECT_EQ(helm.Take("vm", {}, 0).plan.mode, MigrationMode::kPostCopy);
}

TEST(Helm, OneThatIsUnderWayIsSteered) {
  Helm helm;
  auto course = helm.Take("vm", {MigrationMode::kPreCopy, Millis(1)}, 0);
  ASSERT_TRUE(helm.Steer({.region = "vm", .switch_now = true, .bandwidth = 8}).ok());
  EXPECT_TRUE(course.steering->switch_now());
  EXPECT_EQ(course.steering->bandwidth(), 8U);
  EXPECT_EQ(helm.Steer({.region = "vm", .mode = MigrationMode::kHybrid}).code(), ErrorCode::kFailedPrecondition);
  course = {};  // it is over
  EXPECT_TRUE(helm.Steer({.region = "vm", .mode = MigrationMode::kHybrid}).ok());
  EXPECT_EQ(helm.Take("vm", {}, 0).plan.mode, MigrationMode::kHybrid);
}

}  // namespace
}  // namespace heca::node
