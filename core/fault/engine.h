// SPDX-License-Identifier: LGPL-2.1-or-later
// The engine of one region: serves its faults, keeps it under its limit, brings it home.
//
// Two threads: the fault loop (fault_loop.h), which decides everything, and the write-back thread (mover.h), which
// moves bytes. The public face below is thread-safe; nothing in it waits for the loop except Stop and WaitHome.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "base/clock.h"
#include "base/unique_fd.h"
#include "fault/change_notes.h"
#include "fault/engine_config.h"
#include "fault/engine_events.h"
#include "fault/engine_stats.h"
#include "fault/page_news.h"
#include "fault/policy.h"
#include "heca/io_guard.h"
#include "heca/page_store.h"
#include "os/uffd.h"
#include "region/page_table.h"
#include "region/region_map.h"

namespace heca::fault {

class FaultLoop;

/// What an engine is made from. It owns the descriptors, the map, the table and the policy; the references must
/// outlive it.
struct EngineParts {
  os::Uffd uffd;          ///< with or without its handshake
  unique_fd pidfd;        ///< of the target: its death ends the engine
  region::RegionMap map;
  region::PageTable table;
  std::unique_ptr<EvictionPolicy> policy;
  PageStore& store;
  IoGuard& guard;
  EngineObserver& observer;
  EngineConfig config;
};

enum class StartMode : std::uint8_t {
  kInvalid = 0,
  kFresh = 1,     ///< a new table: nothing is away
  kTakeOver = 2,  ///< the table of a daemon that died or was stopped without detach
  kArrival = 3,   ///< a table that says where all of it is; registered, but faults wait until Open
};

/// What to do with pages that no store has any more; always by name, never by itself.
enum class LostPages : std::uint8_t {
  kInvalid = 0,
  kAskAgain = 1,  ///< the store may be back with its memory; threads that wait go on if it is
  kPoison = 2,    ///< a touch raises a memory error (kills a QEMU under TCG); kUnsupported before Linux 6.6
  kZeroFill = 3,  ///< the guest finds zeros
};

struct HomeProgress {
  bool asked = false;
  bool done = false;               ///< nothing is away and the memory is unregistered
  std::uint64_t pages_away = 0;    ///< still to come
  std::uint64_t pages_lost = 0;    ///< these keep it from ending: see LostPages
  bool slots_released = false;     ///< the store has confirmed that nothing of this region is left there
};

class RegionEngine {
 public:
  /// Opens readers and writer (may block as PageStore says), makes the handshake, registers the memory, and on
  /// take-over recovers the pages; on failure of a fresh start the target is left as it was. Then starts the threads.
  static Result<std::unique_ptr<RegionEngine>> Start(EngineParts parts, StartMode mode);
  /// After a start as kArrival and before Open: these pages have changed, and lie in these slots now, or, without slot, in
  /// the read-only ones of their own numbers; what came of them before is void. Again and again, one call at a time.
  /// Repeating one is harmless. `mark`, with the last: slots up to there may be written at the store, and those of them that
  /// no page lies in are released once the region is settled. kInvalidArgument: no such pages, or slots.
  Status Place(std::vector<region::SlotRun> runs, Slot mark, Deadline deadline);
  /// What all of that comes to.
  [[nodiscard]] Located Placed() const;
  /// Of a region that was started as held: the store and its VM are this host's for good. From now on pages leave, what
  /// nobody needs is released at the store, and pages in its read-only slots are drawn home. Until then it is only read.
  void Settle();
  /// Settled, and no page lies in a read-only slot any more.
  [[nodiscard]] bool Drawn() const;
  /// After a start as kArrival, as long as it is closed: to be called often. Threads that touch the memory wait for Open;
  /// kEarlyFault tells of each that does so for a second.
  void WatchClosed();
  /// After a start as kArrival: pages come from now on, but faults wait for Open. Once, and before Open. Those in read-only
  /// slots only, if there are any, and as far as the limit has room.
  void Fill();
  /// Begins to serve after a start as kArrival; else, and the second time, nothing. Takes some 100 us.
  void Open();
  /// As Stop.
  ~RegionEngine();

  /// Resident pages from now on; raised to kMinLimit. Returns at once: pages leave, or may stay, from now on.
  void SetLimit(PageCount limit);
  /// The store's lease has more slots.
  void StoreGrew();
  /// What the store says of its pages; see page_news.h. Returns once it is taken in, or kDeadlineExceeded. Only between
  /// Fill and Open may pages have changed (kFailedPrecondition).
  Status Tell(News news, std::vector<region::PageRun> runs, Deadline deadline);
  /// Of a VM that is about to leave: where its pages lie that have changed since the last call, at first all of them. In the
  /// RAM file, or zero, where there is no slot. `written`: what is written from now on has changed too, and what a device
  /// may still have been writing is there when this returns; else what has moved. One call at a time. kDeadlineExceeded: the
  /// next answer has it all the same.
  Result<ChangeNotes::Places> Changed(bool written, Deadline deadline);
  /// The same after Stop, and the last: pages stay where they are now.
  ChangeNotes::Places ChangedLast();
  /// It does not leave.
  void ForgetChanges();
  /// How fast pages come home, in bytes a second; 0: as fast as they can. Pages that a thread waits for are not held up.
  void SetPace(Bytes a_second);
  /// Detach: see HomeProgress. Cannot be taken back.
  void BringHome();
  [[nodiscard]] HomeProgress Home() const;
  /// True when home (and all slots released); false when the deadline passed.
  [[nodiscard]] bool WaitHome(Deadline deadline) const;
  Status Resolve(LostPages how);
  /// Ends the threads without detach: the journal says what is where, and a later engine takes over.
  void Stop();

  /// False after Stop or the target's death.
  [[nodiscard]] bool running() const;
  /// False while a fresh start still counts the pages that were here before: until then too few seem resident.
  [[nodiscard]] bool counted() const;
  [[nodiscard]] EngineStats Stats() const;
  [[nodiscard]] const region::PageTable& table() const;

 private:
  RegionEngine(std::unique_ptr<FaultLoop> loop, bool can_poison, bool held);
  Status TakeIn(NewsPiece piece, Deadline deadline);
  std::unique_ptr<FaultLoop> loop_;
  const bool can_poison_;
  std::mutex closed_mutex_;  ///< of the loop until its thread has it: WatchClosed comes at any time
  std::atomic<bool> home_asked_{false};
  std::atomic<bool> filling_{false};
  std::atomic<bool> open_{false};
  std::atomic<bool> settled_;
};

}  // namespace heca::fault
