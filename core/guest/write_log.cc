// SPDX-License-Identifier: LGPL-2.1-or-later
#include "guest/write_log.h"

#include <utility>

#include <fmt/format.h>

#include "base/log.h"
#include "guest/logged_ram.h"
#include "guest/write_log_async.h"
#include "guest/write_log_sync.h"
#include "os/proc.h"

namespace heca::guest {
namespace {

/// Frees who waits: an injection may need a thread that does.
Status Dissolve(ProcessId process, int target_fd, Deadline deadline) {
  HECA_ASSIGN_OR_RETURN(CapturedUffd taken, TakeOverUffd(process, target_fd));
  HECA_ASSIGN_OR_RETURN(const std::vector<os::Mapping> maps, os::ReadMaps(process.pid));
  os::Uffd uffd(std::move(taken.uffd));
  for (const os::Mapping& mapping : maps) {
    // Which of them it has registered nobody tells; it refuses the others.
    if (mapping.shared && mapping.writable) {
      (void)uffd.Unregister(os::TargetAddress(mapping.start), Bytes(mapping.size()));
    }
  }
  return CloseUffdInTarget(process, target_fd, deadline).status();
}

Status DissolveAll(ProcessId process, Deadline deadline) {
  HECA_ASSIGN_OR_RETURN(const std::vector<int> uffds, ListUffds(process.pid));
  for (const int fd : uffds) {
    HECA_ASSIGN_OR_RETURN(const auto features, os::ReadUffdFeatures(process.pid, fd));
    if (features != os::AsyncTrackingFeatures() && features != os::SyncTrackingFeatures()) continue;
    HECA_RETURN_IF_ERROR(Dissolve(process, fd, deadline));
    Log().info("process {}: ended a write log that an earlier hecad left (descriptor {})", process.pid, fd);
  }
  return {};
}

Result<std::unique_ptr<WriteLog>> Begin(std::unique_ptr<LoggedRam> ram, bool async) {
  HECA_RETURN_IF_ERROR(ram->Register(async ? os::AsyncTrackingFeatures() : os::SyncTrackingFeatures()));
  return async ? AsyncWriteLog::Start(std::move(ram)) : SyncWriteLog::Start(std::move(ram));
}

}  // namespace

std::string_view ToString(WriteLogKind kind) {
  switch (kind) {
    case WriteLogKind::kBest: return "best";
    case WriteLogKind::kAsync: return "async";
    case WriteLogKind::kSync: return "sync";
  }
  return "unknown";
}

Result<std::unique_ptr<WriteLog>> StartWriteLog(pid_t pid, Qmp* qmp, std::vector<AddressRange> ram, Bytes page_size,
                                                const os::UffdAbilities& abilities, WriteLogKind kind,
                                                Deadline deadline) {
  if (kind == WriteLogKind::kAsync && !abilities.page_scan) {
    return Status(ErrorCode::kUnsupported, "this kernel has no PAGEMAP_SCAN (Linux 6.7)");
  }
  const bool async = kind == WriteLogKind::kAsync || (kind == WriteLogKind::kBest && abilities.page_scan);
  HECA_ASSIGN_OR_RETURN(std::unique_ptr<LoggedRam> taken, LoggedRam::Take(pid, qmp, ram, page_size, deadline));
  const ProcessId process = taken->process();
  const int target_fd = taken->target_fd();
  Result<std::unique_ptr<WriteLog>> log = Begin(std::move(taken), async);
  if (log.ok()) return log;
  const Status closed = CloseUffdInTarget(process, target_fd, deadline).status();
  if (!closed.ok()) Log().warn("process {} keeps a userfaultfd of ours: {}", pid, closed.ToString());
  return log;
}

Status DissolveWriteLogs(ProcessId process, Deadline deadline) {
  const Status dissolved = DissolveAll(process, deadline);
  const Result<ProcessId> now = IdentifyProcess(process.pid);
  // It has ended, perhaps in the middle of this, and its writers with it.
  return now.ok() && *now == process ? dissolved : Status();
}

}  // namespace heca::guest
