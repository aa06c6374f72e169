// SPDX-License-Identifier: LGPL-2.1-or-later
// What the two kinds of write log have in common: the userfaultfd in the process, its ranges, and how their pages are
// numbered.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "guest/capture.h"
#include "guest/write_log.h"
#include "os/uffd.h"

namespace heca::guest {

/// Appends, joined with the last one if that ends there, unless a range begins between them.
void AppendSpan(std::vector<PageSpan>& spans, PageSpan span, PageIndex range_first);

/// Owns our copy of the userfaultfd. Thread-safe, except Register.
class LoggedRam {
 public:
  struct Range {
    AddressRange at;
    PageIndex first;  ///< number of its first page
    PageCount pages;
  };

  /// Captures; does nothing else yet.
  static Result<std::unique_ptr<LoggedRam>> Take(pid_t pid, Qmp* qmp, const std::vector<AddressRange>& ram,
                                                 Bytes page_size, Deadline deadline);
  /// Releases.
  ~LoggedRam();
  LoggedRam(const LoggedRam&) = delete;
  LoggedRam& operator=(const LoggedRam&) = delete;

  /// Negotiates exactly `features` and registers the ranges for write-protection; arms nothing.
  Status Register(std::uint64_t features);

  [[nodiscard]] os::Uffd& uffd() { return uffd_; }
  [[nodiscard]] const ProcessId& process() const { return process_; }
  [[nodiscard]] const unique_fd& pidfd() const { return pidfd_; }
  [[nodiscard]] int target_fd() const { return target_fd_; }
  [[nodiscard]] Bytes page_size() const { return page_size_; }
  [[nodiscard]] const std::vector<Range>& ranges() const { return ranges_; }
  [[nodiscard]] PageCount pages() const;
  /// The range that holds the address; null: none does.
  [[nodiscard]] const Range* RangeAt(os::TargetAddress address) const;
  [[nodiscard]] os::TargetAddress AddressOf(const Range& range, PageIndex page) const;
  [[nodiscard]] PageIndex PageAt(const Range& range, os::TargetAddress address) const;

  /// Calls `step` for each range in steps of at most 128 MiB: so long the process's mmap lock is held in one go.
  Status InSteps(const std::function<Status(const Range&, os::TargetAddress start, Bytes length)>& step) const;
  /// Arms or lifts the protection of whole pages. ENOENT is the answer where a part of them is not registered (any
  /// more); the others are done all the same.
  os::UffdAnswer Protect(os::TargetAddress start, Bytes length, os::Arm arm);
  /// The first page of every mapping that lies in the ranges. Fails if they are not mapped as a whole, or the process
  /// has ended; to be asked after the answers that it is to vouch for.
  [[nodiscard]] Result<std::vector<os::TargetAddress>> Mappings() const;
  /// What has happened when the kernel refuses to look at a page or to arm it.
  [[nodiscard]] Status WhyRefused(const Status& refusal) const;

  /// Unregisters: nobody waits any more, and nothing is told any more.
  void Release();
  /// Releases, and closes the copy in the process.
  Status Close(Deadline deadline);

 private:
  LoggedRam(CapturedUffd captured, const std::vector<AddressRange>& ram, Bytes page_size);

  os::Uffd uffd_;
  const int target_fd_;
  const unique_fd pidfd_;
  const ProcessId process_;
  const Bytes page_size_;
  std::vector<Range> ranges_;
  std::atomic<bool> released_{false};
};

}  // namespace heca::guest
