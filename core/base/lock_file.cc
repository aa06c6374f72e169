// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/lock_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <string>
#include <thread>

#include "base/log.h"
#include "base/unique_fd.h"

namespace heca {
namespace {

/// Who wrote its pid into the file; 0: nobody.
long HolderOf(int fd) {
  std::array<char, 24> text{};
  const ssize_t size = ::pread(fd, text.data(), text.size() - 1, 0);
  return size > 0 ? std::strtol(text.data(), nullptr, 10) : 0;
}

/// It has no memory any more (proc_pid_cmdline(5) is empty), so it runs no more: its files and devices go next.
bool IsEnding(long pid) {
  if (pid <= 0) return false;
  const unique_fd cmdline(::open(("/proc/" + std::to_string(pid) + "/cmdline").c_str(), O_RDONLY | O_CLOEXEC));
  char first = 0;
  return cmdline.valid() && ::read(cmdline.get(), &first, 1) == 0;
}

/// In this order it needs no room that is not there: a full file system keeps no hecad from starting.
void WriteHolder(int fd) {
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::pwrite(fd, pid.data(), pid.size(), 0) < 0 || ::ftruncate(fd, static_cast<off_t>(pid.size())) != 0) {
    Log().debug("a lock file does not tell who holds it");
  }
}

}  // namespace

Status LockFile(int fd, const LockPatience& patience) {
  constexpr Millis kLookEvery{5};
  const auto begin = Clock::now();
  long ending = 0;
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) return Status::FromErrno(errno, "flock");
    const long holder = HolderOf(fd);
    const bool ends = IsEnding(holder);
    if (ends && ending != holder) Log().info("waits until the kernel has taken pid {} apart, which has ended", holder);
    ending = ends ? holder : 0;
    if (Clock::now() - begin >= (ends ? patience.ending : patience.running)) {
      return Status(ErrorCode::kBusy, holder > 0 ? "held by pid " + std::to_string(holder) : "held by another process");
    }
    std::this_thread::sleep_for(kLookEvery);
  }
  WriteHolder(fd);
  return {};
}

}  // namespace heca
