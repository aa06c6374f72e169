// SPDX-License-Identifier: LGPL-2.1-or-later
// The parsers on recorded text, the table of refusals row by row, and real QEMUs for the cheap ones.
#include "guest/facts.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <set>

#include "guest/refusals.h"
#include "qemu_process.h"

namespace heca::guest {
namespace {

using std::chrono::seconds;
using testing::QemuProcess;

Deadline Soon() { return Deadline::After(seconds(10)); }

TEST(ParseQemuCmdlineTest, ReadsALibvirtCommandLine) {
  const QemuCmdline c = ParseQemuCmdline(
      {"/usr/bin/qemu-system-x86_64", "-name", "guest=vm,,1,debug-threads=on", "-S", "-uuid", "1234-56", "-chardev",
       "socket,id=charmonitor,fd=22,server=on,wait=off", "-mon", "chardev=charmonitor,id=monitor,mode=control",
       "-chardev", "socket,id=heca,path=/run/heca/qmp/1234-56.sock,server=on,wait=off", "-overcommit", "mem-lock=off"});
  EXPECT_TRUE(c.is_qemu);
  EXPECT_EQ(c.name, "vm,1");
  EXPECT_EQ(c.uuid, "1234-56");
  EXPECT_EQ(c.qmp_path, "/run/heca/qmp/1234-56.sock");
  EXPECT_FALSE(c.mem_lock);
}

TEST(ParseQemuCmdlineTest, ReadsABareOneAndJson) {
  const QemuCmdline bare = ParseQemuCmdline({"qemu-kvm", "-name", "x", "-qmp", "unix:/tmp/a,,b,server=on,wait=off",
                                             "-overcommit", "mem-lock=on,cpu-pm=on"});
  EXPECT_TRUE(bare.is_qemu && bare.mem_lock);
  EXPECT_EQ(bare.name, "x");
  EXPECT_EQ(bare.qmp_path, "/tmp/a,b");
  const QemuCmdline json = ParseQemuCmdline(
      {"qemu-system-x86_64", "-chardev",
       R"({"id":"heca","backend":{"type":"socket","data":{"addr":{"type":"unix","data":{"path":"/q"}}}}})"});
  EXPECT_EQ(json.qmp_path, "/q");
  EXPECT_FALSE(ParseQemuCmdline({"/bin/sleep", "-qmp", "5"}).is_qemu);
  EXPECT_FALSE(ParseQemuCmdline({}).is_qemu);
  EXPECT_EQ(ParseQemuCmdline({"qemu-system-x86_64", "-qmp", "tcp:localhost:4444"}).qmp_path, "");
}

TEST(ParseMonitorTextTest, FindsDevicesAndNetdevs) {
  EXPECT_EQ(ParseQtreeTypes("bus: main-system-bus\n  type System\n  dev: ps2-mouse, id \"\"\n    gpio-out \"\" 1\n"
                            "      dev: virtio-mem-pci, id \"vmem0\"\n        dev: virtio-mem, id \"\"\n"),
            (std::vector<std::string>{"ps2-mouse", "virtio-mem-pci", "virtio-mem"}));
  EXPECT_EQ(ParseNetworkTypes("e1000.0: index=0,type=nic,model=e1000\r\n \\ n0: index=0,type=vhost-user,x=1\n"),
            (std::vector<std::string>{"nic", "vhost-user"}));
  EXPECT_EQ(ParseNetworkTypes("a: type=tap\n"), std::vector<std::string>{"tap"});
}

TEST(ParseBlockNodesTest, SurvivesAnyShape) {
  const auto nodes = ParseBlockNodes(Json::parse(
      R"([{"drv":"nvme","file":"nvme://0000:01:00.0/1","cache":{"direct":true}},
                                                    {"drv":5}, 7, {"cache":[]}])"));
  ASSERT_EQ(nodes.size(), 4U);
  EXPECT_EQ(nodes[0].driver, "nvme");
  EXPECT_TRUE(nodes[0].direct);
  EXPECT_EQ(nodes[1].driver, "");
  EXPECT_TRUE(ParseBlockNodes(Json()).empty());
}

/// One row of the table: facts that trigger it.
struct Case {
  std::string_view row;
  std::function<void(GuestFacts&)> set;
};

const std::vector<Case>& Cases() {
  static const std::vector<Case> kCases = {
      {"a hecad", [](GuestFacts& f) { f.status.name = "hecad"; }},
      {"virtiofs", [](GuestFacts& f) { f.device_types = {"vhost-user-fs-pci"}; }},
      {"vhost-user", [](GuestFacts& f) { f.device_types = {"vhost-user-blk-pci"}; }},
      {"vhost-user", [](GuestFacts& f) { f.netdev_types = {"nic", "vhost-user"}; }},
      {"vhost-scsi", [](GuestFacts& f) { f.device_types = {"vhost-scsi-pci"}; }},
      {"vhost-scsi", [](GuestFacts& f) { f.files = {{9, "/dev/vhost-scsi"}}; }},
      {"vhost-vdpa", [](GuestFacts& f) { f.netdev_types = {"vhost-vdpa"}; }},
      {"vhost-vdpa", [](GuestFacts& f) { f.device_types = {"vhost-vdpa-device-pci"}; }},
      {"vhost-vdpa", [](GuestFacts& f) { f.files = {{9, "/dev/vhost-vdpa-0"}}; }},
      {"vfio", [](GuestFacts& f) { f.device_types = {"vfio-pci"}; }},
      {"vfio", [](GuestFacts& f) { f.files = {{9, "anon_inode:[vfio-device]"}}; }},
      {"vfio", [](GuestFacts& f) { f.files = {{9, "/dev/vfio/12"}}; }},
      {"virtio-mem", [](GuestFacts& f) { f.device_types = {"virtio-mem-pci"}; }},
      {"nested guests", [](GuestFacts& f) { f.kvm = f.nested = true; }},
      {"userspace NVMe", [](GuestFacts& f) { f.block_nodes = {{"nvme", "nvme://0000:01:00.0/1", true}}; }},
      {"blkio", [](GuestFacts& f) { f.block_nodes = {{"virtio-blk-vhost-user", "", false}}; }},
      {"blkio", [](GuestFacts& f) { f.block_nodes = {{"io_uring", "", false}}; }},
      {"RDMA", [](GuestFacts& f) { f.files = {{9, "/dev/infiniband/uverbs0"}}; }},
      {"udmabuf", [](GuestFacts& f) { f.files = {{9, "/dev/udmabuf"}}; }},
      {"encrypted memory", [](GuestFacts& f) { f.object_types = {"child<sev-guest>"}; }},
      {"locked memory", [](GuestFacts& f) { f.cmdline.mem_lock = true; }},
      {"locked memory", [](GuestFacts& f) { f.locked.resize(1); }},
      {"pinned memory", [](GuestFacts& f) { f.status.pinned_bytes = 4096; }},
      {"memfd", [](GuestFacts& f) { f.backends[0].type = "memory-backend-memfd"; }},
      {"private RAM", [](GuestFacts& f) { f.backends[0].share = false; }},
      {"discard-data", [](GuestFacts& f) { f.backends[0].discard_data = true; }},
      {"shared with another process", [](GuestFacts& f) { f.other_mappers = {{77, "virtiofsd"}}; }},
      {"prealloc", [](GuestFacts& f) { f.backends[0].prealloc = true; }},
  };
  return kCases;
}

/// A guest with much that is fine: kernel vhost-net, buffered and direct disks, svm without KVM.
GuestFacts Fine() {
  GuestFacts f;
  f.backends = {{"ram", "memory-backend-file", "/dev/shm/ram", 1 << 20, 0, true, false, false}};
  f.device_types = {"virtio-net-pci", "virtio-blk-pci", "virtio-scsi-pci", "virtio-balloon-pci", "pc-dimm",
                    "vhost-vsock-pci"};
  f.netdev_types = {"nic", "tap"};
  f.files = {{8, "/dev/vhost-net"}, {9, "anon_inode:kvm-vm"}, {10, "/dev/kvm"}};
  f.block_nodes = {{"qcow2", "/d.qcow2", false}, {"file", "/d.qcow2", true}};
  f.object_types = {"child<memory-backend-file>", "child<iothread>"};
  f.nested = true;
  return f;
}

TEST(RefusalsTest, AnOrdinaryGuestIsFine) {
  EXPECT_TRUE(Judge(Fine()).empty());
  EXPECT_TRUE(ToStatus({}).ok());
}

TEST(RefusalsTest, EachRowIsTriggeredAndOnlyThatRow) {
  for (const Case& one : Cases()) {
    GuestFacts facts = Fine();
    one.set(facts);
    const std::vector<Finding> findings = Judge(facts);
    ASSERT_EQ(findings.size(), 1U) << one.row;
    EXPECT_EQ(findings[0].name, one.row);
    EXPECT_FALSE(findings[0].remedy.empty());
    const Status status = ToStatus(findings);
    EXPECT_EQ(status.ok(), findings[0].severity == Severity::kNote) << one.row;
    if (!status.ok()) {
      EXPECT_NE(status.message().find("remedy: "), std::string_view::npos);
    }
  }
}

TEST(RefusalsTest, EveryRowHasACase) {
  std::set<std::string_view> tested;
  for (const Case& one : Cases()) tested.insert(one.row);
  for (const RefusalRow& row : RefusalTable()) EXPECT_TRUE(tested.contains(row.name)) << row.name;
}

std::vector<std::string> Names(const GuestFacts& facts) {
  std::vector<std::string> names;
  for (const Finding& finding : Judge(facts)) names.emplace_back(finding.name);
  return names;
}

class RefusalsQemuTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!QemuProcess::Installed()) GTEST_SKIP() << "qemu-system-x86_64 is not installed";
  }
  static std::vector<std::string> FindingsOf(const std::vector<std::string>& options) {
    QemuProcess qemu(options);
    auto qmp = qemu.Connect();
    if (!qmp.ok()) return {qmp.status().ToString()};
    const auto facts = GatherFacts(qemu.Pid(), qmp->get(), {}, Soon());
    return facts.ok() ? Names(*facts) : std::vector<std::string>{facts.status().ToString()};
  }
};

