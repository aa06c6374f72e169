// SPDX-License-Identifier: LGPL-2.1-or-later
#include "guest/vcpus.h"

#include <map>

namespace heca::guest {

Result<std::vector<std::int32_t>> QueryVcpuThreads(Qmp& qmp, Deadline deadline) {
  HECA_ASSIGN_OR_RETURN(const Json answer, qmp.Execute("query-cpus-fast", Json::object(), deadline));
  std::map<std::uint64_t, std::int32_t> by_index;
  for (const Json& vcpu : ElementsOf(answer)) {
    const std::uint64_t thread = NumberOf(vcpu, "thread-id");
    if (thread == 0 || thread > INT32_MAX) {
      return Status(ErrorCode::kUnavailable, "QEMU does not tell which threads run its vCPUs", ErrorScope::kRegion);
    }
    by_index[NumberOf(vcpu, "cpu-index")] = static_cast<std::int32_t>(thread);
  }
  std::vector<std::int32_t> threads;
  for (const auto& [index, thread] : by_index) threads.push_back(thread);
  return threads;
}

}  // namespace heca::guest
