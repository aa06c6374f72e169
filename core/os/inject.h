// SPDX-License-Identifier: LGPL-2.1-or-later
// One system call inside another process, by ptrace, such that the process notices nothing.
//
// How: one thread of the target is seized and interrupted; all its signals except SIGTRAP are masked (else a queued
// signal would be lost or run in the middle: 250 of 2000 were, without); its registers are set to the call, run
// with PTRACE_SYSCALL to the entry and to the exit; the last stop before the registers are put back is an event stop,
// because only there the kernel restarts what it had interrupted. The `syscall` instruction is the one before the
// instruction pointer where the thread sleeps in a call, else the vDSO's. A spinning thread that was inside a
// restartable sequence (rseq) goes on at its abort handler, as after any preemption.
//
// The work runs on a thread of its own: if a thread of the target cannot be stopped (it sleeps in a kernel-mode
// userfaultfd fault) it cannot be detached either, but the kernel detaches it when the tracing thread ends.
//
// What the target can notice: epoll_wait and sigtimedwait in the stopped thread return EINTR, as after any stop.
// What it costs: that one thread stands still for a fraction of a millisecond; the others (vCPUs) run on.
// Danger: if the caller's process is SIGKILLed in the microseconds in between, the thread goes on behind the
// injected call as if its own call had returned. A call that the target's seccomp filter forbids kills the target;
// nothing can find out first. So inject only what the caller knows to be allowed.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>

#include "base/clock.h"
#include "heca/status.h"

namespace heca::os {

struct InjectedCall {
  long number = 0;  ///< system call number, x86-64
  std::array<std::uint64_t, 6> args{};
};

struct InjectResult {
  long value = 0;  ///< what the call returned: -errno on failure
  Nanos stop{0};   ///< from the interrupt to the detach: how long that thread stood still at most
  pid_t tid = 0;   ///< the thread that ran it
};

/// Runs `call` in a thread of process `pid`: the leader, else (it cannot be stopped, or has exited) another one.
/// Thread-safe. Gives up at `deadline`, with nothing changed. Refused, each with its own text: a process that is
/// traced already (with the tracer's pid), stopped by a signal, a zombie, dead, 32-bit, or beyond our rights.
[[nodiscard]] Result<InjectResult> Inject(pid_t pid, const InjectedCall& call, Deadline deadline);

}  // namespace heca::os
