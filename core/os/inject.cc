// SPDX-License-Identifier: LGPL-2.1-or-later
#include "os/inject.h"

#include <elf.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "base/unique_fd.h"
#include "os/proc.h"

namespace heca::os {
namespace {

#ifndef PTRACE_GETSIGMASK
constexpr int PTRACE_GETSIGMASK = 0x420a;
constexpr int PTRACE_SETSIGMASK = 0x420b;
#endif
constexpr int kGetRseqConfiguration = 0x420f;         // PTRACE_GET_RSEQ_CONFIGURATION, Linux 5.13
constexpr std::uint64_t kUserCode64 = 0x33;           // CS of 64-bit user code; 0x23 is 32-bit code
constexpr int kSyscallStop = SIGTRAP | 0x80;          // with PTRACE_O_TRACESYSGOOD
constexpr std::uint64_t kMaskSize = 8;                // of the kernel's signal set
constexpr Nanos kFinish = std::chrono::seconds(5);    // once the registers are changed it must be ended
constexpr Nanos kPerThread = std::chrono::milliseconds(300);  // then the next thread is tried
constexpr Nanos kSpin = std::chrono::microseconds(300);       // stops come within this; then the wait sleeps

/// The layout of what PTRACE_GET_RSEQ_CONFIGURATION fills (linux/ptrace.h; the headers of Debian 12 have it under a
/// name that clashes with sys/ptrace.h).
struct RseqConfiguration {
  std::uint64_t abi_pointer;
  std::uint32_t abi_size;
  std::uint32_t signature;
  std::uint32_t flags;
  std::uint32_t pad;
};
/// struct rseq_cs of linux/rseq.h.
struct RseqSection {
  std::uint32_t version;
  std::uint32_t flags;
  std::uint64_t start;
  std::uint64_t length;
  std::uint64_t abort;
};

long Ptrace(int request, pid_t tid, std::uint64_t addr, std::uint64_t data) {
  // glibc wants an enum of its own; the kernel's numbers are what counts.
  return ::ptrace(static_cast<__ptrace_request>(request), tid, reinterpret_cast<void*>(addr),
                  reinterpret_cast<void*>(data));
}
std::uint64_t Address(void* p) { return reinterpret_cast<std::uint64_t>(p); }

bool ReadMemory(pid_t pid, std::uint64_t address, void* into, std::size_t size) {
  const unique_fd memory(::open(fmt::format("/proc/{}/mem", pid).c_str(), O_RDONLY | O_CLOEXEC));
  return memory.valid() && ::pread(memory.get(), into, size, static_cast<off_t>(address)) == static_cast<ssize_t>(size);
}

/// Address of a `syscall` instruction in the target's vDSO; 0: it has none.
std::uint64_t FindVdsoSyscall(pid_t pid) {
  const Result<std::vector<Mapping>> maps = ReadMaps(pid);
  if (!maps.ok()) return 0;
  for (const Mapping& m : *maps) {
    if (m.path != "[vdso]" || !m.executable) continue;
    std::string code(m.size(), '\0');
    if (!ReadMemory(pid, m.start, code.data(), code.size())) return 0;
    const std::size_t at = code.find("\x0f\x05");
    return at == std::string::npos ? 0 : m.start + at;
  }
  return 0;
}

/// What became of one thread.
struct Attempt {
  Status status;
  bool try_another = false;  ///< this thread cannot do it, another one might
  InjectResult result;
};

/// One traced thread. The registers and the mask are put back exactly once, by Finish().
class Tracee {
 public:
  Tracee(pid_t pid, pid_t tid, std::uint64_t vdso_syscall) : pid_(pid), tid_(tid), vdso_syscall_(vdso_syscall) {}

  Attempt Run(const InjectedCall& call, Deadline deadline) {
    Attempt attempt = Seize();
    if (!attempt.status.ok()) return attempt;
    interrupted_ = Clock::now();
    if (Ptrace(PTRACE_INTERRUPT, tid_, 0, 0) != 0) return Failed("PTRACE_INTERRUPT", true);
    attempt = StopFirst(deadline);
    if (!attempt.status.ok()) return attempt;
    return Execute(call);
  }

