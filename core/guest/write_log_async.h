// SPDX-License-Identifier: LGPL-2.1-or-later
// The write log of kernels with WP_ASYNC and PAGEMAP_SCAN (os/page_scan.h): no thread, nobody waits.
#pragma once

#include <memory>
#include <vector>

#include "guest/logged_ram.h"
#include "guest/write_log.h"
#include "os/page_scan.h"

namespace heca::guest {

class AsyncWriteLog final : public WriteLog {
 public:
  /// Arms all of `ram`, which was taken with os::AsyncTrackingFeatures().
  static Result<std::unique_ptr<WriteLog>> Start(std::unique_ptr<LoggedRam> ram);

  [[nodiscard]] WriteLogKind kind() const override { return WriteLogKind::kAsync; }
  [[nodiscard]] int target_fd() const override { return ram_->target_fd(); }
  Result<std::vector<PageSpan>> Collect() override { return Scan(os::Arm::kYes); }
  Result<std::vector<PageSpan>> Final() override { return Scan(os::Arm::kNo); }
  Status Stop(Deadline deadline) override { return ram_->Close(deadline); }

 private:
  AsyncWriteLog(std::unique_ptr<LoggedRam> ram, os::PageScan scan) : ram_(std::move(ram)), scan_(std::move(scan)) {}
  Result<std::vector<PageSpan>> Scan(os::Arm rearm);

  const std::unique_ptr<LoggedRam> ram_;
  const os::PageScan scan_;
};

}  // namespace heca::guest
