// SPDX-License-Identifier: LGPL-2.1-or-later
// Who is in the cluster, and how each member is. StaticMembers knows them from the configuration; another source of
// members (etcd) fits behind the same interface.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "control/sponsor_api.h"
#include "heca/status.h"
#include "heca/types.h"

namespace heca::cluster {

/// A peer as the configuration names it.
struct PeerConfig {
  std::string name;            ///< must be what the peer calls itself
  std::string endpoint;        ///< of its control port, "10.1.0.3:7301"
  std::string failure_domain;  ///< rack, power feed...; empty: the peer is its own
};

enum class Health : std::uint8_t {
  kInvalid = 0,
  kUnknown = 1,      ///< not asked yet
  kAlive = 2,
  kUnreachable = 3,  ///< did not answer kMissesAllowed heartbeats in a row
  kMisnamed = 4,     ///< somebody else answers at its endpoint: the configuration is wrong
};
[[nodiscard]] std::string_view ToString(Health health);

/// A peer as it was at its last heartbeat.
struct Member {
  PeerConfig config;
  Health health = Health::kUnknown;
  control::SponsorInfo info;  ///< as last heard; its node name is empty if never
  Nanos rtt{};                ///< of the last heartbeat that was answered
  std::uint32_t reboots = 0;  ///< boot id changes seen
  std::string trouble;        ///< the last error while it is not alive
};

enum class Change : std::uint8_t {
  kInvalid = 0,
  kUp = 1,
  kDown = 2,
  kRebooted = 3,  ///< alive with another boot id: what it held is gone, and so are the VMs whose pages we hold for it
};
[[nodiscard]] std::string_view ToString(Change change);

/// Called on the heartbeat's thread, without any lock held; must not destroy the Members.
using OnChange = std::function<void(Change, const Member&)>;
/// Opens the control connection to a peer.
using OpenSponsor = std::function<Result<std::unique_ptr<control::SponsorApi>>(const PeerConfig&)>;

/// Thread-safe.
class Members {
 public:
  virtual ~Members() = default;
  /// All peers, without this node, in the order of the configuration.
  [[nodiscard]] virtual std::vector<Member> List() const = 0;
  /// By name.
  [[nodiscard]] virtual std::optional<Member> Find(std::string_view name) const = 0;
  /// The control connection to a peer, shared by its users because a peer may leave while one of them still calls.
  /// kNotFound: no peer of that name.
  [[nodiscard]] virtual Result<std::shared_ptr<control::SponsorApi>> Sponsor(std::string_view name) = 0;
};

}  // namespace heca::cluster
