// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/loop_watch.h"

#include <sched.h>

#include <algorithm>
#include <array>

namespace heca::fault {
namespace {

/// Spins in a row that may be in vain before spinning pauses, and for how many waits.
constexpr std::uint32_t kVain = 4;
constexpr std::uint32_t kPause = 256;
/// A yield that took so long went to a thread that computes. What serves us (the sponsor on this host, the thread that
/// faulted) sleeps again after some 30 us.
constexpr std::chrono::microseconds kKept{200};
constexpr std::uint32_t kLongPause = 1024;

void* Cookie(LoopWatch::Source source) { return reinterpret_cast<void*>(std::uintptr_t{source}); }

}  // namespace

Result<LoopWatch> LoopWatch::Create(int uffd, int wake, int pidfd) {
  HECA_ASSIGN_OR_RETURN(os::EpollSet set, os::EpollSet::Create());
  HECA_RETURN_IF_ERROR(set.Add(uffd, EPOLLIN, Cookie(kFaults)));
  HECA_RETURN_IF_ERROR(set.Add(wake, EPOLLIN, Cookie(kWake)));
  if (pidfd >= 0) HECA_RETURN_IF_ERROR(set.Add(pidfd, EPOLLIN, Cookie(kDeath)));
  return LoopWatch(std::move(set));
}

/// A reader's descriptor may have been closed since, and its number may be the other reader's by now.
void LoopWatch::Follow(PollNeed& known, const PollNeed& need, const PollNeed& other, Source source) {
  if (known.fd == need.fd && known.file == need.file) {
    if (known.events != need.events && need.fd >= 0) set_.Change(need.fd, need.events, Cookie(source));
  } else {
    if (known.fd >= 0 && known.fd != other.fd) set_.Remove(known.fd);
    if (need.fd >= 0) (void)set_.Add(need.fd, need.events, Cookie(source));
  }
  known = need;
}

LoopWatch::Sources LoopWatch::Look(bool only_look) {
  std::array<epoll_event, 8> room;
  Sources ready = 0;
  for (const epoll_event& event : set_.Wait(room, only_look)) {
    ready |= static_cast<Sources>(reinterpret_cast<std::uintptr_t>(event.data.ptr));
  }
  return ready;
}

LoopWatch::Sources LoopWatch::Spin(Nanos most, Experience& experience) {
  if (experience.pause > 0) {
    --experience.pause;
    return 0;
  }
  Nanos& expected = experience.expected;
  const Clock::time_point begin = Clock::now();
  const Nanos until = expected == Nanos::zero() ? most : std::min(most, 3 * expected);
  Clock::time_point looked = begin;
  while (true) {
    const Sources ready = Look(true);
    const Clock::time_point now = Clock::now();
    const Nanos passed = now - begin;
    if (now - looked > kKept) {
      experience = {.pause = kLongPause};
      return ready;
    }
    looked = now;
    if (ready != 0) {
      expected = expected == Nanos::zero() ? passed : (7 * expected + passed) / 8;
      experience.failures = 0;
      return ready;
    }
    if (passed >= until) break;
    ::sched_yield();
  }
  expected = std::min<Nanos>(most, expected * 2);
  if (++experience.failures >= kVain) experience = {.pause = kPause};
  return 0;
}

LoopWatch::Sources LoopWatch::Wait(const Wish& wish) {
  Follow(urgent_, wish.urgent, bulk_, kUrgent);
  Follow(bulk_, wish.bulk, urgent_, kBulk);
  if (wish.only_look) return Look(true);
  set_.Tick(wish.tick);
  if (wish.spin > Nanos::zero()) {
    if (const Sources ready = Spin(wish.spin, wish.answer ? answers_ : faults_); ready != 0) return ready;
  }
  return Look(false);
}

}  // namespace heca::fault
