// SPDX-License-Identifier: LGPL-2.1-or-later
#include "os/proc.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <thread>

#include "base/clock.h"

namespace heca::os {
namespace {

TEST(ParseUffdFeaturesTest, KnowsAFreshOneFromOneInUse) {
  EXPECT_EQ(ParseUffdFeatures("pending:\t0\ntotal:\t0\nAPI:\taa:0:80000000000001ff\n"), 0U);
  EXPECT_EQ(ParseUffdFeatures("pos:\t0\nAPI:\taa:8000b001:80000000000001ff\n"), 0x8000b001U);
  EXPECT_EQ(ParseUffdFeatures("pos:\t0\nflags:\t02\n"), std::nullopt);
}

TEST(ParseMapsTest, ReadsSharedFilesWithBlanksAndDeletedOnes) {
  const auto maps = ParseMaps(
      "7eff9bffd000-7effa3ffd000 rw-s 00001000 00:1b 4                          /dev/shm/qemu back (deleted)\n"
      "7f00148c1000-7f00148c2000 r--p 00000000 fe:01 15630637                   /usr/lib/libaio.so\n"
      "7f0015a22000-7f0015a24000 r-xp 00000000 00:00 0                          [vdso]\n"
      "7f0015a24000-7f0015a25000 rw-p 00000000 00:00 0 \n");
  ASSERT_EQ(maps.size(), 4U);
  EXPECT_EQ(maps[0].start, 0x7eff9bffd000U);
  EXPECT_EQ(maps[0].size(), 0x8000000U);
  EXPECT_TRUE(maps[0].shared && maps[0].writable && maps[0].readable && !maps[0].executable);
  EXPECT_EQ(maps[0].offset, 0x1000U);
  EXPECT_EQ(maps[0].inode, 4U);
  EXPECT_EQ(maps[0].path, "/dev/shm/qemu back");
  EXPECT_TRUE(maps[0].deleted);
  EXPECT_EQ(maps[1].device, makedev(0xfe, 1));
  EXPECT_FALSE(maps[1].deleted || maps[1].shared);
  EXPECT_EQ(maps[2].path, "[vdso]");
  EXPECT_EQ(maps[3].path, "");
}

TEST(ParseMapsTest, SkipsWhatIsNotAMapping) { EXPECT_TRUE(ParseMaps("\nhello\n12-\n").empty()); }

TEST(ParseSmapsTest, FindsLockedMappings) {
  const auto locked = ParseSmapsWithFlag(
      "1000-2000 rw-s 00000000 00:1b 4   /dev/shm/a\nRss: 4 kB\nVmFlags: rd wr sh mr mw me ms lo sd \n"
      "3000-4000 rw-s 00000000 00:1b 5   /dev/shm/b\nRss: 4 kB\nVmFlags: rd wr sh mr mw me ms sd \n", "lo");
  ASSERT_EQ(locked.size(), 1U);
  EXPECT_EQ(locked[0].path, "/dev/shm/a");
}

TEST(ParseStatusTest, ReadsTheFieldsOfUse) {
  const ProcessStatus s = ParseStatus(
      "Name:\tqemu-system-x86\nState:\tt (tracing stop)\nTgid:\t8175\nTracerPid:\t77\nUid:\t0\t64055\t0\t0\n"
      "VmSize:\t 2356160 kB\nVmLck:\t      12 kB\nVmPin:\t       4 kB\nSeccomp:\t2\n");
  EXPECT_EQ(s.name, "qemu-system-x86");
  EXPECT_EQ(s.state, 't');
  EXPECT_EQ(s.tgid, 8175);
  EXPECT_EQ(s.tracer, 77);
  EXPECT_EQ(s.uid, 64055U);
  EXPECT_EQ(s.locked_bytes, 12288U);
  EXPECT_EQ(s.pinned_bytes, 4096U);
  EXPECT_EQ(s.seccomp, 2);
  EXPECT_TRUE(s.has_memory);
}

TEST(ParseStartTimeTest, SurvivesANameWithBlanksAndParentheses) {
  EXPECT_EQ(ParseStartTime("12 (a) b) (c)) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21"), 4711U);
  EXPECT_EQ(ParseStartTime("12 (a) S 1 2"), std::nullopt);
  EXPECT_EQ(ParseStartTime("nonsense"), std::nullopt);
}

TEST(ParseTaskSyscallTest, TellsRunningBlockedAndFaulting) {
  EXPECT_EQ(ParseTaskSyscall("running\n").kind, TaskSyscall::Kind::kRunning);
  EXPECT_EQ(ParseTaskSyscall("-1 0x7ffd 0x7f00\n").kind, TaskSyscall::Kind::kBlockedOutside);
  const TaskSyscall t = ParseTaskSyscall("16 0xd 0xae80 0x0 0x0 0x0 0x0 0x7ff 0x7f0\n");
  EXPECT_EQ(t.kind, TaskSyscall::Kind::kBlocked);
  EXPECT_EQ(t.number, 16);
  EXPECT_EQ(t.args[1], 0xae80U);
  EXPECT_EQ(ParseTaskSyscall("").kind, TaskSyscall::Kind::kInvalid);
}

TEST(ReadersTest, TellTheTruthAboutThisProcess) {
  const pid_t self = ::getpid();
  const auto status = ReadStatus(self);
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(status->tgid, self);
  EXPECT_EQ(status->uid, ::geteuid());
  EXPECT_TRUE(ReadStartTime(self).ok());
  const auto words = ReadCmdline(self);
  ASSERT_TRUE(words.ok());
  EXPECT_NE(words->front().find("os_test"), std::string::npos);
  int pipe_fds[2];
  ASSERT_EQ(::pipe2(pipe_fds, O_DIRECT | O_CLOEXEC), 0);
  const unique_fd read_end(pipe_fds[0]), direct(pipe_fds[1]);  // the flag is kept by the writing end
  EXPECT_NE(ReadFdFlags(self, direct.get()).value() & static_cast<unsigned>(O_DIRECT), 0U);
  const unique_fd plain(::open("/dev/null", O_RDONLY));
  EXPECT_EQ(ReadFdFlags(self, plain.get()).value() & static_cast<unsigned>(O_DIRECT), 0U);
}

TEST(ReadersTest, AProcessThatIsNotThereIsNotFound) {
  constexpr pid_t kNobody = 0x3ffffff0;  // above every pid_max
  EXPECT_EQ(ReadMaps(kNobody).status().code(), ErrorCode::kNotFound);
  EXPECT_EQ(ReadStatus(kNobody).status().code(), ErrorCode::kNotFound);
  EXPECT_EQ(ListOpenFiles(kNobody).status().code(), ErrorCode::kNotFound);
}

TEST(OpenMappedFileTest, OpensADeletedFileByItsMapping) {
  const unique_fd memory(::memfd_create("heca-proc-test", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(memory.get(), 8192), 0);
  void* at = ::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
  ASSERT_NE(at, MAP_FAILED);
  bool found = false;
  const auto maps = ReadMaps(::getpid());
  ASSERT_TRUE(maps.ok());
  for (const Mapping& m : *maps) {
    if (m.start != reinterpret_cast<std::uint64_t>(at)) continue;
    found = true;
    EXPECT_EQ(m.path, "/memfd:heca-proc-test");
    const auto fd = OpenMappedFile(::getpid(), m);
    ASSERT_TRUE(fd.ok()) << fd.status().ToString();
    EXPECT_EQ(::pwrite(fd->get(), "x", 1, 4096), 1);
    EXPECT_EQ(static_cast<char*>(at)[4096], 'x');
  }
  EXPECT_TRUE(found);
  ::munmap(at, 8192);
}

TEST(ReadTaskReadCallsTest, CountsAReadOnlyWhenItHasEnded) {
  int pipe_fds[2];
  ASSERT_EQ(::pipe2(pipe_fds, O_CLOEXEC), 0);
  std::atomic<pid_t> tid{0};
  std::atomic<bool> first_over{false}, go_on{false};
  std::thread reader([&] {
    tid = static_cast<pid_t>(::syscall(SYS_gettid));
    char byte = 0;
    EXPECT_EQ(::read(pipe_fds[0], &byte, 1), 1);
    first_over = true;
    while (!go_on) ::poll(nullptr, 0, 1);
  });
  const Deadline deadline = Deadline::After(std::chrono::seconds(5));
  const auto blocked_in_read = [&] {
    if (tid == 0) return false;
    const auto now = ReadTaskSyscall(::getpid(), tid);
    return now.ok() && now->kind == TaskSyscall::Kind::kBlocked && now->number == SYS_read;
  };
  while (!blocked_in_read() && !deadline.Passed()) std::this_thread::yield();
  ASSERT_TRUE(blocked_in_read());
  const auto before = ReadTaskReadCalls(::getpid(), tid);
  ASSERT_TRUE(before.ok()) << before.status().ToString();
  EXPECT_EQ(ReadTaskReadCalls(::getpid(), tid).value(), *before);
  ASSERT_EQ(::write(pipe_fds[1], "x", 1), 1);
  while (!first_over && !deadline.Passed()) std::this_thread::yield();
  EXPECT_EQ(ReadTaskReadCalls(::getpid(), tid).value(), *before + 1);
  go_on = true;
  reader.join();
  ::close(pipe_fds[0]);
  ::close(pipe_fds[1]);
}

}  // namespace
}  // namespace heca::os