 private:
  Attempt Failed(const char* what, bool try_another) {
    const int error = errno;
    return {Status::FromErrno(error, fmt::format("{} on thread {} of process {}", what, tid_, pid_)), try_another, {}};
  }
  static Attempt Refused(ErrorCode code, std::string text, bool try_another) {
    return {Status(code, std::move(text)), try_another, {}};
  }

  Attempt Seize() {
    if (Ptrace(PTRACE_SEIZE, tid_, 0, PTRACE_O_TRACESYSGOOD) == 0) return {};
    const int error = errno;
    const Result<ProcessStatus> now = ReadTaskStatus(pid_, tid_);
    if (!now.ok() || error == ESRCH) {
      return Refused(ErrorCode::kNotFound, fmt::format("thread {} of process {} has ended", tid_, pid_), true);
    }
    if (now->tracer != 0) {
      return Refused(ErrorCode::kFailedPrecondition,
                     fmt::format("process {} is traced by process {} (a debugger?); detach that first", pid_,
                                 now->tracer), false);
    }
    if (now->state == 'Z' || now->state == 'X') {
      return Refused(ErrorCode::kNotFound, fmt::format("thread {} of process {} has exited", tid_, pid_), true);
    }
    return {Status::FromErrno(error, fmt::format("PTRACE_SEIZE of thread {} of process {} (uid {}): run as root or "
                                                 "with CAP_SYS_PTRACE, and see /proc/sys/kernel/yama/ptrace_scope",
                                                 tid_, pid_, now->uid)), true, {}};
  }

