// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/lock_file.h"

#include <sys/file.h>

#include <cerrno>
#include <thread>

namespace heca {

Status LockFile(int fd, Millis patience) {
  constexpr Millis kLookEvery{5};
  const Deadline deadline = Deadline::After(patience);
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) return Status::FromErrno(errno, "flock");
    if (deadline.Passed()) return Status(ErrorCode::kBusy, "another process holds the lock");
    std::this_thread::sleep_for(kLookEvery);
  }
  return {};
}

}  // namespace heca
