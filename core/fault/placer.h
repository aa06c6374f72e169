// SPDX-License-Identifier: LGPL-2.1-or-later
// Every change of the guest's page table entries and of its RAM file, and what the kernel's answers mean.
//
//   answer          from                      meaning, and what the caller does
//   kDone                                     all pages done, their waiters woken
//   kPresent        EEXIST                    the page is there. Its waiter has been woken here all the same: EEXIST
//                                             does not say that anybody did (a lost wake in some million otherwise).
//                                             COPY on hugetlbfs says it of a hole too, when its pool is empty: there
//                                             nobody is woken, and the caller finds out (Pager::WhyPresent)
//   kAgain          EAGAIN, nothing done      unread events: read them, look the page up again, repeat
//   kAbsent         EFAULT of CONTINUE        not in the file: look the page up again
//   kNoMemory       ENOMEM, ENOSPC            tmpfs, memcg or huge page pool is full
//   kGone           ENOENT, ESRCH             the mapping or the process is gone; its pidfd tells which
//   kError          anything else             outside the contract; `error` has the errno
//
// Partial progress (EAGAIN with bytes done) is continued here. Only pages that the loop has claimed are ever given to
// a Placer; the loop is the only one that has one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "fault/waiting_threads.h"
#include "heca/types.h"
#include "os/uffd.h"
#include "region/change_map.h"
#include "region/region_map.h"

namespace heca::fault {

enum class KernelAnswer : std::uint8_t {
  kInvalid = 0, kDone = 1, kPresent = 2, kAgain = 3, kAbsent = 4, kNoMemory = 5, kGone = 6, kError = 7
};
[[nodiscard]] std::string_view ToString(KernelAnswer answer);

/// `pages` of the run were done; if that is not all, `answer` is about the next one.
struct Placement {
  KernelAnswer answer = KernelAnswer::kInvalid;
  std::uint64_t pages = 0;
  int error = 0;
};

/// Owner loop only. Runs must lie in one block (RegionMap::Clip).
class Placer {
 public:
  /// Who is woken is noted in `waiting`, what is let be written in `changes`.
  Placer(os::Uffd& uffd, const region::RegionMap& map, WaitingThreads& waiting, region::ChangeMap& changes);
  ~Placer();
  Placer(const Placer&) = delete;
  Placer& operator=(const Placer&) = delete;

  [[nodiscard]] Placement Copy(region::PageRun run, const std::byte* bytes, os::Arm arm);
  [[nodiscard]] Placement Zero(PageIndex page, os::Arm arm);
  [[nodiscard]] Placement Continue(PageIndex page, os::Arm arm);
  [[nodiscard]] Placement Protect(region::PageRun run);
  /// Wakes the writers that wait in the run.
  [[nodiscard]] Placement Unprotect(region::PageRun run);
  [[nodiscard]] Placement Poison(PageIndex page);
  void Wake(region::PageRun run);
  /// Frees the pages of the RAM file. Not a matter of the userfaultfd: never kAgain.
  [[nodiscard]] Placement Punch(region::PageRun run);
  /// True if the RAM file may hold the page; exact on tmpfs, always true on hugetlbfs.
  [[nodiscard]] bool MayHold(PageIndex page) const;

 private:
  void Note(region::PageRun run, os::Arm arm) {
    if (arm == os::Arm::kNo) changes_.Set(run);
  }
  template <class Ioctl>
  Placement Insist(region::PageRun run, Ioctl ioctl, bool wake_present = true);
  /// As Insist, of an ioctl that wakes who waits for what it has done.
  template <class Ioctl>
  Placement Answer(region::PageRun run, Ioctl ioctl, bool wake_present = true);
  os::Uffd& uffd_;
  const region::RegionMap& map_;
  WaitingThreads& waiting_;
  region::ChangeMap& changes_;
  const std::byte* zeros_;  // one page
};

}  // namespace heca::fault
