// SPDX-License-Identifier: LGPL-2.1-or-later
// The destination's half of the migration of a governed VM, beside what session_arrive.cc does for every VM. The lease is
// handed over twice: at Open this node takes it over, and may read; at Settle it is this node's, and may be written. In
// between the VM may still turn out to stay at its source, whose page table then must find every slot as it left it.
#include <algorithm>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/fail_points.h"
#include "base/log.h"
#include "node/session.h"

namespace heca::node {

using control::EventKind;
using control::RegionState;
using control::Severity;

namespace {

/// For the take-over at Open; the source waits 3 s for the answer.
constexpr Millis kTakeOverPatience{2'000};
/// How often it is asked whether the VM runs, where nobody has said so, and the image is tried to be given back.
constexpr Millis kLookEvery{500};
constexpr Millis kMonitorPatience{200};
constexpr Millis kSlow{400};  // a test's

}  // namespace

bool Session::came_governed() const {
  const std::lock_guard lock(record_mutex_);
  return record_.image_slots > 0;
}

bool Session::holds_image() const {
  const std::lock_guard lock(record_mutex_);
  return record_.image.has_value();
}

Status Session::ConnectGoverned(const control::PrepareRequest& request) {
  const control::Governed& governed = *request.governed;
  // Under this node's own name for it, if it has one: it may be reached by another way from here.
  const auto peer = context_.sponsors.Resolve(governed.sponsor);
  const std::string address = peer.ok() ? peer->endpoint : governed.sponsor_address;
  {
    const std::lock_guard lock(record_mutex_);
    record_.lease = {governed.sponsor, address, governed.lease, {}};
    record_.image = LeaseRecord{request.source_node, request.source_address, request.image, {}};
    record_.image_slots = request.image.slots;
    record_.awaited = true;
  }
  HECA_RETURN_IF_ERROR(Journal());
  making_ = std::make_shared<Governance>();
  HECA_ASSIGN_OR_RETURN(making_->sponsor, Sponsors::Client(address));
  const auto reached = making_->sponsor->Describe();
  if (!reached.ok()) {
    return reached.status().WithContext("the sponsor '" + governed.sponsor + "' of this VM's memory, at " + address +
                                        ", must be reached from here too");
  }
  HECA_ASSIGN_OR_RETURN(making_->image_sponsor, Sponsors::Client(request.source_address));
  HECA_ASSIGN_OR_RETURN(making_->image, store::RemoteStore::Create(*making_->image_sponsor, request.image,
                                                                   StoreOptions(*record_.image), &image_watch_));
  HECA_ASSIGN_OR_RETURN(making_->store, store::RemoteStore::Await(*making_->sponsor, governed.lease,
                                                                  StoreOptions(record_.lease), this));
  making_->joined = std::make_unique<store::JoinedStore>(making_->image.get(), request.image.slots, *making_->store);
  return Status();
}

Status Session::Place(const control::Placement& placement) {
  const std::lock_guard operation(operation_mutex_);
  HECA_ASSIGN_OR_RETURN(const auto governance, Governed());
  if (!came_governed() || phase() != RecordPhase::kAttaching) {
    return Status(ErrorCode::kFailedPrecondition, "the pages of region '" + name_ + "' are where they are",
                  ErrorScope::kRegion);
  }
  if (placement.number < placement_) {
    return Status(ErrorCode::kFailedPrecondition, "out of date: later news of the pages of region '" + name_ + "' were told",
                  ErrorScope::kRegion);
  }
  if (placement.number > placement_) placed_ = false;
  placement_ = placement.number;
  const std::uint32_t image = governance->joined->ReadOnlySlots();
  const std::uint32_t slots = governance->store->SlotCount();
  std::vector<region::SlotRun> runs;
  runs.reserve(placement.runs.size());
  for (const auto& run : placement.runs) {
    if (run.slot.value() > slots) {
      return Status(ErrorCode::kInvalidArgument, "slot " + std::to_string(run.slot.value()) + " of a lease with " +
                                                     std::to_string(slots), ErrorScope::kRegion);
    }
    runs.push_back({PageIndex(run.first), run.pages, run.slot == kNoSlot ? kNoSlot : Slot(image + run.slot.value())});
  }
  const bool written = placement.complete && placement.mark != kNoSlot;
  if (written && placement.mark.value() > slots) {
    return Status(ErrorCode::kInvalidArgument, "slots were written that the lease does not have", ErrorScope::kRegion);
  }
  fault::RegionEngine& engine = *governance->engine;
  HECA_RETURN_IF_ERROR(engine.Place(std::move(runs), written ? Slot(image + placement.mark.value()) : kNoSlot,
                                    Deadline::After(kNewsPatience)));
  if (!placement.complete) return Status();
  // A page that nobody placed would be read from the image, where it is nothing but zeros.
  const fault::Located placed = engine.Placed();
  if (placed.pages != placement.pages || placed.twice != 0) {
    return Status(ErrorCode::kDataLoss, std::to_string(placement.pages) + " pages were to be placed, and " +
                                            std::to_string(placed.pages) + " are, in " + std::to_string(placed.twice) +
                                            " slots more than one", ErrorScope::kRegion);
  }
  placed_ = true;
  return Status();
}

Status Session::OpenGoverned(Governance& governance) {
  if (!placed_) {
    return Status(ErrorCode::kFailedPrecondition, "where the pages of region '" + name_ + "' lie was not told",
                  ErrorScope::kRegion);
  }
  if (phase() == RecordPhase::kAttaching) {
    {
      const std::lock_guard lock(record_mutex_);
      record_.phase = RecordPhase::kArriving;
    }
    HECA_ASSIGN_OR_RETURN(const control::TakeOverRequest request, ClaimLease(record_.lease, false));
    governance.store->Begin(request);
    governance.engine->Open();
  }
  // Answered when the source is shut out: from then on the lease has one reader, and no writer.
  const Deadline deadline = Deadline::After(kTakeOverPatience);
  while (true) {
    bool taken = false;
    {
      const std::lock_guard lock(record_mutex_);
      taken = record_.lease.claim == control::Secret{};
    }
    if (taken && FailPointHit(FailPoint::kFailAfterTakeOver)) return {ErrorCode::kUnavailable, "a test wants it so"};
    if (taken) return Status();
    if (governance.store->Health() == StoreHealth::kLost || deadline.Passed()) {
      return Status(ErrorCode::kUnavailable, "the lease at " + governance.store->Describe() + " cannot be taken over",
                    ErrorScope::kRegion);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(500));
  }
}

Status Session::Settle() {
  const std::lock_guard operation(operation_mutex_);
  if (ended() || phase() != RecordPhase::kArriving) return Status();
  HECA_ASSIGN_OR_RETURN(const auto governance, Governed());
  {
    const std::lock_guard lock(record_mutex_);
    record_.phase = RecordPhase::kActive;
    record_.awaited = false;
  }
  HECA_RETURN_IF_ERROR(Journal());  // first: what the next hecad finds in the lease depends on it
  governance->engine->Settle();
  Tell(Severity::kInfo, EventKind::kAttached, "the VM has come; its memory stays governed");
  return Status();
}

void Session::LeaveLease() {
  {
    const std::lock_guard lock(record_mutex_);
    if (!record_.awaited || !record_.image) return;
    record_.lease = std::move(*record_.image);
    record_.image.reset();
    record_.image_slots = 0;
    record_.awaited = false;
  }
  if (FailPointHit(FailPoint::kSlowLeaveLease)) std::this_thread::sleep_for(kSlow);
  if (making_ && making_->engine) making_->engine->Stop();
  Publish(nullptr);
  making_.reset();
}

void Session::StepArrival(Governance& governance) {
  if (!came_governed() || !holds_image() || Clock::now() < next_arrival_look_) return;
  if (phase() == RecordPhase::kActive) {
    if (governance.engine->Drawn()) ReturnImage(governance);
    return;
  }
  if (phase() != RecordPhase::kArriving) return;
  next_arrival_look_ = Clock::now() + kLookEvery;
  const auto monitor = Monitor();
  if (!monitor) return;
  const auto answer = monitor->Execute("query-status", guest::Json::object(), Deadline::After(kMonitorPatience));
  if (!answer.ok() || answer->value("status", "") != "running") return;
  if (const Status settled = Settle(); !settled.ok()) Log().warn("{}: {}", name_, settled.ToString());
}

void Session::ReturnImage(Governance& governance) {
  governance.joined->ForgetImage();
  if (governance.image) {
    if (const Status freed = governance.image->Free(); !freed.ok()) {
      Log().debug("{}: the image is given back later: {}", name_, freed.ToString());
      next_arrival_look_ = Clock::now() + kLookEvery;
      return;
    }
  }
  {
    const std::lock_guard lock(record_mutex_);
    record_.image.reset();
  }
  if (const Status written = Journal(); !written.ok()) Log().error("{}: {}", name_, written.ToString());
  Tell(Severity::kInfo, EventKind::kRecovered, "all that was left at its former host is here");
}

void Session::ImageWatch::OnHealth(StoreHealth health, const Status& why) {
  if (!session_.holds_image()) return;
  const auto told = [&](Severity severity, EventKind kind, const std::string& text) { session_.Tell(severity, kind, text); };
  if (health == StoreHealth::kGood) {
    told(Severity::kInfo, EventKind::kSponsorReconnected, "the VM's former host is connected");
  } else if (health == StoreHealth::kDisconnected) {
    told(Severity::kWarning, EventKind::kSponsorDisconnected,
         "the VM's former host is out of reach; faults for pages there wait: " + why.ToString());
  } else if (health == StoreHealth::kLost) {
    Log().warn("{}: the image of the VM's memory is gone: {}", session_.name_, why.ToString());
  }
}

void Session::ImageWatch::OnLease(const control::Lease& lease) {
  {
    const std::lock_guard lock(session_.record_mutex_);
    if (!session_.record_.image) return;
    session_.record_.image->lease = lease;
    session_.record_.image->claim = {};
  }
  if (const Status written = session_.Journal(); !written.ok()) Log().error("{}: {}", session_.name_, written.ToString());
}

}  // namespace heca::node
