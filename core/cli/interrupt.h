// SPDX-License-Identifier: LGPL-2.1-or-later
// Ctrl-C as something to ask for, for commands that must end tidily.
#pragma once

#include "base/clock.h"
#include "base/unique_fd.h"
#include "heca/status.h"

namespace heca::cli {

/// Blocks SIGINT and SIGTERM in the calling thread and in those made after it. Thread-safe afterwards.
class Interrupt {
 public:
  static Result<Interrupt> Block();
  [[nodiscard]] bool Pending() const { return Wait(Millis(0)); }
  /// True as soon as a signal is there, false after `span`.
  [[nodiscard]] bool Wait(Millis span) const;

 private:
  explicit Interrupt(unique_fd fd) : fd_(std::move(fd)) {}
  unique_fd fd_;  // never read: a signal stays pending
};

}  // namespace heca::cli
