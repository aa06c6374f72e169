// SPDX-License-Identifier: LGPL-2.1-or-later
// The half of a node that lends: the sponsor and the data ports that serve it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "control/node_types.h"
#include "control/sponsor_api.h"
#include "node/event_log.h"
#include "node/node.h"
#include "store/sponsor.h"
#include "transport/tcp_server.h"

namespace heca::node {

/// Thread-safe.
class SponsorSide final : private store::LeaseObserver {
 public:
  static Result<std::unique_ptr<SponsorSide>> Start(const NodeConfig& config, const std::string& boot_id,
                                                    EventLog& events);

  [[nodiscard]] control::SponsorApi& api() { return *sponsor_; }
  void AnnounceBoot(const std::string& node, const std::string& boot_id) { sponsor_->AnnounceBoot(node, boot_id); }
  /// Fills in what is donated and lent, and the data endpoints.
  Status Describe(control::NodeInfo& info) const;
  [[nodiscard]] std::vector<control::ConnectionInfo> Connections() const;
  [[nodiscard]] std::vector<control::LeaseInfo> Leases() const { return sponsor_->Leases(); }
  Status FreeLease(LeaseId lease, bool force) { return sponsor_->ForceFree(lease, force); }
  /// Quarantines and frees what is due.
  void Tick() { sponsor_->Sweep(); }

 private:
  explicit SponsorSide(EventLog& events) : events_(events) {}
  void OnLease(store::LeaseEvent event, const control::LeaseInfo& lease, std::string_view why) override;

  EventLog& events_;
  std::unique_ptr<store::Sponsor> sponsor_;
  std::unique_ptr<transport::TcpServer> server_;  ///< uses the sponsor: destroyed first
};

}  // namespace heca::node
