// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/departure.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "base/fail_points.h"
#include "base/log.h"

namespace heca::migration {

using control::Arrival;
using control::ArrivalState;

Departure::Departure(LeavingVm& vm, LentImage& image, control::MigrationApi& destination, control::PrepareRequest request,
                     const Plan& plan, const Steering& steering, const DepartureTimes& times)
    : vm_(vm),
      image_(image),
      destination_(destination),
      request_(std::move(request)),
      plan_(plan),
      steering_(steering),
      times_(times) {
  summary_.mode = plan_.mode;
  summary_.region = request_.region;
  summary_.memory = Bytes(std::uint64_t{image.lease().slots} * image.lease().page_size.value());
}

void Departure::Enter(Phase next) {
  HECA_CHECK(MayFollow(phase_, next));
  Log().info("{}: migration: {}", request_.region, ToString(next));
  phase_ = next;
}

Result<control::MigrationSummary> Departure::Run(control::ProgressSink& progress) {
  const auto begin = Clock::now();
  if (const Status status = UpToSwitch(progress); !status.ok()) return CallOff(status);
  Enter(Phase::kArrived);
  image_.Keep();
  EndAhead();
  restored_ = vm_.Restore();
  HECA_RETURN_IF_ERROR(AwaitLetGo(progress));
  if (const Status fenced = vm_.Fence(); !fenced.ok()) {
    Log().error("{}: the VM has left, and could be continued here by mistake: {}", request_.region, fenced.ToString());
  }
  TellHoles();
  HECA_RETURN_IF_ERROR(AwaitArrival(progress));
  summary_.total = std::chrono::duration_cast<Millis>(Clock::now() - begin);
  return summary_;
}

Status Departure::UpToSwitch(control::ProgressSink& progress) {
  progress.OnProgress({"prepare", 0, 0, ""});
  const Status prepared = destination_.Prepare(request_).WithContext("destination");
  prepared_ = prepared.ok() || prepared.retryable();  // whose answer was lost may have been done
  HECA_RETURN_IF_ERROR(prepared);
  if (progress.Cancelled()) return {ErrorCode::kAborted, "called off"};
  ahead_.emplace(vm_, image_, destination_, request_.region, summary_.memory, plan_.mode, plan_.downtime_goal, steering_,
                 times_.ahead);
  if (plan_.mode != control::MigrationMode::kPostCopy) {
    Enter(Phase::kPreCopy);
    (void)FailPointHit(FailPoint::kCrashInPreCopy);
  }
  HECA_RETURN_IF_ERROR(ahead_->Run(progress));
  Enter(Phase::kStream);
  HECA_RETURN_IF_ERROR(vm_.Start());
  (void)FailPointHit(FailPoint::kCrashWhileStreaming);
  HECA_RETURN_IF_ERROR(AwaitStop(progress));
  return SwitchOver();
}

Status Departure::AwaitStop(control::ProgressSink& progress) {
  const Deadline patience = Deadline::After(times_.stream);
  progress.OnProgress({"stream", 0, 0, ""});
  while (true) {
    HECA_ASSIGN_OR_RETURN(const bool stopped, vm_.WaitStopped(Deadline::After(times_.look)));
    if (stopped) break;
    if (progress.Cancelled()) return {ErrorCode::kAborted, "called off"};
    if (patience.Passed()) return {ErrorCode::kDeadlineExceeded, "QEMU does not come to the switch-over"};
  }
  Enter(Phase::kStopped);
  return {};
}

Status Departure::SwitchOver() {
  std::string gap;  // what the VM stands still for, and when that was done
  const auto done = [&, stopped = vm_.stopped_at()](std::string_view part) {
    gap += fmt::format("{}{} {:.1f}", gap.empty() ? "" : ", ", part,
                       std::chrono::duration<double, std::milli>(Clock::now() - stopped).count());
  };
  done("noticed");
  HECA_ASSIGN_OR_RETURN(const auto rest, image_.Rest());
  if (rest) done("at rest");
  HECA_RETURN_IF_ERROR(ahead_->Finish(rest));
  summary_.rounds = ahead_->rounds();
  summary_.ahead = ahead_->copied();
  done("last changes told");
  HECA_RETURN_IF_ERROR(image_.Open());
  Enter(Phase::kOpened);
  (void)FailPointHit(FailPoint::kCrashAtSwitchOver);
  const Status open = destination_.Open(request_.region, image_.lease().key).WithContext("destination");
  opened_ = Clock::now();
  let_go_ = open.ok();
  if (let_go_) (void)vm_.Continue();
  done("opened");
  Log().info("{}: migration: ms since the VM was stopped: {}", request_.region, gap);
  HECA_RETURN_IF_ERROR(AwaitDecision(let_go_));
  return {};
}

/// The destination may serve from the image by now, so the image stays until it is known whose the VM is; an answer that
/// does not come is asked for again. A QEMU that is gone cannot run the VM: then the destination knows.
Status Departure::AwaitDecision(bool wanted) {
  Deadline patience = Deadline::After(wanted ? times_.decide : Millis(0));
  while (true) {
    const Result<std::optional<bool>> there = vm_.WaitDecided(Deadline::After(times_.look));
    if (!there.ok()) return {};
    if (there->has_value()) {
      cancelled_ = !**there;
      return **there ? Status() : Status(ErrorCode::kFailedPrecondition, "QEMU's migration failed: see its log");
    }
    if (!patience.Passed()) continue;
    const Result<bool> back = vm_.Cancel();
    if (back.ok()) {
      cancelled_ = *back;
      return *back ? Status(ErrorCode::kUnavailable, wanted ? "QEMU did not finish sending the device state"
                                                            : "the destination could not be told to go on")
                   : Status();
    }
    Log().error("{}: migration: {}; asked again until it is known where the VM runs", request_.region,
                back.status().ToString());
    patience = Deadline::After(times_.decide);
  }
}

void Departure::EndAhead() {
  if (!ahead_) return;
  const Status ended = ahead_->End();
  if (!ended.ok()) Log().warn("{}: writes of the VM are still noted: {}", request_.region, ended.ToString());
}

/// Only a saving: a page that holds nothing may be copied as well.
void Departure::TellHoles() {
  if (plan_.mode != control::MigrationMode::kPostCopy) return;  // told already
  const auto holes = image_.Holes();
  const Status told = holes.ok() ? destination_.Tell(request_.region, image_.lease().key, control::PageNews::kEmpty, *holes)
                                 : holes.status();
  if (!told.ok()) Log().info("{}: all pages are copied, empty ones too: {}", request_.region, told.ToString());
}

Status Departure::AwaitLetGo(control::ProgressSink& progress) {
  const Deadline patience = Deadline::After(times_.decide);  // of a destination that is busy with it
  while (!let_go_) {
    const Status open = destination_.Open(request_.region, image_.lease().key);
    opened_ = Clock::now();
    let_go_ = open.ok();
    if (let_go_) break;
    if (!open.retryable() && (open.code() != ErrorCode::kFailedPrecondition || patience.Passed())) {
      Enter(Phase::kLost);
      return {ErrorCode::kDataLoss, "the destination's hecad has given the VM up, and QEMU had left it there: it stands still "
                                    "here, with all of its memory: " + std::string(open.message()), ErrorScope::kRegion};
    }
    if (progress.Cancelled()) {
      return {ErrorCode::kAborted, "nobody waits any more; the VM stands still until its destination is told to go on"};
    }
    std::this_thread::sleep_for(times_.look);
  }
  return {};
}

Status Departure::AwaitArrival(control::ProgressSink& progress) {
  while (true) {
    const bool given_back = image_.GivenBack();
    const Result<Arrival> arrival = destination_.Look(request_.region, image_.lease().key, steering_.bandwidth());
    if (arrival.ok()) {
      const std::uint64_t left = arrival->left.value();
      progress.OnProgress({"post-copy", summary_.memory.value() - std::min(summary_.memory.value(), left),
                           summary_.memory.value(), ""});
      summary_.downtime = opened_ - vm_.stopped_at() + arrival->open_to_resume;
      summary_.moved = arrival->moved;
      summary_.zero = arrival->zero;
      summary_.faults = arrival->faults;
      summary_.fault_p50 = arrival->fault_p50;
      summary_.fault_p99 = arrival->fault_p99;
      summary_.blocked = arrival->blocked;
      summary_.blocktime = arrival->blocktime;
      if (arrival->state == ArrivalState::kFailed) {
        Enter(Phase::kLost);
        return {ErrorCode::kDataLoss, "the VM died at its destination: " + arrival->trouble, ErrorScope::kRegion};
      }
    }
    // A destination that has forgotten it and given the image back has all of it.
    const bool complete = arrival.ok() ? arrival->state == ArrivalState::kComplete
                                       : given_back && arrival.status().code() == ErrorCode::kNotFound;
    if (complete) {
      Enter(Phase::kComplete);
      return {};
    }
    if (progress.Cancelled()) {
      return {ErrorCode::kAborted, "nobody waits any more; the VM runs at its destination and its memory follows"};
    }
    std::this_thread::sleep_for(times_.look);
  }
}

Status Departure::CallOff(Status why) {
  // First of all: nobody may read what the VM is about to change.
  image_.Withdraw();
  Result<bool> back = cancelled_ ? Result<bool>(true) : vm_.Cancel();
  const bool deaf = prepared_ && !back.ok();
  if (deaf) {  // as one that sends to a QEMU that waits for a page: it hears again once that one has ended
    Log().warn("{}: {}; the destination is called off first", request_.region, back.status().ToString());
    TellCalledOff(why);
    back = vm_.Cancel();
  }
  if (!back.ok()) {
    why = Status(why.code(), std::string(why.message()) + "; and " + std::string(back.status().message()), why.scope());
  }
  // Even if we have not started anything: where libvirt leads, QEMU was told beforehand.
  restored_ = vm_.Restore();
  if (!restored_.ok()) {
    why = Status(why.code(), std::string(why.message()) + "; QEMU keeps x-ignore-shared: " +
                                 std::string(restored_.message()), why.scope());
  }
  EndAhead();
  if (prepared_ && !deaf) TellCalledOff(why);
  Enter(Phase::kAborted);
  return why;
}

void Departure::TellCalledOff(const Status& why) {
  const Status told = destination_.Abort(request_.region, image_.lease().key, std::string(why.message()));
  if (!told.ok()) Log().warn("{}: the destination could not be told: {}", request_.region, told.ToString());
}

}  // namespace heca::migration
