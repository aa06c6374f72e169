// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node/node.h"

#include <unistd.h>

#include <utility>

#include "base/log.h"
#include "base/size.h"
#include "node/doctor.h"
#include "node/node_impl.h"
#include "transport/rdma/devices.h"

namespace heca::node {

using control::EventKind;
using control::Severity;

Node::Node(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Node::~Node() = default;

Result<std::unique_ptr<Node>> Node::Create(NodeConfig config) {
  auto impl = std::make_unique<Impl>(std::move(config));
  HECA_RETURN_IF_ERROR(impl->Start());
  return std::unique_ptr<Node>(new Node(std::move(impl)));
}

control::SponsorApi* Node::sponsor() {
  auto* side = impl_->sponsor_side.load();
  return side != nullptr ? &side->api() : nullptr;
}

control::MigrationApi* Node::arrivals() { return impl_->config.compute ? &impl_->crossing : nullptr; }

Result<control::RegionInfo> Node::Attach(const control::AttachSpec& spec, control::ProgressSink& progress) {
  if (!impl_->config.compute) {
    return Status(ErrorCode::kFailedPrecondition, "this hecad only lends memory; set compute = true to govern VMs");
  }
  HECA_RETURN_IF_ERROR(CheckSupported(spec, impl_->abilities));
  HECA_ASSIGN_OR_RETURN(const AttachTarget target, FindTarget(spec));
  auto made = impl_->Make(target, [&] { return Session::Attach(impl_->Context(), target, spec, progress); });
  const std::shared_ptr<Session> session = made.ok() ? *made : nullptr;
  if (!session) {
    impl_->events.Add(Severity::kWarning, EventKind::kAttachFailed, target.region, made.status().ToString());
    impl_->AdoptLeftLeases();
    return made.status();
  }
  const control::RegionInfo info = session->Info();
  impl_->events.Add(Severity::kInfo, EventKind::kAttached, target.region,
                    FormatSize(info.size) + " of process " + std::to_string(info.pid) + ", " + FormatSize(info.limit) +
                        " local, the rest at " + info.stores.front().sponsor + "; I/O rule: " + info.io_rule);
  if (const Status reached = session->WaitForLimit(progress);
      !reached.ok() && reached.code() != ErrorCode::kAborted) {
    return reached;
  }
  return session->Info();
}

Result<control::RegionInfo> Node::Limit(const RegionId& region, Bytes limit, control::ProgressSink& progress) {
  HECA_ASSIGN_OR_RETURN(const auto session, impl_->Find(region));
  HECA_RETURN_IF_ERROR(session->Limit(limit, progress));
  return session->Info();
}

Status Node::Detach(const RegionId& region, control::ProgressSink& progress) {
  HECA_ASSIGN_OR_RETURN(const auto session, impl_->Find(region));
  HECA_RETURN_IF_ERROR(session->Detach(progress));
  // The guest is free; what is left is to give the lease back. If the sponsor is out of reach, the keeper goes on.
  if (const Status ended = session->End(); !ended.ok()) {
    Log().warn("{}: detached; its lease is given back later: {}", region, ended.ToString());
    return Status();
  }
  impl_->Forget(session);
  return Status();
}

Result<control::RegionInfo> Node::Resolve(const RegionId& region, control::LostPages how) {
  HECA_ASSIGN_OR_RETURN(const auto session, impl_->Find(region));
  HECA_RETURN_IF_ERROR(session->Resolve(how));
  return session->Info();
}

Result<std::vector<control::RegionInfo>> Node::Regions() {
  std::vector<control::RegionInfo> infos;
  for (const auto& session : impl_->All()) infos.push_back(session->Info());
  return infos;
}

Result<control::RegionInfo> Node::Region(const RegionId& region) {
  HECA_ASSIGN_OR_RETURN(const auto session, impl_->Find(region));
  return session->Info();
}

Result<std::vector<control::RegionStats>> Node::Stats(const RegionId& region) {
  std::vector<control::RegionStats> stats;
  if (!region.empty()) {
    HECA_ASSIGN_OR_RETURN(const auto session, impl_->Find(region));
    stats.push_back(session->Stats());
    return stats;
  }
  for (const auto& session : impl_->All()) stats.push_back(session->Stats());
  return stats;
}

Result<control::NodeInfo> Node::About() {
  control::NodeInfo info;
  info.name = impl_->config.name;
  info.version = impl_->config.version;
  info.boot_id = impl_->boot_id;
  info.pid = ::getpid();
  info.uptime = std::chrono::duration_cast<Millis>(Clock::now() - impl_->started);
  info.local_endpoint = impl_->config.socket;
  info.kernel = KernelFacts(impl_->abilities);
  if (auto* side = impl_->sponsor_side.load()) {
    info.peer_endpoint = impl_->config.control_listen;
    HECA_RETURN_IF_ERROR(side->Describe(info));
  }
  info.regions = static_cast<std::uint32_t>(impl_->All().size());
  return info;
}

Result<std::vector<control::PeerInfo>> Node::Nodes() {
  control::PeerInfo self;
  HECA_ASSIGN_OR_RETURN(const control::NodeInfo about, About());
  self.name = about.name;
  self.endpoint = about.peer_endpoint;
  self.failure_domain = impl_->config.failure_domain;
  self.health = control::PeerHealth::kSelf;
  self.boot_id = about.boot_id;
  self.donated = about.donated;
  self.free = about.free;
  if (auto* side = impl_->sponsor_side.load()) self.connections = side->Connections();
  std::vector<control::PeerInfo> nodes{std::move(self)};
  for (auto& peer : impl_->sponsors->Peers()) {
    for (const auto& session : impl_->All()) {
      if (session->Info().stores.front().endpoint != peer.endpoint) continue;
      for (auto& connection : session->Stats().connections) peer.connections.push_back(std::move(connection));
    }
    nodes.push_back(std::move(peer));
  }
  return nodes;
}

Result<std::vector<control::DoctorCheck>> Node::Doctor() {
  std::vector<control::RegionInfo> regions;
  for (const auto& session : impl_->All()) regions.push_back(session->Info());
  return Examine({impl_->config, impl_->abilities, impl_->sponsors->Peers(), regions, transport::RdmaDevices()});
}

Status Node::Events(const control::EventQuery& query, control::EventSink& sink) {
  return impl_->events.Deliver(query, sink);
}

Result<std::vector<control::LeaseInfo>> Node::Leases() {
  auto* side = impl_->sponsor_side.load();
  return side != nullptr ? side->Leases() : std::vector<control::LeaseInfo>();
}

Status Node::FreeLease(LeaseId lease, bool force) {
  auto* side = impl_->sponsor_side.load();
  if (side == nullptr) return Status(ErrorCode::kFailedPrecondition, "this hecad lends no memory");
  return side->FreeLease(lease, force);
}

}  // namespace heca::node
