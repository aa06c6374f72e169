// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node/leaving.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace heca::node {
namespace {

constexpr std::chrono::seconds kPatience{5};
constexpr Millis kLook{100};
constexpr Millis kHoldEvery{2};
constexpr std::chrono::seconds kBeginsWithin{5};  // after that a migration that does begin is held back from its first event on

}  // namespace

LeavingDomain::~LeavingDomain() { LetGo(); }

Status LeavingDomain::HoldBack() {
  // libvirt sets a speed of its own directly before it begins. So ours is set again and again until then, and once after.
  holder_ = std::thread([this] {
    const auto first = vm_->RunFirst();
    if (!first.ok()) Log().info("on a busy host the stream of a VM that leaves may not be held back: {}", first.status().ToString());
    const Deadline begins = Deadline::After(kBeginsWithin);
    while (!let_go_) {
      const auto moments = vm_->WaitFor(guest::StreamState::kActive, Deadline::After(begins.Passed() ? kLook : kHoldEvery));
      const bool begun = moments.ok();
      if (!begun && moments.status().code() != ErrorCode::kDeadlineExceeded) return;
      if (begun && moments->state != guest::StreamState::kActive) return;
      if (!begun && begins.Passed()) continue;
      const Status held = vm_->HoldStream(Deadline::After(kPatience));
      if (!held.ok()) Log().info("the stream of a VM that leaves is not held back: {}", held.ToString());
      if (begun || !held.ok()) return;
    }
  });
  return {};
}

void LeavingDomain::LetGo() {
  let_go_ = true;
  if (holder_.joinable()) holder_.join();
}

Status LeavingDomain::Start() {
  LetGo();
  return vm_->ReleaseStream(Deadline::After(kPatience));
}

Result<bool> LeavingDomain::WaitStopped(Deadline deadline) {
  if (vm_->Now().state == guest::StreamState::kNone && begins_.Passed()) {
    return Status(ErrorCode::kDeadlineExceeded, "libvirt does not begin the migration", ErrorScope::kRegion);
  }
  return LeavingGuest::WaitStopped(deadline);
}

Result<bool> LeavingDomain::Cancel() {
  LetGo();
  return LeavingGuest::Cancel();
}

Status LeavingQemu::Start() { return vm_->Start(uri_, Deadline::After(kPatience)); }

Result<bool> LeavingGuest::WaitStopped(Deadline deadline) {
  const auto moments = vm_->WaitFor(guest::StreamState::kPreSwitchover, deadline);
  if (moments.status().code() == ErrorCode::kDeadlineExceeded) return false;
  if (!moments.ok()) return moments.status();
  if (moments->state == guest::StreamState::kFailed) {
    return Status(ErrorCode::kFailedPrecondition, "QEMU's migration failed before the switch-over", ErrorScope::kRegion);
  }
  return true;
}

Clock::time_point LeavingGuest::stopped_at() const { return vm_->Now().stopped.value_or(Clock::now()); }

Status LeavingQemu::Continue() { return vm_->Continue(Deadline::After(kPatience)); }

Result<std::optional<bool>> LeavingGuest::WaitDecided(Deadline deadline) {
  const auto moments = vm_->WaitFor(guest::StreamState::kCompleted, deadline);
  if (moments.status().code() == ErrorCode::kDeadlineExceeded) return std::optional<bool>();
  if (!moments.ok()) return moments.status();
  return std::optional<bool>(moments->state == guest::StreamState::kCompleted);
}

Result<bool> LeavingGuest::Cancel() { return vm_->Cancel(Deadline::After(kPatience)); }

Status LeavingGuest::Restore() { return vm_->ClearCapabilities(Deadline::After(kPatience)); }

LentRam::~LentRam() {
  if (kept_ && !GivenBack()) return;
  departures_.Close(lease_.key.id, kept_ ? Whereabouts::kLeft : Whereabouts::kStays);
  images_.Withdraw(lease_.key.id);
}

void LentRam::Keep() {
  kept_ = true;
  if (region_) region_->Keep();
  departures_.NoteLeft(lease_.key.id);
}

void LentRam::Withdraw() {
  images_.Withdraw(lease_.key.id);
  if (region_) region_->session().Stay();
}

Result<std::optional<control::Placement>> LentRam::Moved(bool copied) {
  if (!region_) return std::optional<control::Placement>();
  control::Placement placement;
  HECA_ASSIGN_OR_RETURN(placement.runs, region_->session().Moved(copied));
  NotePlaces(placement.runs);
  return std::optional<control::Placement>(std::move(placement));
}

void LentRam::NotePlaces(const std::vector<control::PlacedRun>& runs) {
  elsewhere_.resize(lease_.slots);
  for (const auto& run : runs) {
    const auto first = elsewhere_.begin() + static_cast<std::ptrdiff_t>(run.first);
    std::fill(first, first + static_cast<std::ptrdiff_t>(run.pages), run.slot != kNoSlot);
  }
}

Result<std::optional<control::Placement>> LentRam::Rest() {
  if (!region_) return std::optional<control::Placement>();
  HECA_ASSIGN_OR_RETURN(control::Placement placement, region_->session().Rest());
  NotePlaces(placement.runs);
  return std::optional<control::Placement>(std::move(placement));
}

Status LentRam::Open() {
  if (region_) HECA_RETURN_IF_ERROR(region_->session().HandOver());
  HECA_RETURN_IF_ERROR(departures_.NoteOpened(lease_.key.id));
  return images_.OpenImage(lease_.key.id);
}

Result<std::vector<control::PageRun>> LentRam::Holes() const {
  HECA_ASSIGN_OR_RETURN(const auto holes, images_.Holes(lease_.key));
  std::vector<control::PageRun> runs;
  runs.reserve(holes.size());
  // Where a page lies at a sponsor there is a hole too, and it says nothing of the page.
  const auto away = [this](std::uint64_t page) { return page < elsewhere_.size() && elsewhere_[page]; };
  for (const auto& hole : holes) {
    const std::uint64_t end = hole.first + hole.pages;
    for (std::uint64_t page = hole.first; page < end;) {
      const std::uint64_t first = page;
      while (page < end && !away(page)) ++page;
      if (page > first) runs.push_back({first, page - first});
      while (page < end && away(page)) ++page;
    }
  }
  return runs;
}

bool LentRam::GivenBack() const {
  const auto given_back = images_.GivenBack(lease_.key.id);
  return given_back.ok() ? *given_back : true;  // forgotten since
}

}  // namespace heca::node
