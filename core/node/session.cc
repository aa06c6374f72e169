// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node/session.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "base/log.h"
#include "base/size.h"

namespace heca::node {

using control::EventKind;
using control::Severity;

Session::Session(const SessionContext& context, RegionRecord record)
    : context_(context), name_(record.name), record_(std::move(record)) {}

Session::~Session() {
  if (making_ && making_->engine) making_->engine->Stop();
  context_.budget.Drop(name_);
}

void Session::Tell(Severity severity, EventKind kind, std::string text) const {
  context_.events.Add(severity, kind, name_, std::move(text));
}

std::int32_t Session::pid() const {
  const std::lock_guard lock(record_mutex_);
  return record_.pid;
}

Status Session::Journal() {
  const std::lock_guard lock(record_mutex_);
  return context_.journal.Write(record_);
}

Status Session::NoteEnding() {
  {
    const std::lock_guard lock(record_mutex_);
    record_.phase = RecordPhase::kEnding;
  }
  return Journal();
}

std::shared_ptr<Governance> Session::Governing() const {
  const std::lock_guard lock(governing_mutex_);
  return governing_;
}

RecordPhase Session::phase() const {
  const std::lock_guard lock(record_mutex_);
  return record_.phase;
}

Status Session::IsLeaving() const {
  return {ErrorCode::kBusy, "the VM of region '" + name_ + "' is moving to another host"};
}

Status Session::CheckSettled() const {
  if (leaving_) return IsLeaving();
  if (phase() == RecordPhase::kArriving || (came_governed() && phase() == RecordPhase::kAttaching)) {
    return {ErrorCode::kBusy, "the VM of region '" + name_ + "' is on its way to this host"};
  }
  return {};
}

Result<std::shared_ptr<Governance>> Session::Governed() const {
  if (leaving_ && state_ == control::RegionState::kLeaving) return IsLeaving();
  if (auto governance = Governing()) return governance;
  std::string why;
  {
    const std::lock_guard lock(record_mutex_);
    why = trouble_;
  }
  return Status(ErrorCode::kUnavailable, "region '" + name_ + "' is being taken back after a restart of hecad" +
                                             (why.empty() ? "" : " (" + why + ")") + ": try again later");
}

void Session::Publish(std::shared_ptr<Governance> governance) {
  const std::lock_guard lock(governing_mutex_);
  governing_.swap(governance);  // the former one is destroyed without the lock
}

Bytes Session::Resident() const {
  const auto governance = Governing();
  if (!governance) return resident_at_attach_;
  return Bytes(governance->engine->table().Resident() * page_size_.value());
}

Status Session::Book(Bytes limit) {
  if (page_size_ == kBasePage) {  // huge pages are charged elsewhere
    const Bytes most(std::min(limit.value() + MemoryBudget::kSlackBytes, Size().value()));
    if (const auto group = os::TightestMemoryGroup(record_.pid)) {
      HECA_RETURN_IF_ERROR(FitsGroup(*group, name_, most, Resident()));
    }
  }
  return context_.budget.Book(name_, page_size_, ram_fd_.get(), std::min(limit, Size()), [this] { return Resident(); });
}

std::uint32_t Session::SlotsFor(Bytes limit) const {
  // A page on its way out needs a slot while its former one, still being released, is not free again.
  const std::uint64_t pages = Size().value() / page_size_.value();
  const std::uint64_t away = pages - std::min(pages, limit.value() / page_size_.value());
  const std::uint64_t spare = page_size_ == kBasePage ? std::max<std::uint64_t>(2048, pages / 16) : 16;
  return static_cast<std::uint32_t>(away + spare);
}

PageCount Session::EngineLimit(Bytes limit) const {
  const std::uint64_t pages = limit.value() / page_size_.value();
  return PageCount(limit < Size() ? pages : 2 * pages);  // the headroom is at most half of a limit
}

Status Session::EnsureSlots(Governance& governance, Bytes limit) {
  const std::uint32_t needed = SlotsFor(limit);
  const std::uint32_t have = governance.store->SlotCount();
  if (needed <= have) return Status();
  if (const Status grown = governance.store->Extend(needed - have); !grown.ok()) {
    return grown.WithContext("sponsor " + record_.lease.sponsor);
  }
  governance.engine->StoreGrew();
  return Status();
}

Status Session::WaitForLimit(control::ProgressSink& progress) {
  std::uint64_t start = 0;  // grows while the pages are being counted
  std::uint64_t best = ~std::uint64_t{0};
  auto stuck = Deadline::After(std::chrono::seconds(30));
  for (;;) {
    HECA_ASSIGN_OR_RETURN(const auto governance, Governed());
    const fault::RegionEngine& engine = *governance->engine;
    const std::uint64_t resident = Resident().value();
    start = std::max(start, resident);
    Bytes limit{0};
    {
      const std::lock_guard lock(record_mutex_);
      limit = Bytes(record_.limit);
    }
    if (!engine.running()) return Status(ErrorCode::kNotFound, "the process of region '" + name_ + "' has ended");
    if (engine.counted() && resident <= limit.value()) return Status();
    progress.OnProgress({"write-back", start - std::min(start, resident), start - limit.value(), ""});
    if (progress.Cancelled()) {
      return Status(ErrorCode::kAborted, "nobody waits any more; region '" + name_ + "' keeps shrinking to its limit");
    }
    if (resident < best || !engine.counted()) {
      best = resident;
      stuck = Deadline::After(std::chrono::seconds(30));
    } else if (stuck.Passed()) {
      return Status(ErrorCode::kDeadlineExceeded,
                    "region '" + name_ + "' stays at " + FormatSize(Bytes(resident)) + " resident, over its limit of " +
                        FormatSize(limit) + ", for 30 s; `hecactl events` and `hecactl regions` tell more");
    }
    std::this_thread::sleep_for(Millis(20));
  }
}

Status Session::Limit(Bytes limit, control::ProgressSink& progress) {
  const std::unique_lock operation(operation_mutex_, std::try_to_lock);
  if (!operation) return Status(ErrorCode::kBusy, "region '" + name_ + "' is being changed by another call");
  HECA_RETURN_IF_ERROR(CheckSettled());
  HECA_ASSIGN_OR_RETURN(const auto governance, Governed());
  if (detach_step_ != DetachStep::kNone) {
    return Status(ErrorCode::kBusy, "region '" + name_ + "' is being detached");
  }
  const Bytes wanted = std::min(limit, Size());
  const Bytes least(fault::kMinLimit * page_size_.value());
  if (wanted < least) {
    return Status(ErrorCode::kInvalidArgument, "a limit of " + FormatSize(limit) + " is too small for region '" +
                                                   name_ + "': give at least " + FormatSize(least));
  }
  HECA_RETURN_IF_ERROR(EnsureSlots(*governance, wanted));
  HECA_RETURN_IF_ERROR(Book(wanted));
  {
    const std::lock_guard lock(record_mutex_);
    record_.limit = wanted.value();
  }
  HECA_RETURN_IF_ERROR(Journal());
  governance->engine->SetLimit(EngineLimit(wanted));
  Tell(Severity::kInfo, EventKind::kLimitChanged, "limit " + FormatSize(wanted));
  return WaitForLimit(progress);
}

Status Session::Resolve(control::LostPages how) {
  const std::unique_lock operation(operation_mutex_, std::try_to_lock);
  if (!operation) return Status(ErrorCode::kBusy, "region '" + name_ + "' is being changed by another call");
  HECA_RETURN_IF_ERROR(CheckSettled());
  HECA_ASSIGN_OR_RETURN(const auto governance, Governed());
  fault::RegionEngine& engine = *governance->engine;
  const region::PageCounts pages = engine.Stats().pages;
  const std::uint64_t lost = pages.Of(region::PageState::kLost) + pages.Of(region::PageState::kPoisoned);
  const bool store_lost = governance->pages().Health() == StoreHealth::kLost;
  if (lost == 0 && !(store_lost && how == control::LostPages::kAskAgain)) {
    return Status(ErrorCode::kFailedPrecondition, "no page of region '" + name_ + "' is known to be lost");
  }
  const std::string which = std::to_string(lost) + " lost pages: ";
  switch (how) {
    case control::LostPages::kAskAgain:
      Tell(Severity::kInfo, EventKind::kResolved, which + "the sponsor is asked again");
      if (!store_lost) return engine.Resolve(fault::LostPages::kAskAgain);
      // A store that was lost has ended for good. A new one begins as after a restart of hecad: the Keeper does that.
      state_ = control::RegionState::kResuming;
      return Status();
    case control::LostPages::kPoison:
      HECA_RETURN_IF_ERROR(engine.Resolve(fault::LostPages::kPoison));
      Tell(Severity::kWarning, EventKind::kResolved, which + "a touch is a memory error from now on");
      return Status();
    case control::LostPages::kZero:
      HECA_RETURN_IF_ERROR(engine.Resolve(fault::LostPages::kZeroFill));
      Tell(Severity::kWarning, EventKind::kResolved, which + "filled with zeros");
      return Status();
    case control::LostPages::kInvalid: break;
  }
  return Status(ErrorCode::kInvalidArgument, "say what to do with lost pages: ask again, poison, or zero");
}

namespace {

Status FreeAt(const LeaseRecord& lease) {
  if (lease.lease.key.id == LeaseId()) return Status();  // none was reserved
  HECA_ASSIGN_OR_RETURN(const auto sponsor, Sponsors::Client(lease.address));
  const Status freed = sponsor->Free(lease.lease.key);
  return freed.code() == ErrorCode::kNotFound ? Status() : freed;
}

}  // namespace

Status Session::FreeLease() {
  LeaveLease();
  if (record_.image) {
    HECA_RETURN_IF_ERROR(making_ && making_->image ? making_->image->Free() : FreeAt(*record_.image));
  }
  if (making_ && making_->store) return making_->store->Free();
  if (record_.handed_over) {  // it may be at an epoch that only its last owner knows
    HECA_ASSIGN_OR_RETURN(const control::TakeOverRequest request, ClaimLease(record_.lease, true));
    HECA_ASSIGN_OR_RETURN(const auto sponsor, Sponsors::Client(record_.lease.address));
    const auto taken = sponsor->TakeOver(request);
    if (taken.status().code() == ErrorCode::kNotFound) return Status();
    HECA_RETURN_IF_ERROR(taken.status());
    OnLease(*taken);
  }
  return FreeAt(record_.lease);
}

Status Session::End() {
  const std::lock_guard ending(end_mutex_);
  if (erased_) return Status();
  {
    // What is being called off is over then, and what comes later finds this ended. Else two would let go of a lease at the
    // same time, and the one that finds it half let go would give back what the VM still uses elsewhere.
    const std::lock_guard operation(operation_mutex_);
    LeaveLease();  // of a VM that never came to run here
    if (state_ != control::RegionState::kEnding) {
      state_ = control::RegionState::kEnding;
      if (making_ && making_->engine) making_->engine->Stop();
      HECA_RETURN_IF_ERROR(NoteEnding());
      context_.budget.Drop(name_);
    }
  }
  HECA_RETURN_IF_ERROR(FreeLease());
  HECA_RETURN_IF_ERROR(context_.journal.Erase(name_));
  erased_ = true;
  return Status();
}

}  // namespace heca::node
