// SPDX-License-Identifier: LGPL-2.1-or-later
// Small facts about this host and about what an operator means by a target.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "control/node_types.h"
#include "guest/lookup.h"
#include "heca/status.h"
#include "heca/types.h"
#include "os/probe_uffd.h"

namespace heca::node {

/// Of the running kernel, /proc/sys/kernel/random/boot_id.
[[nodiscard]] Result<std::string> HostBootId();

/// For `hecactl status`.
[[nodiscard]] std::vector<control::NamedFact> KernelFacts(const os::UffdAbilities& abilities);

/// What this version, and this kernel, cannot do of what is asked; before anything is looked up or touched.
[[nodiscard]] Status CheckSupported(const control::AttachSpec& spec, const os::UffdAbilities& abilities);

/// What a specification means: looked up once, since a pid or a name may mean another process a moment later.
struct AttachTarget {
  guest::GuestIdentity identity;
  RegionId region;
};
[[nodiscard]] Result<AttachTarget> FindTarget(const control::AttachSpec& spec);

}  // namespace heca::node
