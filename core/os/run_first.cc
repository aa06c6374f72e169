// SPDX-License-Identifier: LGPL-2.1-or-later
#include "os/run_first.h"

#include <sched.h>

namespace heca::os {

Result<RunFirst> RunFirst::Request(std::vector<pthread_t> threads) {
  sched_param lowest{};
  lowest.sched_priority = ::sched_get_priority_min(SCHED_RR);
  RunFirst first;
  for (const pthread_t thread : threads) {
    if (const int error = ::pthread_setschedparam(thread, SCHED_RR, &lowest); error != 0) {
      return Status::FromErrno(error, "cannot run a thread before others", ErrorScope::kNode);
    }
    first.threads_.push_back(thread);
  }
  return first;
}

RunFirst::~RunFirst() {
  const sched_param none{};
  for (const pthread_t thread : threads_) (void)::pthread_setschedparam(thread, SCHED_OTHER, &none);
}

}  // namespace heca::os
