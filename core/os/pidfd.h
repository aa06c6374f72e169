// SPDX-License-Identifier: LGPL-2.1-or-later
// A process held by descriptor, so that its pid cannot be reused under us, and copies of its descriptors.
// All functions are thread-safe and never block.
#pragma once

#include <sys/types.h>

#include "base/unique_fd.h"
#include "heca/status.h"

namespace heca::os {

/// A pidfd: readable (poll) once the process has ended. kNotFound: no such process.
[[nodiscard]] Result<unique_fd> PidfdOpen(pid_t pid);

/// A copy of descriptor `fd` of the process, close-on-exec. Needs the right to ptrace it.
[[nodiscard]] Result<unique_fd> PidfdGetfd(const unique_fd& pidfd, int fd);

/// SIGKILL. kNotFound: it has ended.
[[nodiscard]] Status PidfdKill(const unique_fd& pidfd);

/// False once the process has ended, reaped or not.
[[nodiscard]] bool PidfdAlive(const unique_fd& pidfd);

}  // namespace heca::os
