// SPDX-License-Identifier: LGPL-2.1-or-later
// What a session does when something happens to it: on the engine's and the store's threads it only notes it; its Keeper
// acts.
#include <fmt/format.h>

#include <string>
#include <utility>

#include "base/log.h"
#include "node/session.h"
#include "os/proc.h"

namespace heca::node {
namespace {

using control::EventKind;
using control::Severity;
using fault::EngineEventKind;

/// How long eviction rests after the sponsor has refused pages.
constexpr Millis kWriteBackRest{5000};

bool HasEnded(const guest::ProcessId& process) {
  const auto now = guest::IdentifyProcess(process.pid);
  return !now.ok() || *now != process;
}

}  // namespace

void Session::OnEngineEvent(const fault::EngineEvent& event) {
  if (event.kind == EngineEventKind::kTargetDied) ended_.store(true, std::memory_order_release);
  const std::lock_guard lock(events_mutex_);
  if (event.kind == EngineEventKind::kPagesLost && !engine_events_.empty() &&
      engine_events_.back().kind == EngineEventKind::kPagesLost) {
    engine_events_.back().count += event.count;  // a sponsor without its memory loses thousands at a stroke
    return;
  }
  engine_events_.push_back(event);
}

void Session::OnHealth(StoreHealth health, const Status& why) {
  const StoreHealth before = health_.exchange(health);
  if (before == health) return;
  const std::string sponsor = "sponsor " + record_.lease.sponsor;
  switch (health) {
    case StoreHealth::kGood: Tell(Severity::kInfo, EventKind::kSponsorReconnected, sponsor + " is connected"); break;
    case StoreHealth::kDisconnected:
      Tell(Severity::kWarning, EventKind::kSponsorDisconnected,
           sponsor + " is out of reach; faults for pages there wait: " + why.ToString());
      break;
    case StoreHealth::kLost:
      Tell(Severity::kError, EventKind::kSponsorLost, sponsor + " has lost the pages: " + why.ToString());
      break;
    case StoreHealth::kInvalid: break;
  }
}

void Session::OnLease(const control::Lease& lease) {
  {
    const std::lock_guard lock(record_mutex_);
    if (lease.key.epoch != record_.lease.lease.key.epoch) {  // the take-over is through
      record_.lease.claim = {};
      record_.handed_over = false;
    }
    record_.lease.lease = lease;
  }
  if (const Status written = Journal(); !written.ok()) Log().error("{}: {}", name_, written.ToString());
}

void Session::Tick() {
  const auto governance = Governing();
  if (!governance) return;
  std::deque<fault::EngineEvent> events;
  {
    const std::lock_guard lock(events_mutex_);
    events.swap(engine_events_);
  }
  for (const auto& event : events) HandleEngineEvent(event, *governance);
  if (ended()) return;
  bool waits = false;
  {
    const std::lock_guard lock(record_mutex_);
    waits = record_.phase == RecordPhase::kAttaching;
  }
  // A QEMU that waits for a VM: its engine, which watches the process, does not run yet. The next QEMU of the domain has the
  // same socket, and must not find this session's monitor there.
  if (waits && HasEnded({record_.pid, record_.start_time})) {
    Tell(Severity::kInfo, EventKind::kRegionEnded, "process " + std::to_string(record_.pid) + " has ended");
    CallOffArrival();
    return;
  }
  if (waits) governance->engine->WatchClosed();
  KeepMonitor();
  ClearLeftOut();
  WatchReach(*governance);
  StepArrival(*governance);
  StepDetach();
}

void Session::HandleEngineEvent(const fault::EngineEvent& event, Governance& governance) {
  switch (event.kind) {
    case EngineEventKind::kTargetDied:
      Tell(Severity::kInfo, EventKind::kRegionEnded, "process " + std::to_string(record_.pid) + " has ended");
      break;
    case EngineEventKind::kPagesLost:
      lost_pages_ += event.count;
      Tell(Severity::kError, EventKind::kPagesLost,
           std::to_string(event.count) + " more pages are at no sponsor any more; threads that touch them wait");
      if (record_.page_loss == control::PageLoss::kPoison) {
        if (const Status poisoned = governance.engine->Resolve(fault::LostPages::kPoison); !poisoned.ok()) {
          Tell(Severity::kError, EventKind::kAlarm, "lost pages cannot be poisoned: " + poisoned.ToString());
        }
      } else {
        StopVm("pages are lost");
      }
      break;
    case EngineEventKind::kPagesFound:
      lost_pages_ = 0;
      ResumeVm("no page is lost any more");
      break;
    case EngineEventKind::kStoreHealth: break;  // WatchReach looks at it itself
    case EngineEventKind::kWriteBackFailed:
      Tell(Severity::kError, EventKind::kAlarm, "the sponsor refuses pages: " + event.status.ToString());
      next_write_back_ = Clock::now() + kWriteBackRest;
      break;
    case EngineEventKind::kStoreFull:
      Tell(Severity::kWarning, EventKind::kAlarm, "the lease is full: dirty pages stay here, over the limit");
      break;
    case EngineEventKind::kStrayPage:
      Tell(Severity::kWarning, EventKind::kAlarm, "a page lay in the RAM file that should be away; repaired");
      break;
    case EngineEventKind::kNoMemory:
      Tell(Severity::kWarning, EventKind::kOutOfMemory, "no local memory for a page; evicting and repeating");
      break;
    case EngineEventKind::kLimitReached:
      Log().debug("{}: faults wait for eviction", name_);
      break;
    case EngineEventKind::kHome: break;  // StepDetach looks at it itself
    case EngineEventKind::kKernelError:
      Tell(Severity::kError, EventKind::kAlarm, "unexpected answer of the kernel: " + event.status.ToString());
      break;
    case EngineEventKind::kEarlyFault: TellOfEarlyFault(event); break;
    case EngineEventKind::kInvalid: break;
  }
}

void Session::TellOfEarlyFault(const fault::EngineEvent& event) {
  std::uint64_t offset = event.page.value() * page_size_.value();
  auto block = record_.blocks.begin();
  while (block != record_.blocks.end() && offset >= block->bytes) offset -= (block++)->bytes;
  if (block == record_.blocks.end()) return;
  // Its own id is ours, too, unless QEMU has a pid namespace.
  const auto task = os::ReadTaskStatus(record_.pid, event.thread);
  const std::string name = event.thread != 0 && task.ok() ? task->name : "";
  const std::string text =
      fmt::format("thread {}{} of the QEMU that waits touches {} at {:#x} (its address {:#x}) before the source has let the VM "
                  "go; it waits until then, and QEMU's monitor may wait for it",
                  event.thread, name.empty() ? "" : " (" + name + ")", block->name, offset, block->address + offset);
  context_.events.Add(Severity::kWarning, EventKind::kEarlyFault, name_, text,
                      {{"thread", std::to_string(event.thread)}, {"name", name}, {"block", block->name},
                       {"offset", std::to_string(offset)}, {"address", std::to_string(block->address + offset)}});
  const std::lock_guard lock(record_mutex_);
  early_fault_ = text;
}

void Session::WatchReach(Governance& governance) {
  using control::RegionState;
  const StoreHealth reach = governance.pages().Health();
  if (reach == StoreHealth::kGood && lost_pages_ == 0) {
    out_of_reach_since_.reset();
    RegionState stalled = RegionState::kStalled;  // and not if a detach has begun meanwhile
    state_.compare_exchange_strong(stalled, RegionState::kActive);
    if (next_write_back_ && Clock::now() >= *next_write_back_) {
      next_write_back_.reset();
      (void)governance.engine->Resolve(fault::LostPages::kAskAgain);  // no page is lost: this only lets eviction try again
    }
    ResumeVm("its pages are in reach again");
    return;
  }
  const bool wanted = governance.engine->table().CountOf(region::PageState::kComing) > 0;
  if (!wanted && lost_pages_ == 0) {
    out_of_reach_since_.reset();
    if (reach == StoreHealth::kLost) {  // for good: what was wanted of it has been resolved by name
      RegionState stalled = RegionState::kStalled;
      state_.compare_exchange_strong(stalled, RegionState::kActive);
      ResumeVm("no page that is lost is wanted");
    }
    return;
  }
  RegionState active = RegionState::kActive;
  state_.compare_exchange_strong(active, RegionState::kStalled);
  const auto now = Clock::now();
  if (!out_of_reach_since_) out_of_reach_since_ = now;
  if (now - *out_of_reach_since_ >= context_.config.loss_wait) StopVm("its pages have been out of reach for too long");
}

}  // namespace heca::node
