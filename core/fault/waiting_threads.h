// SPDX-License-Identifier: LGPL-2.1-or-later
// Which threads of an arriving VM wait for pages, and for how long its vCPUs did: each of them, and all of them at once,
// as QEMU's postcopy-blocktime counts. A thread waits from the moment when its fault is read until its page is woken, and
// counts when that ends; it has one fault at a time.
//
// Not a vCPU, and so one of the others: QEMU's main loop and I/O threads, and the kernel's threads that fault for the VM
// (vhost, KVM's asynchronous page faults).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/clock.h"
#include "fault/engine_stats.h"
#include "heca/types.h"
#include "region/region_map.h"

namespace heca::fault {

/// Owner loop only, without an allocation; Blocktime: any thread.
class WaitingThreads {
 public:
  /// `vcpus`: the thread of each, as the kernel names it in a fault; they may share one. Until Follow nothing is noted.
  explicit WaitingThreads(std::span<const std::int32_t> vcpus);
  void Follow() { waits_.resize(threads_.size() + kMostOthers); }

  /// `thread` has been seen to wait for `page`. 0: the userfaultfd does not tell, and then no vCPU's time is known any more.
  void Begin(std::int32_t thread, PageIndex page, Clock::time_point now);
  /// Who waited for a page of the run runs on.
  void End(region::PageRun run) {
    if (waiting_ > 0) End(run, Clock::now());
  }
  void End(region::PageRun run, Clock::time_point now);

  /// Tells once, by (thread, page), of each that has waited since `then` or longer.
  template <class Tell>
  void TellOfThoseSince(Clock::time_point then, Tell tell) {
    for (std::size_t i = 0; i < waiting_; ++i) {
      if (waits_[i].told || waits_[i].since > then) continue;
      waits_[i].told = true;
      tell(waits_[i].thread, waits_[i].page);
    }
  }
  /// Nothing where it is not known.
  [[nodiscard]] std::optional<BlocktimeNumbers> Blocktime() const;

 private:
  /// Of threads that are no vCPU, so many are noted while they wait at once; the others are not counted.
  static constexpr std::size_t kMostOthers = 256;
  static constexpr std::uint32_t kOther = ~std::uint32_t{0};
  struct Wait {
    std::int32_t thread = 0;
    std::uint32_t vcpu = kOther;  ///< index into threads_
    PageIndex page;
    Clock::time_point since;
    bool told = false;
  };

  void Finish(Wait& wait, Clock::time_point now);

  std::vector<std::int32_t> threads_;  ///< of vCPUs, each once, in order
  std::vector<std::size_t> vcpus_;     ///< of each vCPU: its thread's index
  std::vector<Counter> waited_;        ///< nanoseconds of each thread
  Counter all_waited_;
  Counter others_waited_;
  std::atomic<bool> known_;
  std::vector<Wait> waits_;            ///< the first waiting_ of them
  std::size_t waiting_ = 0;
  std::size_t waiting_vcpus_ = 0;      ///< threads of vCPUs among them
  Clock::time_point all_since_{};
};

}  // namespace heca::fault
