// SPDX-License-Identifier: LGPL-2.1-or-later
#include "guest/blocks.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "qemu_process.h"

namespace heca::guest {
namespace {

using std::chrono::seconds;
using testing::QemuProcess;

Deadline Soon() { return Deadline::After(seconds(10)); }

TEST(ParseInfoRamblockTest, ReadsNamesWithPathsAndLaterColumns) {
  const auto lines = ParseInfoRamblock(
      "              Block Name    PSize              Offset               Used              Total\n"
      "                    ram0    4 KiB  0x0000000000000000 0x0000000010000000 0x0000000010000000\n"
      "           /objects/ram1    2 MiB  0x0000000010000000 0x0000000010000000 0x0000000010000000\n"
      "         0000:00:04.0/vm    4 KiB  0x0000000028000000 0x0000000008000000 0x0000000008000000\n"
      "                  pc rom    4 KiB  0x0000000030040000 0x0000000000020000 0x0000000000020000  0x7f12 ro\n");
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_EQ(lines[0].name, "ram0");
  EXPECT_EQ(lines[1].name, "ram1");
  EXPECT_EQ(lines[1].offset, 0x10000000U);
  EXPECT_EQ(lines[2].name, "vm");
  EXPECT_EQ(lines[2].total, 0x8000000U);
  EXPECT_EQ(lines[3].name, "pc rom");
  EXPECT_TRUE(ParseInfoRamblock("nonsense\n 0x1\n").empty());
}

TEST(MergeAdjacentTest, JoinsWhatIsOneFileInARow) {
  const auto merged = MergeAdjacent(os::ParseMaps(
      "10000-20000 rw-s 00000000 00:1b 4  /dev/shm/a\n"
      "20000-30000 rw-s 00010000 00:1b 4  /dev/shm/a\n"
      "30000-40000 rw-s 00030000 00:1b 4  /dev/shm/a\n"    // a hole in the file: not the same block
      "40000-50000 r--s 00040000 00:1b 4  /dev/shm/a\n"    // other protection
      "50000-60000 rw-p 00000000 00:00 0 \n60000-70000 rw-p 00000000 00:00 0 \n"));
  ASSERT_EQ(merged.size(), 5U);
  EXPECT_EQ(merged[0].size(), 0x20000U);
  EXPECT_EQ(merged[1].start, 0x30000U);
}

TEST(FindBackendMappingTest, TakesOnlyWhatFitsOnce) {
  MemoryBackend backend{"hp", "memory-backend-file", "/dev/shm/", 0x10000, 0, true, false, false};
  const auto maps = os::ParseMaps(
      "10000-20000 rw-s 00000000 00:1b 4  /dev/shm/qemu_back_mem.hp.TtVrel (deleted)\n"
      "20000-30000 rw-s 00000000 00:1b 5  /dev/shm/qemu_back_mem.hp2.TtVrel (deleted)\n"
      "40000-50000 rw-s 00000000 00:1b 6  /dev/shm/ram\n"
      "60000-80000 rw-s 00000000 00:1b 7  /dev/shm/big\n");
  EXPECT_EQ(FindBackendMapping(backend, maps)->inode, 4U);
  backend.mem_path = "/dev/shm/ram";
  EXPECT_EQ(FindBackendMapping(backend, maps)->inode, 6U);
  backend.mem_path = "/dev/shm/big";
  EXPECT_FALSE(FindBackendMapping(backend, maps)) << "the size differs";
  backend.mem_path = "/dev/shm/ram";
  auto twice = maps;
  twice.push_back(maps[2]);
  EXPECT_FALSE(FindBackendMapping(backend, twice));
}

TEST(QemuRamBlocksTest, FindsNumaNodesAndADimmInOrder) {
  if (!QemuProcess::Installed()) GTEST_SKIP() << "qemu-system-x86_64 is not installed";
  QemuProcess qemu({"-machine", "q35", "-m", "64,slots=2,maxmem=1G", "-smp", "2",
                    "-object", "memory-backend-file,id=node0,mem-path=@DIR@/b,size=32M,share=on",
                    "-object", "memory-backend-file,id=node1,mem-path=@DIR@/a,size=32M,share=on",
                    "-numa", "node,memdev=node0,cpus=0", "-numa", "node,memdev=node1,cpus=1",
                    "-object", "memory-backend-file,id=plug,mem-path=@DIR@,size=16M,share=on",
                    "-device", "pc-dimm,memdev=plug"});
  auto qmp = qemu.Connect();
  ASSERT_TRUE(qmp.ok()) << qmp.status().ToString();
  const auto blocks = QemuRamBlocks(qemu.Pid(), **qmp, Soon());
  ASSERT_TRUE(blocks.ok()) << blocks.status().ToString();
  ASSERT_EQ(blocks->size(), 3U);
  EXPECT_EQ(blocks->at(0).name, "node0");
  EXPECT_EQ(blocks->at(1).name, "node1");
  EXPECT_EQ(blocks->at(2).name, "plug");
  EXPECT_EQ(blocks->at(2).bytes, Bytes(16U << 20));
  for (const RamBlock& block : *blocks) {
    EXPECT_EQ(block.kind, RamKind::kTmpfs);
    EXPECT_EQ(block.page_size, kBasePage);
    EXPECT_EQ(::pwrite(block.fd.get(), "heca", 4, 4096), 4);  // for writing
  }
}

TEST(QemuRamBlocksTest, RefusesPrivateRamAndRamOnADisk) {
  if (!QemuProcess::Installed()) GTEST_SKIP() << "qemu-system-x86_64 is not installed";
  QemuProcess plain({"-machine", "q35", "-m", "64"});
  auto qmp = plain.Connect();
  ASSERT_TRUE(qmp.ok()) << qmp.status().ToString();
  const auto private_ram = QemuRamBlocks(plain.Pid(), **qmp, Soon());
  EXPECT_EQ(private_ram.status().code(), ErrorCode::kFailedPrecondition);
  EXPECT_NE(private_ram.status().message().find("share=on"), std::string_view::npos);

  const std::filesystem::path disk = std::filesystem::current_path() / ("ram-" + std::to_string(::getpid()));
  QemuProcess on_disk({"-machine", "q35,memory-backend=ram", "-m", "64", "-object",
                       "memory-backend-file,id=ram,mem-path=" + disk.string() + ",size=64M,share=on"});
  auto disk_qmp = on_disk.Connect();
  ASSERT_TRUE(disk_qmp.ok()) << disk_qmp.status().ToString();
  const auto blocks = QemuRamBlocks(on_disk.Pid(), **disk_qmp, Soon());
  std::filesystem::remove(disk);
  if (blocks.ok()) GTEST_SKIP() << "the build directory is a tmpfs itself";
  EXPECT_NE(blocks.status().message().find("neither on tmpfs nor on hugetlbfs"), std::string_view::npos)
      << blocks.status().ToString();
}

TEST(QemuRamBlocksTest, RefusesTheQmpSocketOfAnotherQemu) {
  if (!QemuProcess::Installed()) GTEST_SKIP() << "qemu-system-x86_64 is not installed";
  QemuProcess one(testing::SharedRam());
  auto qmp = one.Connect();
  ASSERT_TRUE(qmp.ok());
  EXPECT_EQ(QemuRamBlocks(::getpid(), **qmp, Soon()).status().code(), ErrorCode::kFailedPrecondition);
}

class ProcessRamBlocksTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/dev/shm/heca-blocks-test-XXXXXX";
    file_.reset(::mkstemp(name));
    path_ = name;
    ASSERT_EQ(::ftruncate(file_.get(), 1 << 20), 0);
    at_ = ::mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0);
    ASSERT_NE(at_, MAP_FAILED);
  }
  void TearDown() override {
    ::munmap(at_, 1 << 20);
    ::unlink(path_.c_str());
  }
  unique_fd file_;
  std::string path_;
  void* at_ = nullptr;
};

