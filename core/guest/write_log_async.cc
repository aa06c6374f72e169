// SPDX-License-Identifier: LGPL-2.1-or-later
#include "guest/write_log_async.h"

#include <utility>

namespace heca::guest {

Result<std::unique_ptr<WriteLog>> AsyncWriteLog::Start(std::unique_ptr<LoggedRam> ram) {
  HECA_ASSIGN_OR_RETURN(os::PageScan scan, os::PageScan::Open(ram->process().pid));
  std::unique_ptr<AsyncWriteLog> log(new AsyncWriteLog(std::move(ram), std::move(scan)));
  HECA_RETURN_IF_ERROR(log->ram_->InSteps([&log](const LoggedRam::Range&, os::TargetAddress start, Bytes length) {
    return log->scan_.ArmAll(start, length);
  }));
  // Also tells that the process lives, so that the pagemap opened above is its own.
  HECA_RETURN_IF_ERROR(log->ram_->Mappings().status());
  return std::unique_ptr<WriteLog>(std::move(log));
}

Result<std::vector<PageSpan>> AsyncWriteLog::Scan(os::Arm rearm) {
  std::vector<PageSpan> spans;
  std::vector<os::WrittenRun> runs;
  HECA_RETURN_IF_ERROR(ram_->InSteps([&](const LoggedRam::Range& range, os::TargetAddress start, Bytes length) {
    runs.clear();
    const Status scanned = scan_.Written(start, length, rearm, runs);
    if (!scanned.ok()) return ram_->WhyRefused(scanned);
    for (const os::WrittenRun& run : runs) {
      AppendSpan(spans, {ram_->PageAt(range, run.start), PageCount((run.end - run.start) / ram_->page_size().value())},
                 range.first);
    }
    return Status();
  }));
  // A part that is mapped anew made the scan fail; one that is not mapped at all, it passed over.
  HECA_RETURN_IF_ERROR(ram_->Mappings().status());
  return spans;
}

}  // namespace heca::guest
