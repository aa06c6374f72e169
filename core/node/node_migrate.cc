// SPDX-License-Identifier: LGPL-2.1-or-later
#include <memory>
#include <string>
#include <utility>

#include "control/migration_client.h"
#include "migration/departure.h"
#include "node/departure_watch.h"
#include "node/host.h"
#include "node/leaver.h"
#include "node/leaving.h"
#include "node/node_impl.h"

namespace heca::node {
namespace {

constexpr std::chrono::seconds kFencePatience{5};

Status CheckSpec(const control::MigrateSpec& spec) {
  if (spec.destination_pid <= 0 || spec.uri.empty()) {
    return {ErrorCode::kInvalidArgument, "name the QEMU that waits at the destination: --dest-pid, --dest-qmp and --uri"};
  }
  return {};
}

control::AttachSpec Named(const control::MigrateSpec& spec) {
  control::AttachSpec named;
  named.pid = spec.pid;
  named.domain = spec.domain;
  named.qmp_socket = spec.qmp_socket;
  return named;
}

}  // namespace

Result<control::MigrationSummary> Node::Migrate(const control::MigrateSpec& spec, control::ProgressSink& progress) {
  HECA_RETURN_IF_ERROR(CheckSpec(spec));
  auto* const side = impl_->sponsor_side.load();
  if (side == nullptr || !impl_->config.compute) {
    return Status(ErrorCode::kFailedPrecondition, "this hecad only lends memory; set compute = true to migrate VMs");
  }
  HECA_ASSIGN_OR_RETURN(const cluster::PeerConfig peer, impl_->sponsors->Resolve(spec.destination));
  HECA_ASSIGN_OR_RETURN(const AttachTarget target, FindTarget(Named(spec)));
  HECA_ASSIGN_OR_RETURN(Leaver leaver, impl_->MakeLeaverOf(target, spec.qmp_socket));
  const Helm::Course course = impl_->helm.Take(leaver.record.region, {spec.mode, spec.downtime_goal}, spec.bandwidth);
  HECA_ASSIGN_OR_RETURN(const auto destination, control::MigrationClient::Create({.endpoint = peer.endpoint}));

  control::PrepareRequest request;
  request.region = leaver.record.region;
  request.source_node = impl_->config.name;
  request.source_address = impl_->config.control_listen;
  request.blocks = std::move(leaver.blocks);
  request.pid = spec.destination_pid;
  request.qmp_socket = spec.destination_qmp;
  request.uri = spec.uri;
  request.governed = HandedWith(leaver);
  HECA_ASSIGN_OR_RETURN(request.image, side->images().Offer(request.region, std::move(leaver.image)));

  const bool governed = leaver.region != nullptr;
  LentRam image(side->images(), side->departures(), request.image, std::move(leaver.region));
  leaver.record.image = {spec.destination, peer.endpoint, request.image, {}};
  const pid_t pid = leaver.record.pid;
  HECA_RETURN_IF_ERROR(side->departures().Begin(std::move(leaver.record)));
  LeavingQemu vm(leaver.vm, std::move(leaver.notes), spec.uri, [&, monitor = leaver.monitor, ram = leaver.ram] {
    if (governed) return image.RaiseFence(ram);
    return guest::RaiseFence(pid, *monitor, ram, impl_->abilities, Deadline::After(kFencePatience));
  });
  control::MigrationInfo info;
  info.destination = spec.destination;
  info.domain = spec.domain;
  info.reached.region = request.region;
  info.reached.mode = course.plan.mode;
  DepartureWatch watch(impl_->departure_log, request.image, std::move(info), *destination, progress, vm);
  migration::Departure departure(vm, image, watch, std::move(request), course.plan, *course.steering);
  auto summary = departure.Run(watch);
  const migration::Phase last = departure.phase();
  const bool goes_on = side->departures().NoteCleared(image.lease().key.id, last, departure.restored(), summary.status());
  if (!goes_on) watch.Ended(summary, last);
  return summary;
}

Status Node::Steer(const control::SteerSpec& spec) { return impl_->helm.Steer(spec); }

Result<std::vector<control::MigrationInfo>> Node::Migrations() { return impl_->departure_log.List(); }

}  // namespace heca::node
