// SPDX-License-Identifier: LGPL-2.1-or-later
// What `hecactl doctor` says of RDMA.
#include "node/doctor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

namespace heca::node {
namespace {

using control::Verdict;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using transport::RdmaDevice;
using transport::RdmaPort;

std::vector<control::DoctorCheck> OfRdma(Result<std::vector<RdmaDevice>> devices) {
  const NodeConfig config;
  const os::UffdAbilities abilities;
  const auto checks = Examine({config, abilities, {}, {}, std::move(devices)});
  std::vector<control::DoctorCheck> found;
  std::copy_if(checks.begin(), checks.end(), std::back_inserter(found),
               [](const auto& check) { return check.name.starts_with("rdma"); });
  return found;
}

auto Says(const char* name, Verdict verdict, const char* what, const auto& remedy) {
  return AllOf(Field(&control::DoctorCheck::name, name), Field(&control::DoctorCheck::verdict, verdict),
               Field(&control::DoctorCheck::what, HasSubstr(what)), Field(&control::DoctorCheck::remedy, remedy));
}

TEST(Doctor, ShowsEachPortOfADevice) {
  RdmaPort up{1, "active", "Ethernet", 4096, {"::ffff:10.1.0.2", "fe80::1"}};
  RdmaPort down{2, "down", "Ethernet", 1024, {}};
  EXPECT_THAT(OfRdma(std::vector<RdmaDevice>{{"mlx5_0", "InfiniBand", 16, 1 << 30, {up, down}}}),
              ElementsAre(Says("rdma mlx5_0/1", Verdict::kOk,
                               "InfiniBand over Ethernet, active, MTU 4096, GID ::ffff:10.1.0.2, GID fe80::1", ""),
                          Says("rdma mlx5_0/2", Verdict::kWarn, "down", StartsWith("set its link up"))));
}

TEST(Doctor, SaysThatThereIsNoDevice) {
  EXPECT_THAT(OfRdma(std::vector<RdmaDevice>()), ElementsAre(Says("rdma", Verdict::kOk, "no device: pages travel by TCP", "")));
}

TEST(Doctor, SaysWhyTheDevicesAreNotKnown) {
  EXPECT_THAT(OfRdma(Status(ErrorCode::kInternal, "listing them failed")),
              ElementsAre(Says("rdma", Verdict::kWarn, "listing them failed: pages travel by TCP", HasSubstr("rdma link show"))));
  EXPECT_THAT(OfRdma(Status(ErrorCode::kUnsupported, "built without")),
              ElementsAre(Says("rdma", Verdict::kOk, "built without: pages travel by TCP", "")));
}

}  // namespace
}  // namespace heca::node
