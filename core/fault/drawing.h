// SPDX-License-Identifier: LGPL-2.1-or-later
// A VM that has come here has left pages in read-only slots of its store, at its former host, which waits to get them off
// its hands. They are drawn home behind demand as far as the limit has room; eviction makes room, for they push out what is
// colder. What was drawn is a dirty page like any other and leaves for a slot that may be written.
//
// While the region is closed (the VM still runs at its former host) they come ahead, as far as the limit has room: nothing
// leaves yet. Such a page keeps its slot, since it may change there; it lets go of it once the region is open.
#pragma once

#include "fault/away_sweep.h"
#include "fault/fetcher.h"
#include "fault/loop_context.h"
#include "fault/pace.h"

namespace heca::fault {

/// Owner loop only.
class Drawing {
 public:
  Drawing(LoopContext& loop, Fetcher& fetcher, Pace& pace)
      : loop_(loop), fetcher_(fetcher), pace_(pace), sweep_(loop, fetcher, pace) {}

  /// The region is closed, and its pages are to come ahead.
  void Fill() { filling_ = true; }
  /// Pages that may still come ahead.
  [[nodiscard]] static std::uint64_t Ahead(const region::PageTable& table, std::uint64_t located, PageCount limit);
  /// One small step. True if there is more to do right away.
  [[nodiscard]] bool Step();
  /// Milliseconds until the pace allows the next pages; -1: nothing waits for that.
  [[nodiscard]] int DueMs() const { return Wanted() && pace_.TooFast() ? pace_.DueMs() : -1; }
  /// To be called now and then: after a failure it goes on, page by page, so that one that is lost holds up no other.
  void TryAgain();

 private:
  /// A homecoming fetches everything by itself.
  [[nodiscard]] bool Wanted() const {
    const bool draws = loop_.closed ? filling_ : !loop_.held;
    return draws && !loop_.homing && loop_.slots.read_only_used() > 0;
  }
  [[nodiscard]] std::size_t Room() const;
  [[nodiscard]] bool LetGoOfSlots();

  LoopContext& loop_;
  Fetcher& fetcher_;
  Pace& pace_;
  AwaySweep sweep_;
  bool one_by_one_ = false;
  bool filling_ = false;    ///< or has filled: slots are kept
  PageIndex let_go_{0};     ///< of the pages before, if it has filled and is open
};

}  // namespace heca::fault
