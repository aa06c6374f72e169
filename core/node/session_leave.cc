// SPDX-License-Identifier: LGPL-2.1-or-later
// The source's half of the migration of a governed VM: its region, from the moment that it is asked to leave.
//
//   step          the region's journal   the lease                a crash here, and the next hecad
//   BeginLeave,   active                 ours                     takes it back: nothing has happened. What was armed so
//   Moved                                                         that its writes are seen is answered by the next one
//   Rest          active                 ours, nobody uses it     the same; its departure makes the VM go on
//   HandOver      leaving                at our epoch, or at the  leaves it alone: its departure finds out whose the VM is
//                                        destination's
//   Stay          active, handed over    taken back from          takes it back, from whatever epoch
//                                        whatever epoch
//   Left          none                   the destination's        knows nothing of it
//
// Rest leaves the region as a crash of hecad would: its threads wait where they touch what is away, its page table says
// where everything is, and Stay is what a restart does. So what protects a region against crashes protects it here.
#include <string>
#include <utility>

#include "base/log.h"
#include "node/session.h"

namespace heca::node {

using control::EventKind;
using control::RegionState;
using control::Severity;
using region::PageState;

Status Session::BeginLeave() {
  const std::unique_lock operation(operation_mutex_, std::try_to_lock);
  if (!operation) return Status(ErrorCode::kBusy, "region '" + name_ + "' is being changed by another call");
  HECA_RETURN_IF_ERROR(CheckSettled());
  HECA_ASSIGN_OR_RETURN(const auto governance, Governed());
  if (phase() != RecordPhase::kActive || detach_step_ != DetachStep::kNone) {
    return Status(ErrorCode::kBusy, "region '" + name_ + "' is being detached, or its memory is still coming from another "
                                    "host: try again when that is over");
  }
  if (holds_image()) {
    return Status(ErrorCode::kBusy, "memory of region '" + name_ + "' is still coming from the host that it left: try again "
                                    "when `hecactl leases` there lists no image of it");
  }
  const fault::EngineStats stats = governance->engine->Stats();
  if (stats.pages.Of(PageState::kLost) + stats.pages.Of(PageState::kPoisoned) > 0) {
    return Status(ErrorCode::kFailedPrecondition, "pages of region '" + name_ + "' are at no sponsor any more: bring the "
                                                  "sponsor back, or say `hecactl resolve` first");
  }
  if (governance->store->Health() != StoreHealth::kGood || !governance->engine->counted()) {
    return Status(ErrorCode::kUnavailable, "region '" + name_ + "' waits for " + governance->store->Describe() +
                                               ", or is only being attached: try again later");
  }
  leaving_ = true;
  return Status();
}

control::Governed Session::Handed() const {
  const std::lock_guard lock(record_mutex_);
  return {record_.lease.sponsor, record_.lease.address, record_.lease.lease, Bytes(record_.limit), record_.page_loss,
          record_.transport};
}

namespace {

constexpr std::chrono::seconds kChangesPatience{10};

/// As the lease counts them, which begins behind the image that the VM once came from.
Result<std::vector<control::PlacedRun>> InLease(const fault::ChangeNotes::Places& places, std::uint32_t image_slots) {
  std::vector<control::PlacedRun> runs;
  runs.reserve(places.size());
  for (const region::SlotRun& run : places) {
    if (run.slot != kNoSlot && run.slot.value() <= image_slots) {
      return Status(ErrorCode::kFailedPrecondition, "page " + std::to_string(run.first.value()) +
                                                        " still lies at the host that the VM came from", ErrorScope::kRegion);
    }
    runs.push_back({run.first.value(), run.pages, run.slot == kNoSlot ? kNoSlot : Slot(run.slot.value() - image_slots)});
  }
  return runs;
}

/// How many pages lie in the lease. An engine that was stopped has placed what it took for coming, or never will; what was
/// leaving is still here.
Result<std::uint64_t> CountPlaced(const region::PageTable& table) {
  const std::uint64_t nowhere =
      table.CountOf(PageState::kLost) + table.CountOf(PageState::kPoisoned) + table.CountOf(PageState::kDropping);
  if (nowhere > 0) {
    return Status(ErrorCode::kFailedPrecondition, std::to_string(nowhere) + " pages are lost: they cannot be moved",
                  ErrorScope::kRegion);
  }
  return table.Counts().WithStore();
}

}  // namespace

Result<std::vector<control::PlacedRun>> Session::Moved(bool copied) {
  const auto governance = Governing();
  if (!governance || !leaving_ || ended()) {
    return Status(ErrorCode::kFailedPrecondition, "region '" + name_ + "' is not governed any more", ErrorScope::kRegion);
  }
  // The grace time of the I/O guard ends each wait for devices, unless a page of theirs does not come.
  HECA_ASSIGN_OR_RETURN(const auto places,
                        governance->engine->Changed(copied, Deadline::After(context_.config.io_grace + kChangesPatience)));
  return InLease(places, record_.image_slots);
}

Result<control::Placement> Session::Rest() {
  const std::lock_guard operation(operation_mutex_);
  const auto governance = Governing();
  if (!governance || !leaving_ || ended()) {
    return Status(ErrorCode::kFailedPrecondition, "region '" + name_ + "' is not governed any more", ErrorScope::kRegion);
  }
  state_ = RegionState::kLeaving;
  governance->engine->Stop();
  const region::PageTable& table = governance->engine->table();
  control::Placement placement;
  placement.complete = true;
  if (const Slot mark = table.slot_mark(); mark.value() > record_.image_slots) {
    placement.mark = Slot(mark.value() - record_.image_slots);
  }
  const Result<std::uint64_t> count = CountPlaced(table);
  auto runs = InLease(governance->engine->ChangedLast(), record_.image_slots);
  // The connections too: the sponsor lets nobody else in before they are gone.
  Publish(nullptr);
  making_.reset();
  {
    const std::lock_guard lock(events_mutex_);
    engine_events_.clear();
  }
  HECA_ASSIGN_OR_RETURN(placement.pages, count);
  HECA_ASSIGN_OR_RETURN(placement.runs, std::move(runs));
  return placement;
}

Status Session::HandOver() {
  {
    const std::lock_guard lock(record_mutex_);
    record_.phase = RecordPhase::kLeaving;
  }
  return Journal();
}

void Session::Stay() {
  const std::lock_guard operation(operation_mutex_);
  if (!leaving_ || erased_) return;
  if (state_ == RegionState::kLeaving) {
    bool was_handed_over = false;
    {
      const std::lock_guard lock(record_mutex_);
      was_handed_over = record_.phase == RecordPhase::kLeaving;
      if (was_handed_over) record_.handed_over = true;
      record_.phase = RecordPhase::kActive;
    }
    if (was_handed_over) {
      if (const Status written = Journal(); !written.ok()) Log().error("{}: {}", name_, written.ToString());
    }
    state_ = RegionState::kResuming;  // its Keeper takes it back
  } else if (const auto governance = Governing()) {
    governance->engine->ForgetChanges();
  }
  leaving_ = false;
}

Status Session::Left() {
  const std::lock_guard ending(end_mutex_);
  if (erased_) return Status();
  HECA_RETURN_IF_ERROR(context_.journal.Erase(name_));
  erased_ = true;
  context_.budget.Drop(name_);
  Tell(Severity::kInfo, EventKind::kDetached, "has left for another host, with its lease");
  state_ = RegionState::kEnding;
  ended_.store(true, std::memory_order_release);
  return Status();
}

Status Session::RaiseFence(const std::vector<guest::AddressRange>& ram) const {
  return guest::RaiseFence({record_.pid, record_.start_time}, record_.target_fd, ram);
}

}  // namespace heca::node
