// SPDX-License-Identifier: LGPL-2.1-or-later
#include "os/cpu_latency.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <string>

#include "support/temporary_directory.h"

namespace heca::os {
namespace {

using std::chrono::microseconds;

TEST(CpuLatency, TheValueIsWrittenAsTheKernelReadsIt) {
  const testing::TemporaryDirectory directory;
  const std::string device = directory.path() + "/cpu_dma_latency";
  std::ofstream{device};
  ASSERT_TRUE(CpuLatency::Request(microseconds(20), device).ok());
  std::int32_t value = 0;
  std::ifstream(device, std::ios::binary).read(reinterpret_cast<char*>(&value), sizeof value);
  EXPECT_EQ(value, 20);
}

TEST(CpuLatency, WhatCannotBeAskedForIsSaid) {
  const auto refused = CpuLatency::Request(microseconds(0), "/nowhere/cpu_dma_latency");
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.status().message().find("/nowhere/cpu_dma_latency"), std::string::npos) << refused.status().ToString();
}

}  // namespace
}  // namespace heca::os
