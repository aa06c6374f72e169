// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node/host.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace heca::node {
namespace {

TEST(CheckSupported, RefusesPoisonOnAKernelWithoutIt) {
  os::UffdAbilities abilities;
  control::AttachSpec spec;
  EXPECT_TRUE(CheckSupported(spec, abilities).ok());
  spec.page_loss = control::PageLoss::kPoison;
  const Status refused = CheckSupported(spec, abilities);
  EXPECT_EQ(refused.code(), ErrorCode::kUnsupported);
  EXPECT_NE(refused.message().find("leave out --on-loss poison"), std::string_view::npos);
  abilities.poison = true;
  EXPECT_TRUE(CheckSupported(spec, abilities).ok());
}

TEST(CheckSupported, RefusesReplicasAndUnknownOptions) {
  control::AttachSpec spec;
  spec.replicas = 2;
  EXPECT_EQ(CheckSupported(spec, {}).code(), ErrorCode::kUnsupported);
  spec.replicas = 1;
  spec.options = {{"magic", "on"}};
  EXPECT_EQ(CheckSupported(spec, {}).message(), "unknown option 'magic'");
}

TEST(FindTarget, TheIdentityAndTheNameAreFoundOnce) {
  control::AttachSpec spec;
  EXPECT_EQ(FindTarget(spec).status().code(), ErrorCode::kInvalidArgument);
  spec.pid = ::getpid();
  const auto target = FindTarget(spec);
  ASSERT_TRUE(target.ok()) << target.status().ToString();
  EXPECT_EQ(target->identity.process.pid, ::getpid());
  EXPECT_GT(target->identity.process.start_time, 0U);
  EXPECT_EQ(target->region, "pid-" + std::to_string(::getpid()));
  spec.region = "a/b";
  EXPECT_EQ(FindTarget(spec).status().code(), ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace heca::node
