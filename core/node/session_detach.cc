// SPDX-License-Identifier: LGPL-2.1-or-later
// Detach, which nobody needs to wait for: once it has begun it is noted in the journal, and the Keeper of this hecad, or
// of the next one, carries it to its end.
//
//   step         left when                              and then
//   kNone        asked for; memory for all is booked    journal (detaching), the engine brings pages home
//   kHome        all pages home, memory unregistered,   the VM is continued if it was stopped
//                and QEMU writes RAM into streams (a
//                former hecad may have left that off)
//   kContinueVm  it runs, or 3 s have passed (alarm)    journal (ending)
//   kRelease     the sponsor confirmed, or 5 s passed   engine stopped, userfaultfd closed in the target, event
//   kDone        -                                      End gives the lease back and erases the journal
//
// A crash in kHome or kContinueVm: the next hecad takes the region back and begins again at kHome, which is over at once
// for pages that are home. In kRelease: it closes the userfaultfd and goes on at kDone.
#include <algorithm>
#include <thread>
#include <utility>

#include "base/log.h"
#include "node/session.h"

namespace heca::node {

using control::EventKind;
using control::RegionState;
using control::Severity;

namespace {

constexpr std::chrono::seconds kVmPatience{3};
/// For QEMU's answer, which may be waiting for a page, before its silence is told of.
constexpr std::chrono::seconds kClearPatience{10};
/// For releases that are on their way; the lease is freed anyway.
constexpr std::chrono::seconds kReleasePatience{5};
constexpr std::chrono::seconds kClosePatience{2};

}  // namespace

Status Session::BeginDetach() {
  const std::unique_lock operation(operation_mutex_, std::try_to_lock);
  if (!operation) return Status(ErrorCode::kBusy, "region '" + name_ + "' is being changed by another call");
  HECA_RETURN_IF_ERROR(CheckSettled());
  if (detach_step_ != DetachStep::kNone) return Status();  // joined
  HECA_ASSIGN_OR_RETURN(const auto governance, Governed());
  HECA_RETURN_IF_ERROR(Book(Size()));
  {
    const std::lock_guard lock(record_mutex_);
    record_.phase = RecordPhase::kDetaching;
  }
  if (const Status noted = Journal(); !noted.ok()) {
    const std::lock_guard lock(record_mutex_);
    record_.phase = RecordPhase::kActive;
    return noted;
  }
  state_ = RegionState::kDetaching;
  governance->engine->BringHome();
  detach_step_ = DetachStep::kHome;
  return Status();
}

Status Session::Detach(control::ProgressSink& progress) {
  HECA_RETURN_IF_ERROR(BeginDetach());
  std::uint64_t total = 0;  // the most that was away: the first look may come before the engine has begun
  for (;;) {
    if (detach_step_ == DetachStep::kDone) return Status();
    if (ended()) return Status(ErrorCode::kNotFound, "the process of region '" + name_ + "' has ended");
    if (const auto governance = Governing()) {  // none: it is being taken back anew, and detached then
      const fault::HomeProgress home = governance->engine->Home();
      const std::uint64_t left = home.pages_away * page_size_.value();
      total = std::max(total, left);
      progress.OnProgress({"home", total - left, total, ""});
      if (!home.done && home.pages_lost > 0 && home.pages_away == 0) {
        return Status(ErrorCode::kDataLoss,
                      std::to_string(home.pages_lost) + " pages of region '" + name_ +
                          "' are at no sponsor any more; bring the sponsor back with its memory and say `hecactl "
                          "resolve " + name_ + " --lost ask-again`, or give them up with `--lost zero`, or end the VM");
      }
    }
    if (progress.Cancelled()) {
      return Status(ErrorCode::kAborted, "nobody waits any more; detach of '" + name_ + "' goes on, repeat it to wait");
    }
    std::this_thread::sleep_for(Millis(10));
  }
}

void Session::StepDetach() {
  const auto governance = Governing();
  if (!governance) return;
  switch (detach_step_.load()) {
    case DetachStep::kNone:
    case DetachStep::kDone: return;
    case DetachStep::kHome:
      if (!governance->engine->Home().done) return;
      if (left_out_since_) {
        if (Clock::now() - *left_out_since_ > kClearPatience) {
          NoteTrouble({ErrorCode::kUnavailable, "QEMU does not say that x-ignore-shared is off, and a save would lose its memory"},
                      Millis(0));
        }
        return;
      }
      detach_patience_ = Deadline::After(kVmPatience);
      detach_step_ = DetachStep::kContinueVm;
      [[fallthrough]];
    case DetachStep::kContinueVm:
      ResumeVm("detached");
      if (VmStopped()) {
        if (!detach_patience_.Passed()) return;
        Tell(Severity::kError, EventKind::kAlarm,
             "the VM is still stopped and QEMU does not answer; continue it by hand");
      }
      if (const Status noted = NoteEnding(); !noted.ok()) {  // the userfaultfd stays until it is
        NoteTrouble(noted, Millis(0));
        return;
      }
      detach_patience_ = Deadline::After(kReleasePatience);
      detach_step_ = DetachStep::kRelease;
      [[fallthrough]];
    case DetachStep::kRelease:
      if (!governance->engine->Home().slots_released && !detach_patience_.Passed()) return;
      Release(*governance);
  }
}

void Session::Release(Governance& governance) {
  const std::lock_guard operation(operation_mutex_);  // an arrival may be called off in its last moment
  if (ended()) return;
  governance.engine->Stop();
  if (auto closed = guest::CloseUffdInTarget({record_.pid, record_.start_time}, record_.target_fd,
                                             Deadline::After(kClosePatience));
      !closed.ok()) {
    Log().warn("{}: the unused userfaultfd stays open in the target: {}", name_, closed.status().ToString());
  }
  context_.budget.Drop(name_);
  Tell(Severity::kInfo, EventKind::kDetached, "all memory is local again");
  state_ = RegionState::kEnding;
  detach_step_ = DetachStep::kDone;  // before the next: who waits takes an end before it for the process's
  ended_.store(true, std::memory_order_release);
}

}  // namespace heca::node
