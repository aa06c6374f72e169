// SPDX-License-Identifier: LGPL-2.1-or-later
// Detach: brings every page home behind demand, lifts every protection, unregisters. The guest never stops for it. In a
// region that is closed (its VM still runs elsewhere) it brings pages ahead, and goes on to its end once that is open.
#pragma once

#include <cstdint>

#include "fault/away_sweep.h"
#include "fault/evictor.h"
#include "fault/fetcher.h"
#include "fault/pace.h"
#include "fault/pager.h"

namespace heca::fault {

enum class HomeStage : std::uint8_t {
  kNone = 0,
  kRecall = 1,     ///< pages on their way out turn round
  kFetch = 2,      ///< pages come home
  kUnprotect = 3,  ///< clean pages become ordinary ones
  kDone = 4,       ///< unregistered
};

/// Owner loop only.
class Homecoming {
 public:
  Homecoming(LoopContext& loop, os::Uffd& uffd, Pager& pager, Fetcher& fetcher, Evictor& evictor, Pace& pace)
      : loop_(loop), uffd_(uffd), pager_(pager), fetcher_(fetcher), evictor_(evictor), pace_(pace),
        sweep_(loop, fetcher, pace) {}

  void Begin();
  [[nodiscard]] HomeStage stage() const { return stage_; }
  /// Milliseconds until the pace allows the next pages; -1: nothing waits for that.
  [[nodiscard]] int DueMs() const;
  /// One small step. True if there is more to do right away.
  [[nodiscard]] bool Step();
  /// Of the unregistration, once the stage is kDone.
  [[nodiscard]] const Status& result() const { return result_; }

 private:
  [[nodiscard]] bool Fetch();
  [[nodiscard]] bool FetchOneByOne();
  [[nodiscard]] bool UnprotectSome();
  void Unregister();
  void Enter(HomeStage stage);
  /// The slots that pages kept while the region was closed.
  void ForgetSlot(PageIndex page);

  LoopContext& loop_;
  os::Uffd& uffd_;
  Pager& pager_;
  Fetcher& fetcher_;
  Evictor& evictor_;
  Pace& pace_;
  HomeStage stage_ = HomeStage::kNone;
  AwaySweep sweep_;
  PageIndex cursor_{0};  ///< of what is done page by page
  Status result_;
};

}  // namespace heca::fault
