// SPDX-License-Identifier: LGPL-2.1-or-later
#include "daemon/signals.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "base/log.h"

namespace heca::daemon {

Result<StopSignals> StopSignals::Block() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&set, number);
  if (const int error = ::pthread_sigmask(SIG_BLOCK, &set, nullptr); error != 0) {
    return Status::FromErrno(error, "pthread_sigmask", ErrorScope::kNode);
  }
  std::signal(SIGPIPE, SIG_IGN);
  unique_fd fd(::signalfd(-1, &set, SFD_CLOEXEC));
  if (!fd.valid()) return Status::FromErrno(errno, "signalfd", ErrorScope::kNode);
  return StopSignals(std::move(fd));
}

Result<int> StopSignals::Wait() {
  for (;;) {
    signalfd_siginfo info{};
    if (::read(fd_.get(), &info, sizeof info) != sizeof info) {
      if (errno == EINTR) continue;
      return Status::FromErrno(errno, "read of signalfd", ErrorScope::kNode);
    }
    if (static_cast<int>(info.ssi_signo) != SIGHUP) return static_cast<int>(info.ssi_signo);
    Log().info(
        "SIGHUP changes nothing: the configuration is read at start. Restart hecad; no VM stops for it");
  }
}

}  // namespace heca::daemon
