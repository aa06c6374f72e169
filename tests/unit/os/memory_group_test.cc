// SPDX-License-Identifier: LGPL-2.1-or-later
#include "os/memory_group.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "support/temporary_directory.h"

namespace heca::os {
namespace {

class MemoryGroupTest : public ::testing::Test {
 protected:
  void Write(const std::string& file, const std::string& text) {
    const std::filesystem::path path = directory_.path() + file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  void Version1(const std::string& group, const std::string& limit, const std::string& used, const std::string& stat) {
    Write(group + "/memory.limit_in_bytes", limit + "\n");
    Write(group + "/memory.usage_in_bytes", used + "\n");
    Write(group + "/memory.stat", stat);
  }
  void Version2(const std::string& group, const std::string& limit, const std::string& used, const std::string& stat) {
    Write(group + "/memory.max", limit + "\n");
    Write(group + "/memory.current", used + "\n");
    Write(group + "/memory.stat", stat);
  }
  std::string Mounts() const {
    return "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
           "32 31 0:29 / /nowhere rw - cgroup cgroup rw,cpu\n"
           "35 31 0:32 / " + directory_.path() + " rw,relatime shared:9 - cgroup cgroup rw,memory\n"
           "41 31 0:38 / " + directory_.path() + " rw,relatime - cgroup2 cgroup2 rw\n";
  }
  const testing::TemporaryDirectory directory_;
};

TEST_F(MemoryGroupTest, TheTightestOfTheWayUpCounts) {
  Version1("", "9223372036854771712", "5000", "");
  Version1("/vm", "1000", "900", "total_shmem 700\ntotal_active_file 30\ntotal_inactive_file 20\n");
  Version1("/vm/inner", "800", "500", "total_shmem 400\nactive_file 500\n");
  const auto found = TightestMemoryGroup("9:name=systemd:/x\n4:cpu,memory:/vm/inner\n0::/other\n", Mounts());
  ASSERT_TRUE(found);
  EXPECT_EQ(found->path, directory_.path() + "/vm");
  EXPECT_EQ(found->limit, Bytes(1000));
  EXPECT_EQ(found->used, Bytes(850)) << "the file cache is taken back by the kernel";
  EXPECT_EQ(found->shared, Bytes(700));
  EXPECT_EQ(found->Room(), Bytes(150));
}

TEST_F(MemoryGroupTest, Version2) {
  Version2("/vm", "1000", "2000", "shmem 700\nactive_file 30\ninactive_file 20\n");
  Version2("/free", "max", "2000", "shmem 700\n");
  const auto found = TightestMemoryGroup("0::/vm\n", Mounts());
  ASSERT_TRUE(found);
  EXPECT_EQ(found->used, Bytes(1950));
  EXPECT_EQ(found->Room(), Bytes(0)) << "over the limit";
  EXPECT_FALSE(TightestMemoryGroup("0::/free\n", Mounts()));
}

TEST_F(MemoryGroupTest, NothingThatCanBeReadIsNoLimit) {
  EXPECT_FALSE(TightestMemoryGroup("", Mounts()));
  EXPECT_FALSE(TightestMemoryGroup("4:memory:/gone\n", Mounts()));
  EXPECT_FALSE(TightestMemoryGroup("4:memory:/vm\n", ""));
  EXPECT_FALSE(TightestMemoryGroup("rubbish\n4:memory\n", Mounts()));
}

}  // namespace
}  // namespace heca::os
