// SPDX-License-Identifier: LGPL-2.1-or-later
// Detach: brings every page home behind demand, lifts every protection, unregisters. The guest never stops for it.
#pragma once

#include <cstdint>

#include "fault/evictor.h"
#include "fault/fetcher.h"
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
  Homecoming(LoopContext& loop, os::Uffd& uffd, Pager& pager, Fetcher& fetcher, Evictor& evictor)
      : loop_(loop), uffd_(uffd), pager_(pager), fetcher_(fetcher), evictor_(evictor) {}

  void Begin();
  [[nodiscard]] HomeStage stage() const { return stage_; }
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

  LoopContext& loop_;
  os::Uffd& uffd_;
  Pager& pager_;
  Fetcher& fetcher_;
  Evictor& evictor_;
  HomeStage stage_ = HomeStage::kNone;
  PageIndex cursor_{0};
  std::uint64_t seen_demands_ = 0;
  Status result_;
};

}  // namespace heca::fault
