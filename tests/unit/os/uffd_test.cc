// SPDX-License-Identifier: LGPL-2.1-or-later
#include "os/uffd.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <optional>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "os/pidfd.h"
#include "os/probe_uffd.h"

namespace heca::os {
namespace {

TEST(ProbeUffd, ThisKernelSufficesOrSaysWhatItIs) {
  const auto abilities = ProbeUffd();
  ASSERT_TRUE(abilities.ok()) << abilities.status().ToString();
  EXPECT_EQ(abilities->sufficient, (abilities->features & RequiredUffdFeatures()) == RequiredUffdFeatures());
  EXPECT_EQ(abilities->negotiated & ~abilities->features, 0U);
}

class UffdTest : public testing::Test {
 protected:
  static constexpr std::size_t kSize = 8 * 4096;
  void SetUp() override {
    file_.reset(::memfd_create("ram", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(file_.get(), kSize), 0);
    memory_ = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0);
    ASSERT_NE(memory_, MAP_FAILED);
    auto uffd = Uffd::OpenForSelf();
    ASSERT_TRUE(uffd.ok()) << uffd.status().ToString();
    uffd_.emplace(std::move(uffd).value());
  }
  void TearDown() override {
    uffd_.reset();
    ::munmap(memory_, kSize);
  }
  TargetAddress Page(std::size_t page) { return TargetAddress(reinterpret_cast<std::uintptr_t>(memory_) + page * 4096); }
  UffdEvent NextEvent() {
    std::array<UffdEvent, 1> events;
    const Deadline deadline = Deadline::After(std::chrono::seconds(5));
    while (!deadline.Passed()) {
      const auto got = uffd_->Read(events);
      if (got.ok() && *got == 1) return events[0];
    }
    return {};
  }
  volatile char* Byte(std::size_t page) { return static_cast<char*>(memory_) + page * 4096; }