TEST_F(ProcessRamBlocksTest, ChoosesByPathInodeAndAddress) {
  MappingChoice by_path;
  by_path.path = path_;
  const auto blocks = ProcessRamBlocks(::getpid(), by_path);
  ASSERT_TRUE(blocks.ok()) << blocks.status().ToString();
  ASSERT_EQ(blocks->size(), 1U);
  EXPECT_EQ(blocks->front().address, reinterpret_cast<std::uint64_t>(at_));
  EXPECT_EQ(blocks->front().bytes, Bytes(1 << 20));
  MappingChoice by_inode;
  by_inode.inode = blocks->front().inode;
  MappingChoice by_address;
  by_address.address = blocks->front().address;
  by_address.length = 1 << 20;
  EXPECT_EQ(ProcessRamBlocks(::getpid(), by_inode)->size(), 1U);
  EXPECT_EQ(ProcessRamBlocks(::getpid(), by_address)->size(), 1U);
  by_path.path = "/dev/shm/not-that";
  EXPECT_EQ(ProcessRamBlocks(::getpid(), by_path).status().code(), ErrorCode::kNotFound);
}

TEST_F(ProcessRamBlocksTest, RefusesTheSameBytesMappedTwice) {
  void* again = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 4096);
  ASSERT_NE(again, MAP_FAILED);
  MappingChoice by_path;
  by_path.path = path_;
  EXPECT_EQ(ProcessRamBlocks(::getpid(), by_path).status().code(), ErrorCode::kFailedPrecondition);
  ::munmap(again, 4096);
}

}  // namespace
}  // namespace heca::guest
