// SPDX-License-Identifier: LGPL-2.1-or-later
// The source's half of the migration of a governed VM: its region, from the moment that it is asked to leave.
//
//   step          the region's journal   the lease                a crash here, and the next hecad
//   BeginLeave    active                 ours                     takes it back: nothing has happened
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
  return {record_.lease.sponsor, record_.lease.address, record_.lease.lease, Bytes(record_.limit), record_.page_loss};
}

namespace {

Result<control::Placement> Placed(const region::PageTable& table, std::uint32_t image_slots) {
  control::Placement placement;
  placement.complete = true;
  const Slot mark = table.slot_mark();
  if (mark.value() > image_slots) placement.mark = Slot(mark.value() - image_slots);
  const PageIndex end(table.pages().value());
  for (PageIndex page(0); page < end;) {
    if (!table.TouchedAround(page)) {
      page = region::PageTable::NextGroup(page);
      continue;
    }
    const region::PageEntry entry = table.Get(page);
    // An engine that was stopped has placed what it took for coming, or never will; what was leaving is still here.
    const bool away = entry.state == PageState::kAway || entry.state == PageState::kComing ||
                      entry.state == PageState::kPrefetching;
    if (entry.state == PageState::kLost || entry.state == PageState::kPoisoned || entry.state == PageState::kDropping ||
        (away && entry.slot.value() <= image_slots)) {
      return Status(ErrorCode::kFailedPrecondition, "page " + std::to_string(page.value()) + " is " +
                                                        std::string(region::ToString(entry.state)) + ": it cannot be moved",
                    ErrorScope::kRegion);
    }
    if (away) {
      const Slot slot(entry.slot.value() - image_slots);
      auto& runs = placement.runs;
      if (!runs.empty() && runs.back().first + runs.back().pages == page.value() &&
          runs.back().slot.value() + runs.back().pages == slot.value()) {
        ++runs.back().pages;
      } else {
        runs.push_back({page.value(), 1, slot});
      }
      ++placement.pages;
    }
    ++page;
  }
  return placement;
}

}  // namespace

Result<control::Placement> Session::Rest() {
  const std::lock_guard operation(operation_mutex_);
  const auto governance = Governing();
  if (!governance || !leaving_ || ended()) {
    return Status(ErrorCode::kFailedPrecondition, "region '" + name_ + "' is not governed any more", ErrorScope::kRegion);
  }
  state_ = RegionState::kLeaving;
  governance->engine->Stop();
  auto placed = Placed(governance->engine->table(), record_.image_slots);
  // The connections too: the sponsor lets nobody else in before they are gone.
  Publish(nullptr);
  making_.reset();
  const std::lock_guard lock(events_mutex_);
  engine_events_.clear();
  return placed;
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
