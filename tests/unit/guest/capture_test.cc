// SPDX-License-Identifier: LGPL-2.1-or-later
#include "guest/capture.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "guest/blocks.h"
#include "os/pidfd.h"
#include "os/proc.h"
#include "qemu_process.h"

namespace heca::guest {
namespace {

using std::chrono::seconds;
using testing::QemuProcess;

Deadline Soon() { return Deadline::After(seconds(10)); }

bool Handshake(const unique_fd& uffd) {
  uffdio_api api{UFFD_API, 0, 0};
  return ::ioctl(uffd.get(), UFFDIO_API, &api) == 0;
}

/// Registers the block, so that the descriptor is shown to act on the target's memory.
bool Register(const unique_fd& uffd, const RamBlock& block) {
  uffdio_register reg{{block.address, block.bytes.value()}, UFFDIO_REGISTER_MODE_MISSING, 0};
  return ::ioctl(uffd.get(), UFFDIO_REGISTER, &reg) == 0;
}

std::size_t DeviceFds(pid_t pid) {
  const auto files = os::ListOpenFiles(pid);
  return static_cast<std::size_t>(std::count_if(files->begin(), files->end(), [](const os::OpenFile& f) {
    return f.target.find("/dev/userfaultfd") != std::string::npos;
  }));
}

TEST(CaptureQemuTest, SandboxedAndUnprivilegedByTheDevice) {
  if (!QemuProcess::Installed()) GTEST_SKIP() << "qemu-system-x86_64 is not installed";
  if (::access("/dev/userfaultfd", R_OK) != 0) GTEST_SKIP() << "no /dev/userfaultfd (Linux 6.1, as root)";
  auto options = testing::SharedRam();
  options.insert(options.end(), {"-sandbox", testing::kSandbox});
  QemuProcess qemu(options, /*unprivileged=*/true);
  auto qmp = qemu.Connect();
  ASSERT_TRUE(qmp.ok()) << qmp.status().ToString();
  ASSERT_EQ(os::ReadStatus(qemu.Pid())->uid, 65534U);
  ASSERT_EQ(os::ReadStatus(qemu.Pid())->seccomp, 2);
  const auto blocks = QemuRamBlocks(qemu.Pid(), **qmp, Soon());
  ASSERT_TRUE(blocks.ok()) << blocks.status().ToString();

  const auto captured = CaptureUffd(qemu.Pid(), qmp->get(), {}, Soon());
  ASSERT_TRUE(captured.ok()) << captured.status().ToString();
  RecordProperty("stop_us", static_cast<int>(captured->stop.count() / 1000));
  EXPECT_GT(captured->stop.count(), 0);
  EXPECT_TRUE(Handshake(captured->uffd));
  EXPECT_TRUE(Register(captured->uffd, blocks->front()));
  EXPECT_EQ(DeviceFds(qemu.Pid()), 0U) << "the device was left in QEMU";
  EXPECT_EQ(ListUffds(qemu.Pid()).value(), std::vector<int>{captured->target_fd});
  EXPECT_TRUE(os::PidfdAlive(captured->pidfd));
  EXPECT_TRUE((*qmp)->Execute("query-status", {}, Soon()).ok()) << "QEMU lives on";

  // A second hecad: told that there is one; takes it over; it was handshaken already.
  EXPECT_EQ(CaptureUffd(qemu.Pid(), qmp->get(), {}, Soon()).status().code(), ErrorCode::kAlreadyExists);
  const auto taken = TakeOverUffd(captured->process, captured->target_fd);
  ASSERT_TRUE(taken.ok()) << taken.status().ToString();
  EXPECT_FALSE(Handshake(taken->uffd));
  ProcessId later = captured->process;
  ++later.start_time;
  EXPECT_EQ(TakeOverUffd(later, captured->target_fd).status().code(), ErrorCode::kNotFound);
  EXPECT_EQ(TakeOverUffd(captured->process, 0).status().code(), ErrorCode::kNotFound);

  // Left over with nothing absent: closed in QEMU, and a fresh one is taken.
  const auto closed = CloseUffdInTarget(captured->process, captured->target_fd, Soon());
  ASSERT_TRUE(closed.ok()) << closed.status().ToString();
  EXPECT_TRUE(ListUffds(qemu.Pid())->empty());
  EXPECT_EQ(CloseUffdInTarget(captured->process, captured->target_fd, Soon()).status().code(), ErrorCode::kNotFound);
  EXPECT_TRUE(CaptureUffd(qemu.Pid(), qmp->get(), {}, Soon()).ok());
}

TEST(CaptureQemuTest, TheStopIsShort) {
  if (!QemuProcess::Installed()) GTEST_SKIP() << "qemu-system-x86_64 is not installed";
  if (::access("/dev/userfaultfd", R_OK) != 0) GTEST_SKIP() << "no /dev/userfaultfd (Linux 6.1, as root)";
  QemuProcess qemu(testing::SharedRam());
  auto qmp = qemu.Connect();
  ASSERT_TRUE(qmp.ok()) << qmp.status().ToString();
  std::vector<Nanos> stops;
  for (int i = 0; i < 50; ++i) {
    const auto captured = CaptureUffd(qemu.Pid(), qmp->get(), {}, Soon());
    ASSERT_TRUE(captured.ok()) << captured.status().ToString();
    stops.push_back(captured->stop);
    ASSERT_TRUE(CloseUffdInTarget(captured->process, captured->target_fd, Soon()).ok());
  }
  std::sort(stops.begin(), stops.end());
  RecordProperty("stop_p50_us", static_cast<int>(stops[25].count() / 1000));
  RecordProperty("stop_max_us", static_cast<int>(stops[49].count() / 1000));
  // The goal is for an idle machine. On a loaded one the target waits for its turn on a CPU, which is no property of
  // the capture: so the better fifth is judged, and the median is recorded. Under ThreadSanitizer it is the capture itself
  // that takes several times as long.
#ifdef __SANITIZE_THREAD__
  constexpr std::chrono::milliseconds kGoal{10};
#else
  constexpr std::chrono::milliseconds kGoal{1};
#endif
  EXPECT_LT(stops[10], kGoal);
}

TEST(CaptureQemuTest, NotesThatTheSocketBelongsToAnotherQemu) {
  if (!QemuProcess::Installed()) GTEST_SKIP() << "qemu-system-x86_64 is not installed";
  QemuProcess one(testing::SharedRam());
  auto qmp = one.Connect();
  ASSERT_TRUE(qmp.ok());
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) ::pause();
  }
  const auto captured = CaptureUffd(child, qmp->get(), {}, Soon());
  EXPECT_EQ(captured.status().code(), ErrorCode::kInvalidArgument) << captured.status().ToString();
  EXPECT_EQ(DeviceFds(one.Pid()), 0U);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
}

