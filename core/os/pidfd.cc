// SPDX-License-Identifier: LGPL-2.1-or-later
#include "os/pidfd.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string>

namespace heca::os {

Result<unique_fd> PidfdOpen(pid_t pid) {
  const long fd = ::syscall(SYS_pidfd_open, pid, 0U);
  if (fd < 0) return Status::FromErrno(errno, "pidfd_open of process " + std::to_string(pid));
  return unique_fd(static_cast<int>(fd));
}

Result<unique_fd> PidfdGetfd(const unique_fd& pidfd, int fd) {
  const long copy = ::syscall(SYS_pidfd_getfd, pidfd.get(), fd, 0U);
  if (copy < 0) {
    return Status::FromErrno(errno, "pidfd_getfd of descriptor " + std::to_string(fd) +
                                        " (needs CAP_SYS_PTRACE over the process)");
  }
  return unique_fd(static_cast<int>(copy));
}

Status PidfdKill(const unique_fd& pidfd) {
  if (::syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0U) == 0) return Status();
  return Status::FromErrno(errno, "pidfd_send_signal");
}

bool PidfdAlive(const unique_fd& pidfd) {
  pollfd need{pidfd.get(), POLLIN, 0};
  return ::poll(&need, 1, 0) == 0;
}

}  // namespace heca::os
