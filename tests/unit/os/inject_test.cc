// SPDX-License-Identifier: LGPL-2.1-or-later
// Targets are forked children in every state that a target can be met in. Each injects getppid(), whose right answer
// is known.
#include "os/inject.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/futex.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <functional>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "os/proc.h"

namespace heca::os {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// Shared with the children.
struct Shared {
  std::atomic<int> ready;
  std::atomic<int> stop;
  std::atomic<long> count;
  std::atomic<long> wrong;
  std::atomic<long> elapsed_us;
  std::atomic<int> tid;
};

class InjectTest : public testing::Test {
 protected:
  void SetUp() override {
#ifdef __SANITIZE_THREAD__
    GTEST_SKIP() << "ThreadSanitizer gives each child a thread of its own and keeps signals back: the targets are not these";
#endif
    void* at = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(at, MAP_FAILED);
    shared_ = new (at) Shared{};
  }
  void TearDown() override {
    // All are killed before any is awaited: one that traces another keeps that one's end to itself.
    for (const pid_t child : children_) ::kill(child, SIGKILL);
    for (const pid_t child : children_) ::waitpid(child, nullptr, 0);
    ::munmap(shared_, 4096);
  }

  pid_t Fork(const std::function<void()>& body) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      body();
      ::_exit(0);
    }
    children_.push_back(child);
    return child;
  }
  void WaitReady() { WaitFor([this] { return shared_->ready != 0; }); }
  static void WaitFor(const std::function<bool()>& condition) {
    const Deadline deadline = Deadline::After(seconds(10));
    while (!condition()) {
      ASSERT_FALSE(deadline.Passed());
      std::this_thread::yield();
    }
  }
  static void WaitBlockedIn(pid_t pid, pid_t tid, long number) {
    WaitFor([=] {
      const auto now = ReadTaskSyscall(pid, tid);
      return now.ok() && now->kind == TaskSyscall::Kind::kBlocked && now->number == number;
    });
  }
  static Result<InjectResult> GetPpid(pid_t pid, Nanos patience = seconds(5)) {
    return Inject(pid, {SYS_getppid, {}}, Deadline::After(patience));
  }
  /// Ten injections while the child sleeps a quarter of a second in `number`; the sleep must come out right.
  void SleepsOn(long number, const std::function<bool()>& sleep_250ms) {
    const pid_t child = Fork([&] {
      shared_->ready = 1;
      const auto begin = Clock::now();
      if (!sleep_250ms()) shared_->wrong++;
      shared_->elapsed_us = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin).count();
    });
    WaitReady();
    WaitBlockedIn(child, child, number);
    for (int i = 0; i < 10; ++i) {
      const auto got = GetPpid(child);
      ASSERT_TRUE(got.ok()) << got.status().ToString();
      EXPECT_EQ(got->value, ::getpid());
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    children_.clear();
    EXPECT_EQ(status, 0);
    EXPECT_EQ(shared_->wrong, 0);
    EXPECT_GE(shared_->elapsed_us, 249'000);
    EXPECT_LT(shared_->elapsed_us, 5'000'000);  // it ends; how late depends on the machine's load
  }

  Shared* shared_ = nullptr;
  std::vector<pid_t> children_;
};

constexpr timespec kQuarter{0, 250'000'000};

TEST_F(InjectTest, SleepingInNanosleep) {
  SleepsOn(SYS_clock_nanosleep, [] { return ::nanosleep(&kQuarter, nullptr) == 0; });
}
TEST_F(InjectTest, SleepingInPpoll) {
  SleepsOn(SYS_ppoll, [] { return ::ppoll(nullptr, 0, &kQuarter, nullptr) == 0; });
}
TEST_F(InjectTest, SleepingInFutex) {
  SleepsOn(SYS_futex, [] {
    int word = 0;
    return ::syscall(SYS_futex, &word, FUTEX_WAIT, 0, &kQuarter, nullptr, 0) == -1 && errno == ETIMEDOUT;
  });
}
TEST_F(InjectTest, SleepingInRead) {
  SleepsOn(SYS_read, [] {
    const int timer = ::timerfd_create(CLOCK_MONOTONIC, 0);
    const itimerspec when{{0, 0}, kQuarter};
    ::timerfd_settime(timer, 0, &when, nullptr);
    std::uint64_t ticks = 0;
    return ::read(timer, &ticks, sizeof ticks) == sizeof ticks;
  });
}

