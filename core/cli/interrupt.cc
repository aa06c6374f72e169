// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/interrupt.h"

#include <poll.h>
#include <sys/signalfd.h>

#include <cerrno>
#include <csignal>

namespace heca::cli {

Result<Interrupt> Interrupt::Block() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int number : {SIGINT, SIGTERM}) ::sigaddset(&set, number);
  if (const int error = ::pthread_sigmask(SIG_BLOCK, &set, nullptr); error != 0) {
    return Status::FromErrno(error, "pthread_sigmask");
  }
  unique_fd fd(::signalfd(-1, &set, SFD_CLOEXEC));
  if (!fd.valid()) return Status::FromErrno(errno, "signalfd");
  return Interrupt(std::move(fd));
}

bool Interrupt::Wait(Millis span) const {
  pollfd wanted{fd_.get(), POLLIN, 0};
  return ::poll(&wanted, 1, static_cast<int>(span.count())) > 0;
}

}  // namespace heca::cli
