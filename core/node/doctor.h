// SPDX-License-Identifier: LGPL-2.1-or-later
// `hecactl doctor`: what this host can do, each line with its remedy.
#pragma once

#include <vector>

#include "control/node_types.h"
#include "node/node.h"
#include "os/probe_uffd.h"
#include "transport/rdma/devices.h"

namespace heca::node {

/// What the checks look at.
struct Patient {
  const NodeConfig& config;
  const os::UffdAbilities& abilities;
  std::vector<control::PeerInfo> peers;
  std::vector<control::RegionInfo> regions;
  Result<std::vector<transport::RdmaDevice>> rdma;
};

[[nodiscard]] std::vector<control::DoctorCheck> Examine(const Patient& patient);

}  // namespace heca::node
