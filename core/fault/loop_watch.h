// SPDX-License-Identifier: LGPL-2.1-or-later
// What a fault loop waits for: the userfaultfd, its wake-up, the target's death and its two readers, in one epoll set
// that changes only when a reader's descriptor does. No wait has a timeout (os/epoll_set.h says why).
//
// Spinning. On most machines the way of a CPU into idle and out again costs more than all the rest of a fault, and while
// an urgent answer is under way the CPU of the thread that faulted has nothing else to do; the same holds for the next
// fault of a thread that has one after the other. So the loop looks for a while before it sleeps, and lets every other
// thread that wants this CPU have it between two looks. It learns how long each takes, and stops spinning for a while
// where it was in vain, or where the other thread kept the CPU: a sleeper gets it back sooner than one that yields.
#pragma once

#include <cstdint>

#include "base/clock.h"
#include "fault/wake_fd.h"
#include "heca/page_store.h"
#include "heca/status.h"
#include "os/epoll_set.h"

namespace heca::fault {

/// Owner loop only.
class LoopWatch {
 public:
  enum Source : std::uint32_t { kFaults = 1, kWake = 2, kDeath = 4, kUrgent = 8, kBulk = 16 };
  using Sources = std::uint32_t;

  /// The descriptors stay open as long as the watch; `pidfd` may be -1.
  static Result<LoopWatch> Create(int uffd, int wake, int pidfd);

  struct Wish {
    PollNeed urgent;
    PollNeed bulk;
    Millis tick{0};       ///< Wait returns at least every so often
    bool only_look = false;
    Nanos spin{0};        ///< look for so long before sleeping; zero: sleep at once
    bool answer = false;  ///< what is looked for is an answer (else: the next fault); they are learnt apart
  };
  /// The sources that are ready, none after a tick.
  [[nodiscard]] Sources Wait(const Wish& wish);

 private:
  explicit LoopWatch(os::EpollSet set) : set_(std::move(set)) {}
  void Follow(PollNeed& known, const PollNeed& need, const PollNeed& other, Source source);
  [[nodiscard]] Sources Look(bool only_look);
  struct Experience {
    Nanos expected{0};           ///< how long spinning that helped took, smoothed
    std::uint32_t failures = 0;  ///< spins in a row that did not help
    std::uint32_t pause = 0;     ///< waits without spinning that are left
  };
  [[nodiscard]] Sources Spin(Nanos most, Experience& experience);

  os::EpollSet set_;
  PollNeed urgent_;
  PollNeed bulk_;
  Experience answers_;
  Experience faults_;
};

}  // namespace heca::fault
