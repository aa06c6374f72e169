// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node/write_notes.h"

#include <algorithm>
#include <thread>
#include <utility>

namespace heca::node {
namespace {

constexpr std::chrono::seconds kPatience{10};

}  // namespace

WriteNotes::WriteNotes(pid_t pid, std::shared_ptr<guest::Qmp> monitor, std::vector<guest::AddressRange> ram,
                       const os::UffdAbilities& abilities, Millis io_grace)
    : pid_(pid), monitor_(std::move(monitor)), ram_(std::move(ram)), abilities_(abilities), io_grace_(io_grace) {}

Status WriteNotes::Begin() {
  guest::IoGuardOptions options;
  options.grace = io_grace_;
  HECA_ASSIGN_OR_RETURN(guard_, guest::GuestIoGuard::Create(pid_, monitor_, options));
  HECA_ASSIGN_OR_RETURN(log_, guest::StartWriteLog(pid_, monitor_.get(), ram_, kBasePage, abilities_,
                                                   guest::WriteLogKind::kBest, Deadline::After(kPatience)));
  return {};
}

Result<std::vector<control::PageRun>> WriteNotes::Written(bool last) {
  HECA_ASSIGN_OR_RETURN(const std::vector<guest::PageSpan> spans, last ? log_->Final() : log_->Collect());
  std::vector<control::PageRun> runs;
  runs.reserve(spans.size());
  for (const guest::PageSpan& span : spans) runs.push_back({span.first.value(), span.pages.value()});
  return runs;
}

Status WriteNotes::AwaitDevices() {
  const IoMark mark = guard_->Mark();
  // The grace time ends every wait: see the guard's last rule.
  const Deadline deadline = Deadline::After(io_grace_ + kPatience);
  while (!guard_->Drained(mark)) {
    if (deadline.Passed()) return {ErrorCode::kDeadlineExceeded, "direct I/O of the VM does not end", ErrorScope::kRegion};
    std::this_thread::sleep_for(Millis(std::clamp(guard_->RecheckMs(), 1, 20)));
  }
  return {};
}

Status WriteNotes::End() {
  guard_.reset();
  if (!log_) return {};
  HECA_RETURN_IF_ERROR(log_->Stop(Deadline::After(kPatience)));
  log_.reset();
  return {};
}

}  // namespace heca::node
