// SPDX-License-Identifier: LGPL-2.1-or-later
// Which pages of a running VM are written, for copying its memory while it runs.
//
// Two kinds, by what the kernel can do:
//   async  Linux 6.7. The kernel lifts the protection at the first write and remembers it (WP_ASYNC), PAGEMAP_SCAN
//          tells. Nobody ever waits for hecad; a first write costs a page fault. write_log_async.h
//   sync   older kernels. The writer waits until a thread of ours has noted the page and lifted the protection, of a
//          run of pages at once. While hecad is dead, writers wait: see DissolveWriteLogs. write_log_sync.h
//
// What both promise: a page that is written after the step of Collect that armed it is in a later answer, whoever wrote
// it in this process: a thread, or the kernel for it (read() into a buffer, vhost). So: Collect first, copy then; the
// other way round loses what is written in between. A page may be told that was not written (the neighbours of a
// written one, a huge page for each of its parts, a discarded page): one copy too many.
//
// What they cannot see, and who looks after it:
//   - direct I/O (O_DIRECT, io_uring) whose pages were pinned before the arm: the device writes behind the page tables.
//     The caller takes a mark of the guest's IoGuard after Collect, waits until it is drained, and copies then; before
//     Final the VM is stopped and its disks are drained anyway.
//   - writes through another mapping or descriptor of the RAM file (vhost-user, virtiofsd, a forked child that kept the
//     mapping; QEMU's RAM is not inherited by its children): refused at attach, guest/refusals.h.
//   - memory that is plugged in later: the caller compares the blocks of RAM.
// A range that is unmapped or mapped anew, and a process that has ended, make Collect and Final fail: "nothing was
// written" is never said of memory that is not watched any more.
//
// Not for a VM that is governed: one process's memory has one userfaultfd (kAlreadyExists). Nor for a fence: Stop
// first.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "guest/capture.h"
#include "guest/fence.h"
#include "guest/qmp.h"
#include "heca/status.h"
#include "heca/types.h"
#include "os/probe_uffd.h"

namespace heca::guest {

/// Pages are counted through over the ranges, in their order. A span lies in one range.
struct PageSpan {
  PageIndex first;
  PageCount pages;
  bool operator==(const PageSpan&) const = default;
};

enum class WriteLogKind : std::uint8_t { kBest = 0, kAsync = 1, kSync = 2 };
[[nodiscard]] std::string_view ToString(WriteLogKind kind);

/// One thread at a time. After an error of Collect or Final there is only Stop: pages may have been armed and not told.
/// The destructor unregisters the memory, so that no writer waits for ever, and leaves the process its descriptor.
class WriteLog {
 public:
  virtual ~WriteLog() = default;

  [[nodiscard]] virtual WriteLogKind kind() const = 0;
  /// Number of the userfaultfd in the process.
  [[nodiscard]] virtual int target_fd() const = 0;

  /// Pages written since the last Collect (the first time: since StartWriteLog), by page number; they count anew from
  /// here on.
  virtual Result<std::vector<PageSpan>> Collect() = 0;
  /// The same of a VM that is stopped and drained; arms nothing, changes nothing: if the VM goes on after all, the next
  /// Collect tells these pages too.
  virtual Result<std::vector<PageSpan>> Final() = 0;
  /// Unregisters the memory (some 20 ms a GiB) and closes the process's copy of the userfaultfd by injection: nothing
  /// of it stays. OK of a process that has ended. May be repeated after an error.
  virtual Status Stop(Deadline deadline) = 0;
};

/// Takes a userfaultfd of the process (guest/capture.h; `qmp` as there), registers `ram` and arms all of it, holes
/// included; the process runs on meanwhile. `ram`: whole pages of `page_size`, no overlap. kUnsupported: kAsync on a
/// kernel that cannot. On failure nothing stays in the process.
[[nodiscard]] Result<std::unique_ptr<WriteLog>> StartWriteLog(pid_t pid, Qmp* qmp, std::vector<AddressRange> ram,
                                                              Bytes page_size, const os::UffdAbilities& abilities,
                                                              WriteLogKind kind, Deadline deadline);

/// Ends write logs in the process that a hecad before this one left: their writers go on, and nothing of them stays.
/// They are known by their features (os::AsyncTrackingFeatures, SyncTrackingFeatures), so no number need be journaled;
/// every other userfaultfd is left alone. OK if there is none, or the process has ended. To be called before anything
/// is asked of the QEMU, whose main loop may be one of the writers that wait; never while a log of this hecad is active
/// there.
[[nodiscard]] Status DissolveWriteLogs(ProcessId process, Deadline deadline);

}  // namespace heca::guest
