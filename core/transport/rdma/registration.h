// SPDX-License-Identifier: LGPL-2.1-or-later
// A lease's memory as a device may reach it: its slabs registered once, in a protection domain of the lease's own, so that keys of
// one lease are worth nothing on a connection of another; and the directory by which a client finds its slots.
#pragma once

#include <atomic>
#include <cstddef>
#include <deque>
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

/// Thread-safe. Shared by the lease's connections: see Registrar. Keeps what it has registered where it is.
class Registration {
 public:
  /// With an empty directory. Without extents it is only a domain.
  static Result<std::unique_ptr<Registration>> Make(ibv_context& device, const SlotMemory& memory);

  [[nodiscard]] const Domain& domain() const { return domain_; }
  /// None: everything is asked of the server.
  [[nodiscard]] wire::RemoteMemory directory() const;
  /// Notes what is there to be registered and was not before. True: AddNext is to be called, until it says that this is all.
  bool Follow(const SlotMemory& memory);
  /// Registers a slab; from then on the directory tells of it. One thread at a time. True: there are more. What cannot be pinned,
  /// and all that comes after it, stays to be asked for.
  bool AddNext();

 private:
  explicit Registration(Domain domain) : domain_(std::move(domain)) {}
  Status Add(const Extent& extent);

  std::shared_ptr<const void> memory_;  ///< goes last
  const Domain domain_;
  Registered directory_;
  std::atomic<std::uint32_t> noted_{0};  ///< slots
  std::mutex mutex_;
  std::deque<Extent> to_add_;  ///< the first is being registered; empty: nobody is to call AddNext
  // Of AddNext.
  std::uint32_t entries_ = 0;
  std::vector<Owned<ibv_mr>> keys_;
};

}  // namespace heca::transport::rdma
