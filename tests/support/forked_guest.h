// SPDX-License-Identifier: LGPL-2.1-or-later
// A guest process with writing threads, and engine processes that serve it one after the other and are killed. The
// parent that forks them all has one thread only.
#pragma once

#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <string>

#include "base/fail_points.h"
#include "support/engine_harness.h"

namespace heca::test {

/// What all processes see.
struct GuestControl {
  std::atomic<int> uffd{-1};
  std::atomic<bool> go{false};
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> wrong{0};
  std::atomic<std::uint64_t> visits{0};
  std::atomic<int> engine_ready{0};
  std::atomic<bool> go_home{false};
};

class ForkedGuest {
 public:
  struct Options {
    std::uint64_t pages = 1024;
    std::uint64_t limit = 160;
    unsigned threads = 4;
    Bytes page_size = kBasePage;
  };

  explicit ForkedGuest(const Options& options)
      : options_(options), memory_(options.pages, options.page_size),
        arena_(options.page_size, static_cast<std::uint32_t>(4 * options.pages)) {
    void* shared = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    HECA_CHECK(shared != MAP_FAILED);
    control_ = new (shared) GuestControl;
    (void)EngineHarness::Abilities();
    guest_ = ::fork();
    HECA_CHECK(guest_ >= 0);
    if (guest_ == 0) BeGuest();
    HECA_CHECK(WaitUntil([this] { return control_->uffd.load() >= 0; }));
    pidfd_.reset(static_cast<int>(::syscall(SYS_pidfd_open, guest_, 0)));
    uffd_.reset(static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd_.get(), control_->uffd.load(), 0)));
    HECA_CHECK(uffd_.valid());
  }
  ~ForkedGuest() {
    KillEngine();
    if (guest_ > 0) {
      ::kill(guest_, SIGKILL);
      ::waitpid(guest_, nullptr, 0);
    }
    ::munmap(control_, 4096);
  }
  ForkedGuest(const ForkedGuest&) = delete;
  ForkedGuest& operator=(const ForkedGuest&) = delete;

  GuestControl& control() { return *control_; }
  MemoryArena& arena() { return arena_; }

  /// Starts the next daemon; the first one is fresh. False if it did not come up. One that its fail point has killed before it
  /// could say that it is ready had come up: the guest's threads fault all the time.
  bool StartEngine(const std::string& fail_points) {
    const int before = control_->engine_ready.load();
    engine_ = ::fork();
    HECA_CHECK(engine_ >= 0);
    if (engine_ == 0) BeEngine(fail_points);
    first_ = false;
    const bool up = WaitUntil([&] { return control_->engine_ready.load() > before || Reap(); });
    control_->go = true;
    if (control_->engine_ready.load() > before) return true;
    if (up && !fail_points.empty() && WIFSIGNALED(engine_status_) && WTERMSIG(engine_status_) == SIGKILL) return true;
    std::fprintf(stderr, "engine process: %s (wait status %d)\n",
                 up ? "ended while it started" : "does not get ready", up ? engine_status_ : 0);
    return false;
  }
  /// Waits until a fail point has killed it; kills it if none does in time. True if it was the fail point.
  bool AwaitCrash(Nanos span) {
    const bool crashed = WaitUntil([this] { return Reap(); }, span);
    KillEngine();
    return crashed;
  }
  void KillEngine() {
    if (engine_ <= 0) return;
    ::kill(engine_, SIGKILL);
    ::waitpid(engine_, nullptr, 0);
    engine_ = -1;
  }
  /// The engine brings everything home and ends. False on failure or deadline.
  bool ComeHome() {
    control_->go_home = true;
    const bool ended = WaitUntil([this] { return Reap(); }, std::chrono::seconds(60));
    return ended && WIFEXITED(engine_status_) && WEXITSTATUS(engine_status_) == 0;
  }
  /// The guest checks everything once more and ends. False if it hangs.
  bool EndGuest() {
    control_->stop = true;
    int status = 0;
    const bool ended =
        WaitUntil([&] { return ::waitpid(guest_, &status, WNOHANG) == guest_; }, std::chrono::seconds(60));
    if (ended) guest_ = -1;
    return ended && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }

 private:
  [[noreturn]] void BeGuest() {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    auto uffd = os::Uffd::OpenForSelf();
    HECA_CHECK(uffd.ok());
    control_->uffd = uffd->fd();
    while (!control_->go) std::this_thread::sleep_for(std::chrono::microseconds(100));
    ShadowWriters writers(memory_, options_.threads);
    std::uint64_t visits = 0;
    while (!control_->stop) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      visits = writers.visits();
      control_->visits = visits;
    }
    writers.Finish();
    control_->wrong = writers.wrong();
    ::_exit(0);
  }
  [[noreturn]] void BeEngine(const std::string& fail_points) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!fail_points.empty()) HECA_CHECK(fail_points::Arm(fail_points).ok());
    const fault::StartMode mode = first_ ? fault::StartMode::kFresh : fault::StartMode::kTakeOver;
    auto table = first_ ? region::PageTable::Create(journal_.path(), memory_.Map(), kStoreName)
                        : region::PageTable::Open(journal_.path(), memory_.Map(), kStoreName);
    if (!table.ok()) Fail("table", table.status());
    fault::EngineConfig config;
    config.abilities = EngineHarness::Abilities();
    config.limit = PageCount(options_.limit);
    config.min_residence = Millis(1);
    fault::AdaptivePolicyOptions policy;
    policy.region_pages = PageCount(options_.pages);
    policy.limit = config.limit;
    MemoryStore store(arena_);
    TestGuard guard;
    EventRecorder events;
    auto engine = fault::RegionEngine::Start(
        {os::Uffd(unique_fd(::dup(uffd_.get()))), unique_fd(::dup(pidfd_.get())), memory_.Map(),
         std::move(table).value(), std::make_unique<fault::AdaptivePolicy>(policy), store, guard, events, config},
        mode);
    if (!engine.ok()) Fail("start", engine.status());
    control_->engine_ready.fetch_add(1);
    while (!control_->go_home) std::this_thread::sleep_for(std::chrono::microseconds(500));
    (*engine)->BringHome();
    const bool home = (*engine)->WaitHome(Deadline::After(std::chrono::seconds(30)));
    ::_exit(home ? 0 : 3);
  }
  [[noreturn]] static void Fail(const char* what, const Status& status) {
    std::fprintf(stderr, "engine process: %s: %s\n", what, status.ToString().c_str());
    ::_exit(2);
  }
  bool Reap() {
    if (engine_ <= 0) return true;
    if (::waitpid(engine_, &engine_status_, WNOHANG) != engine_) return false;
    engine_ = -1;
    return true;
  }

  Options options_;
  GuestMemory memory_;
  MemoryArena arena_;
  JournalPath journal_;
  GuestControl* control_ = nullptr;
  pid_t guest_ = -1;
  pid_t engine_ = -1;
  int engine_status_ = 0;
  bool first_ = true;
  unique_fd pidfd_;
  unique_fd uffd_;
};

}  // namespace heca::test
