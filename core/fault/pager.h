// SPDX-License-Identifier: LGPL-2.1-or-later
// Moves single pages and fetched runs: the page table, the kernel and the policy changed together, in the order that
// a SIGKILL between any two steps allows. Every function looks the page up itself, and again after each EAGAIN.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "fault/loop_context.h"

namespace heca::fault {

/// What became of a fault.
enum class Outcome : std::uint8_t {
  kInvalid = 0,
  kAnswered = 1,   ///< its thread runs, or was woken to fault again
  kWaiting = 2,    ///< an answer is under way
  kDefer = 3,      ///< cannot be answered now (no memory, no credit, limit): try again soon
  kElsewhere = 4,  ///< the page is not here: serve it as MISSING
};

/// A page that was asked for, and the claim it was asked under.
struct Expected {
  PageIndex page;
  region::Generation generation = 0;
};

/// Owner loop only.
class Pager {
 public:
  explicit Pager(LoopContext& loop) : loop_(loop) {}

  /// A MISSING fault of a Zero page.
  [[nodiscard]] Outcome PlaceZero(PageIndex page, bool write);
  /// A MISSING fault of a page that should be here: the guest discarded it, so it is zero now (or the fault is old).
  [[nodiscard]] Outcome ReplaceDiscarded(PageIndex page, bool write);
  /// A WP fault, or a write that came as MINOR because its page table entry was gone.
  [[nodiscard]] Outcome AllowWrite(PageIndex page);
  /// A MINOR fault of a page that may be in the file.
  [[nodiscard]] Outcome MapPresent(PageIndex page, bool write);
  /// MINOR on a page that is away: takes the stray page out of the file.
  void RemoveStray(PageIndex page);

  /// Places the fetched pages whose claims still stand, in runs; `bytes` holds all of them in order. Returns how many
  /// it placed. Pages it could not place go back to Away, and their faults are deferred.
  std::size_t PlaceFetched(std::span<const Expected> pages, const std::byte* bytes, AnswerSource source);
  /// True if an answer for this claim may still be placed.
  [[nodiscard]] bool Stands(const Expected& expected) const;
  /// Gives a claim up: the page is Away again; a fault that waits for it is deferred.
  void Park(const Expected& expected, bool somebody_waits = true);
  /// The store no longer has the page.
  void MarkLost(const Expected& expected);

  /// A REMOVE event over one page. Table only: no ioctl but WAKE.
  void Discard(PageIndex page);
  /// A page on its way out stays; lifts its protection.
  void CancelLeaving(PageIndex page, bool touched);

  /// A page was found in the file that the table calls Zero.
  void Adopt(PageIndex page);
  void Alarm(EngineEventKind kind, int error = 0);

 private:
  void BecomeHere(PageIndex page, PlaceCause cause, bool clean, Slot slot);
  void MakeDirty(PageIndex page, bool touched);
  [[nodiscard]] Outcome Unprotect(PageIndex page);
  void UnprotectBehind(PageIndex page);
  [[nodiscard]] Outcome Failed(PageIndex page, const Placement& placement);
  [[nodiscard]] bool SlotsAreShort() const;
  /// After COPY said EEXIST of a page that may be in the file as it is: kNoMemory if it is hugetlbfs with an empty pool,
  /// else the page is mapped (kDone), or its waiter was woken.
  [[nodiscard]] KernelAnswer WhyPresent(PageIndex page);
  LoopContext& loop_;
  std::array<Clock::time_point, 16> last_alarm_{};
};

}  // namespace heca::fault
