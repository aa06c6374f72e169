// SPDX-License-Identifier: LGPL-2.1-or-later
// The half of a node that lends: slabs (if it donates memory), the images of VMs that leave, and the data ports that serve
// both.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "control/node_types.h"
#include "control/sponsor_api.h"
#include "node/departure_log.h"
#include "node/departures.h"
#include "node/event_log.h"
#include "node/lending_router.h"
#include "node/node.h"
#include "store/image_sponsor.h"
#include "store/sponsor.h"
#include "transport/server.h"

namespace heca::node {

/// Thread-safe.
class SponsorSide final : private store::LeaseObserver {
 public:
  static Result<std::unique_ptr<SponsorSide>> Start(const NodeConfig& config, const std::string& boot_id,
                                                    LeavingRegions& regions, EventLog& events, DepartureLog& log);

  [[nodiscard]] control::SponsorApi& api() { return *router_; }
  [[nodiscard]] store::ImageSponsor& images() { return images_; }
  [[nodiscard]] Departures& departures() { return *departures_; }
  void AnnounceBoot(const std::string& node, const std::string& boot_id) { sponsor_->AnnounceBoot(node, boot_id); }
  /// Fills in what is donated and lent, and the data endpoints.
  Status Describe(control::NodeInfo& info) const;
  [[nodiscard]] std::vector<control::ConnectionInfo> Connections() const;
  [[nodiscard]] std::vector<control::LeaseInfo> Leases() const;
  Status FreeLease(LeaseId lease, bool force);
  /// Quarantines and frees what is due.
  void Tick() {
    sponsor_->Sweep();
    for (const LeaseId given_back : images_.Sweep()) departures_->GivenBack(given_back);
  }

 private:
  Status Listen(const NodeConfig& config);
  SponsorSide(EventLog& events, DepartureLog& log) : events_(events), log_(log) {}
  void OnLease(store::LeaseEvent event, const control::LeaseInfo& lease, std::string_view why) override;

  EventLog& events_;
  DepartureLog& log_;
  std::unique_ptr<store::Sponsor> sponsor_;
  store::ImageSponsor images_;
  std::unique_ptr<Departures> departures_;
  std::unique_ptr<LendingRouter> router_;
  std::vector<std::unique_ptr<transport::Server>> servers_;  ///< best first; they use the router: destroyed first
};

}  // namespace heca::node
