// SPDX-License-Identifier: LGPL-2.1-or-later
#include "guest/lookup.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "qemu_process.h"

namespace heca::guest {
namespace {

using testing::QemuProcess;

TEST(LookupTest, FindsADomainAndItsSocket) {
  if (!QemuProcess::Installed()) GTEST_SKIP() << "qemu-system-x86_64 is not installed";
  auto options = testing::SharedRam();
  options.insert(options.end(), {"-name", "guest=vm1,debug-threads=on", "-uuid", "6c3b1c2e-0000-4000-8000-000000000001",
                                 "-chardev", "socket,id=heca,path=@DIR@/heca.sock,server=on,wait=off", "-mon",
                                 "chardev=heca,mode=control"});
  QemuProcess qemu(options);
  ASSERT_TRUE(qemu.Connect().ok());
  std::ofstream(qemu.Dir() + "/vm1.pid") << qemu.Pid() << "\n";
  std::ofstream(qemu.Dir() + "/vm2.pid") << qemu.Pid() << "\n";
  std::ofstream(qemu.Dir() + "/gone.pid") << 0x3ffffff0 << "\n";
  const auto guest = LookupDomain("vm1", qemu.Dir());
  ASSERT_TRUE(guest.ok()) << guest.status().ToString();
  EXPECT_EQ(guest->process.pid, qemu.Pid());
  EXPECT_GT(guest->process.start_time, 0U);
  EXPECT_TRUE(guest->is_qemu);
  EXPECT_EQ(guest->uuid, "6c3b1c2e-0000-4000-8000-000000000001");
  EXPECT_EQ(guest->qmp_path, qemu.Dir() + "/heca.sock");
  EXPECT_TRUE(Qmp::Connect(guest->qmp_path, Deadline::After(std::chrono::seconds(10))).ok());
  EXPECT_EQ(LookupDomain("vm2", qemu.Dir()).status().code(), ErrorCode::kNotFound) << "a stale pid file";
  EXPECT_EQ(LookupDomain("gone", qemu.Dir()).status().code(), ErrorCode::kNotFound);
  EXPECT_EQ(LookupDomain("never", qemu.Dir()).status().code(), ErrorCode::kNotFound);
  EXPECT_EQ(LookupDomain("../etc/x", qemu.Dir()).status().code(), ErrorCode::kInvalidArgument);
}

TEST(LookupTest, APlainProcessHasNoSocket) {
  const auto self = LookupPid(::getpid());
  ASSERT_TRUE(self.ok()) << self.status().ToString();
  EXPECT_FALSE(self->is_qemu);
  EXPECT_EQ(self->name, "guest_test");
  EXPECT_EQ(self->qmp_path, "");
  EXPECT_EQ(LookupPid(0x3ffffff0).status().code(), ErrorCode::kNotFound);
  EXPECT_EQ(LookupPid(2).status().code(), ::access("/proc/2", F_OK) == 0 ? ErrorCode::kInvalidArgument
                                                                          : ErrorCode::kNotFound);
}

}  // namespace
}  // namespace heca::guest
