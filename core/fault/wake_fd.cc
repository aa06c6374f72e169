// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/wake_fd.h"

#include <sys/eventfd.h>

#include <cstdint>

#include "base/check.h"

namespace heca::fault {

WakeFd::WakeFd() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) { HECA_CHECK(fd_.valid()); }

void WakeFd::Signal() {
  const std::uint64_t one = 1;
  // EAGAIN: the counter is full, so the thread is being woken anyway.
  [[maybe_unused]] const ssize_t written = ::write(fd_.get(), &one, sizeof(one));
}

void WakeFd::Clear() {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(fd_.get(), &count, sizeof(count));
}

}  // namespace heca::fault