TEST_F(InjectTest, SpinningTargetUsesTheVdsoAndStopsBriefly) {
  const pid_t child = Fork([&] {
    shared_->ready = 1;
    // Keeps its state in registers and flags: a damaged register shows as a wrong sum.
    for (unsigned long a = 1, b = 0; shared_->stop == 0; a = a * 3 + 1, b += a, b -= a) {
      if (b != 0) shared_->wrong++;
    }
  });
  WaitReady();
  std::vector<Nanos> stops;
  for (int i = 0; i < 200; ++i) {
    const auto got = GetPpid(child);
    ASSERT_TRUE(got.ok()) << got.status().ToString();
    ASSERT_EQ(got->value, ::getpid());
    EXPECT_EQ(got->tid, child);
    stops.push_back(got->stop);
  }
  std::sort(stops.begin(), stops.end());
  RecordProperty("stop_p50_us", static_cast<int>(stops[100].count() / 1000));
  RecordProperty("stop_p99_us", static_cast<int>(stops[197].count() / 1000));
  // The quickest tenth: on a loaded machine the others wait for a CPU.
  EXPECT_LT(stops[20], milliseconds(5)) << "nine stops of ten are longer than any sensible one";
  shared_->stop = 1;
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  children_.clear();
  EXPECT_EQ(status, 0);
  EXPECT_EQ(shared_->wrong, 0);
}

Shared* handler_shared = nullptr;

TEST_F(InjectTest, LosesNoneOfTwoThousandQueuedSignals) {
  handler_shared = shared_;
  const pid_t child = Fork([&] {
    struct sigaction action {};
    action.sa_handler = [](int) { handler_shared->count++; };
    action.sa_flags = SA_RESTART;
    ::sigaction(SIGRTMIN, &action, nullptr);
    shared_->ready = 1;
    while (shared_->stop == 0) {
      const int fd = ::open("/dev/null", O_RDONLY);
      if (fd < 0) {
        shared_->wrong++;
      } else {
        ::close(fd);
      }
    }
  });
  WaitReady();
  long sent = 0;
  for (int i = 0; i < 250; ++i) {
    for (int k = 0; k < 8; ++k) {
      if (::sigqueue(child, SIGRTMIN, sigval{}) == 0) ++sent;
    }
    const auto got = GetPpid(child);
    ASSERT_TRUE(got.ok()) << got.status().ToString();
    ASSERT_EQ(got->value, ::getpid());
  }
  EXPECT_EQ(sent, 2000);
  WaitFor([&] { return shared_->count >= sent; });
  EXPECT_EQ(shared_->count, sent);
  EXPECT_EQ(shared_->wrong, 0);
  shared_->stop = 1;
}

TEST_F(InjectTest, ReturnsTheErrorOfTheCall) {
  const pid_t child = Fork([] { for (;;) ::pause(); });
  WaitBlockedIn(child, child, SYS_pause);
  const auto got = Inject(child, {SYS_close, {9999}}, Deadline::After(seconds(5)));
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(got->value, -EBADF);
}

TEST_F(InjectTest, RefusesATracedProcessAndNamesTheTracer) {
  const pid_t child = Fork([] { for (;;) ::pause(); });
  const pid_t tracer = Fork([&] {
    if (::ptrace(PTRACE_SEIZE, child, nullptr, nullptr) == 0) shared_->ready = 1;
    for (;;) ::pause();
  });
  WaitReady();
  const auto got = GetPpid(child);
  EXPECT_EQ(got.status().code(), ErrorCode::kFailedPrecondition);
  EXPECT_NE(got.status().message().find("traced by process " + std::to_string(tracer)), std::string_view::npos)
      << got.status().ToString();
}

TEST_F(InjectTest, RefusesAStoppedProcessAndLeavesItStopped) {
  const pid_t child = Fork([] { for (;;) ::pause(); });
  ::kill(child, SIGSTOP);
  WaitFor([&] { return ReadStatus(child)->state == 'T'; });
  const auto got = GetPpid(child);
  EXPECT_EQ(got.status().code(), ErrorCode::kFailedPrecondition);
  EXPECT_NE(got.status().message().find("kill -CONT"), std::string_view::npos);
  EXPECT_EQ(ReadStatus(child)->state, 'T');
}

