// SPDX-License-Identifier: LGPL-2.1-or-later
// A VM that has come here has left pages in read-only slots of its store, at its former host, which waits to get them off
// its hands. They are drawn home behind demand as far as the limit has room; eviction makes room, for they push out what is
// colder. What was drawn is a dirty page like any other and leaves for a slot that may be written.
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

  /// One small step. True if there is more to do right away.
  [[nodiscard]] bool Step();
  /// Milliseconds until the pace allows the next pages; -1: nothing waits for that.
  [[nodiscard]] int DueMs() const { return Wanted() && pace_.TooFast() ? pace_.DueMs() : -1; }
  /// To be called now and then: after a failure it goes on, page by page, so that one that is lost holds up no other.
  void TryAgain();

 private:
  /// A homecoming fetches everything by itself.
  [[nodiscard]] bool Wanted() const { return !loop_.held && !loop_.homing && loop_.slots.read_only_used() > 0; }
  [[nodiscard]] std::size_t Room() const;

  LoopContext& loop_;
  Fetcher& fetcher_;
  Pace& pace_;
  AwaySweep sweep_;
  bool one_by_one_ = false;
};

}  // namespace heca::fault
