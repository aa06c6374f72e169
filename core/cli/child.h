// SPDX-License-Identifier: LGPL-2.1-or-later
// Another program that does a part of the work.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/unique_fd.h"
#include "heca/status.h"

namespace heca::cli {

/// It runs in a process group of its own, so that Ctrl-C on the terminal is not for it, and in English. What it prints is
/// kept in memory. One that is not waited for goes on when this object is gone. One thread at a time.
class Child {
 public:
  /// `command`: a name that is looked for in PATH, and its arguments. kUnsupported: there is no such program.
  static Result<Child> Start(const std::vector<std::string>& command);

  /// Its exit code (128 and the signal's number, if one ended it), or none if it runs on after `span`.
  [[nodiscard]] std::optional<int> Wait(Millis span);
  void Kill();
  /// Printed so far.
  [[nodiscard]] std::string out() const;
  [[nodiscard]] std::string err() const;

 private:
  Child(unique_fd out, unique_fd err) : out_(std::move(out)), err_(std::move(err)) {}

  unique_fd out_;
  unique_fd err_;
  pid_t pid_ = -1;
  std::optional<int> code_;
};

}  // namespace heca::cli