  /// 1: a stop, in wait_status_; 0: deadline; -1: the thread is gone.
  int Wait(Deadline deadline) {
    const Clock::time_point spin_until = Clock::now() + kSpin;
    for (;;) {
      const pid_t got = ::waitpid(tid_, &wait_status_, __WALL | __WNOTHREAD | WNOHANG);
      if (got == tid_) return WIFSTOPPED(wait_status_) ? 1 : -1;
      if (got < 0 && errno != EINTR) return -1;
      if (deadline.Passed()) return 0;
      if (Clock::now() < spin_until) {
        ::sched_yield();
      } else {
        const timespec nap{0, 20'000};
        ::nanosleep(&nap, nullptr);
      }
    }
  }
  [[nodiscard]] bool AtEventStop() const { return wait_status_ >> 16 == PTRACE_EVENT_STOP; }
  [[nodiscard]] int StopSignal() const { return WSTOPSIG(wait_status_); }

  /// To the first event stop; signals that come before it are delivered.
  Attempt StopFirst(Deadline deadline) {
    for (;;) {
      const int got = Wait(deadline);
      if (got < 0) return Refused(ErrorCode::kNotFound, fmt::format("thread {} of process {} ended", tid_, pid_), true);
      if (got == 0) {
        return Refused(ErrorCode::kDeadlineExceeded,
                       fmt::format("thread {} of process {} could not be stopped in time (it sleeps in the kernel, "
                                   "perhaps in a page fault that nobody answers)", tid_, pid_), true);
      }
      if (AtEventStop()) break;
      const int signal = wait_status_ >> 16 != 0 ? 0 : StopSignal();
      Ptrace(PTRACE_CONT, tid_, 0, static_cast<std::uint64_t>(signal));
    }
    if (StopSignal() == SIGTRAP) return {};
    Ptrace(PTRACE_DETACH, tid_, 0, 0);  // stays stopped, as it was
    return Refused(ErrorCode::kFailedPrecondition,
                   fmt::format("process {} is stopped by signal {} ({}); continue it first (kill -CONT {})", pid_,
                               StopSignal(), sigabbrev_np(StopSignal()), pid_), false);
  }

  Attempt Execute(const InjectedCall& call) {
    if (Ptrace(PTRACE_GETREGS, tid_, 0, Address(&saved_)) != 0 ||
        Ptrace(PTRACE_GETSIGMASK, tid_, kMaskSize, Address(&saved_mask_)) != 0) {
      Attempt failed = Failed("reading the registers", true);
      Ptrace(PTRACE_DETACH, tid_, 0, 0);
      return failed;
    }
    if (saved_.cs != kUserCode64) {
      Ptrace(PTRACE_DETACH, tid_, 0, 0);
      return Refused(ErrorCode::kUnsupported, fmt::format("process {} runs 32-bit code; only 64-bit x86 is supported",
                                                          pid_), false);
    }
    const std::uint64_t instruction = SyscallInstruction();
    if (instruction == 0) {
      Ptrace(PTRACE_DETACH, tid_, 0, 0);
      return Refused(ErrorCode::kUnsupported, fmt::format("process {} has no vDSO and thread {} is not in a system "
                                                          "call", pid_, tid_), true);
    }
    LeaveRestartableSequence();
    std::uint64_t masked = ~std::uint64_t{0} & ~(std::uint64_t{1} << (SIGTRAP - 1));
    Ptrace(PTRACE_SETSIGMASK, tid_, kMaskSize, Address(&masked));
    user_regs_struct regs = saved_;
    regs.rip = instruction;
    regs.rax = static_cast<std::uint64_t>(call.number);
    regs.orig_rax = ~std::uint64_t{0};  // nothing to restart
    regs.rdi = call.args[0];
    regs.rsi = call.args[1];
    regs.rdx = call.args[2];
    regs.r10 = call.args[3];
    regs.r8 = call.args[4];
    regs.r9 = call.args[5];
    Ptrace(PTRACE_SETREGS, tid_, 0, Address(&regs));
    const Deadline finish = Deadline::After(kFinish);
    if (!ToSyscallStop(finish) || !ToSyscallStop(finish)) return Finish(/*ran=*/false);
    Ptrace(PTRACE_GETREGS, tid_, 0, Address(&regs));
    value_ = static_cast<long>(regs.rax);
    // Registers given back at a syscall stop would not restart the interrupted call: go to an event stop first.
    Ptrace(PTRACE_INTERRUPT, tid_, 0, 0);
    Ptrace(PTRACE_CONT, tid_, 0, 0);
    const bool stopped = Wait(finish) == 1;
    return Finish(stopped);
  }

  /// The next syscall stop. A group stop of the process that comes meanwhile is passed over; it takes effect at the
  /// detach.
  bool ToSyscallStop(Deadline deadline) {
    for (int stops = 0; stops < 16; ++stops) {
      Ptrace(PTRACE_SYSCALL, tid_, 0, 0);
      if (Wait(deadline) != 1) return false;
      if (StopSignal() == kSyscallStop) return true;
      if (!AtEventStop()) return false;
    }
    return false;
  }

  Attempt Finish(bool ran) {
    Ptrace(PTRACE_SETREGS, tid_, 0, Address(&saved_));
    Ptrace(PTRACE_SETSIGMASK, tid_, kMaskSize, Address(&saved_mask_));
    const bool detached = Ptrace(PTRACE_DETACH, tid_, 0, 0) == 0;
    const Nanos stop = Clock::now() - interrupted_;
    if (ran && detached) return {Status(), false, {value_, stop, tid_}};
    return Refused(ErrorCode::kInternal,
                   fmt::format("the system call injected into thread {} of process {} did not come back (killed by "
                               "its seccomp filter, or ended)", tid_, pid_), false);
  }

  std::uint64_t SyscallInstruction() {
    errno = 0;
    const long before = Ptrace(PTRACE_PEEKTEXT, tid_, saved_.rip - 2, 0);
    if (errno == 0 && (before & 0xffff) == 0x050f) return saved_.rip - 2;
    return vdso_syscall_;
  }

  /// A resume outside the sequence would make the kernel forget it, and the code would then run unprotected.
  void LeaveRestartableSequence() {
    RseqConfiguration rseq{};
    if (Ptrace(kGetRseqConfiguration, tid_, sizeof rseq, Address(&rseq)) <= 0 || rseq.abi_pointer == 0) return;
    std::uint64_t pointer = 0;
    RseqSection section{};
    if (!ReadMemory(tid_, rseq.abi_pointer + 8, &pointer, sizeof pointer) || pointer == 0) return;
    if (!ReadMemory(tid_, pointer, &section, sizeof section)) return;
    if (saved_.rip - section.start < section.length) saved_.rip = section.abort;
  }

  const pid_t pid_;
  const pid_t tid_;
  const std::uint64_t vdso_syscall_;
  Clock::time_point interrupted_;
  int wait_status_ = 0;
  user_regs_struct saved_{};
  std::uint64_t saved_mask_ = 0;
  long value_ = 0;
};

Status CheckProcess(pid_t pid) {
  const Result<ProcessStatus> status = ReadStatus(pid);
  if (!status.ok()) return Status(ErrorCode::kNotFound, fmt::format("there is no process {}", pid));
  if (status->tgid != pid) {
    return Status(ErrorCode::kInvalidArgument,
                  fmt::format("{} is a thread of process {}; name the process", pid, status->tgid));
  }
  if (status->tracer != 0) {
    return Status(ErrorCode::kFailedPrecondition,
                  fmt::format("process {} is traced by process {} (a debugger?); detach that first", pid,
                              status->tracer));
  }
  if (status->state == 'T') {
    return Status(ErrorCode::kFailedPrecondition,
                  fmt::format("process {} is stopped by a signal; continue it first (kill -CONT {})", pid, pid));
  }
  return Status();
}

Attempt InjectOnThisThread(pid_t pid, const InjectedCall& call, Deadline deadline) {
  ::prctl(PR_SET_TIMERSLACK, 1UL);  // the naps of Wait() are short; the slack belongs to this thread only
  if (Status status = CheckProcess(pid); !status.ok()) return {status, false, {}};
  const std::uint64_t vdso_syscall = FindVdsoSyscall(pid);
  Result<std::vector<pid_t>> tasks = ListTasks(pid);
  if (!tasks.ok()) return {Status(ErrorCode::kNotFound, fmt::format("process {} has ended", pid)), false, {}};
  std::stable_partition(tasks->begin(), tasks->end(), [pid](pid_t tid) { return tid == pid; });
  Attempt last{Status(ErrorCode::kNotFound, fmt::format("process {} has no thread left", pid)), false, {}};
  Status first_error;
  for (const pid_t tid : *tasks) {
    if (deadline.Passed()) break;
    const Deadline slice = Deadline::At(std::min(deadline.when(), Clock::now() + kPerThread));
    last = Tracee(pid, tid, vdso_syscall).Run(call, slice);
    if (last.status.ok() || !last.try_another) return last;
    // What matters to the caller is why no thread would do, not that the exited leader could not be had.
    if (first_error.ok() || first_error.code() == ErrorCode::kNotFound) first_error = last.status;
  }
  if (!first_error.ok()) last.status = first_error;
  return last;
}

/// A thread that could not be stopped is let go when its tracer is gone, which is a little after that can be joined.
void AwaitEnd(pid_t thread) {
  const Deadline deadline = Deadline::After(std::chrono::seconds(1));
  while (::syscall(SYS_tgkill, ::getpid(), thread, 0) == 0 && !deadline.Passed()) {
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
}

}  // namespace

Result<InjectResult> Inject(pid_t pid, const InjectedCall& call, Deadline deadline) {
  if (pid == ::getpid()) return Status(ErrorCode::kInvalidArgument, "a process cannot inject into itself");
  Attempt attempt;
  pid_t thread = 0;
  std::thread tracer([&] {
    thread = static_cast<pid_t>(::syscall(SYS_gettid));
    attempt = InjectOnThisThread(pid, call, deadline);
  });
  tracer.join();
  AwaitEnd(thread);
  if (!attempt.status.ok()) return attempt.status;
  return attempt.result;
}

}  // namespace heca::os
