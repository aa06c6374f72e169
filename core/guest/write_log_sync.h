// SPDX-License-Identifier: LGPL-2.1-or-later
// The write log of kernels without WP_ASYNC (before 6.7): a write to an armed page waits until the thread of this object
// has noted it and lifted its protection, together with that of its neighbours: a run of 16 pages, all of which count as
// written.
//
// That thread must never wait for the process, so it does nothing but read faults and lift protection; it never talks
// to QEMU.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "guest/logged_ram.h"
#include "guest/write_log.h"
#include "os/epoll_set.h"

namespace heca::guest {

class SyncWriteLog final : public WriteLog {
 public:
  /// Pages that one write to a page of 4 KiB makes writable: a fault costs some 10 us, lifting 16 pages instead of one
  /// 1 us.
  static constexpr std::uint64_t kRun = 16;

  /// Arms all of `ram`, which was taken with os::SyncTrackingFeatures().
  static Result<std::unique_ptr<WriteLog>> Start(std::unique_ptr<LoggedRam> ram);
  ~SyncWriteLog() override;

  [[nodiscard]] WriteLogKind kind() const override { return WriteLogKind::kSync; }
  [[nodiscard]] int target_fd() const override { return ram_->target_fd(); }
  Result<std::vector<PageSpan>> Collect() override;
  Result<std::vector<PageSpan>> Final() override;
  Status Stop(Deadline deadline) override { return ram_->Close(deadline); }

 private:
  SyncWriteLog(std::unique_ptr<LoggedRam> ram, os::EpollSet wait);
  void Serve();
  void Lift(os::TargetAddress address);
  /// Is everything still mapped and registered?
  Status CheckWatched();
  /// Written spans of the pages [first, end) of one range; with mutex_ held.
  void AppendWritten(const LoggedRam::Range& range, std::uint64_t first, std::uint64_t end,
                     std::vector<PageSpan>& spans) const;
  [[nodiscard]] bool Written(std::uint64_t page) const { return (written_[page / 64] >> (page % 64) & 1) != 0; }

  const std::unique_ptr<LoggedRam> ram_;
  const std::uint64_t run_;
  /// Guards written_ together with the protection of the pages: a page that is not marked is armed.
  std::mutex mutex_;
  std::vector<std::uint64_t> written_;  ///< a bit a page
  os::EpollSet wait_;
  std::atomic<bool> ending_{false};
  std::thread thread_;  ///< last: it uses all of the above
};

}  // namespace heca::guest
