// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node/arrivals.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/fail_points.h"
#include "base/log.h"

namespace heca::node {

using control::Arrival;
using control::ArrivalState;
using control::EventKind;
using control::Severity;

namespace {

constexpr std::chrono::seconds kQemuPatience{5};
/// The housekeeper has other things to do, and comes back.
constexpr Millis kTickPatience{200};

std::uint64_t PageBytes(std::uint64_t pages) { return pages * kBasePage.value(); }

}  // namespace

Status Arrivals::Prepare(const control::PrepareRequest& request) {
  HECA_ASSIGN_OR_RETURN(const std::shared_ptr<Arriving> session, make_(request));
  auto entry = std::make_shared<Entry>();
  entry->key = request.image.key;
  entry->session = session;
  entry->arrival.state = ArrivalState::kPrepared;
  entry->arrival.left = Bytes(std::uint64_t{request.image.slots} * request.image.page_size.value());
  Status listening(ErrorCode::kFailedPrecondition, "the QEMU that waits has no QMP socket for hecad", ErrorScope::kRegion);
  if (auto monitor = session->Monitor()) {
    entry->vm = std::make_unique<guest::MigratingVm>(std::move(monitor));
    listening = entry->vm->Listen(request.uri, Deadline::After(kQemuPatience));
  }
  if (!listening.ok()) {
    session->CallOffArrival();
    return listening;
  }
  const std::lock_guard lock(mutex_);
  entries_[request.region] = entry;  // a former one of this name is over: make_ has refused it otherwise
  events_.Add(Severity::kInfo, EventKind::kAttached, request.region,
              "a VM is to come from '" + request.source_node + "': its memory is registered");
  return Status();
}

Result<Arrivals::EntryPtr> Arrivals::Find(const RegionId& region, const control::LeaseKey& image) const {
  const auto found = entries_.find(region);
  const bool this_one = found != entries_.end() && found->second->key.id == image.id &&
                        found->second->key.secret == image.secret;
  // One that came before and is over is no reason to refuse the next one, which has not been announced yet.
  if (found == entries_.end() || (!this_one && found->second->arrival.state >= ArrivalState::kComplete)) {
    return Status(ErrorCode::kNotFound, "no VM '" + region + "' is on its way to this node", ErrorScope::kRegion);
  }
  if (!this_one) {
    return Status(ErrorCode::kPermissionDenied, "another VM '" + region + "' is on its way to this node",
                  ErrorScope::kRegion);
  }
  return found->second;
}

Status Arrivals::Place(const RegionId& region, const control::LeaseKey& image, const control::Placement& placement) {
  EntryPtr entry;
  {
    const std::lock_guard lock(mutex_);
    HECA_ASSIGN_OR_RETURN(entry, Find(region, image));
    if (entry->busy || entry->given_up || entry->arrival.state != ArrivalState::kPrepared) {
      return Status(ErrorCode::kFailedPrecondition, "the arrival of '" + region + "' was called off", ErrorScope::kRegion);
    }
    entry->busy = true;  // as in Tell
    entry->empty_no_more = entry->ahead;
    entry->changed = Clock::now();  // its source is not silent
  }
  const Status placed = entry->session->Place(placement);
  const std::lock_guard lock(mutex_);
  entry->busy = false;
  return placed;
}

Status Arrivals::Open(const RegionId& region, const control::LeaseKey& image) {
  EntryPtr entry;
  {
    const std::lock_guard lock(mutex_);
    HECA_ASSIGN_OR_RETURN(entry, Find(region, image));
    if (entry->arrival.state == ArrivalState::kFailed || entry->given_up) {
      return Status(ErrorCode::kFailedPrecondition, "'" + region + "' does not come any more: " +
                        entry->given_up.value_or(entry->arrival.trouble), ErrorScope::kRegion);
    }
    if (entry->opened) return Status();
    if (entry->busy) {
      return Status(ErrorCode::kFailedPrecondition, "'" + region + "' is being opened or called off", ErrorScope::kRegion);
    }
    entry->busy = true;
  }
  (void)FailPointHit(FailPoint::kCrashAtOpen);
  const Status opened = entry->session->OpenArrival();
  const std::lock_guard lock(mutex_);
  entry->busy = false;
  if (!opened.ok()) return opened;
  entry->opened = entry->changed = Clock::now();
  entry->arrival.state = ArrivalState::kOpen;
  if (!entry->given_up) return Status();
  return {ErrorCode::kAborted, "'" + region + "' was called off while it was opened", ErrorScope::kRegion};
}

Status Arrivals::Tell(const RegionId& region, const control::LeaseKey& image, control::PageNews news,
                      const std::vector<control::PageRun>& runs) {
  EntryPtr entry;
  std::shared_ptr<Arriving> session;
  bool ahead = false;
  {
    const std::lock_guard lock(mutex_);
    HECA_ASSIGN_OR_RETURN(entry, Find(region, image));
    if (!entry->session) return {};  // all is here already
    ahead = !entry->opened;
    if (ahead && (entry->busy || entry->given_up || entry->arrival.state != ArrivalState::kPrepared)) {
      return Status(ErrorCode::kFailedPrecondition, "the arrival of '" + region + "' was called off", ErrorScope::kRegion);
    }
    if (!ahead && news == control::PageNews::kChanged) {
      return Status(ErrorCode::kFailedPrecondition, "pages of a VM that has been let go cannot change", ErrorScope::kRegion);
    }
    if (news == control::PageNews::kEmpty && entry->empty_no_more) {
      // A call that was held up on its way: of a page that was written since, it would make zeros.
      return Status(ErrorCode::kFailedPrecondition, "out of date: pages of '" + region + "' have changed since",
                    ErrorScope::kRegion);
    }
    if (news == control::PageNews::kChanged) {
      entry->empty_no_more = true;
    } else if (ahead) {
      entry->ahead = true;
    }
    session = entry->session;
    if (ahead) entry->busy = true;  // it is not opened, nor called off, until the news are taken in
    entry->changed = Clock::now();  // its source is not silent
  }
  // Of a VM that has been let go: it is told that it has arrived.
  const Status settled = ahead ? Status() : session->Settle();
  const Status told = settled.ok() ? session->Tell(news, runs) : settled;
  const std::lock_guard lock(mutex_);
  if (ahead) entry->busy = false;
  return told;
}

void Arrivals::Refresh(Entry& entry) {
  if (!entry.session) return;
  Arrival& arrival = entry.arrival;
  if (entry.opened && !entry.resumed && entry.vm) entry.resumed = entry.vm->Now().resumed;
  if (const auto numbers = entry.session->EngineNumbers()) {
    const auto& store = numbers->latency[static_cast<std::size_t>(fault::AnswerSource::kStore)];
    const std::uint64_t lent = entry.opened ? numbers->lent_pages : numbers->ahead_pages;
    arrival.left = Bytes(PageBytes(entry.session->came_governed() ? lent : numbers->pages.WithStore()));
    arrival.moved = Bytes(numbers->bytes_fetched);
    arrival.zero = Bytes(PageBytes(numbers->holes));
    arrival.faults = store.total;
    arrival.fault_p50 = Nanos(static_cast<Nanos::rep>(store.QuantileNs(0.5)));
    arrival.fault_p99 = Nanos(static_cast<Nanos::rep>(store.QuantileNs(0.99)));
    arrival.blocked = Nanos(0);
    for (const auto& answers : numbers->latency) arrival.blocked += Nanos(static_cast<Nanos::rep>(answers.sum_ns));
    arrival.blocktime.reset();
    if (numbers->blocktime) {
      arrival.blocktime = control::Blocktime{numbers->blocktime->vcpus, numbers->blocktime->all_vcpus, numbers->blocktime->others};
    }
  }
  if (arrival.state == ArrivalState::kOpen && entry.resumed) arrival.state = ArrivalState::kRunning;
  if (entry.resumed && entry.opened) arrival.open_to_resume = *entry.resumed - *entry.opened;
}

Result<Arrival> Arrivals::Look(const RegionId& region, const control::LeaseKey& image, std::uint64_t bandwidth) {
  const std::lock_guard lock(mutex_);
  HECA_ASSIGN_OR_RETURN(const EntryPtr entry, Find(region, image));
  if (entry->session) entry->session->SetPace(Bytes(bandwidth));
  if (entry->arrival.state == ArrivalState::kPrepared) entry->changed = Clock::now();  // its source is not silent
  Refresh(*entry);
  return entry->arrival;
}

Status Arrivals::Abort(const RegionId& region, const control::LeaseKey& image, const std::string& why) {
  EntryPtr entry;
  {
    const std::lock_guard lock(mutex_);
    HECA_ASSIGN_OR_RETURN(entry, Find(region, image));
    if (entry->arrival.state == ArrivalState::kFailed) return Status();
    Refresh(*entry);
    if (entry->resumed || entry->arrival.state > ArrivalState::kOpen) {
      return Status(ErrorCode::kFailedPrecondition, "the VM '" + region + "' runs here already", ErrorScope::kRegion);
    }
    entry->given_up = why;
    if (entry->busy) return Status();
    entry->busy = true;
  }
  CallOff(region, entry, why);
  return Status();
}

void Arrivals::CallOff(const RegionId& region, const EntryPtr& entry, const std::string& why) {
  if (entry->vm) (void)entry->vm->ClearCapabilities(Deadline::After(Millis(500)));
  entry->session->CallOffArrival();
  events_.Add(Severity::kWarning, EventKind::kAttachFailed, region, "the VM does not come: " + why);
  const std::lock_guard lock(mutex_);
  entry->busy = false;
  entry->changed = Clock::now();
  entry->arrival.state = ArrivalState::kFailed;
  entry->arrival.trouble = why;
}

void Arrivals::TickOne(Entry& entry) {
  const auto now = Clock::now();
  Refresh(entry);
  Arrival& arrival = entry.arrival;
  if (arrival.state >= ArrivalState::kComplete) {
    if (!entry.capabilities_cleared && arrival.state != ArrivalState::kFailed) return;
    // Only the outcome is remembered. QEMU serves one client a monitor: the next one may be waiting.
    entry.vm.reset();
    entry.session.reset();
    return;
  }
  if (entry.opened && !entry.pulling && (entry.resumed || now - *entry.opened > times_.pull_anyway)) {
    entry.pulling = true;
    if (!entry.session->came_governed()) entry.session->BringArrivalHome();
  }
  if (entry.resumed && entry.opened) {
    if (const Status settled = entry.session->Settle(); !settled.ok()) Log().warn("{}", settled.ToString());
  }
  if (entry.opened && entry.session->came_governed() && !entry.session->holds_image()) {
    arrival.state = ArrivalState::kComplete;
    arrival.left = Bytes(0);
    entry.changed = now;
    return;
  }
  if (!entry.session->ended()) return;
  arrival.state = entry.session->detached() ? ArrivalState::kComplete : ArrivalState::kFailed;
  if (arrival.state == ArrivalState::kFailed) arrival.trouble = "its process has ended";
  arrival.left = Bytes(0);
  entry.changed = now;
}

void Arrivals::Tick() {
  struct Ending {
    RegionId region;
    EntryPtr entry;
    std::string why;
  };
  std::vector<Ending> endings;
  std::vector<EntryPtr> to_clear;
  {
    const std::lock_guard lock(mutex_);
    const auto now = Clock::now();
    for (auto at = entries_.begin(); at != entries_.end();) {
      Entry& entry = *at->second;
      if (!entry.busy) TickOne(entry);
      const bool silent = entry.arrival.state == ArrivalState::kPrepared && now - entry.changed > times_.silence;
      const bool given_up = entry.arrival.state <= ArrivalState::kOpen && entry.given_up;
      if ((silent || given_up) && !entry.busy) {
        entry.busy = true;
        endings.push_back({at->first, at->second, entry.given_up.value_or("its source has said nothing for too long")});
      }
      const bool here = entry.resumed || entry.arrival.state == ArrivalState::kComplete;
      if (here && entry.vm && !entry.capabilities_cleared && !entry.busy) {
        entry.busy = true;
        to_clear.push_back(at->second);
      }
      const bool over = entry.arrival.state >= ArrivalState::kComplete && now - entry.changed > times_.memory && !entry.busy;
      at = over ? entries_.erase(at) : std::next(at);
    }
  }
  // QEMU is asked without the lock: its main loop may be waiting for a page.
  for (const auto& entry : to_clear) {
    const Deadline deadline = Deadline::After(kTickPatience);
    (void)FailPointHit(FailPoint::kCrashAfterArrival);
    // All may be here of a VM that was paused before its stream has come to its end.
    const bool cleared = entry->vm->ClearOnceItHasCome(deadline);
    const std::lock_guard lock(mutex_);
    entry->busy = false;
    entry->capabilities_cleared = cleared;
  }
  for (const auto& ending : endings) CallOff(ending.region, ending.entry, ending.why);
}

}  // namespace heca::node
