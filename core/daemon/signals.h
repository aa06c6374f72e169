// SPDX-License-Identifier: LGPL-2.1-or-later
// The signals that end hecad, as a descriptor.
#pragma once

#include "base/unique_fd.h"
#include "heca/status.h"

namespace heca::daemon {

/// Blocks SIGTERM, SIGINT and SIGHUP in the calling thread, and so in every thread made after it: call it
/// first. SIGHUP is taken and means nothing (the configuration is read at start). Ignores SIGPIPE. One
/// thread.
class StopSignals {
 public:
  static Result<StopSignals> Block();
  /// Returns the number of the signal that asks for the end.
  [[nodiscard]] Result<int> Wait();

 private:
  explicit StopSignals(unique_fd fd) : fd_(std::move(fd)) {}
  unique_fd fd_;
};

}  // namespace heca::daemon