TEST_F(InjectTest, RefusesDeadAndZombieAndItself) {
  EXPECT_EQ(GetPpid(0x3ffffff0).status().code(), ErrorCode::kNotFound);
  const pid_t child = Fork([] {});
  WaitFor([&] { return ReadStatus(child)->state == 'Z'; });
  EXPECT_EQ(GetPpid(child).status().code(), ErrorCode::kNotFound);
  EXPECT_EQ(GetPpid(::getpid()).status().code(), ErrorCode::kInvalidArgument);
}

TEST_F(InjectTest, UsesAnotherThreadWhenTheLeaderHasExited) {
  const pid_t child = Fork([&] {
    pthread_t thread{};
    ::pthread_create(&thread, nullptr, [](void* p) -> void* {
      static_cast<Shared*>(p)->tid = static_cast<int>(::syscall(SYS_gettid));
      for (;;) ::pause();
    }, shared_);
    ::syscall(SYS_exit, 0);
  });
  WaitFor([&] { return shared_->tid != 0 && ReadTaskStatus(child, child)->state == 'Z'; });
  const auto got = GetPpid(child);
  ASSERT_TRUE(got.ok()) << got.status().ToString();
  EXPECT_EQ(got->value, ::getpid());
  EXPECT_EQ(got->tid, shared_->tid);
}

TEST_F(InjectTest, PassesAThreadThatSleepsInAKernelModeFault) {
  // The leader reads into an absent page of a userfaultfd that nobody serves: it cannot be stopped.
  const pid_t child = Fork([&] {
    const int uffd = static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC));
    uffdio_api api{UFFD_API, 0, 0};
    void* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uffdio_register reg{{reinterpret_cast<std::uint64_t>(page), 4096}, UFFDIO_REGISTER_MODE_MISSING, 0};
    if (::ioctl(uffd, UFFDIO_API, &api) != 0 || ::ioctl(uffd, UFFDIO_REGISTER, &reg) != 0) ::_exit(1);
    pthread_t thread{};
    ::pthread_create(&thread, nullptr, [](void* p) -> void* {
      static_cast<Shared*>(p)->tid = static_cast<int>(::syscall(SYS_gettid));
      for (;;) ::pause();
    }, shared_);
    const int zero = ::open("/dev/zero", O_RDONLY);
    shared_->ready = 1;
    if (::read(zero, page, 4096) != 4096) ::_exit(1);
  });
  WaitReady();
  WaitFor([&] { return shared_->tid != 0; });
  WaitBlockedIn(child, child, SYS_read);
  const auto got = GetPpid(child);
  ASSERT_TRUE(got.ok()) << got.status().ToString();
  EXPECT_EQ(got->tid, shared_->tid);
  EXPECT_EQ(ReadTaskStatus(child, child)->tracer, 0) << "the leader was left traced";
  // With no other thread to turn to, the deadline is told as such.
  const auto late = GetPpid(child, Nanos(0));
  EXPECT_FALSE(late.ok());
}

TEST_F(InjectTest, AnotherUserMayNot) {
  const pid_t target = Fork([] { for (;;) ::pause(); });
  const pid_t other = Fork([&] {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(1);
    const auto got = GetPpid(target);
    const bool told = got.status().code() == ErrorCode::kPermissionDenied &&
                      got.status().message().find("CAP_SYS_PTRACE") != std::string_view::npos;
    ::_exit(told ? 0 : 2);
  });
  int status = 0;
  ASSERT_EQ(::waitpid(other, &status, 0), other);
  children_.pop_back();
  EXPECT_EQ(status, 0);
}

TEST_F(InjectTest, RootMayInjectIntoAnotherUsersProcess) {
  const pid_t target = Fork([&] {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(1);
    shared_->ready = 1;
    for (;;) ::pause();
  });
  WaitReady();
  const auto got = GetPpid(target);
  ASSERT_TRUE(got.ok()) << got.status().ToString();
  EXPECT_EQ(got->value, ::getpid());
}

}  // namespace
}  // namespace heca::os
