// SPDX-License-Identifier: LGPL-2.1-or-later
// Wakes a thread out of poll().
#pragma once

#include "base/unique_fd.h"

namespace heca::fault {

/// Thread-safe. Signals that come before Clear are one.
class WakeFd {
 public:
  WakeFd();
  void Signal();
  void Clear();
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  unique_fd fd_;
};

}  // namespace heca::fault
