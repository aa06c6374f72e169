// SPDX-License-Identifier: LGPL-2.1-or-later
// The RDMA devices of this host, for people and for the choice of a transport. Needs no verbs header.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "heca/status.h"

namespace heca::transport {

struct RdmaPort {
  std::uint32_t number = 0;
  std::string state;       ///< "active", "down", ...
  std::string link_layer;  ///< "InfiniBand", "Ethernet"
  std::uint32_t active_mtu = 0;   ///< bytes
  std::vector<std::string> gids;  ///< those that are set, as IPv6 addresses
  [[nodiscard]] bool active() const { return state == "active"; }
};

struct RdmaDevice {
  std::string name;       ///< "mlx5_0", "rxe0"
  std::string transport;  ///< "InfiniBand" (RoCE too), "iWARP"
  std::uint32_t max_outstanding_reads = 0;  ///< of one queue pair
  std::uint64_t max_registered_bytes = 0;   ///< in one piece
  std::vector<RdmaPort> ports;
};

/// All of them; empty where there is none. kUnsupported: there is no libibverbs in this build. Thread-safe.
Result<std::vector<RdmaDevice>> RdmaDevices();

}  // namespace heca::transport
