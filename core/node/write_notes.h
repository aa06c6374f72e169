// SPDX-License-Identifier: LGPL-2.1-or-later
// What a VM writes while its memory is copied ahead: the pages that its threads write (guest/write_log.h), and direct I/O
// that is in flight (guest/io_guard.h).
#pragma once

#include <sys/types.h>

#include <memory>
#include <vector>

#include "control/migration_types.h"
#include "guest/io_guard.h"
#include "guest/write_log.h"
#include "heca/status.h"
#include "os/probe_uffd.h"

namespace heca::node {

/// One thread.
class WriteNotes {
 public:
  /// Of nothing.
  WriteNotes() = default;
  WriteNotes(pid_t pid, std::shared_ptr<guest::Qmp> monitor, std::vector<guest::AddressRange> ram,
             const os::UffdAbilities& abilities, Millis io_grace);

  Status Begin();
  /// Since Begin or the last answer. `last`: of a VM that is stopped and drained.
  Result<std::vector<control::PageRun>> Written(bool last);
  /// Returns when direct I/O that was in flight when it was called is over.
  Status AwaitDevices();
  /// Repeating it is harmless.
  Status End();

 private:
  pid_t pid_ = 0;
  std::shared_ptr<guest::Qmp> monitor_;
  std::vector<guest::AddressRange> ram_;
  os::UffdAbilities abilities_;
  Millis io_grace_{0};
  std::unique_ptr<guest::WriteLog> log_;
  std::unique_ptr<guest::GuestIoGuard> guard_;
};

}  // namespace heca::node
