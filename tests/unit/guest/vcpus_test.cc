// SPDX-License-Identifier: LGPL-2.1-or-later
#include "guest/vcpus.h"

#include <gtest/gtest.h>

#include "support/fake_vm.h"

namespace heca::guest {
namespace {

using testing::FakeVm;

Deadline Soon() { return Deadline::After(std::chrono::seconds(10)); }

Result<std::vector<std::int32_t>> Ask(const FakeVm& vm) {
  auto qmp = Qmp::Connect(vm.Path(), Soon());
  EXPECT_TRUE(qmp.ok()) << qmp.status().ToString();
  return QueryVcpuThreads(**qmp, Soon());
}

TEST(VcpuThreads, InTheOrderOfTheVcpus) {
  FakeVm vm;
  vm.SetVcpus({{{"cpu-index", 1}, {"thread-id", 4712}, {"target", "x86_64"}},
               {{"cpu-index", 0}, {"thread-id", 4711}},
               {{"cpu-index", 2}, {"thread-id", 4711}}});
  const auto threads = Ask(vm);
  ASSERT_TRUE(threads.ok()) << threads.status().ToString();
  EXPECT_EQ(*threads, (std::vector<std::int32_t>{4711, 4712, 4711}));
}

TEST(VcpuThreads, AnAnswerThatSaysLessIsAnError) {
  FakeVm vm;
  vm.SetVcpus({{{"cpu-index", 0}, {"thread-id", 4711}}, {{"cpu-index", 1}}});
  EXPECT_FALSE(Ask(vm).ok());
  vm.SetVcpus({{{"cpu-index", 0}, {"thread-id", -4}}});
  EXPECT_FALSE(Ask(vm).ok());
  vm.Refuse("query-cpus-fast");
  EXPECT_FALSE(Ask(vm).ok());
}

}  // namespace
}  // namespace heca::guest
