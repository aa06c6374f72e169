// SPDX-License-Identifier: LGPL-2.1-or-later
// Threads that must act within milliseconds on a host whose CPUs are all busy: they run before every thread that is not of
// real time (sched(7): SCHED_RR, lowest priority). For threads that sleep nearly always, and for as short as can be.
#pragma once

#include <pthread.h>

#include <utility>
#include <vector>

#include "heca/status.h"

namespace heca::os {

/// As long as the object lives; `threads` outlive it, and were of the ordinary policy before.
class RunFirst {
 public:
  /// kPermissionDenied without CAP_SYS_NICE and a limit of real-time priority (LimitRTPRIO=); none of them runs first then.
  [[nodiscard]] static Result<RunFirst> Request(std::vector<pthread_t> threads);
  ~RunFirst();
  RunFirst(RunFirst&& other) noexcept : threads_(std::exchange(other.threads_, {})) {}
  RunFirst& operator=(RunFirst&&) = delete;
  RunFirst(const RunFirst&) = delete;
  RunFirst& operator=(const RunFirst&) = delete;

 private:
  RunFirst() = default;
  std::vector<pthread_t> threads_;
};

}  // namespace heca::os
