// SPDX-License-Identifier: LGPL-2.1-or-later
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "control/migration_client.h"
#include "guest/blocks.h"
#include "guest/facts.h"
#include "guest/refusals.h"
#include "migration/departure.h"
#include "node/host.h"
#include "node/leaving.h"
#include "node/node_impl.h"

namespace heca::node {
namespace {

constexpr std::chrono::seconds kGuestPatience{5};

/// What of the VM travels with it.
struct Leaver {
  DepartureRecord record;
  RegionId region;
  std::shared_ptr<guest::Qmp> monitor;
  std::vector<control::RamBlock> blocks;
  std::vector<store::ImageBlock> image;
};

Status CheckSpec(const control::MigrateSpec& spec) {
  if (spec.mode != control::MigrationMode::kPostCopy) {
    return {ErrorCode::kUnsupported, "only --mode post-copy is in this version"};
  }
  if (spec.destination_pid <= 0 || spec.uri.empty()) {
    return {ErrorCode::kInvalidArgument, "name the QEMU that waits at the destination: --dest-pid, --dest-qmp and --uri"};
  }
  return {};
}

Result<Leaver> FindLeaver(const control::MigrateSpec& spec) {
  control::AttachSpec named;
  named.pid = spec.pid;
  named.domain = spec.domain;
  named.qmp_socket = spec.qmp_socket;
  HECA_ASSIGN_OR_RETURN(const AttachTarget target, FindTarget(named));
  const std::string socket = spec.qmp_socket.empty() ? target.identity.qmp_path : spec.qmp_socket;
  const pid_t pid = target.identity.process.pid;
  if (!target.identity.is_qemu || socket.empty()) {
    return Status(ErrorCode::kFailedPrecondition,
                  "process " + std::to_string(pid) + " is no QEMU with a QMP socket for hecad: name one with --qmp");
  }
  const Deadline deadline = Deadline::After(kGuestPatience);
  Leaver leaver;
  leaver.region = target.region;
  leaver.record.region = target.region;
  leaver.record.stage = DepartureStage::kStreaming;
  leaver.record.pid = pid;
  leaver.record.start_time = target.identity.process.start_time;
  leaver.record.qmp_socket = socket;
  leaver.record.uri = spec.uri;
  HECA_ASSIGN_OR_RETURN(leaver.monitor, guest::Qmp::Connect(socket, deadline));
  HECA_ASSIGN_OR_RETURN(const guest::GuestFacts facts, guest::GatherFacts(pid, leaver.monitor.get(), {}, deadline));
  HECA_RETURN_IF_ERROR(guest::ToStatus(guest::Judge(facts)));
  HECA_ASSIGN_OR_RETURN(auto blocks, guest::QemuRamBlocks(pid, *leaver.monitor, deadline));
  for (auto& block : blocks) {
    leaver.blocks.push_back({block.name, block.bytes});
    leaver.record.blocks.push_back({block.path, "", block.inode, block.file_offset, block.bytes.value()});
    HECA_ASSIGN_OR_RETURN(os::RamFile file, os::RamFile::Create(std::move(block.fd)));
    leaver.image.push_back({std::move(file), os::FileOffset(block.file_offset), block.bytes});
  }
  return leaver;
}

}  // namespace

Result<control::MigrationSummary> Node::Migrate(const control::MigrateSpec& spec, control::ProgressSink& progress) {
  HECA_RETURN_IF_ERROR(CheckSpec(spec));
  auto* const side = impl_->sponsor_side.load();
  if (side == nullptr || !impl_->config.compute) {
    return Status(ErrorCode::kFailedPrecondition, "this hecad only lends memory; set compute = true to migrate VMs");
  }
  for (const auto& session : impl_->All()) {
    if (session->pid() == spec.pid && !session->ended()) {
      return Status(ErrorCode::kUnsupported, "the memory of process " + std::to_string(spec.pid) + " is governed, as region '" +
                                                 session->name() + "': detach it first (this version moves whole VMs only)");
    }
  }
  HECA_ASSIGN_OR_RETURN(const cluster::PeerConfig peer, impl_->sponsors->Resolve(spec.destination));
  HECA_ASSIGN_OR_RETURN(Leaver leaver, FindLeaver(spec));
  HECA_ASSIGN_OR_RETURN(const auto destination, control::MigrationClient::Create({.endpoint = peer.endpoint}));

  control::PrepareRequest request;
  request.region = leaver.region;
  request.source_node = impl_->config.name;
  request.source_address = impl_->config.control_listen;
  request.blocks = std::move(leaver.blocks);
  request.pid = spec.destination_pid;
  request.qmp_socket = spec.destination_qmp;
  request.uri = spec.uri;
  HECA_ASSIGN_OR_RETURN(request.image, side->images().Offer(leaver.region, std::move(leaver.image)));

  HECA_ASSIGN_OR_RETURN(const std::string run_state, guest::MigratingVm(leaver.monitor).RunState(Deadline::After(kGuestPatience)));
  leaver.record.ran = run_state == "running";
  leaver.record.image = {spec.destination, peer.endpoint, request.image, {}};
  LentRam image(side->images(), side->departures(), request.image);
  HECA_RETURN_IF_ERROR(side->departures().Begin(std::move(leaver.record)));
  LeavingQemu vm(std::move(leaver.monitor), spec.uri);
  migration::Departure departure(vm, image, *destination, std::move(request));
  auto summary = departure.Run(progress);
  if (migration::IsPastSwitch(departure.phase())) image.Keep();
  if (summary.ok()) summary->mode = spec.mode;
  return summary;
}

}  // namespace heca::node
