// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node/leaver.h"

#include <utility>

#include "guest/blocks.h"
#include "guest/facts.h"
#include "guest/refusals.h"

namespace heca::node {
namespace {

constexpr std::chrono::seconds kPatience{5};

}  // namespace

namespace {

/// The VM's monitor, which serves one client: where its memory is governed, that is the region's.
Result<std::shared_ptr<guest::Qmp>> MonitorOf(Session* session, const std::string& socket, Deadline deadline) {
  if (session != nullptr) {
    auto monitor = session->Monitor();
    if (monitor && monitor->Connected()) return monitor;
    return Status(ErrorCode::kUnavailable, "QEMU's monitor is not connected: try again in a few seconds");
  }
  HECA_ASSIGN_OR_RETURN(auto monitor, guest::Qmp::Connect(socket, deadline));
  return std::shared_ptr<guest::Qmp>(std::move(monitor));
}

}  // namespace

std::optional<control::Governed> HandedWith(const Leaver& leaver) {
  if (!leaver.region) return std::nullopt;
  return leaver.region->session().Handed();
}

Result<Leaver> MakeLeaver(const AttachTarget& target, const std::string& qmp_socket, const os::UffdAbilities& abilities,
                          Millis io_grace, std::shared_ptr<Session> session) {
  const guest::GuestIdentity& identity = target.identity;
  const std::string socket = qmp_socket.empty() ? identity.qmp_path : qmp_socket;
  const pid_t pid = identity.process.pid;
  if (!identity.is_qemu || socket.empty()) {
    return Status(ErrorCode::kFailedPrecondition,
                  "process " + std::to_string(pid) + " is no QEMU with a QMP socket for hecad: name one with --qmp");
  }
  const Deadline deadline = Deadline::After(kPatience);
  HECA_ASSIGN_OR_RETURN(const std::shared_ptr<guest::Qmp> monitor, MonitorOf(session.get(), socket, deadline));
  HECA_ASSIGN_OR_RETURN(const guest::GuestFacts facts, guest::GatherFacts(pid, monitor.get(), {}, deadline));
  HECA_RETURN_IF_ERROR(guest::ToStatus(guest::Judge(facts)));
  HECA_ASSIGN_OR_RETURN(auto blocks, guest::QemuRamBlocks(pid, *monitor, deadline));
  Leaver leaver;
  leaver.record.region = target.region;
  leaver.record.stage = DepartureStage::kStreaming;
  leaver.record.pid = pid;
  leaver.record.start_time = identity.process.start_time;
  leaver.record.qmp_socket = socket;
  for (auto& block : blocks) {
    leaver.ram.push_back({os::TargetAddress(block.address), block.bytes});
    leaver.blocks.push_back({block.name, block.bytes});
    leaver.record.blocks.push_back({block.path, "", block.inode, block.file_offset, block.bytes.value()});
    HECA_ASSIGN_OR_RETURN(os::RamFile file, os::RamFile::Create(std::move(block.fd)));
    leaver.image.push_back({std::move(file), os::FileOffset(block.file_offset), block.bytes});
  }
  leaver.notes = WriteNotes(pid, monitor, leaver.ram, abilities, io_grace);
  leaver.vm = std::make_shared<guest::MigratingVm>(monitor);
  leaver.monitor = monitor;
  HECA_ASSIGN_OR_RETURN(const std::string state, leaver.vm->RunState(deadline));
  leaver.record.ran = state == "running";
  if (session) {
    leaver.record.governed = session->name();
    HECA_ASSIGN_OR_RETURN(leaver.region, LeavingRegion::Begin(std::move(session)));
  }
  return leaver;
}

}  // namespace heca::node
