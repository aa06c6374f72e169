// SPDX-License-Identifier: LGPL-2.1-or-later
// What the parts of one fault loop share. Everything here belongs to the loop's thread; none of it is owned here.
#pragma once

#include <cstdint>

#include "base/clock.h"
#include "fault/engine_config.h"
#include "fault/engine_events.h"
#include "fault/engine_stats.h"
#include "fault/placer.h"
#include "fault/policy.h"
#include "fault/recent_pages.h"
#include "fault/waiting_threads.h"
#include "heca/io_guard.h"
#include "heca/page_store.h"
#include "region/page_table.h"
#include "region/slot_allocator.h"

namespace heca::fault {

/// The loop's event source, for parts that are in the middle of something.
class EventPump {
 public:
  virtual ~EventPump() = default;
  /// Reads what the userfaultfd has: discards take effect at once (table only), faults are queued. After it every
  /// page must be looked up again.
  virtual void DrainEvents() = 0;
  /// Serves faults that arrived meanwhile, so that a long piece of work delays none. After it every page must be
  /// looked up again. Does nothing when called from within itself.
  virtual void ServeFaults() = 0;
  /// This fault cannot be answered now; it is served again soon.
  virtual void Defer(PageIndex page, bool write) = 0;
};

struct LoopContext {
  const EngineConfig& config;
  const EngineSizes sizes;
  const region::RegionMap& map;
  region::PageTable& table;
  region::SlotAllocator& slots;
  Placer& placer;
  EvictionPolicy& policy;
  const PageStore& store;
  IoGuard& guard;
  EngineObserver& observer;
  EngineCounters& counters;
  WaitingThreads& waiting;
  RecentPages& recent;
  EventPump& pump;

  Clock::time_point fault_time{};       ///< when the fault at hand was read
  PageIndex last_demand{0};             ///< the page that a thread waited for last
  std::uint64_t demands = 0;            ///< pages that were asked for because a thread waits, so far
  std::uint64_t answers = 0;            ///< threads that were let run on, so far
  std::uint64_t pressure = 0;           ///< pages to evict beyond the watermarks, because local memory ran out
  bool homing = false;                  ///< BringHome: nothing leaves any more
  bool held = false;                    ///< nothing leaves, and nothing is released at the store: it may be somebody else's
  bool closed = false;                  ///< pages come, but no fault is answered yet; each keeps its slot until it is open

  /// The page needs nothing of the store any more. The caller stores the entry.
  void LetGoOfSlot(region::PageEntry& entry) const {
    if (entry.slot == kNoSlot || closed) return;  // closed: the page may change at the store, and be asked for again
    slots.Condemn(entry.slot);
    entry.slot = kNoSlot;
  }
  void Answered(AnswerSource source) {
    ++answers;
    counters.latency[static_cast<std::size_t>(source)].Record(Clock::now() - fault_time);
  }
};

/// Patience with EAGAIN: reads events and lets their callers run on, for at most 100 ms.
class Patience {
 public:
  explicit Patience(LoopContext& loop) : loop_(loop) {}
  /// False when it is used up: the page is parked and its fault comes again.
  bool Again();

 private:
  LoopContext& loop_;
  Clock::time_point until_{};
};

}  // namespace heca::fault
