// SPDX-License-Identifier: LGPL-2.1-or-later
// How a write log ends: by Stop, by its destructor, with the process, with hecad.
#include "guest/write_log.h"

#include <gtest/gtest.h>

#include "write_log_kinds.h"
#include "written_process.h"

namespace heca::guest {
namespace {

using std::chrono::milliseconds;
using testing::Abilities;
using testing::Soon;
using testing::WrittenProcess;

class WriteLogEndTest : public testing::EachKindByPages {};
INSTANTIATE_TEST_SUITE_P(Kinds, WriteLogEndTest, testing::kEachKind, testing::KindName);

TEST_P(WriteLogEndTest, StopLeavesNothing) {
  WrittenProcess process({64});
  const auto log = Start(process);
  EXPECT_EQ(ListUffds(process.pid()).value(), std::vector<int>{log->target_fd()});
  const auto second =
      StartWriteLog(process.pid(), nullptr, process.ram(), kBasePage, Abilities(), GetParam(), Soon());
  EXPECT_EQ(second.status().code(), ErrorCode::kAlreadyExists);
  process.Write(3);
  EXPECT_TRUE(log->Stop(Soon()).ok());
  EXPECT_TRUE(ListUffds(process.pid())->empty());
  EXPECT_TRUE(log->Stop(Soon()).ok()) << "again";
  EXPECT_FALSE(log->Collect().ok()) << "nothing is watched any more";
  process.Write(0, 64);
  ExpectPages(Collected(*Start(process)), {});
}

TEST_P(WriteLogEndTest, WithoutStopNobodyWaitsAndTheNextMayDissolveIt) {
  WrittenProcess process({64});
  Start(process).reset();
  process.Write(0, 64);
  EXPECT_EQ(ListUffds(process.pid())->size(), 1U);
  EXPECT_TRUE(DissolveWriteLogs(IdentifyProcess(process.pid()).value(), Soon()).ok());
  EXPECT_TRUE(ListUffds(process.pid())->empty());
}

TEST_P(WriteLogEndTest, AProcessThatEndedIsNotCalledClean) {
  WrittenProcess process({64});
  const auto log = Start(process);
  process.Write(3);
  process.Kill();
  EXPECT_EQ(log->Collect().status().code(), ErrorCode::kNotFound);
  EXPECT_EQ(log->Final().status().code(), ErrorCode::kNotFound);
  EXPECT_TRUE(log->Stop(Soon()).ok());
}

TEST_P(WriteLogEndTest, RefusesWhatIsNoMemoryAndLeavesNothing) {
  WrittenProcess process({64});
  const auto attempt = [&](std::vector<AddressRange> ram) {
    return StartWriteLog(process.pid(), nullptr, std::move(ram), kBasePage, Abilities(), GetParam(), Soon())
        .status()
        .code();
  };
  const os::TargetAddress start = process.ram()[0].address;
  EXPECT_EQ(attempt({}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(attempt({{start + 1, kBasePage}}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(attempt({{start, Bytes(8192)}, {start + 4096, kBasePage}}), ErrorCode::kInvalidArgument);
  process.Do([](char* memory, int, std::uint64_t at, std::uint64_t) { ::munmap(memory + at, 4096); }, 64 * 4096);
  EXPECT_EQ(attempt({{start, Bytes(65 * 4096)}}), ErrorCode::kFailedPrecondition) << "the last page is not mapped";
  EXPECT_TRUE(ListUffds(process.pid())->empty());
}

/// A hecad that logs the writes of `process` and is killed; returns the number of its userfaultfd there.
int KilledHecad(const WrittenProcess& process, WriteLogKind kind) {
  (void)Abilities();
  int said[2];
  HECA_CHECK(::pipe2(said, O_CLOEXEC) == 0);
  const pid_t hecad = ::fork();
  if (hecad == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const auto log = StartWriteLog(process.pid(), nullptr, process.ram(), kBasePage, Abilities(), kind, Soon());
    const int number = log.ok() ? (*log)->target_fd() : -1;
    HECA_CHECK(::write(said[1], &number, sizeof number) == sizeof number);
    for (;;) ::pause();
  }
  int number = -1;
  ::close(said[1]);
  EXPECT_EQ(::read(said[0], &number, sizeof number), static_cast<ssize_t>(sizeof number));
  ::close(said[0]);
  ::kill(hecad, SIGKILL);
  ::waitpid(hecad, nullptr, 0);
  return number;
}

TEST_P(WriteLogEndTest, ADeadHecadsLogIsDissolved) {
  // By a store; and by the kernel, in which a thread cannot be stopped for an injection.
  for (const bool by_kernel : {false, true}) {
    WrittenProcess process({64});
    const int number = KilledHecad(process, GetParam());
    EXPECT_EQ(ListUffds(process.pid()).value(), std::vector<int>{number});
    if (by_kernel) {
      process.Begin([](char* memory, int, std::uint64_t, std::uint64_t) {
        const unique_fd source(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
        HECA_CHECK(::read(source.get(), memory, 4096) == 4096);
      });
    } else {
      process.Begin([](char* memory, int, std::uint64_t, std::uint64_t) { *const_cast<volatile char*>(memory) = 1; });
    }
    if (GetParam() == WriteLogKind::kAsync) {
      EXPECT_TRUE(process.Done()) << "it waits for a dead hecad";
    } else {
      EXPECT_FALSE(process.Done(milliseconds(50))) << "nobody has noted this write";
    }
    const Status dissolved = DissolveWriteLogs(IdentifyProcess(process.pid()).value(), Soon());
    EXPECT_TRUE(dissolved.ok()) << dissolved.ToString();
    EXPECT_TRUE(process.Done());
    EXPECT_TRUE(ListUffds(process.pid())->empty());
    process.Write(0, 64);
    ExpectPages(Collected(*Start(process)), {});
  }
}

TEST(DissolveWriteLogsTest, LeavesOthersAloneAndEndedProcessesBe) {
  WrittenProcess process({16});
  const ProcessId id = IdentifyProcess(process.pid()).value();
  EXPECT_TRUE(DissolveWriteLogs(id, Soon()).ok()) << "none";
  auto captured = CaptureUffd(process.pid(), nullptr, {}, Soon());
  ASSERT_TRUE(captured.ok()) << captured.status().ToString();
  EXPECT_TRUE(DissolveWriteLogs(id, Soon()).ok()) << "one that is not in use yet";
  os::Uffd engine(std::move(captured->uffd));
  ASSERT_TRUE(engine.Handshake(Abilities().negotiated).ok());
  EXPECT_TRUE(DissolveWriteLogs(id, Soon()).ok()) << "the engine's";
  EXPECT_EQ(ListUffds(process.pid()).value(), std::vector<int>{captured->target_fd});
  ProcessId later = id;
  ++later.start_time;
  EXPECT_TRUE(DissolveWriteLogs(later, Soon()).ok()) << "its pid belongs to another process";
  process.Kill();
  EXPECT_TRUE(DissolveWriteLogs(id, Soon()).ok());
}

}  // namespace
}  // namespace heca::guest
