// SPDX-License-Identifier: LGPL-2.1-or-later
// How long a CPU of this host may take to wake up, as a request to the kernel (PM QoS,
// Documentation/power/pm_qos_interface.rst). A remote page is waited for by threads that sleep some ten microseconds at
// a time: where an idle CPU needs longer than that to come back, waking is most of the fault.
#pragma once

#include <chrono>
#include <string>
#include <utility>

#include "base/unique_fd.h"
#include "heca/status.h"

namespace heca::os {

/// A request that holds as long as the object lives, and no longer than the process. 0: idle CPUs do not sleep at all.
class CpuLatency {
 public:
  static constexpr const char* kDevice = "/dev/cpu_dma_latency";
  [[nodiscard]] static Result<CpuLatency> Request(std::chrono::microseconds most, const std::string& device = kDevice);

 private:
  explicit CpuLatency(unique_fd fd) : fd_(std::move(fd)) {}
  unique_fd fd_;
};

}  // namespace heca::os
