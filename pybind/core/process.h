// SPDX-License-Identifier: LGPL-2.1-or-later
// What survives a fork and what does not. gRPC and hecad run threads, and a forked child has none of them: there every
// object of this package refuses, and what it owns is left alone, since to take it down would wait for those threads.
#pragma once

#include <unistd.h>

#include <memory>
#include <utility>

#include "heca/status.h"

namespace heca::binding {

/// Notes that this process uses heca from now on. kFailedPrecondition: it is a child of one that did so before the fork,
/// or the interpreter is about to end.
[[nodiscard]] Status EnterProcess();
/// Whether this process was forked from the one that uses heca.
[[nodiscard]] bool Forked();

/// Owns a T; in a forked child it lets go of it without destroying it.
template <class T>
class ThisProcess {
 public:
  ThisProcess() = default;
  explicit ThisProcess(std::unique_ptr<T> value) : value_(std::move(value)) {}
  ThisProcess(ThisProcess&&) noexcept = default;
  ThisProcess& operator=(ThisProcess&& other) noexcept {
    Drop();
    value_ = std::move(other.value_);
    owner_ = other.owner_;
    return *this;
  }
  ~ThisProcess() { Drop(); }
  [[nodiscard]] T* get() const { return value_.get(); }

 private:
  void Drop() {
    if (::getpid() != owner_) static_cast<void>(value_.release());
    value_.reset();
  }
  std::unique_ptr<T> value_;
  pid_t owner_ = ::getpid();
};

/// Counts what Shutdown waits for: Python threads in a wait, and threads of our own. Thread-safe.
class Activity {
 public:
  Activity();
  ~Activity();
  Activity(const Activity&) = delete;
  Activity& operator=(const Activity&) = delete;
};

/// The interpreter is about to end: every wait gives up.
[[nodiscard]] bool Exiting();
/// For Python's atexit. Has all waits give up and returns when they have, after two seconds at most: a thread that would
/// come back from its wait to an interpreter that is gone would be ended in the middle of it. With the GIL.
void Shutdown();

}  // namespace heca::binding
