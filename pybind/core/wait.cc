// SPDX-License-Identifier: LGPL-2.1-or-later
#include "wait.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "errors.h"

namespace py = pybind11;

namespace heca::binding {
namespace {

/// Python's main thread is the process's first one, unless somebody embeds it; then Ctrl-C waits for the end of the wait.
bool OnMainThread() { return ::syscall(SYS_gettid) == ::getpid(); }

}  // namespace

bool Interrupted() {
  if (Exiting()) return true;
  if (!OnMainThread()) return false;
  const py::gil_scoped_acquire gil;
  return PyErr_Occurred() != nullptr || PyErr_CheckSignals() != 0;
}

void ThrowIfInterrupted() {
  if (PyErr_Occurred() != nullptr) throw py::error_already_set();
}

bool WaitFor(std::mutex& mutex, std::condition_variable& changed, std::optional<Clock::time_point> deadline,
             const std::function<bool()>& ready) {
  const Activity activity;
  while (true) {
    bool is_ready = false;
    {
      const py::gil_scoped_release release;
      std::unique_lock lock(mutex);
      const Clock::time_point look_up = Clock::now() + kLookUp;
      is_ready = changed.wait_until(lock, deadline ? std::min(*deadline, look_up) : look_up, ready);
    }
    if (is_ready) return true;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    Check(EnterProcess());
    if (deadline && Clock::now() >= *deadline) return false;
  }
}

}  // namespace heca::binding
