// SPDX-License-Identifier: LGPL-2.1-or-later
// A VM that has left is not to run here again: its memory is being read elsewhere, or lives elsewhere. Should somebody
// continue it all the same, its threads stand still at their first write, and at their first touch of what was never
// there: all of its RAM is write-protected by a userfaultfd that nobody answers.
//
// The fence stays when hecad ends, because QEMU keeps its copy of the userfaultfd; it goes with QEMU.
#pragma once

#include <sys/types.h>

#include <vector>

#include "base/clock.h"
#include "guest/capture.h"
#include "guest/qmp.h"
#include "heca/status.h"
#include "heca/types.h"
#include "os/probe_uffd.h"
#include "os/uffd.h"

namespace heca::guest {

struct AddressRange {
  os::TargetAddress address;  ///< in QEMU
  Bytes size;
};

/// Raises it around a QEMU that is stopped; some 20 ms a GiB. `qmp` is its monitor.
[[nodiscard]] Status RaiseFence(pid_t pid, Qmp& qmp, const std::vector<AddressRange>& ram,
                                const os::UffdAbilities& abilities, Deadline deadline);

/// The same around a QEMU whose memory is governed, by the userfaultfd that it has already and that nobody serves any more.
[[nodiscard]] Status RaiseFence(const ProcessId& process, int target_fd, const std::vector<AddressRange>& ram);

}  // namespace heca::guest