TEST(RefusalsProcessTest, ALockedSharedMapping) {
  char name[] = "/dev/shm/heca-facts-test-XXXXXX";
  const unique_fd file(::mkstemp(name));
  ASSERT_EQ(::ftruncate(file.get(), 65536), 0);
  void* at = ::mmap(nullptr, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  ASSERT_NE(at, MAP_FAILED);
  MappingChoice choice;
  choice.path = name;
  const auto before = GatherFacts(::getpid(), nullptr, choice, Soon());
  ASSERT_TRUE(before.ok()) << before.status().ToString();
  EXPECT_EQ(before->ram.size(), 1U);
  EXPECT_EQ(Names(*before), std::vector<std::string>{});
  ASSERT_EQ(::syscall(SYS_mlock, at, 4096), 0);  // a part of it; mlock() is a no-op under the sanitizers
  EXPECT_EQ(Names(*GatherFacts(::getpid(), nullptr, choice, Soon())), std::vector<std::string>{"locked memory"});
  ::munmap(at, 65536);
  ::unlink(name);
}

TEST_F(RefusalsQemuTest, AStockGuestIsFine) {
  auto options = testing::SharedRam();
  options.insert(options.end(), {"-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n", "-device",
                                 "virtio-balloon-pci", "-device", "virtio-scsi-pci"});
  EXPECT_EQ(FindingsOf(options), std::vector<std::string>{});
}

TEST_F(RefusalsQemuTest, PrivateRam) {
  EXPECT_EQ(FindingsOf({"-machine", "q35", "-m", "64"}), std::vector<std::string>{"private RAM"});
}

TEST_F(RefusalsQemuTest, MemfdAndVirtioMem) {
  EXPECT_EQ(FindingsOf({"-machine", "q35,memory-backend=ram", "-m", "64,slots=1,maxmem=1G", "-object",
                        "memory-backend-memfd,id=ram,size=64M,share=on", "-object",
                        "memory-backend-file,id=vm,mem-path=@DIR@/vm,size=64M,share=on", "-device",
                        "virtio-mem-pci,memdev=vm"}),
            (std::vector<std::string>{"virtio-mem", "memfd"}));
}

TEST_F(RefusalsQemuTest, DiscardDataAndPrealloc) {
  EXPECT_EQ(FindingsOf(testing::SharedRam(",discard-data=on,prealloc=on")),
            (std::vector<std::string>{"discard-data", "prealloc"}));
}

TEST_F(RefusalsQemuTest, AnotherProcessThatMapsTheRam) {
  // A second QEMU on the same file stands for a vhost-user daemon.
  QemuProcess one(testing::SharedRam());
  auto qmp = one.Connect();
  ASSERT_TRUE(qmp.ok());
  QemuProcess two({"-machine", "q35,memory-backend=ram", "-m", "64", "-object",
                   "memory-backend-file,id=ram,mem-path=" + one.Dir() + "/ram,size=64M,share=on"});
  ASSERT_TRUE(two.Connect().ok());
  const auto facts = GatherFacts(one.Pid(), qmp->get(), {}, Soon());
  ASSERT_TRUE(facts.ok()) << facts.status().ToString();
  EXPECT_EQ(Names(*facts), std::vector<std::string>{"shared with another process"});
  ASSERT_EQ(facts->other_mappers.size(), 1U);
  EXPECT_EQ(facts->other_mappers[0].pid, two.Pid());
}

}  // namespace
}  // namespace heca::guest
