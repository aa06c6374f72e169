// SPDX-License-Identifier: LGPL-2.1-or-later
// What this host lets us do with other processes, found out once by trying it on a child, and passed down as a value.
#pragma once

#include <string>

namespace heca::os {

struct ProcessAbilities {
  bool inject = false;       ///< ptrace of another process works (os/inject.h)
  bool copy_fd = false;      ///< pidfd_getfd works (Linux 5.6)
  bool open_mapped = false;  ///< /proc/PID/map_files can be opened: needed for RAM files that were unlinked
  bool read_calls = false;   ///< /proc/PID/task/TID/io counts read calls (CONFIG_TASK_IO_ACCOUNTING)
  std::string missing;       ///< what does not work and why, for people; empty: all of it works
};

/// Forks a child that does nothing, and ends it. Takes a few milliseconds.
[[nodiscard]] ProcessAbilities ProbeProcess();

}  // namespace heca::os
