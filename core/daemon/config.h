// SPDX-License-Identifier: LGPL-2.1-or-later
// What hecad can be told. One flat list of keys: a key of hecad.toml is the flag of the same name (`donate =
// "8GiB"` is `--donate 8GiB`), and flags override the file. The list, with each key's text and limits, is
// config_options.cc.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/transport_choice.h"
#include "heca/types.h"

namespace heca::daemon {

enum class LogLevel : std::uint8_t { kInvalid = 0, kTrace, kDebug, kInfo, kWarn, kError };

/// Another hecad, of the static peer list.
struct Peer {
  std::string name;
  std::string address;  ///< of its control plane, HOST:PORT
  std::string failure_domain;
  bool operator==(const Peer&) const = default;
};

/// A value; every field has its default here and is checked before it is set.
struct Config {
  // Who and where.
  std::string name;  ///< empty: this host's name
  std::string failure_domain;
  std::string run_dir = "/run/heca";
  bool compute = true;  ///< govern VMs of this host; off: lend memory only, which needs no privilege
  bool resume = true;   ///< take back the regions that the journal in run_dir names
  LogLevel log_level = LogLevel::kInfo;
  // Local clients.
  std::string socket = "/run/heca/hecad.sock";
  mode_t socket_mode = 0660;
  std::string socket_group;  ///< empty: the group of the process
  // Peers.
  std::string control_listen = "127.0.0.1:7300";
  std::string data_listen = "127.0.0.1:7301";
  TransportChoice transport = TransportChoice::kAuto;
  std::vector<Peer> peers;
  // Sponsor.
  Bytes donate{0};
  std::string slab_dir = "/dev/shm/heca/slabs";
  Bytes slab_size{64ULL << 20};
  bool reserve = true;  ///< allocate lent memory when it is lent, not when it is written
  std::chrono::seconds lease{60};
  // Engine.
  Millis min_residence{5};
  bool prefetch = true;
  std::uint32_t prefetch_max = 256;  ///< pages
  Millis io_grace{1000};
  std::chrono::seconds loss_wait{10};
  std::uint32_t watermark_low = 6;   ///< percent of the limit
  std::uint32_t watermark_high = 12;  ///< percent of the limit
  std::optional<std::chrono::microseconds> cpu_latency;  ///< empty: as the host is set
  // Observability.
  std::string metrics_listen = "127.0.0.1:9464";  ///< empty: off
};

}  // namespace heca::daemon
