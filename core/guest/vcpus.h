// SPDX-License-Identifier: LGPL-2.1-or-later
// The threads that run a VM's vCPUs.
#pragma once

#include <cstdint>
#include <vector>

#include "base/clock.h"
#include "guest/qmp.h"
#include "heca/status.h"

namespace heca::guest {

/// One for each vCPU, in the order of their indexes, by the ids that the threads have in QEMU's own pid namespace. vCPUs
/// share one where QEMU emulates them in turn. Not to be called from a thread that serves faults.
[[nodiscard]] Result<std::vector<std::int32_t>> QueryVcpuThreads(Qmp& qmp, Deadline deadline);

}  // namespace heca::guest
