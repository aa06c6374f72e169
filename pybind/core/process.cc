// SPDX-License-Identifier: LGPL-2.1-or-later
#include "process.h"

#include <pybind11/pybind11.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>

#include "base/clock.h"

namespace heca::binding {
namespace {

// Of the process, as the fork that they are about. Never destroyed: threads may look at them until the very end.
std::atomic<pid_t> user_{0};
std::atomic<bool> exiting_{false};
std::atomic<int> active_{0};

constexpr Millis kPatience{2'000};
constexpr Millis kLook{5};

}  // namespace

Status EnterProcess() {
  if (exiting_) return Status(ErrorCode::kFailedPrecondition, "the interpreter is about to end");
  pid_t user = 0;
  const pid_t self = ::getpid();
  if (user_.compare_exchange_strong(user, self) || user == self) return Status();
  return Status(ErrorCode::kFailedPrecondition,
                "process " + std::to_string(self) + " was forked from process " + std::to_string(user) +
                    ", which had used heca already, and its connections do not survive a fork: use heca on one side only, "
                    "or start the child by exec (subprocess, multiprocessing's \"spawn\")");
}

bool Forked() {
  const pid_t user = user_;
  return user != 0 && user != ::getpid();
}

Activity::Activity() { ++active_; }
Activity::~Activity() { --active_; }

bool Exiting() { return exiting_; }

void Shutdown() {
  exiting_ = true;
  if (Forked()) return;  // counts threads that are not here
  const pybind11::gil_scoped_release release;
  const Deadline patience = Deadline::After(kPatience);
  while (active_ > 0 && !patience.Passed()) std::this_thread::sleep_for(kLook);
}

}  // namespace heca::binding
