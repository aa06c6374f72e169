// SPDX-License-Identifier: LGPL-2.1-or-later
// Taking a userfaultfd of a running process: made inside it, because a userfaultfd serves the address space that
// created it, and copied out.
//
// With QMP: hecad's /dev/userfaultfd travels into QEMU by `getfd`, an injected ioctl(USERFAULTFD_IOC_NEW) makes the
// userfaultfd from it (allowed by libvirt's sandbox; needs no privilege of QEMU and no sysctl; Linux 6.1), and
// `closefd` takes the device back. Without QMP: an injected userfaultfd(2), which needs privilege in the process.
//
// The process keeps its own copy, and nobody may close it while anything is absent: while it is open, a dead hecad
// means that faults wait; once the last copy is closed an absent page reads as zeros, silently.
//
// Functions here block up to their deadline; never call them from a thread that serves faults.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "base/clock.h"
#include "base/unique_fd.h"
#include "guest/qmp.h"
#include "heca/status.h"

namespace heca::guest {

/// A process by pid and start time: the pair is never used twice.
struct ProcessId {
  pid_t pid = 0;
  std::uint64_t start_time = 0;  ///< clock ticks since boot, /proc/PID/stat
  bool operator==(const ProcessId&) const = default;
};

struct CapturedUffd {
  unique_fd uffd;      ///< our copy: non-blocking, close-on-exec; UFFDIO_API is not yet done where fresh
  int target_fd = -1;  ///< its number in the process: for the journal, to take it again after a restart
  unique_fd pidfd;     ///< readable once the process has ended
  ProcessId process;
  Nanos stop{0};       ///< how long the interrupted thread stood still; vCPU threads are not stopped. 0: taken over
};

struct CaptureOptions {
  /// The process has a seccomp filter and there is no QMP: inject userfaultfd(2) nevertheless. A filter that forbids
  /// it kills the process, and nothing can find out first.
  bool trust_seccomp_filter = false;
  /// Capture although the process has userfaultfds already (QEMU's own background snapshot, another tool).
  bool beside_existing = false;
};

/// Makes a userfaultfd in process `pid` and copies it. `qmp` is the monitor of that very process (checked) or null. One
/// that nobody has done UFFDIO_API with is a left-over of a hecad that was killed right after it made it, and serves
/// nothing: it is closed first. kAlreadyExists: there is one in use, perhaps of a hecad before this one: see
/// TakeOverUffd and CloseUffdInTarget.
[[nodiscard]] Result<CapturedUffd> CaptureUffd(pid_t pid, Qmp* qmp, const CaptureOptions& options, Deadline deadline);

/// Numbers of the userfaultfds in the process's descriptor table.
[[nodiscard]] Result<std::vector<int>> ListUffds(pid_t pid);

/// Copies a userfaultfd that the process has. The caller knows by UFFDIO_API whether somebody has used it (EINVAL).
/// kNotFound: the process is not (any more) the one named, or the descriptor is no userfaultfd.
[[nodiscard]] Result<CapturedUffd> TakeOverUffd(ProcessId process, int target_fd);

/// Closes a left-over userfaultfd in the process by injection; returns the stop. Only when nothing is absent: after
/// it absent pages read as zeros.
[[nodiscard]] Result<Nanos> CloseUffdInTarget(ProcessId process, int target_fd, Deadline deadline);

/// The process's identity now.
[[nodiscard]] Result<ProcessId> IdentifyProcess(pid_t pid);

}  // namespace heca::guest