  unique_fd file_;
  void* memory_ = nullptr;
  std::optional<Uffd> uffd_;
};

TEST_F(UffdTest, TheSecondHandshakeIsATakeOver) {
  const auto abilities = ProbeUffd();
  ASSERT_TRUE(abilities.ok());
  auto first = uffd_->Handshake(abilities->negotiated);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(*first, UffdHandshake::kFresh);
  auto second = uffd_->Handshake(abilities->negotiated);
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(*second, UffdHandshake::kTakenOver);
}

TEST_F(UffdTest, MissingWriteProtectMinorAndRemove) {
  const auto abilities = ProbeUffd();
  ASSERT_TRUE(abilities.ok() && abilities->sufficient);
  ASSERT_TRUE(uffd_->Handshake(abilities->negotiated).ok());
  ASSERT_TRUE(uffd_->Register(Page(0), Bytes(kSize)).ok());
  EXPECT_TRUE(uffd_->Register(Page(0), Bytes(kSize)).ok()) << "repeating is harmless";
  std::array<std::byte, 4096> bytes{};
  bytes[0] = std::byte{42};

  char seen = 0;
  std::thread guest([&] { seen = *Byte(1); });
  UffdEvent event = NextEvent();
  EXPECT_EQ(event.kind, UffdEventKind::kMissing);
  EXPECT_FALSE(event.write);
  EXPECT_EQ(event.address.value() & ~std::uint64_t{4095}, Page(1).value());
  EXPECT_EQ(uffd_->Copy(Page(1), bytes.data(), kBasePage, Arm::kYes).error, 0);
  guest.join();
  EXPECT_EQ(seen, 42);
  EXPECT_EQ(uffd_->Copy(Page(1), bytes.data(), kBasePage, Arm::kNo).error, EEXIST);

  guest = std::thread([&] { *Byte(1) = 43; });
  event = NextEvent();
  EXPECT_EQ(event.kind, UffdEventKind::kWriteProtect);
  EXPECT_TRUE(event.write);
  EXPECT_EQ(uffd_->WriteProtect(Page(1), kBasePage, Arm::kNo).error, 0);
  guest.join();

  ASSERT_EQ(::pwrite(file_.get(), "x", 1, 2 * 4096), 1);
  guest = std::thread([&] { seen = *Byte(2); });
  event = NextEvent();
  EXPECT_EQ(event.kind, UffdEventKind::kMinor);
  EXPECT_EQ(uffd_->Continue(Page(2), kBasePage, Arm::kNo).error, 0);
  guest.join();
  EXPECT_EQ(seen, 'x');
  EXPECT_EQ(uffd_->Continue(Page(3), kBasePage, Arm::kNo).error, EFAULT) << "not in the file";

  guest = std::thread([&] { ::madvise(static_cast<char*>(memory_) + 4096, 4096, MADV_REMOVE); });
  event = NextEvent();
  EXPECT_EQ(event.kind, UffdEventKind::kRemove);
  EXPECT_EQ(event.end - event.address, 4096U);
  guest.join();
  EXPECT_TRUE(uffd_->Unregister(Page(0), Bytes(kSize)).ok());
}

TEST_F(UffdTest, AFaultTellsItsThread) {
  const auto abilities = ProbeUffd();
  ASSERT_TRUE(abilities.ok() && abilities->thread_ids);
  ASSERT_TRUE(uffd_->Handshake(abilities->negotiated).ok());
  ASSERT_TRUE(uffd_->Register(Page(0), Bytes(kSize)).ok());
  std::atomic<pid_t> thread{0};
  std::thread guest([&] {
    thread = ::gettid();
    *Byte(1) = 1;
  });
  const UffdEvent event = NextEvent();
  EXPECT_EQ(event.kind, UffdEventKind::kMissing);
  EXPECT_EQ(event.thread, thread);
  EXPECT_EQ(uffd_->ZeroPage(Page(1), kBasePage).error, 0);
  guest.join();
}

TEST_F(UffdTest, WithoutTheFeatureAFaultTellsNoThread) {
  ASSERT_TRUE(uffd_->Handshake(RequiredUffdFeatures()).ok());
  ASSERT_TRUE(uffd_->Register(Page(0), Bytes(kSize)).ok());
  std::thread guest([&] { *Byte(1) = 1; });
  const UffdEvent event = NextEvent();
  EXPECT_EQ(event.kind, UffdEventKind::kMissing);
  EXPECT_EQ(event.thread, 0);
  EXPECT_EQ(uffd_->ZeroPage(Page(1), kBasePage).error, 0);
  guest.join();
}

/// As QEMU's own query-cpus-fast names its threads, wherever the reader is.
TEST_F(UffdTest, AThreadIsNamedAsItNamesItself) {
  const auto abilities = ProbeUffd();
  ASSERT_TRUE(abilities.ok());
  void* const shared = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(shared, MAP_FAILED);
  auto* const ready = new (shared) std::atomic<int>(-1);
  const auto child = static_cast<pid_t>(::syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, nullptr, nullptr, nullptr, nullptr));
  ASSERT_GE(child, 0) << std::strerror(errno);
  if (child == 0) {  // the first process of a pid namespace of its own
    auto uffd = Uffd::OpenForSelf();
    const bool served =
        uffd.ok() && uffd->Handshake(abilities->negotiated).ok() && uffd->Register(Page(0), Bytes(kSize)).ok();
    ready->store(served ? uffd->fd() : -2);
    *Byte(1) = 1;
    ::_exit(served && ::gettid() == 1 ? 0 : 1);
  }
  const Deadline deadline = Deadline::After(std::chrono::seconds(10));
  while (ready->load() == -1 && !deadline.Passed()) std::this_thread::yield();
  ASSERT_GE(ready->load(), 0);
  auto pidfd = PidfdOpen(child);
  ASSERT_TRUE(pidfd.ok());
  auto fd = PidfdGetfd(*pidfd, ready->load());
  ASSERT_TRUE(fd.ok()) << fd.status().ToString();
  uffd_.emplace(std::move(*fd));
  EXPECT_EQ(NextEvent().thread, 1);
  EXPECT_EQ(uffd_->ZeroPage(Page(1), kBasePage).error, 0);
  int ended = -1;
  EXPECT_EQ(::waitpid(child, &ended, 0), child);
  EXPECT_TRUE(WIFEXITED(ended) && WEXITSTATUS(ended) == 0);
  ::munmap(shared, 4096);
}

/// The kernel wakes who waits before it clears the mapping's flags. A thread that faults in between waits in a context
/// that nobody asks any more: Unregister has to wake once more.
TEST_F(UffdTest, NobodyWaitsAfterUnregister) {
  const auto abilities = ProbeUffd();
  ASSERT_TRUE(abilities.ok());
  ASSERT_TRUE(uffd_->Handshake(abilities->negotiated).ok());
  std::atomic<bool> ending{false};
  std::array<std::atomic<std::uint64_t>, 4> writes{};
  std::vector<std::thread> writers;
  for (std::size_t writer = 0; writer < writes.size(); ++writer) {
    writers.emplace_back([this, writer, &ending, &writes] {
      while (!ending) {
        for (std::size_t page = 0; page < kSize / 4096; ++page) {
          __atomic_store_n(Byte(page), static_cast<char>(page), __ATOMIC_RELAXED);  // all write the same
        }
        writes[writer].fetch_add(1);
      }
    });
  }
  const auto all_go_on = [&writes] {
    std::array<std::uint64_t, 4> before{};
    for (std::size_t i = 0; i < writes.size(); ++i) before[i] = writes[i];
    for (std::size_t i = 0; i < writes.size(); ++i) {
      const Deadline deadline = Deadline::After(std::chrono::seconds(5));
      while (writes[i] == before[i]) {
        if (deadline.Passed()) return false;
        std::this_thread::yield();
      }
    }
    return true;
  };
  bool fine = true;
  for (int round = 0; fine && round < 150; ++round) {
    ASSERT_TRUE(uffd_->Register(Page(0), Bytes(kSize)).ok());
    EXPECT_EQ(uffd_->WriteProtect(Page(0), Bytes(kSize), Arm::kYes).error, 0);
    std::this_thread::yield();  // they run into it, and nobody answers
    ASSERT_TRUE(uffd_->Unregister(Page(0), Bytes(kSize)).ok());
    fine = all_go_on();
    EXPECT_TRUE(fine) << "a writer sleeps for ever after round " << round;
  }
  ending = true;
  if (!fine) (void)uffd_->Wake(Page(0), Bytes(kSize));
  for (auto& writer : writers) writer.join();
}

}  // namespace
}  // namespace heca::os
