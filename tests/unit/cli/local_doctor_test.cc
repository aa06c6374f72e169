// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/local_doctor.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "support/temporary_directory.h"

namespace heca::cli {
namespace {

using control::DoctorCheck;
using control::Verdict;

/// A host made of files, healthy unless a test changes it.
class LocalDoctor : public ::testing::Test {
 protected:
  LocalDoctor() {
    Put("proc/sys/kernel/osrelease", "6.1.0-18-amd64\n");
    Put("proc/sys/kernel/yama/ptrace_scope", "1\n");
    Put("proc/meminfo", "MemTotal:  4194304 kB\nMemAvailable:    2097152 kB\n");
    Put("proc/self/mounts",
        "/dev/sda1 / ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\ntmpfs /dev/shm tmpfs rw 0 0\n");
    Put("dev/userfaultfd", "");
    Put("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "16\n");
    Put("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "12\n");
    Put("sys/kernel/mm/transparent_hugepage/shmem_enabled", "always within_size advise [never] deny force\n");
    Put("run/libvirt/libvirt-sock", "");
    Put("etc/libvirt/qemu.conf", "#memory_backing_dir = \"/x\"\n memory_backing_dir = \"/dev/shm/ram\"\n");
  }

  void Put(const std::string& path, const std::string& text) {
    const std::filesystem::path file = std::filesystem::path(root_.path()) / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  void Remove(const std::string& path) {
    std::filesystem::remove(std::filesystem::path(root_.path()) / path);
  }

  DoctorCheck Find(const std::string& name) {
    for (DoctorCheck& check : LocalChecks(root_.path())) {
      if (check.name == name) return check;
    }
    ADD_FAILURE() << "no check " << name;
    return {};
  }
  void Expect(const std::string& name, Verdict verdict, const std::string& what) {
    const DoctorCheck check = Find(name);
    EXPECT_EQ(check.verdict, verdict) << name;
    EXPECT_EQ(check.what, what) << name;
    EXPECT_EQ(check.remedy.empty(), verdict == Verdict::kOk) << name;
  }

  heca::testing::TemporaryDirectory root_;
};

TEST_F(LocalDoctor, HealthyHost) {
  for (const DoctorCheck& check : LocalChecks(root_.path())) {
    EXPECT_EQ(check.verdict, Verdict::kOk) << check.name << ": " << check.what;
    EXPECT_EQ(check.remedy, "") << check.name;
  }
  Expect("memory", Verdict::kOk, "2GiB available");
  Expect("huge pages", Verdict::kOk, "12 of 16 of 2 MiB free (only VMs on hugetlbfs need them)");
  Expect("memory_backing_dir", Verdict::kOk, "/dev/shm/ram on tmpfs");
  Expect("run-dir", Verdict::kOk, "/run/heca on tmpfs");
}

TEST_F(LocalDoctor, OldKernel) {
  Put("proc/sys/kernel/osrelease", "5.10.0-21-amd64\n");
  Expect("kernel", Verdict::kFail, "5.10.0-21-amd64");
  Put("proc/sys/kernel/osrelease", "7.0\n");
  Expect("kernel", Verdict::kOk, "7.0");
}

TEST_F(LocalDoctor, NoUserfaultfd) {
  Remove("dev/userfaultfd");
  Expect("userfaultfd", Verdict::kFail, "no /dev/userfaultfd");
}

TEST_F(LocalDoctor, TracingForbidden) {
  Put("proc/sys/kernel/yama/ptrace_scope", "3\n");
  Expect("ptrace", Verdict::kFail, "kernel.yama.ptrace_scope = 3: nobody may trace, not even root");
  Remove("proc/sys/kernel/yama/ptrace_scope");
  Expect("ptrace", Verdict::kOk, "no Yama");
}

TEST_F(LocalDoctor, DirectoriesNotOnTmpfs) {
  Put("proc/self/mounts",
      "tmpfs /dev/shm tmpfs rw 0 0\n/dev/sda1 / ext4 rw 0 0\n/dev/sdb /dev/shm ext4 rw 0 0\n");
  Expect("run-dir", Verdict::kWarn, "/run/heca on ext4");
  Expect("slab-dir", Verdict::kWarn, "/dev/shm/heca/slabs on ext4");
  Expect("memory_backing_dir", Verdict::kFail, "/dev/shm/ram on ext4");
  Remove("run/libvirt/libvirt-sock");  // nobody uses it then
  Expect("memory_backing_dir", Verdict::kWarn, "/dev/shm/ram on ext4");
  Expect("libvirt", Verdict::kWarn, "not running here");
}

TEST_F(LocalDoctor, DefaultBackingDirIsADisk) {
  Put("etc/libvirt/qemu.conf", "#memory_backing_dir = \"/dev/shm/ram\"\n");
  Expect("memory_backing_dir", Verdict::kFail, "/var/lib/libvirt/qemu/ram on ext4");
  Remove("etc/libvirt/qemu.conf");
  Expect("memory_backing_dir", Verdict::kOk, "no libvirt QEMU driver here");
}

TEST_F(LocalDoctor, TransparentHugePages) {
  Put("sys/kernel/mm/transparent_hugepage/shmem_enabled", "[always] within_size advise never deny force\n");
  Expect("shmem huge pages", Verdict::kWarn, "always: RAM files may be backed by 2 MiB pages");
}

TEST_F(LocalDoctor, IdleCpus) {
  Expect("idle CPUs", Verdict::kOk, "none");
  Put("sys/devices/system/cpu/cpuidle/current_driver", "intel_idle\n");
  Put("sys/devices/system/cpu/cpu0/cpuidle/state0/latency", "0\n");
  Put("sys/devices/system/cpu/cpu0/cpuidle/state1/latency", "2\n");
  Expect("idle CPUs", Verdict::kOk, "intel_idle");
  Put("sys/devices/system/cpu/cpu0/cpuidle/state2/latency", "133\n");
  Expect("idle CPUs", Verdict::kWarn, "may take 133 us to wake (intel_idle)");
  Put("sys/devices/system/cpu/cpu0/cpuidle/state2/disable", "1\n");
  Expect("idle CPUs", Verdict::kOk, "intel_idle");
  Put("sys/devices/system/cpu/cpuidle/current_driver", "haltpoll\n");
  Put("sys/module/haltpoll/parameters/guest_halt_poll_ns", "200000\n");
  Expect("idle CPUs", Verdict::kOk, "haltpoll");
  Put("sys/module/haltpoll/parameters/guest_halt_poll_ns", "0\n");
  Expect("idle CPUs", Verdict::kWarn, "halt at once in this VM: a remote page may take twice as long");
}

TEST(MergeChecks, HecadsWordCounts) {
  const auto merged =
      MergeChecks({{"kernel", Verdict::kOk, "hecad's", ""}},
                  {{"kernel", Verdict::kFail, "ours", "x"}, {"libvirt", Verdict::kWarn, "ours", "x"}});
  ASSERT_EQ(merged.size(), 2U);
  EXPECT_EQ(merged[0].what, "hecad's");
  EXPECT_EQ(merged[1].name, "libvirt");
  EXPECT_EQ(WorstOf(merged), Verdict::kWarn);
  EXPECT_EQ(WorstOf({}), Verdict::kOk);
}

}  // namespace
}  // namespace heca::cli
