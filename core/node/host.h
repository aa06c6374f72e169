// SPDX-License-Identifier: LGPL-2.1-or-later
// Small facts about this host and about what an operator means by a target.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "control/node_types.h"
#include "heca/status.h"
#include "heca/types.h"
#include "os/probe_uffd.h"

namespace heca::node {

/// Of the running kernel, /proc/sys/kernel/random/boot_id.
[[nodiscard]] Result<std::string> HostBootId();

/// Makes the directory and takes an exclusive flock on a file in it: two hecads never share a run directory.
[[nodiscard]] Result<unique_fd> LockDirectory(const std::string& directory);

/// For `hecactl status`.
[[nodiscard]] std::vector<control::NamedFact> KernelFacts(const os::UffdAbilities& abilities);

/// The process and the region's name that a specification means.
struct TargetName {
  std::int32_t pid = 0;
  RegionId region;
};
[[nodiscard]] Result<TargetName> NameTarget(const control::AttachSpec& spec);

}  // namespace heca::node
