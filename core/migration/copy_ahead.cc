// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/copy_ahead.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "base/log.h"
#include "base/size.h"

namespace heca::migration {

using control::Arrival;
using control::MigrationMode;
using control::PageNews;
using control::PageRun;
using control::Placement;

namespace {

constexpr Millis kSoon{1};

Status CalledOff() { return {ErrorCode::kAborted, "called off"}; }

/// Those that are to be copied again.
std::uint64_t CountPages(const Placement& changed) {
  std::uint64_t pages = 0;
  for (const control::PlacedRun& run : changed.runs) pages += run.slot == kNoSlot ? run.pages : 0;
  return pages;
}

Placement InImage(const std::vector<PageRun>& written) {
  Placement changed;
  changed.runs.reserve(written.size());
  for (const PageRun& run : written) changed.runs.push_back({run.first, run.pages, kNoSlot});
  return changed;
}

}  // namespace

CopyAhead::CopyAhead(LeavingVm& vm, LentImage& image, control::MigrationApi& destination, const RegionId& region,
                     Bytes memory, MigrationMode mode, Millis downtime_goal, const Steering& steering,
                     const AheadTimes& times)
    : vm_(vm), image_(image), destination_(destination), region_(region), memory_(memory), mode_(mode),
      goal_(downtime_goal), steering_(steering), times_(times), rounds_(mode, downtime_goal) {}

Status CopyAhead::Run(control::ProgressSink& progress) {
  auto last_look = Clock::now();
  HECA_RETURN_IF_ERROR(Begin(progress));
  while (copies()) {
    const auto begin = Clock::now();
    const Bytes before = copied_;
    HECA_ASSIGN_OR_RETURN(const bool all, AwaitCopied(progress));
    if (!all) return {};
    Round round{Bytes(copied_.value() - before.value()), Clock::now() - begin, Bytes(0), Clock::now() - last_look};
    last_look = Clock::now();
    HECA_ASSIGN_OR_RETURN(Placement changed, Learn());
    round.written = Bytes(CountPages(changed) * image_.lease().page_size.value());
    const Verdict verdict = rounds_.After(round);
    Log().info("{}: round {}: {} copied, {} written meanwhile", region_, rounds_.count(), FormatSize(round.copied),
               FormatSize(round.written));
    if (!governed_) HECA_RETURN_IF_ERROR(vm_.AwaitDevices());
    HECA_RETURN_IF_ERROR(Insist(progress, [&] { return TellChanged(changed); }));
    if (verdict == Verdict::kChangeOver) return {};
  }
  return {};
}

Status CopyAhead::Begin(const control::ProgressSink& progress) {
  if (copies()) HECA_RETURN_IF_ERROR(vm_.HoldBack());
  HECA_ASSIGN_OR_RETURN(const std::optional<Placement> placed, image_.Moved(copies()));
  governed_ = placed.has_value();
  if (governed_) {
    ++placements_;
    HECA_RETURN_IF_ERROR(Insist(progress, [&] { return Place(*placed); }));
  }
  if (!copies()) {
    // What follows is held back from its first page on; a destination that does not know of the VM yet hears of it later.
    if (steering_.bandwidth() > 0) (void)Look();
    return {};
  }
  if (!governed_) {
    noting_ = true;
    HECA_RETURN_IF_ERROR(vm_.NoteWrites());
    HECA_RETURN_IF_ERROR(vm_.AwaitDevices());
  }
  HECA_RETURN_IF_ERROR(image_.Show());
  HECA_ASSIGN_OR_RETURN(const std::vector<PageRun> empty, image_.Holes());
  return Insist(progress, [&] { return Tell(PageNews::kEmpty, empty); });
}

bool CopyAhead::TimeToGo() {
  if (steering_.switch_now()) return true;
  const Result<bool> stopped = vm_.WaitStopped(Deadline::After(Millis(0)));
  return !stopped.ok() || *stopped;  // an error is told where it is waited for
}

Result<bool> CopyAhead::AwaitCopied(control::ProgressSink& progress) {
  while (true) {
    if (progress.Cancelled()) return CalledOff();
    if (TimeToGo()) return false;
    Arrival arrival;
    HECA_RETURN_IF_ERROR(Insist(progress, [&] {
      HECA_ASSIGN_OR_RETURN(arrival, Look());
      return Status();
    }));
    if (arrival.state == control::ArrivalState::kFailed) {
      return Status(ErrorCode::kUnavailable, "the destination has given up: " + arrival.trouble, ErrorScope::kRegion);
    }
    copied_ = arrival.moved;
    Report(progress, arrival.left);
    if (arrival.left.value() == 0) return true;
    std::this_thread::sleep_for(times_.look);
  }
}

void CopyAhead::Report(control::ProgressSink& progress, Bytes left) const {
  const std::uint64_t done = memory_.value() - std::min(memory_.value(), left.value());
  std::string text = fmt::format("round {}", rounds_.count() + 1);
  if (rounds_.count() > 0) {
    text += fmt::format(", {}/s written, {} ms predicted", FormatSize(Bytes(static_cast<std::uint64_t>(rounds_.write_rate()))),
                        std::chrono::duration_cast<Millis>(rounds_.predicted()).count());
  }
  progress.OnProgress({"pre-copy", done, memory_.value(), text});
}

Result<Arrival> CopyAhead::Look() { return destination_.Look(region_, image_.lease().key, steering_.bandwidth()); }

Status CopyAhead::Tell(PageNews news, const std::vector<PageRun>& runs) {
  return destination_.Tell(region_, image_.lease().key, news, runs).WithContext("destination");
}

Status CopyAhead::Place(Placement placement) {
  placement.number = placements_;
  return destination_.Place(region_, image_.lease().key, placement).WithContext("destination");
}

Result<Placement> CopyAhead::Learn() {
  ++placements_;
  if (governed_) {
    HECA_ASSIGN_OR_RETURN(std::optional<Placement> moved, image_.Moved(true));
    return std::move(moved).value_or(Placement{});
  }
  HECA_ASSIGN_OR_RETURN(const std::vector<PageRun> written, vm_.Written());
  return InImage(written);
}

Status CopyAhead::TellChanged(const Placement& changed) {
  if (governed_) return Place(changed);
  std::vector<PageRun> runs;
  runs.reserve(changed.runs.size());
  for (const control::PlacedRun& run : changed.runs) runs.push_back({run.first, run.pages});
  return Tell(PageNews::kChanged, runs);
}

Status CopyAhead::Insist(const control::ProgressSink& progress, const std::function<Status()>& what) const {
  const Deadline contact = Deadline::After(times_.contact);
  const Deadline welcome = Deadline::After(times_.welcome);
  while (true) {
    Status status = what();
    const bool unknown = status.code() == ErrorCode::kNotFound;
    if (status.ok() || !(status.retryable() || unknown)) return status;
    if (progress.Cancelled()) return CalledOff();
    if (unknown ? welcome.Passed() : contact.Passed()) return status;
    std::this_thread::sleep_for(times_.look);
  }
}

Status CopyAhead::Finish(const std::optional<Placement>& rest) {
  // At once or not at all: the VM stands still.
  if (rest) {
    ++placements_;
    HECA_RETURN_IF_ERROR(Place(*rest));
  } else if (copies()) {
    HECA_ASSIGN_OR_RETURN(const std::vector<PageRun> written, vm_.WrittenLast());
    HECA_RETURN_IF_ERROR(Tell(PageNews::kChanged, written));
  }
  if (mode_ != MigrationMode::kPreCopy || steering_.switch_now()) return {};
  const Deadline patience = Deadline::After(2 * goal_ + std::chrono::seconds(1));
  while (true) {
    HECA_ASSIGN_OR_RETURN(const Arrival arrival, Look());
    copied_ = arrival.moved;
    if (arrival.left.value() == 0) return {};
    if (patience.Passed()) {
      return {ErrorCode::kDeadlineExceeded, "the rest took longer than the downtime goal allows: the VM goes on here"};
    }
    std::this_thread::sleep_for(kSoon);
  }
}

Status CopyAhead::End() {
  if (!std::exchange(noting_, false)) return {};
  return vm_.ForgetWrites();
}

}  // namespace heca::migration
