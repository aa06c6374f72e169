// SPDX-License-Identifier: LGPL-2.1-or-later
#include "os/cpu_latency.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <utility>

namespace heca::os {

Result<CpuLatency> CpuLatency::Request(std::chrono::microseconds most, const std::string& device) {
  unique_fd fd(::open(device.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return Status::FromErrno(errno, "cannot open " + device, ErrorScope::kNode);
  const auto value = static_cast<std::int32_t>(most.count());
  if (::write(fd.get(), &value, sizeof value) != sizeof value) {
    return Status::FromErrno(errno, "cannot ask " + device + " for " + std::to_string(value) + " us", ErrorScope::kNode);
  }
  return CpuLatency(std::move(fd));
}

}  // namespace heca::os
