// SPDX-License-Identifier: LGPL-2.1-or-later
// x-ignore-shared is off after whatever did not go well: left on, a later save writes an image without RAM.
#include "guest/migrating_vm.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "support/fake_vm.h"

namespace heca::guest {
namespace {

using testing::FakeVm;

constexpr const char* kIgnoreShared = "x-ignore-shared";
constexpr const char* kSet = "migrate-set-capabilities";

Deadline Soon() { return Deadline::After(std::chrono::seconds(10)); }
/// Long enough for all that is answered, also on a busy machine.
Deadline InAMoment() { return Deadline::After(std::chrono::seconds(1)); }

std::unique_ptr<MigratingVm> Meet(const FakeVm& vm) {
  auto qmp = Qmp::Connect(vm.Path(), Soon());
  EXPECT_TRUE(qmp.ok()) << qmp.status().ToString();
  return std::make_unique<MigratingVm>(std::shared_ptr<Qmp>(std::move(*qmp)));
}

/// A call that sets the capability, and the run state in which it does.
struct Setting {
  const char* name;
  const char* run_state;
  std::function<Status(MigratingVm&, Deadline)> call;
};

void PrintTo(const Setting& setting, std::ostream* out) { *out << setting.name; }

class MigratingVmSetting : public ::testing::TestWithParam<Setting> {};

INSTANTIATE_TEST_SUITE_P(
    All, MigratingVmSetting,
    ::testing::Values(Setting{"Start", "running", [](MigratingVm& vm, Deadline d) { return vm.Start("tcp:there:1", d); }},
                      Setting{"LeaveOutRam", "running", [](MigratingVm& vm, Deadline d) { return vm.LeaveOutRam(d); }},
                      Setting{"Listen", "inmigrate", [](MigratingVm& vm, Deadline d) { return vm.Listen("tcp:0:1", d); }}),
    [](const auto& one) { return std::string(one.param.name); });

TEST_P(MigratingVmSetting, SetsIt) {
  FakeVm vm(GetParam().run_state);
  const auto migrating = Meet(vm);
  const Status set = GetParam().call(*migrating, Soon());
  ASSERT_TRUE(set.ok()) << set.ToString();
  EXPECT_TRUE(vm.Capability(kIgnoreShared));
}

TEST_P(MigratingVmSetting, TakesItBackWhenTheAnswerIsLost) {
  FakeVm vm(GetParam().run_state);
  vm.LoseAnswerTo(kSet);
  const auto migrating = Meet(vm);
  const Status set = GetParam().call(*migrating, InAMoment());
  EXPECT_EQ(set.code(), ErrorCode::kDeadlineExceeded) << set.ToString();
  EXPECT_FALSE(vm.Capability(kIgnoreShared));
  EXPECT_EQ(set.message().find(kIgnoreShared), std::string_view::npos) << "QEMU has confirmed it: " << set.ToString();
}

TEST_P(MigratingVmSetting, TakesItBackWhenQemuIsLate) {
  FakeVm vm(GetParam().run_state);
  vm.BeLateWith(kSet);
  const auto migrating = Meet(vm);
  EXPECT_EQ(GetParam().call(*migrating, InAMoment()).code(), ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(vm.Asked(kSet), 2U);
  EXPECT_FALSE(vm.Capability(kIgnoreShared));
}

TEST_P(MigratingVmSetting, SaysWhenQemuDoesNotConfirmThatItIsOff) {
  FakeVm vm(GetParam().run_state);
  vm.LoseAnswerTo(kSet);
  vm.Refuse("query-migrate-capabilities");
  const auto migrating = Meet(vm);
  const Status set = GetParam().call(*migrating, InAMoment());
  EXPECT_NE(set.message().find(kIgnoreShared), std::string_view::npos) << set.ToString();
}

TEST(MigratingVmTest, AnAddressThatQemuCannotListenAtIsNoReasonToKeepIt) {
  FakeVm vm("inmigrate");
  vm.Refuse("migrate-incoming");
  const auto migrating = Meet(vm);
  EXPECT_EQ(migrating->Listen("tcp:0:1", Soon()).code(), ErrorCode::kFailedPrecondition);
  EXPECT_FALSE(vm.Capability(kIgnoreShared));
}

TEST(MigratingVmTest, AStreamThatQemuRefusesIsNoReasonToKeepIt) {
  FakeVm vm;
  vm.Refuse("migrate");
  const auto migrating = Meet(vm);
  EXPECT_EQ(migrating->Start("tcp:there:1", Soon()).code(), ErrorCode::kFailedPrecondition);
  EXPECT_FALSE(vm.Capability(kIgnoreShared));
  EXPECT_FALSE(vm.Capability("pause-before-switchover"));
}

TEST(MigratingVmTest, AQemuThatRunsAVmIsNotToldToListen) {
  FakeVm vm("running");
  const auto migrating = Meet(vm);
  EXPECT_EQ(migrating->Listen("tcp:0:1", Soon()).code(), ErrorCode::kFailedPrecondition);
  EXPECT_EQ(vm.Asked(kSet), 0U);
}

}  // namespace
}  // namespace heca::guest
