// SPDX-License-Identifier: LGPL-2.1-or-later
// A restarted hecad takes its regions back. Threads of the guest are waiting meanwhile, and so may be QEMU's main
// loop: nothing here asks QEMU or waits for the sponsor.
//
// What can fail, and what is left for the next attempt (the Keeper makes it, with a growing pause, until it succeeds or
// the process is gone):
//   the record cannot be read            nothing was done; somebody may mend it
//   process gone                         not an error: the lease is given back
//   userfaultfd, maps, RAM files, table  nothing was done, or it is done again from the start
//   journal full (the claim of the take-over must be there before the sponsor hears of it)    nothing was done
//   engine: registration, page table     the store stays, and so does a lease that was taken over; the table is
//                                        recovered again, as after a crash in the middle
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/size.h"
#include "node/session.h"
#include "os/proc.h"
#include "store/image_sponsor.h"
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

std::unique_ptr<Session> Session::Recall(const SessionContext& context, const RegionId& region) {
  RegionRecord record;
  record.name = region;
  std::unique_ptr<Session> session(new Session(context, std::move(record)));
  session->state_ = control::RegionState::kResuming;
  session->record_read_ = false;
  (void)session->ReadRecord();  // so that it can be shown and found by its process; TakeBack says what is wrong
  return session;
}

Status Session::ReadRecord() {
  HECA_ASSIGN_OR_RETURN(RegionRecord record, context_.journal.Read(name_));
  if (record.name != name_) {
    return Status(ErrorCode::kDataLoss, "the record of region '" + name_ + "' is that of '" + record.name + "'");
  }
  const std::lock_guard lock(record_mutex_);
  record_ = std::move(record);
  record_read_ = true;
  if (record_.phase == RecordPhase::kLeaving) {  // until its departure says Stay or Left
    leaving_ = true;
    state_ = control::RegionState::kLeaving;
  }
  page_size_ = Bytes(record_.page_size);
  std::uint64_t size = 0;
  for (const auto& block : record_.blocks) size += block.bytes;
  map_size_ = Bytes(size);
  return Status();
}

Status Session::TakeBack() {
  const std::lock_guard operation(operation_mutex_);
  if (!record_read_) HECA_RETURN_IF_ERROR(ReadRecord());
  if (leaving_) return Status();
  if (const auto former = Governing()) {  // taken back anew, because its store was lost
    former->engine->Stop();
    Publish(nullptr);
    making_.reset();
    lost_pages_ = 0;
    const std::lock_guard lock(events_mutex_);
    engine_events_.clear();
  }
  const guest::ProcessId process{record_.pid, record_.start_time};
  const auto now = guest::IdentifyProcess(process.pid);
  const bool alive = now.ok() && *now == process;
  const bool governed = record_.phase == RecordPhase::kActive || record_.phase == RecordPhase::kDetaching ||
                        record_.phase == RecordPhase::kArriving;
  if (!alive || !governed) return CloseWhatEnded(alive);

  HECA_ASSIGN_OR_RETURN(guest::CapturedUffd captured, guest::TakeOverUffd(process, record_.target_fd));
  HECA_RETURN_IF_ERROR(ResumeMemory());
  HECA_RETURN_IF_ERROR(ResumeStore());
  // QEMU may be waiting for a page: its monitor comes later, by KeepMonitor.
  if (!making_->guard) HECA_RETURN_IF_ERROR(MakeGuard(nullptr));
  HECA_ASSIGN_OR_RETURN(region::PageTable table,
                        region::PageTable::Open(context_.journal.TablePath(name_), *map_, TableStoreName()));
  HECA_RETURN_IF_ERROR(StartEngine(std::move(captured), std::move(table), fault::StartMode::kTakeOver));
  {
    const std::lock_guard lock(vm_mutex_);
    if (monitor_) making_->guard->UseMonitor(monitor_);
  }
  {
    const std::lock_guard lock(record_mutex_);
    trouble_.clear();
  }
  const bool came = came_governed() || store::IsImage(record_.lease.lease.key.id);
  if (came) left_out_since_ = Clock::now();
  Tell(control::Severity::kInfo, control::EventKind::kRecovered, "taken back");
  const bool detaching = record_.phase == RecordPhase::kDetaching;
  if (detaching) {
    state_ = control::RegionState::kDetaching;
    making_->engine->BringHome();
    detach_step_ = DetachStep::kHome;
  }
  if (const Status booked = Book(detaching ? Size() : Bytes(record_.limit)); !booked.ok()) {
    Tell(control::Severity::kWarning, control::EventKind::kAlarm,
         "taken back, although its memory does not fit: " + booked.ToString());
  }
  return Status();
}

