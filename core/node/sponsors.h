// SPDX-License-Identifier: LGPL-2.1-or-later
// The sponsors that this node can borrow from: the static peers, watched by heartbeat, and any endpoint given by hand.
#pragma once

#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/transport_choice.h"
#include "cluster/static_members.h"
#include "control/node_types.h"
#include "control/sponsor_api.h"
#include "heca/status.h"
#include "node/node.h"
#include "store/connector.h"
#include "transport/rdma/rdma_dialer.h"
#include "transport/tcp_dialer.h"

namespace heca::node {

/// A lease and whom it is from.
struct BorrowedLease {
  std::string sponsor;  ///< peer name, or the endpoint
  std::string address;  ///< control plane, HOST:PORT
  control::Lease lease;
};

/// Thread-safe.
class Sponsors {
 public:
  /// Asks every peer once before it returns, for a second at most. `on_change` may be empty.
  static Result<std::unique_ptr<Sponsors>> Create(const NodeConfig& config, cluster::OnChange on_change);

  /// Reserves at the best of `wanted` (peer names or HOST:PORT, tried in their order; empty: any peer, by free memory
  /// and failure domain). One that `own` forces no way to is passed over. On failure the text says what each answered.
  Result<BorrowedLease> Borrow(const std::vector<std::string>& wanted, const control::ReserveRequest& request,
                               TransportChoice own);
  /// A peer by its name, or by HOST:PORT of its control plane.
  [[nodiscard]] Result<cluster::PeerConfig> Resolve(const std::string& name) const;
  /// A client of the sponsor at `address`; does not connect.
  static Result<std::unique_ptr<control::SponsorApi>> Client(const std::string& address);
  [[nodiscard]] std::vector<control::PeerInfo> Peers() const;
  /// Whether pages of a region that asks for `own` can travel at all: kFailedPrecondition, with a remedy, where this node's
  /// choice excludes it, or RDMA is forced and there is no device.
  [[nodiscard]] Status Check(TransportChoice own) const;
  /// The ways to a sponsor's data ports that both this node and such a region may take; none: they exclude each other.
  [[nodiscard]] std::vector<store::NamedDialer> dialers(TransportChoice own);

 private:
  explicit Sponsors(const NodeConfig& config)
      : transport_(config.transport), own_domain_(config.failure_domain), random_(std::random_device()()) {}
  /// By that way, as far as this node and such a region choose.
  [[nodiscard]] bool MayTravel(TransportChoice own, TransportChoice way) const {
    return Allows(transport_, way) && Allows(own, way);
  }
  /// Of the sponsor behind `client`, where one way is forced.
  [[nodiscard]] Status CheckOffers(control::SponsorApi& client, TransportChoice own) const;
  [[nodiscard]] std::vector<cluster::Member> Order(const control::ReserveRequest& request, std::string& passed_over);

  const TransportChoice transport_;
  transport::TcpDialer tcp_;
  transport::RdmaDialer rdma_;
  const std::string own_domain_;
  std::mutex random_mutex_;
  std::mt19937_64 random_;
  std::unique_ptr<cluster::StaticMembers> members_;
};

}  // namespace heca::node
