// SPDX-License-Identifier: LGPL-2.1-or-later
// The memory cgroup (version 1 or 2) that a process is in, as far as it bounds the process's memory.
//
// Why anybody cares: UFFDIO_COPY charges the page to the group of the process that gets it, and when that group is full
// the kernel's out-of-memory killer ends a process of the group before the ioctl says ENOMEM.
#pragma once

#include <sys/types.h>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "heca/types.h"

namespace heca::os {

struct MemoryGroup {
  std::string path;  ///< the directory of the group
  Bytes limit;       ///< memory.max, memory.limit_in_bytes
  Bytes used;        ///< without the file cache, which the kernel takes back first
  Bytes shared;      ///< of it, pages of tmpfs files

  [[nodiscard]] Bytes Room() const { return Bytes(limit.value() - std::min(limit.value(), used.value())); }
};

/// Of the process's group and those above it, the one with the least room; none: no group has a limit, or the cgroup
/// file system is not where /proc says. Reads some small files.
[[nodiscard]] std::optional<MemoryGroup> TightestMemoryGroup(pid_t pid);
/// The same from the texts of /proc/PID/cgroup and /proc/self/mountinfo.
[[nodiscard]] std::optional<MemoryGroup> TightestMemoryGroup(std::string_view cgroup, std::string_view mountinfo);

}  // namespace heca::os
