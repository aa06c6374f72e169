// SPDX-License-Identifier: LGPL-2.1-or-later
// The thread that owns a region: every page state, every PTE-changing ioctl and every punch is its.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "fault/change_notes.h"
#include "fault/drawing.h"
#include "fault/evictor.h"
#include "fault/fault_handler.h"
#include "fault/fetcher.h"
#include "fault/homecoming.h"
#include "fault/loop_watch.h"
#include "fault/mover.h"
#include "fault/page_news.h"
#include "fault/recovery.h"
#include "fault/waiting_threads.h"
#include "heca/page_store.h"

namespace heca::fault {

/// What control threads ask of the loop; bits, so that asking never waits.
enum LoopRequest : std::uint32_t {
  kRequestStop = 1,
  kRequestLimit = 2,
  kRequestHome = 4,
  kRequestRetryLost = 8,
  kRequestPoisonLost = 16,
  kRequestZeroLost = 32,
  kRequestGrow = 64,
  kRequestOpen = 128,
  kRequestSettle = 256,
};

struct LoopParts {
  os::Uffd uffd;
  unique_fd pidfd;  ///< of the target; may be invalid in tests that are their own target
  region::RegionMap map;
  region::PageTable table;
  std::unique_ptr<EvictionPolicy> policy;
  PageStore& store;
  IoGuard& guard;
  EngineObserver& observer;
  EngineConfig config;
};

class FaultLoop {
 public:
  FaultLoop(LoopParts parts, std::unique_ptr<PageReader> urgent, std::unique_ptr<PageReader> bulk,
            std::unique_ptr<PageWriter> writer);
  ~FaultLoop();

  /// Before Start, on the starting thread: registers, and recovers if the table is an earlier daemon's.
  Status Prepare(bool take_over);
  void Start();
  /// After Prepare: faults wait until Start, or, after StartClosed, until kRequestOpen. Who waits is noted from now on.
  void Close() {
    loop_.closed = true;
    waiting_.Follow();
  }
  /// Pages come from now on, ahead of their VM.
  void StartClosed();
  /// Between Prepare and the start, on one thread: tells of threads that touch the memory already.
  void WatchClosed();
  /// Ends the threads; idempotent.
  void Stop();
  /// Before the start, on one thread: takes in what was told.
  void TakeInNews();

  // Thread-safe.
  void Request(std::uint32_t requests);
  void SetLimit(PageCount limit);
  [[nodiscard]] PageCount limit() const { return PageCount(limit_.load(std::memory_order_relaxed)); }
  /// How fast pages come home, in bytes a second; 0: as fast as they can.
  void SetPace(Bytes a_second);
  /// The number of this piece of news of the store's pages.
  Result<std::uint64_t> Tell(NewsPiece piece);
  [[nodiscard]] const PageNews& news() const { return news_; }
  /// What changes of the pages: see change_notes.h.
  std::uint64_t AskForChanges(bool arm);
  void ForgetChanges();
  [[nodiscard]] ChangeNotes& notes() { return notes_; }
  /// Unregistered; the slot counts below are from after that.
  [[nodiscard]] bool home() const { return home_.load(std::memory_order_acquire); }
  [[nodiscard]] const region::PageTable& table() const { return parts_.table; }
  [[nodiscard]] const EngineCounters& counters() const { return counters_; }
  [[nodiscard]] const WaitingThreads& waiting() const { return waiting_; }
  [[nodiscard]] std::uint32_t slots_free() const { return slots_free_.load(std::memory_order_relaxed); }
  /// Pages in read-only slots of the store.
  [[nodiscard]] std::uint32_t lent_pages() const { return lent_pages_.load(std::memory_order_acquire); }
  [[nodiscard]] std::uint32_t slots_used() const { return slots_used_.load(std::memory_order_relaxed); }
  /// Everything given back: no slot is condemned or being released.
  [[nodiscard]] bool released_all() const { return released_all_.load(std::memory_order_acquire); }
  /// False while the pages that a fresh attach found in the file are still being counted.
  [[nodiscard]] bool counted() const { return counted_.load(std::memory_order_acquire); }
  [[nodiscard]] bool running() const { return running_.load(std::memory_order_acquire); }

 private:
  void Run();
  [[nodiscard]] LoopWatch::Sources Wait(bool more);
  [[nodiscard]] bool Serve();
  void ObeyRequests();
  void ForEachInState(region::PageState state, void (FaultLoop::*action)(PageIndex));
  void AskAgain(PageIndex page);
  void PoisonOne(PageIndex page);
  void ZeroOne(PageIndex page);
  void LookAround();
  void TellOfEarly();
  [[nodiscard]] Millis Tick(const PollNeed& urgent, const PollNeed& bulk) const;

  LoopParts parts_;
  std::atomic<std::uint64_t> limit_;
  EngineCounters counters_;
  RecentPages recent_;
  region::SlotAllocator slots_;
  WaitingThreads waiting_;
  Placer placer_;
  LoopContext loop_;
  Pager pager_;
  SentPages sent_;
  Prefetcher prefetcher_;
  Fetcher fetcher_;
  FaultHandler handler_;
  std::unique_ptr<JobExchange> exchange_;
  WriteBackBuffers buffers_;
  WakeFd wake_;
  std::optional<LoopWatch> watch_;  ///< from Prepare on
  Mover mover_;
  IoWait io_;
  Evictor evictor_;
  Pace pacing_;
  Homecoming homecoming_;
  Drawing drawing_;
  PageNews news_;
  ChangeNotes notes_;
  std::optional<Census> census_;
  std::atomic<std::uint32_t> requests_{0};
  std::atomic<std::uint64_t> pace_{0};
  std::atomic<bool> running_{false};
  std::atomic<bool> counted_{true};
  std::atomic<bool> home_{false};
  std::atomic<bool> released_all_{true};
  std::atomic<std::uint32_t> lent_pages_{0};
  std::atomic<std::uint32_t> slots_free_{0};
  std::atomic<std::uint32_t> slots_used_{0};
  bool answered_ = false;  ///< a thread runs again that waited: it may fault again soon
  bool started_closed_ = false;
  bool stopping_ = false;
  bool had_lost_ = false;
  std::uint64_t lost_seen_ = 0;
  StoreHealth health_ = StoreHealth::kGood;
  Clock::time_point next_look_{};
  Clock::time_point next_retry_{};
  std::thread thread_;
};

}  // namespace heca::fault
