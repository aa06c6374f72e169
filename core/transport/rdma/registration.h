// SPDX-License-Identifier: LGPL-2.1-or-later
// A lease's memory as a device may reach it: its slabs registered once, in a protection domain of the lease's own, so that keys of
// one lease are worth nothing on a connection of another; and the directory by which a client finds its slots.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "heca/status.h"
#include "transport/rdma/registered.h"
#include "transport/rdma/verbs.h"
#include "transport/server.h"

namespace heca::transport::rdma {

using Domain = std::shared_ptr<ibv_pd>;
Result<Domain> MakeDomain(ibv_context& device);

/// Thread-safe. Shared by the lease's connections; with the last of them it goes, and nothing is pinned any more. They keep the
/// memory alive until then.
class Registration {
 public:
  /// Without extents, or where they cannot be pinned, it is only a domain.
  static Result<std::shared_ptr<Registration>> Make(ibv_context& device, const SlotMemory& memory);

  [[nodiscard]] const Domain& domain() const { return domain_; }
  /// None: everything is asked of the server.
  [[nodiscard]] wire::RemoteMemory directory() const;
  /// Registers what has been added since, if anything has.
  Status Follow(const SlotMemory& memory);

 private:
  explicit Registration(Domain domain) : domain_(std::move(domain)) {}
  Status Add(const Extent& extent);

  const Domain domain_;
  std::mutex mutex_;
  Registered directory_;
  std::uint32_t slots_ = 0;  ///< registered
  std::uint32_t entries_ = 0;
  std::vector<Owned<ibv_mr>> keys_;
};

/// Registrations of the leases that have connections. Thread-safe.
class Registrations {
 public:
  Result<std::shared_ptr<Registration>> Of(ibv_context& device, LeaseId lease, const SlotMemory& memory);

 private:
  std::mutex mutex_;
  std::map<std::pair<ibv_context*, LeaseId>, std::weak_ptr<Registration>> known_;
};

}  // namespace heca::transport::rdma