/// A child that sleeps; `user` != 0: as that user.
class Sleeper {
 public:
  explicit Sleeper(uid_t user = 0) {
    int ready[2];
    EXPECT_EQ(::pipe2(ready, O_CLOEXEC), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      if (user != 0 && (::setgid(user) != 0 || ::setuid(user) != 0)) ::_exit(1);
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::write(ready[1], "x", 1) != 1) ::_exit(1);
      for (;;) ::pause();
    }
    char byte = 0;
    EXPECT_EQ(::read(ready[0], &byte, 1), 1);
    ::close(ready[0]);
    ::close(ready[1]);
  }
  ~Sleeper() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
};

TEST(CaptureProcessTest, BySystemCall) {
  const Sleeper child;
  const auto captured = CaptureUffd(child.pid(), nullptr, {}, Soon());
  ASSERT_TRUE(captured.ok()) << captured.status().ToString();
  EXPECT_TRUE(Handshake(captured->uffd));
}

TEST(CaptureProcessTest, WithoutPrivilegeTheTextNamesTheRemedies) {
  if (os::ReadSmallFile("/proc/sys/vm/unprivileged_userfaultfd").value() != "0\n") {
    GTEST_SKIP() << "vm.unprivileged_userfaultfd is not 0";
  }
  const Sleeper child(65534);
  const auto captured = CaptureUffd(child.pid(), nullptr, {}, Soon());
  EXPECT_EQ(captured.status().code(), ErrorCode::kPermissionDenied);
  EXPECT_NE(captured.status().message().find("QMP"), std::string_view::npos);
  EXPECT_NE(captured.status().message().find("unprivileged_userfaultfd=1"), std::string_view::npos);
}

TEST(CaptureProcessTest, ASeccompFilterIsNotTriedUnasked) {
  if (!QemuProcess::Installed()) GTEST_SKIP() << "qemu-system-x86_64 is not installed";
  auto options = testing::SharedRam();
  options.insert(options.end(), {"-sandbox", testing::kSandbox});
  QemuProcess qemu(options);
  ASSERT_TRUE(qemu.Connect().ok());
  EXPECT_EQ(CaptureUffd(qemu.Pid(), nullptr, {}, Soon()).status().code(), ErrorCode::kFailedPrecondition);
  CaptureOptions trusting;
  trusting.trust_seccomp_filter = true;
  const auto captured = CaptureUffd(qemu.Pid(), nullptr, trusting, Soon());
  EXPECT_TRUE(captured.ok()) << captured.status().ToString();
}

TEST(CaptureProcessTest, WhatAKilledHecadMadeAndNeverUsedIsNotInTheWay) {
  const Sleeper child;
  ASSERT_TRUE(CaptureUffd(child.pid(), nullptr, {}, Soon()).ok());  // our copy goes, as by SIGKILL before the journal
  ASSERT_EQ(ListUffds(child.pid())->size(), 1U);
  const auto captured = CaptureUffd(child.pid(), nullptr, {}, Soon());
  ASSERT_TRUE(captured.ok()) << captured.status().ToString();
  EXPECT_EQ(ListUffds(child.pid()).value(), std::vector<int>{captured->target_fd});
  EXPECT_EQ(CaptureUffd(child.pid(), nullptr, {}, Soon()).status().code(), ErrorCode::kAlreadyExists)
      << "somebody in this process has it and will use it";
  EXPECT_TRUE(Handshake(captured->uffd));
}

TEST(CaptureProcessTest, DeadPid) {
  EXPECT_EQ(CaptureUffd(0x3ffffff0, nullptr, {}, Soon()).status().code(), ErrorCode::kNotFound);
}

}  // namespace
}  // namespace heca::guest
