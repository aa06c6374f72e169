// SPDX-License-Identifier: LGPL-2.1-or-later
// Reads the userfaultfd and answers what it says.
//
// An event is a hint, never a fact: between its raising and its reading the page may have been placed, evicted or
// discarded. So each is answered by what the page table says now, and a thread that was woken for nothing faults
// again. Discards take effect when they are read; faults are served from a queue.
#pragma once

#include <array>
#include <cstddef>

#include "fault/fetcher.h"
#include "fault/pager.h"

namespace heca::fault {

/// Owner loop only.
class FaultHandler final : public EventPump {
 public:
  FaultHandler(LoopContext& loop, os::Uffd& uffd, Pager& pager, Fetcher& fetcher, Prefetcher& prefetcher);

  void DrainEvents() override;
  void ServeFaults() override;
  void Defer(PageIndex page, bool write) override;

  /// Reads the faults that are there, and no other event, for ServeQueued.
  void TakeUnread();
  /// Serves what DrainEvents left, without asking the kernel for more.
  void ServeQueued();
  /// Serves deferred faults again, each at most once.
  void RetryDeferred();
  [[nodiscard]] bool HasDeferred() const { return deferred_count_ > 0; }
  /// Lets resident pages shrink to a limit that was lowered without stopping the guest until then.
  void MoveCeiling();
  void RaiseCeiling() { ceiling_ = ~std::uint64_t{0}; }
  /// The userfaultfd can no longer be read.
  [[nodiscard]] const Status& broken() const { return broken_; }

 private:
  /// A thread has at most one fault; faults beyond this many are woken and come again.
  static constexpr std::size_t kQueue = 1024;
  struct Deferred {
    PageIndex page;
    bool write = false;
    Clock::time_point since;
  };

  void Take(const os::UffdEvent& event);
  void ExpectWrite(PageIndex page);
  [[nodiscard]] bool IsClean(PageIndex page) const;
  void Handle(const os::UffdEvent& event);
  void Settle(PageIndex page, bool write, Outcome outcome);
  [[nodiscard]] Outcome Missing(PageIndex page, bool write);
  void Removed(os::TargetAddress from, os::TargetAddress end);
  [[nodiscard]] bool OverCeiling();

  LoopContext& loop_;
  os::Uffd& uffd_;
  Pager& pager_;
  Fetcher& fetcher_;
  Prefetcher& prefetcher_;
  std::array<os::UffdEvent, kQueue> queue_{};
  std::size_t queue_head_ = 0;
  std::size_t queue_count_ = 0;
  std::array<Deferred, kQueue> deferred_{};
  std::size_t deferred_count_ = 0;
  std::uint64_t ceiling_ = ~std::uint64_t{0};
  bool serving_ = false;
  Status broken_;
};

}  // namespace heca::fault
