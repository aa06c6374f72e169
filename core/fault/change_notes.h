// SPDX-License-Identifier: LGPL-2.1-or-later
// Tells where the pages of a VM lie that is about to leave, and then again and again which of them may have changed:
// written, or gone from one place to another. The userfaultfd is the engine's, so nobody else can note writes; and it is
// the engine that moves pages.
//
//   asked:  for each page in the table's ChangeMap: out of the map -> armed, if it is here -> "it lies in the file", or
//           "in slot s" -> the next ones ...                                 -> wait until no device writes what was armed
//   asker:  copies what lies in the file
//
//   what happens to a page that was told      and so it is in the map again
//   it is written                             its fault lifts the protection: Placer
//   it is evicted                             Here -> Leaving -> ... -> Away: PageTable::Move
//   its eviction is called off                Leaving -> Cancel -> Here: Move
//   it is fetched, or only asked for          Away -> Coming or Prefetching -> Here: Move
//   the guest discards it                     Move, when REMOVE is read; and once more, since it goes after that only
//   the guest touches it again                it is placed writable: Placer
//   a device writes it, pinned before         it is waited out before it is told; pinned after: that is a fault
//
// So a page that is in the map nowhere is, to the byte and to the slot, what was told of it; and a copy that was made of a
// page that is in it is void. A page on its way is told as what it is at that moment, since whatever becomes of it is a
// Move. That a dirty page is armed is not noted in the table: its next write fault finds out, also in the next hecad.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <vector>

#include "fault/io_wait.h"
#include "fault/loop_context.h"
#include "region/change_map.h"
#include "region/region_map.h"

namespace heca::fault {

class ChangeNotes {
 public:
  /// Neighbouring pages, in neighbouring slots; without slot: in the RAM file, or nowhere (zero).
  using Places = std::deque<region::SlotRun>;  // grows without a copy, beside faults

  ChangeNotes(LoopContext& loop, IoWait& io) : loop_(loop), io_(io) {}

  // Thread-safe; the loop is woken by the caller.
  /// What has changed since the last time; at first all pages, but those that are zero and were never told elsewhere. `arm`:
  /// what is written from now on has changed, too; else only what has moved. The number of the question.
  std::uint64_t Ask(bool arm);
  /// The last question that was answered.
  [[nodiscard]] std::uint64_t answered() const { return answered_.load(std::memory_order_acquire); }
  /// All answers that were not taken yet. Of a page that is in there twice the later counts.
  [[nodiscard]] Places Take();
  /// Nothing is noted any more; the next question is a first one. What is armed still is so until it is written.
  void Forget();

  /// Loop only. True if there is more to do right away.
  [[nodiscard]] bool Step();
  /// Milliseconds after which Step is worth calling; -1: nothing waits.
  [[nodiscard]] int RecheckMs() const;
  /// After the loop has ended: answers for all that has changed and was not told.
  void Finish();

 private:
  enum class Stage : std::uint8_t { kIdle, kSweep, kDevices };

  void ObeyForget();
  void Begin();
  void HandOver();
  void Look(std::size_t most_pages, bool arm);
  void Tell(PageIndex page, Slot slot);
  void Arm(region::PageRun run);

  LoopContext& loop_;
  IoWait& io_;
  std::atomic<std::uint64_t> answered_{0};
  std::atomic<bool> asked_{false};
  std::atomic<bool> forget_{false};
  std::mutex mutex_;
  std::uint64_t questions_ = 0;   ///< under the mutex, like the next four
  bool fresh_ = true;             ///< the next question is a first one
  bool arm_ = false;
  region::ChangeMap::Bits all_;
  Places told_;
  // The loop's.
  Stage stage_ = Stage::kIdle;
  bool first_ = false;     ///< nobody was told anything yet
  bool arming_ = false;
  std::uint64_t question_ = 0;
  std::size_t word_ = 0;   ///< of the map, where the sweep is
  Places found_;
  ArmedAt armed_;
};

}  // namespace heca::fault
