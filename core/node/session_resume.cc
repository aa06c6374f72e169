// SPDX-License-Identifier: LGPL-2.1-or-later
// A restarted hecad takes its regions back. Threads of the guest are waiting meanwhile, and so may be QEMU's main
// loop: nothing here asks QEMU or waits for the sponsor.
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "node/session.h"
#include "os/proc.h"
#include "store/random.h"

namespace heca::node {
namespace {

/// The mapping of the target that holds `block`; it may be split into several (NUMA policy, registration).
Result<os::Mapping> FindMapping(const std::vector<os::Mapping>& maps, const BlockRecord& block) {
  for (const auto& mapping : maps) {
    if (mapping.start <= block.address && block.address < mapping.end && mapping.inode == block.inode) return mapping;
  }
  return Status(ErrorCode::kFailedPrecondition,
                "block '" + block.name + "' (" + block.path + ") is not mapped any more where it was");
}

}  // namespace

Result<std::unique_ptr<Session>> Session::Resume(const SessionContext& context, RegionRecord record) {
  std::unique_ptr<Session> session(new Session(context, std::move(record)));
  session->state_ = control::RegionState::kRecovering;
  const guest::ProcessId process{session->record_.pid, session->record_.start_time};
  const auto now = guest::IdentifyProcess(process.pid);
  const bool alive = now.ok() && *now == process;
  if (!alive || session->record_.phase != RecordPhase::kActive) {
    if (alive && session->record_.target_fd >= 0) {
      (void)guest::CloseUffdInTarget(process, session->record_.target_fd, Deadline::After(std::chrono::seconds(2)));
    }
    session->target_died_ = true;  // housekeeping gives the lease back
    return session;
  }
  HECA_ASSIGN_OR_RETURN(guest::CapturedUffd captured, guest::TakeOverUffd(process, session->record_.target_fd));
  HECA_RETURN_IF_ERROR(session->ResumeMemory());
  HECA_RETURN_IF_ERROR(session->ResumeStore());
  HECA_RETURN_IF_ERROR(session->MakeGuard());
  HECA_ASSIGN_OR_RETURN(region::PageTable table,
                        region::PageTable::Open(context.journal.TablePath(session->name_), *session->map_,
                                                session->TableStoreName()));
  HECA_RETURN_IF_ERROR(session->StartEngine(std::move(captured), std::move(table), fault::StartMode::kTakeOver));
  if (const Status booked = session->Book(Bytes(session->record_.limit)); !booked.ok()) {
    context.events.Add(control::Severity::kWarning, control::EventKind::kAlarm, session->name_,
                       "taken back, although its memory does not fit: " + booked.ToString());
  }
  return session;
}

Status Session::ResumeMemory() {
  HECA_ASSIGN_OR_RETURN(const auto maps, os::ReadMaps(record_.pid));
  std::vector<region::BlockSpec> specs;
  for (const auto& block : record_.blocks) {
    HECA_ASSIGN_OR_RETURN(const os::Mapping mapping, FindMapping(maps, block));
    HECA_ASSIGN_OR_RETURN(unique_fd file, os::OpenMappedFile(record_.pid, mapping));
    specs.push_back({os::TargetAddress(block.address), Bytes(block.bytes), std::move(file),
                     os::FileOffset(block.file_offset)});
  }
  HECA_ASSIGN_OR_RETURN(map_, region::RegionMap::Create(std::move(specs)));
  page_size_ = map_->page_size();
  map_size_ = map_->BytesOf(map_->pages().value());
  ram_fd_.reset(::dup(map_->blocks().front().file.fd()));
  return Status();
}

Status Session::ResumeStore() {
  // The epoch goes up, which shuts out late writes of the hecad before this one. Journaled first: the sponsor accepts
  // the same claim again if this hecad dies before it hears the answer.
  if (record_.lease.claim == control::Secret{}) {
    record_.lease.claim = store::RandomSecret();
    HECA_RETURN_IF_ERROR(Journal());
  }
  control::TakeOverRequest request;
  request.key = record_.lease.lease.key;
  request.to = request.key.epoch + 1;
  request.claim = record_.lease.claim;
  request.owner_node = context_.config.name;
  request.owner_boot_id = context_.boot_id;
  HECA_ASSIGN_OR_RETURN(sponsor_, Sponsors::Client(record_.lease.address));
  HECA_ASSIGN_OR_RETURN(store_,
                        store::RemoteStore::Resume(*sponsor_, record_.lease.lease, request, StoreOptions(), this));
  return Status();
}

}  // namespace heca::node
