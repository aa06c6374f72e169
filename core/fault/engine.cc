// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/engine.h"

#include <thread>
#include <utility>

#include "fault/fault_loop.h"

namespace heca::fault {

using region::PageState;

RegionEngine::RegionEngine(std::unique_ptr<FaultLoop> loop, bool can_poison, bool held)
    : loop_(std::move(loop)), can_poison_(can_poison), settled_(!held) {}

RegionEngine::~RegionEngine() = default;

Result<std::unique_ptr<RegionEngine>> RegionEngine::Start(EngineParts parts, StartMode mode) {
  if (!parts.config.abilities.sufficient) {
    return Status(ErrorCode::kUnsupported, "this kernel's userfaultfd lacks MINOR, WP or REMOVE for shared memory: "
                                           "Linux 6.1 or newer is needed", ErrorScope::kNode);
  }
  if (parts.store.PageSize() != parts.map.page_size()) {
    return Status(ErrorCode::kFailedPrecondition, "the store's pages have another size than the region's",
                  ErrorScope::kRegion);
  }
  HECA_ASSIGN_OR_RETURN(std::unique_ptr<PageReader> urgent, parts.store.OpenReader(Role::kUrgent));
  HECA_ASSIGN_OR_RETURN(std::unique_ptr<PageReader> bulk, parts.store.OpenReader(Role::kBulk));
  HECA_ASSIGN_OR_RETURN(std::unique_ptr<PageWriter> writer, parts.store.OpenWriter());
  HECA_ASSIGN_OR_RETURN(const os::UffdHandshake handshake, parts.uffd.Handshake(parts.config.abilities.negotiated));
  // A descriptor that was in use keeps the features that it has; and who waited under its former owner is not known.
  const bool all_known = mode == StartMode::kArrival && handshake == os::UffdHandshake::kFresh &&
                         parts.config.abilities.thread_ids;
  if (!all_known) parts.config.vcpu_threads.clear();
  const bool can_poison = parts.config.abilities.poison;
  const bool held = parts.config.held;
  auto loop = std::make_unique<FaultLoop>(
      LoopParts{std::move(parts.uffd), std::move(parts.pidfd), std::move(parts.map), std::move(parts.table),
                std::move(parts.policy), parts.store, parts.guard, parts.observer, parts.config},
      std::move(urgent), std::move(bulk), std::move(writer));
  HECA_RETURN_IF_ERROR(loop->Prepare(mode != StartMode::kFresh));
  std::unique_ptr<RegionEngine> engine(new RegionEngine(std::move(loop), can_poison, held));
  if (mode == StartMode::kArrival) {
    engine->loop_->Close();
  } else {
    engine->Open();
  }
  return engine;
}

Status RegionEngine::Place(std::vector<region::SlotRun> runs, Slot mark, Deadline deadline) {
  if (open_.load()) {
    return {ErrorCode::kFailedPrecondition, "the region is served already: its pages are where they are", ErrorScope::kRegion};
  }
  return TakeIn({News::kChanged, std::move(runs), mark}, deadline);
}

Located RegionEngine::Placed() const { return loop_->news().located(); }

void RegionEngine::Settle() {
  loop_->Request(kRequestSettle);
  settled_.store(true, std::memory_order_release);
}

bool RegionEngine::Drawn() const { return settled_.load(std::memory_order_acquire) && loop_->lent_pages() == 0; }

void RegionEngine::WatchClosed() {
  const std::lock_guard lock(closed_mutex_);
  if (!open_.load() && !filling_.load()) loop_->WatchClosed();
}

void RegionEngine::Fill() {
  const std::lock_guard lock(closed_mutex_);
  if (!open_.load() && !filling_.exchange(true)) loop_->StartClosed();
}

void RegionEngine::Open() {
  const std::lock_guard lock(closed_mutex_);
  if (open_.exchange(true)) return;
  if (filling_.load()) {
    loop_->Request(kRequestOpen);
  } else {
    loop_->Start();
  }
}

void RegionEngine::SetLimit(PageCount limit) { loop_->SetLimit(limit); }

Status RegionEngine::Tell(News news, std::vector<region::PageRun> runs, Deadline deadline) {
  if (news == News::kChanged && (open_.load() || !filling_.load())) {
    return {ErrorCode::kFailedPrecondition, "pages change only while they come ahead of their VM", ErrorScope::kRegion};
  }
  NewsPiece piece{news, {}, kNoSlot};
  for (const region::PageRun& run : runs) piece.runs.push_back({run.first, run.pages, kNoSlot});
  return TakeIn(std::move(piece), deadline);
}

Status RegionEngine::TakeIn(NewsPiece piece, Deadline deadline) {
  HECA_ASSIGN_OR_RETURN(const std::uint64_t number, loop_->Tell(std::move(piece)));
  {
    const std::lock_guard lock(closed_mutex_);
    if (!open_.load() && !filling_.load()) loop_->TakeInNews();
  }
  while (loop_->news().taken_in() < number) {
    if (!loop_->running()) return {ErrorCode::kUnavailable, "the region is not served", ErrorScope::kRegion};
    if (deadline.Passed()) return {ErrorCode::kDeadlineExceeded, "the region's loop is busy", ErrorScope::kRegion};
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  return {};
}

Result<ChangeNotes::Places> RegionEngine::Changed(bool written, Deadline deadline) {
  const std::uint64_t number = loop_->AskForChanges(written);
  while (loop_->notes().answered() < number) {
    if (!loop_->running()) return Status(ErrorCode::kUnavailable, "the region is not served", ErrorScope::kRegion);
    if (deadline.Passed()) {
      return Status(ErrorCode::kDeadlineExceeded, "devices of the VM, or the store, do not answer", ErrorScope::kRegion);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  return loop_->notes().Take();
}

ChangeNotes::Places RegionEngine::ChangedLast() {
  loop_->notes().Finish();
  return loop_->notes().Take();
}

void RegionEngine::ForgetChanges() { loop_->ForgetChanges(); }

void RegionEngine::SetPace(Bytes a_second) { loop_->SetPace(a_second); }

void RegionEngine::StoreGrew() { loop_->Request(kRequestGrow); }

void RegionEngine::BringHome() {
  home_asked_.store(true, std::memory_order_relaxed);
  loop_->Request(kRequestHome);
}

HomeProgress RegionEngine::Home() const {
  HomeProgress progress;
  progress.asked = home_asked_.load(std::memory_order_relaxed);
  progress.done = loop_->home();
  const region::PageCounts counts = loop_->table().Counts();
  progress.pages_away = counts.WithStore();
  progress.pages_lost = counts.Of(PageState::kLost) + counts.Of(PageState::kPoisoned);
  progress.slots_released = progress.done && loop_->released_all() && loop_->slots_used() == 0;
  return progress;
}

bool RegionEngine::WaitHome(Deadline deadline) const {
  while (!Home().slots_released) {
    if (deadline.Passed() || !loop_->running()) return false;
    std::this_thread::sleep_for(Millis(1));
  }
  return true;
}

Status RegionEngine::Resolve(LostPages how) {
  switch (how) {
    case LostPages::kAskAgain:
      loop_->Request(kRequestRetryLost);
      return Status();
    case LostPages::kPoison:
      if (!can_poison_) {
        return Status(ErrorCode::kUnsupported, "this kernel has no UFFDIO_POISON (Linux 6.6)", ErrorScope::kNode);
      }
      loop_->Request(kRequestPoisonLost);
      return Status();
    case LostPages::kZeroFill:
      loop_->Request(kRequestZeroLost);
      return Status();
    case LostPages::kInvalid:
      break;
  }
  return Status(ErrorCode::kInvalidArgument, "say what to do with lost pages");
}

void RegionEngine::Stop() { loop_->Stop(); }

bool RegionEngine::running() const { return loop_->running(); }

bool RegionEngine::counted() const { return loop_->counted(); }

const region::PageTable& RegionEngine::table() const { return loop_->table(); }

EngineStats RegionEngine::Stats() const {
  const EngineCounters& counters = loop_->counters();
  EngineStats stats;
  stats.pages = loop_->table().Counts();
  stats.limit = loop_->limit();
  for (std::size_t i = 0; i < kAnswerSources; ++i) stats.latency[i] = counters.latency[i].Snapshot();
  stats.prefetch_issued = counters.prefetch_issued.Value();
  stats.prefetch_placed = counters.prefetch_placed.Value();
  stats.prefetch_hits = counters.prefetch_hits.Value();
  stats.stale_answers = counters.stale_answers.Value();
  stats.evictions = counters.evictions.Value();
  stats.clean_drops = counters.clean_drops.Value();
  stats.zero_drops = counters.zero_drops.Value();
  stats.cancels = counters.cancels.Value();
  stats.io_waits = counters.io_waits.Value();
  stats.no_memory = counters.no_memory.Value();
  stats.stray_pages = counters.stray_pages.Value();
  stats.kernel_errors = counters.kernel_errors.Value();
  stats.again = counters.again.Value();
  stats.deferred_faults = counters.deferred_faults.Value();
  stats.refaults = counters.refaults.Value();
  stats.pages_lost = counters.pages_lost.Value();
  stats.bytes_written_back = counters.bytes_written_back.Value();
  stats.bytes_fetched = counters.bytes_fetched.Value();
  stats.discards = counters.discards.Value();
  stats.blocktime = loop_->waiting().Blocktime();
  stats.holes = loop_->news().empty_pages();
  stats.lent_pages = loop_->lent_pages();
  stats.ahead_pages = Drawing::Ahead(loop_->table(), loop_->news().located().pages, loop_->limit());
  stats.slots_used = loop_->slots_used();
  stats.slots_free = loop_->slots_free();
  return stats;
}

}  // namespace heca::fault
