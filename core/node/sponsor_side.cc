// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node/sponsor_side.h"

#include <string_view>
#include <utility>

#include "base/size.h"

namespace heca::node {
namespace {

control::EventKind KindOf(store::LeaseEvent event) {
  switch (event) {
    case store::LeaseEvent::kGranted: return control::EventKind::kLeaseGranted;
    case store::LeaseEvent::kQuarantined: return control::EventKind::kLeaseQuarantined;
    case store::LeaseEvent::kRevived: return control::EventKind::kLeaseRevived;
    case store::LeaseEvent::kFreed: return control::EventKind::kLeaseFreed;
    case store::LeaseEvent::kInvalid: break;
  }
  return control::EventKind::kInvalid;
}

}  // namespace

Result<std::unique_ptr<SponsorSide>> SponsorSide::Start(const NodeConfig& config, const std::string& boot_id,
                                                        LeavingRegions& regions, EventLog& events, DepartureLog& log) {
  std::unique_ptr<SponsorSide> side(new SponsorSide(events, log));
  store::SponsorOptions options;
  options.node = config.name;
  options.boot_id = boot_id;
  options.directory = config.slab_dir;
  options.donated = config.donate;
  options.slab_size = config.slab_size;
  options.backing = config.reserve ? store::Backing::kReserved : store::Backing::kSparse;
  options.lease_life = config.lease;
  HECA_ASSIGN_OR_RETURN(side->sponsor_, store::Sponsor::Create(std::move(options), side.get()));
  transport::TcpServerOptions tcp;
  HECA_ASSIGN_OR_RETURN(tcp.listen, transport::Endpoint::Parse(config.data_listen));
  side->router_ = std::make_unique<LendingRouter>(*side->sponsor_, side->images_);
  auto server = transport::TcpServer::Create(tcp, *side->router_);
  if (!server.ok()) return server.status().WithContext("data-listen " + config.data_listen);
  side->server_ = std::move(*server);
  const std::vector<control::DataEndpoint> endpoints{{side->server_->Transport(), side->server_->endpoint().ToString()}};
  side->sponsor_->SetEndpoints(endpoints);
  side->images_.SetEndpoints(endpoints);
  side->departures_ = std::make_unique<Departures>(config.run_dir + "/departures", side->images_, regions, events, log);
  HECA_RETURN_IF_ERROR(side->departures_->Resume());
  return side;
}

Status SponsorSide::Describe(control::NodeInfo& info) const {
  HECA_ASSIGN_OR_RETURN(const control::SponsorInfo about, sponsor_->Describe());
  info.donated = about.donated;
  info.lent = about.lent;
  info.quarantined = about.quarantined;
  info.free = about.free;
  for (const auto& endpoint : about.endpoints) {
    info.data_endpoints.push_back(endpoint.transport + " " + endpoint.address);
  }
  return Status();
}

std::vector<control::LeaseInfo> SponsorSide::Leases() const {
  std::vector<control::LeaseInfo> all = sponsor_->Leases();
  for (auto& image : images_.List()) all.push_back(std::move(image));
  return all;
}

Status SponsorSide::FreeLease(LeaseId lease, bool force) {
  if (!store::IsImage(lease)) return sponsor_->ForceFree(lease, force);
  HECA_RETURN_IF_ERROR(images_.GivenBack(lease).status());
  if (!force) {
    return {ErrorCode::kFailedPrecondition,
            "it is the memory of a VM that left, and what its destination has not got yet would be lost (force it if that is "
            "meant)"};
  }
  images_.Withdraw(lease);
  log_.End(lease, migration::Phase::kLost,
           {ErrorCode::kDataLoss, "an operator has given up what the destination had not got yet"});
  departures_->GivenBack(lease);
  return {};
}

std::vector<control::ConnectionInfo> SponsorSide::Connections() const {
  std::vector<control::ConnectionInfo> connections;
  for (const auto& from : server_->Connections()) {
    connections.push_back({server_->Transport() + " " + from.peer + " -> " + server_->endpoint().ToString(),
                           from.role == Role::kUrgent ? "urgent" : "bulk", "", from.lease, false, from.bytes_in,
                           from.bytes_out});
  }
  return connections;
}

void SponsorSide::OnLease(store::LeaseEvent event, const control::LeaseInfo& lease, std::string_view why) {
  const auto severity = event == store::LeaseEvent::kQuarantined ? control::Severity::kWarning : control::Severity::kInfo;
  std::string text = "lease " + std::to_string(lease.id.value()) + " of " + FormatSize(lease.reserved) + " to '" +
                     lease.owner_node + "' for region '" + lease.region + "'";
  if (!why.empty()) text.append(": ").append(why);
  events_.Add(severity, KindOf(event), "", std::move(text));
}

}  // namespace heca::node
