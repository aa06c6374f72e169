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
  if (engine_) engine_->Stop();
  context_.budget.Drop(name_);
}

void Session::Tell(Severity severity, EventKind kind, std::string text) const {
  context_.events.Add(severity, kind, name_, std::move(text));
}

Status Session::Journal() {
  const std::lock_guard lock(record_mutex_);
  return context_.journal.Write(record_);
}

Bytes Session::Resident() const {
  const fault::RegionEngine* const engine = counting_.load(std::memory_order_acquire);
  return engine != nullptr ? Bytes(engine->table().Resident() * page_size_.value()) : resident_at_attach_;
}

Status Session::Book(Bytes limit) {
  return context_.budget.Book(name_, page_size_, ram_fd_.get(), std::min(limit, Size()), [this] { return Resident(); });
}

std::uint32_t Session::SlotsFor(Bytes limit) const {
  // A page on its way out needs a slot while its former one, still being released, is not free again.
  const std::uint64_t pages = Size().value() / page_size_.value();
  const std::uint64_t away = pages - std::min(pages, limit.value() / page_size_.value());
  const std::uint64_t spare = page_size_ == kBasePage ? std::max<std::uint64_t>(2048, pages / 16) : 16;
  return static_cast<std::uint32_t>(away + spare);
}

Status Session::EnsureSlots(Bytes limit) {
  const std::uint32_t needed = SlotsFor(limit);
  const std::uint32_t have = store_->SlotCount();
  if (needed <= have) return Status();
  if (const Status grown = store_->Extend(needed - have); !grown.ok()) {
    return grown.WithContext("sponsor " + record_.lease.sponsor);
  }
  engine_->StoreGrew();
  return Status();
}

Status Session::WaitForLimit(control::ProgressSink& progress) {
  std::uint64_t start = 0;  // grows while the pages are being counted
  std::uint64_t best = ~std::uint64_t{0};
  auto stuck = Deadline::After(std::chrono::seconds(30));
  for (;;) {
    const std::uint64_t resident = Resident().value();
    start = std::max(start, resident);
    Bytes limit{0};
    {
      const std::lock_guard lock(record_mutex_);
      limit = Bytes(record_.limit);
    }
    if (!engine_->running()) return Status(ErrorCode::kNotFound, "the process of region '" + name_ + "' has ended");
    if (engine_->counted() && resident <= limit.value()) return Status();
    progress.OnProgress({"write-back", start - std::min(start, resident), start - limit.value(), ""});
    if (progress.Cancelled()) {
      return Status(ErrorCode::kAborted, "nobody waits any more; region '" + name_ + "' keeps shrinking to its limit");
    }
    if (resident < best || !engine_->counted()) {
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
  const Bytes wanted = std::min(limit, Size());
  const Bytes least(fault::kMinLimit * page_size_.value());
  if (wanted < least) {
    return Status(ErrorCode::kInvalidArgument, "a limit of " + FormatSize(limit) + " is too small for region '" +
                                                   name_ + "': give at least " + FormatSize(least));
  }
  HECA_RETURN_IF_ERROR(EnsureSlots(wanted));
  HECA_RETURN_IF_ERROR(Book(wanted));
  {
    const std::lock_guard lock(record_mutex_);
    record_.limit = wanted.value();
  }
  HECA_RETURN_IF_ERROR(Journal());
  engine_->SetLimit(PageCount(wanted.value() / page_size_.value()));
  Tell(Severity::kInfo, EventKind::kLimitChanged, "limit " + FormatSize(wanted));
  return WaitForLimit(progress);
}

Status Session::Detach(control::ProgressSink& progress) {
  const std::unique_lock operation(operation_mutex_, std::try_to_lock);
  if (!operation) return Status(ErrorCode::kBusy, "region '" + name_ + "' is being changed by another call");
  HECA_RETURN_IF_ERROR(Book(Size()));
  state_ = control::RegionState::kDetaching;
  engine_->BringHome();
  const std::uint64_t total = engine_->Home().pages_away * page_size_.value();
  for (;;) {
    const fault::HomeProgress home = engine_->Home();
    if (home.done) break;
    if (!engine_->running()) return Status(ErrorCode::kNotFound, "the process of region '" + name_ + "' has ended");
    const std::uint64_t left = home.pages_away * page_size_.value();
    progress.OnProgress({"home", total - std::min(total, left), total, ""});
    if (home.pages_lost > 0 && home.pages_away == home.pages_lost) {
      return Status(ErrorCode::kDataLoss, std::to_string(home.pages_lost) + " pages of region '" + name_ +
                                              "' are at no sponsor any more; bring the sponsor back with its memory, "
                                              "or end the VM");
    }
    if (progress.Cancelled()) {
      return Status(ErrorCode::kAborted, "nobody waits any more; detach of '" + name_ + "' goes on, repeat it to wait");
    }
    std::this_thread::sleep_for(Millis(10));
  }
  for (const Deadline patience = Deadline::After(std::chrono::seconds(3)); VmStopped() && !patience.Passed();) {
    ResumeVm("detached");
    std::this_thread::sleep_for(Millis(10));
  }
  if (VmStopped()) {
    Tell(Severity::kError, EventKind::kAlarm, "the VM is still stopped and QEMU does not answer; continue it by hand");
  }
  {
    // Before the userfaultfd goes: a hecad that finds "active" would look for it, and govern the memory again.
    const std::lock_guard lock(record_mutex_);
    record_.phase = RecordPhase::kEnding;
  }
  HECA_RETURN_IF_ERROR(Journal());
  (void)engine_->WaitHome(Deadline::After(std::chrono::seconds(5)));  // releases: the lease is freed anyway
  engine_->Stop();
  guest::ProcessId process{record_.pid, record_.start_time};
  if (auto closed = guest::CloseUffdInTarget(process, record_.target_fd, Deadline::After(std::chrono::seconds(2)));
      !closed.ok()) {
    Log().warn("{}: the unused userfaultfd stays open in the target: {}", name_, closed.status().ToString());
  }
  Tell(Severity::kInfo, EventKind::kDetached, "all memory is local again");
  state_ = control::RegionState::kEnding;
  return Status();
}

Status Session::FreeLease() {
  if (store_) return store_->Free();
  if (record_.lease.lease.key.id == LeaseId()) return Status();  // none was reserved
  if (!sponsor_) {
    HECA_ASSIGN_OR_RETURN(sponsor_, Sponsors::Client(record_.lease.address));
  }
  const Status freed = sponsor_->Free(record_.lease.lease.key);
  return freed.code() == ErrorCode::kNotFound ? Status() : freed;
}

Status Session::End() {
  const std::lock_guard ending(end_mutex_);
  if (erased_) return Status();
  if (state_ != control::RegionState::kEnding) {
    state_ = control::RegionState::kEnding;
    if (engine_) engine_->Stop();
    {
      const std::lock_guard lock(record_mutex_);
      record_.phase = RecordPhase::kEnding;
    }
    HECA_RETURN_IF_ERROR(Journal());
    context_.budget.Drop(name_);
  }
  HECA_RETURN_IF_ERROR(FreeLease());
  HECA_RETURN_IF_ERROR(context_.journal.Erase(name_));
  erased_ = true;
  return Status();
}

}  // namespace heca::node
