// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node/sponsor_side.h"

#include <string_view>
#include <utility>

#include "base/log.h"
#include "base/size.h"
#include "transport/rdma/rdma_server.h"
#include "transport/tcp_server.h"

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

/// The port after that of TCP: over iWARP both are TCP ports. One that the kernel chooses stays so.
transport::Endpoint RdmaEndpoint(const transport::Endpoint& listen) {
  return {listen.host, static_cast<std::uint16_t>(listen.port == 0 ? 0 : listen.port + 1)};
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
  side->router_ = std::make_unique<LendingRouter>(*side->sponsor_, side->images_);
  HECA_RETURN_IF_ERROR(side->Listen(config));
  side->departures_ = std::make_unique<Departures>(config.run_dir + "/departures", side->images_, regions, events, log);
  HECA_RETURN_IF_ERROR(side->departures_->Resume());
  return side;
}

Status SponsorSide::Listen(const NodeConfig& config) {
  HECA_ASSIGN_OR_RETURN(const auto listen, transport::Endpoint::Parse(config.data_listen));
  if (config.transport != TransportChoice::kTcp) {
    transport::RdmaServerOptions options;
    options.listen = RdmaEndpoint(listen);
    auto rdma = transport::RdmaServer::Create(options, *router_);
    if (rdma.ok()) {
      servers_.push_back(std::move(*rdma));
    } else if (config.transport == TransportChoice::kRdma) {
      return rdma.status().WithContext("transport rdma");
    } else {
      Log().info("pages are not offered over RDMA: {}", rdma.status().ToString());
    }
  }
  if (config.transport != TransportChoice::kRdma) {
    transport::TcpServerOptions options;
    options.listen = listen;
    auto tcp = transport::TcpServer::Create(options, *router_);
    if (!tcp.ok()) return tcp.status().WithContext("data-listen " + config.data_listen);
    servers_.push_back(std::move(*tcp));
  }
  std::vector<control::DataEndpoint> endpoints;
  for (const auto& server : servers_) endpoints.push_back({server->Transport(), server->endpoint().ToString()});
  sponsor_->SetEndpoints(endpoints);
  images_.SetEndpoints(endpoints);
  return {};
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
  for (const auto& server : servers_) {
    for (const auto& from : server->Connections()) {
      connections.push_back({server->Transport() + " " + from.peer + " -> " + server->endpoint().ToString(),
                             from.role == Role::kUrgent ? "urgent" : "bulk", "", from.lease, false, from.bytes_in,
                             from.bytes_out});
    }
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