/// Nothing of it is away: its process is gone, or it was being attached or ending. End gives back what is left.
Status Session::CloseWhatEnded(bool alive) {
  if (alive && MemoryIsElsewhere()) {
    if (!EndWaitingQemu()) {
      return Status(ErrorCode::kUnavailable, "the QEMU that waits for a VM does not end: end process " +
                                                 std::to_string(record_.pid) + " by hand, it must not run",
                    ErrorScope::kRegion);
    }
    alive = false;
  }
  if (alive && record_.target_fd >= 0) {
    (void)guest::CloseUffdInTarget({record_.pid, record_.start_time}, record_.target_fd,
                                   Deadline::After(std::chrono::seconds(2)));
  }
  if (!alive) {
    Tell(control::Severity::kInfo, control::EventKind::kRegionEnded,
         "process " + std::to_string(record_.pid) + " has ended");
  } else if (record_.phase == RecordPhase::kEnding) {
    Tell(control::Severity::kInfo, control::EventKind::kDetached,
         "all memory is local again; what a hecad before this one had left was given back");
  } else {
    Tell(control::Severity::kWarning, control::EventKind::kAttachFailed, "hecad ended during its attach");
  }
  ended_.store(true, std::memory_order_release);
  return Status();
}

void Session::NoteTrouble(const Status& why, Millis next_try) {
  const std::string text = why.ToString();
  {
    const std::lock_guard lock(record_mutex_);
    if (trouble_ == text) return;  // told already
    trouble_ = text;
  }
  if (next_try == Millis(0)) {
    Tell(control::Severity::kError, control::EventKind::kAlarm, text + "; tried again until it succeeds");
  } else {
    Tell(control::Severity::kError, control::EventKind::kResuming,
         "cannot be taken back yet, its threads wait: " + text + "; tried again until it succeeds or the process ends");
  }
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
  if (const Bytes found = map_->BytesOf(map_->pages().value()); found != Size() || map_->page_size() != page_size_) {
    return Status(ErrorCode::kFailedPrecondition, "the memory of region '" + name_ + "' is " + FormatSize(found) +
                                                      " now, and was " + FormatSize(Size()));
  }
  ram_fd_.reset(::dup(map_->blocks().front().file.fd()));
  return Status();
}

Status Session::ResumeStore() {
  if (making_) return Status();  // an attempt before this one has made it, and it may be taking the lease over already
  HECA_ASSIGN_OR_RETURN(const control::TakeOverRequest request, ClaimLease(record_.lease, record_.handed_over));
  // Taken back all the same: its lease is kept, and what is here goes on. What is away waits for another choice.
  if (const Status can = context_.sponsors.Check(record_.transport); !can.ok()) {
    Tell(control::Severity::kError, control::EventKind::kAlarm, "its pages cannot travel: " + can.ToString());
  }
  auto making = std::make_shared<Governance>();
  if (record_.image) {
    HECA_ASSIGN_OR_RETURN(const control::TakeOverRequest image, ClaimLease(*record_.image, false));
    HECA_ASSIGN_OR_RETURN(making->image_sponsor, Sponsors::Client(record_.image->address));
    HECA_ASSIGN_OR_RETURN(making->image, store::RemoteStore::Resume(*making->image_sponsor, record_.image->lease, image,
                                                                    StoreOptions(*record_.image), &image_watch_));
  }
  HECA_ASSIGN_OR_RETURN(making->sponsor, Sponsors::Client(record_.lease.address));
  HECA_ASSIGN_OR_RETURN(making->store, store::RemoteStore::Resume(*making->sponsor, record_.lease.lease, request,
                                                                  StoreOptions(record_.lease), this));
  if (came_governed()) {
    making->joined = std::make_unique<store::JoinedStore>(making->image.get(), record_.image_slots, *making->store);
  }
  making_ = std::move(making);
  return Status();
}

Result<control::TakeOverRequest> Session::ClaimLease(LeaseRecord& lease, bool back) {
  // The epoch goes up, which shuts out late writes of the hecad before this one. Journaled first: the sponsor accepts
  // the same claim again if this hecad dies before it hears the answer.
  const auto unclaimed = [&] {
    const std::lock_guard lock(record_mutex_);
    if (lease.claim != control::Secret{}) return false;
    lease.claim = store::RandomSecret();
    return true;
  };
  if (unclaimed()) HECA_RETURN_IF_ERROR(Journal());
  const std::lock_guard lock(record_mutex_);
  control::TakeOverRequest request;
  request.key = lease.lease.key;
  request.to = request.key.epoch + (back ? control::kBackBy : 1);
  request.claim = lease.claim;
  request.owner_node = context_.config.name;
  request.owner_boot_id = context_.boot_id;
  request.back = back;
  return request;
}

}  // namespace heca::node
