// SPDX-License-Identifier: LGPL-2.1-or-later
// Keeps resident pages under the limit, ahead of need.
//
//   loop:   victims -> journal Leaving -> arm in runs -> Mark ............ Drained -> [buffer] -> to the mover
//   mover:  pread -> all zero? -> Write -> acknowledged by the store -> report
//   loop:   still Leaving, same generation? -> journal Dropping -> PUNCH in runs -> journal Away (or Zero)
//
// Why a clean page needs neither the wait for I/O nor a second look. A page becomes clean in one way only: it was
// absent, and COPY placed it armed. Its memory is new, so no pin is older than its arm; a pin for writing made later
// faults on the arm, and that fault makes the page dirty. A page whose write-back was acknowledged is dropped, never
// kept as clean. So Here and clean means: never written, by whatever way, since it was placed.
//
// Why nothing more leaves while the store is out of reach. A dirty page has nowhere to go, and the copy of a clean one
// may be lost already: a sponsor that comes back without its memory has lost what was away, not what is still here.
//
// A job waits for I/O that may still land (io_wait.h) before it is sent.
//
// Why dropping between two reads of the userfaultfd loses nothing. A writer that faulted on the arm has not written:
// it sleeps, and after the punch it is served like MISSING. So unread events need not be looked at before a punch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "fault/fetcher.h"
#include "fault/io_wait.h"
#include "fault/mover.h"
#include "fault/pager.h"
#include "fault/sent_pages.h"
#include "fault/write_back_buffers.h"

namespace heca::fault {

/// Owner loop only.
class Evictor final : private ResidentView {
 public:
  Evictor(LoopContext& loop, Pager& pager, const Fetcher& fetcher, IoWait& io, SentPages& sent, JobExchange& exchange,
          WriteBackBuffers& buffers, Mover& mover);

  /// One small step of each stage. True if there is more to do right away.
  [[nodiscard]] bool Step();
  /// Milliseconds after which Step is worth calling although nothing happened; -1: never.
  [[nodiscard]] int RecheckMs() const;

  /// BringHome: pages on their way out stay. True when none is left.
  [[nodiscard]] bool RecallAll();
  /// Nothing is condemned or being released any more.
  [[nodiscard]] bool ReleasedAll() const;
  void AdoptPolicyBits() { loop_.policy.Adopt(*this); }
  /// To be called now and then: slots that wait for others to be released with them wait no longer.
  void Tidy() { tidy_ = true; }
  /// After the store refused pages: try again.
  void Resume() { halted_ = false; }

 private:
  void Load(PageIndex first, PageBlock& out) override;
  void SetBits(PageIndex page, PolicyBits bits) override;

  void TakeReports();
  [[nodiscard]] bool FinishOne();
  void FinishRun(WriteBackJob& job);
  void Abandon(WriteBackJob& job);
  [[nodiscard]] bool SendOne();
  [[nodiscard]] std::byte* TakeBuffer();
  [[nodiscard]] bool WantsMore();
  [[nodiscard]] bool EvictOne();
  void DropClean(std::span<const PageIndex> pages);
  void DropRun(region::PageRun run);
  void Leave(std::span<const PageIndex> pages);
  void ArmJob(WriteBackJob& job);
  [[nodiscard]] bool ReleaseIsDue();
  void ReleaseSlots();

  LoopContext& loop_;
  Pager& pager_;
  const Fetcher& fetcher_;
  IoWait& io_;
  SentPages& sent_;
  JobExchange& exchange_;
  WriteBackBuffers& buffers_;
  Mover& mover_;
  SpscRing<JobIndex, 512> waiting_;   // armed, oldest first
  SpscRing<JobIndex, 512> finishing_; // reported, oldest first
  SpscRing<JobIndex, 512> kept_;      // done, buffers still readable, oldest first
  std::optional<JobIndex> guarded_;   // the oldest armed job
  std::optional<JobIndex> finishing_now_;
  std::size_t jobs_in_use_ = 0;
  std::size_t next_job_ = 0;
  std::size_t waiting_count_ = 0;  // jobs armed and not yet sent
  bool evicting_ = false;   // between the watermarks: on the way down
  bool halted_ = false;
  bool tidy_ = false;
  bool starved_ = false;    // the last sweep found too little; ask again after a moment
  Clock::time_point starved_until_{};
};

}  // namespace heca::fault
