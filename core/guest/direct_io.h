// SPDX-License-Identifier: LGPL-2.1-or-later
// Does a process do I/O whose devices write into its memory without a page fault? Seen from /proc only, so that it
// needs nobody's answer.
//
// A finding holds for the moment of the look and backwards: direct I/O that was in flight earlier is over once no
// descriptor and no ring for it is left (QEMU drains a disk before it closes its file; asynchronous I/O of a closed
// file still shows by its ring).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "heca/status.h"
#include "os/proc.h"

namespace heca::guest {

struct DirectIo {
  bool synchronous = false;   ///< O_DIRECT files: direct I/O inside read calls of threads
  bool asynchronous = false;  ///< rings (Linux AIO, io_uring) or passthrough: in flight without any thread
  std::string what;           ///< the first that was found: "/var/lib/disk.img is open with O_DIRECT"

  [[nodiscard]] bool None() const { return !synchronous && !asynchronous; }
};

/// The part of the judgement that is a function of values, for tests.
struct OpenFileFacts {
  os::OpenFile file;
  std::uint64_t flags = 0;
  bool block_device = false;
};
[[nodiscard]] DirectIo JudgeDirectIo(const std::vector<OpenFileFacts>& files, const std::vector<os::Mapping>& maps);

/// Costs about a millisecond for a QEMU.
[[nodiscard]] Result<DirectIo> LookForDirectIo(pid_t pid);

/// Proves that every read call that was under way in any thread at one moment has ended.
///
/// Per thread the kernel counts completed read calls (syscr); a synchronous read in flight at the moment of Begin()
/// is over when the count has grown, when the thread was seen asleep elsewhere than in a read, or is gone. Exact for
/// synchronous I/O (QEMU's aio=threads, plain programs); says nothing of rings. A thread that only computes never
/// shows either sign and is left to the grace time, except those named as vCPUs, which do no disk I/O themselves.
/// One thread at a time.
class ReadCallsProof {
 public:
  explicit ReadCallsProof(pid_t pid) : pid_(pid) {}
  /// `vcpus`: threads to leave out.
  Status Begin(const std::vector<pid_t>& vcpus);
  /// True once proved for the moment of Begin.
  [[nodiscard]] bool Done();

 private:
  pid_t pid_;
  std::map<pid_t, std::uint64_t> waiting_for_;  ///< thread → its count at Begin
};

/// True where a thread asleep in this call cannot be having a device write into its memory.
[[nodiscard]] bool IsHarmlessCall(const os::TaskSyscall& call);

}  // namespace heca::guest
