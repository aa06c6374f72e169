// SPDX-License-Identifier: LGPL-2.1-or-later
// An epoll descriptor with an eventfd in it, by which other threads wake the waiter, and a timerfd for its ticks: a
// timeout given to epoll_wait would arm the CPU's timer at every wait, which in a virtual machine costs more than the
// wait itself.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <span>

#include "base/clock.h"
#include "base/unique_fd.h"
#include "heca/status.h"

namespace heca::os {

/// One thread at a time, except Wake, which is thread-safe.
class EpollSet {
 public:
  static Result<EpollSet> Create();

  Status Add(int fd, std::uint32_t events, void* cookie);
  void Change(int fd, std::uint32_t events, void* cookie);
  void Remove(int fd);
  /// Wait returns at least every so often; zero: only for events. Does nothing if that is so already.
  void Tick(Millis period);
  /// Waits for events, a wake or a tick, or only looks. Wakes and ticks are swallowed here: then it may return nothing.
  std::span<epoll_event> Wait(std::span<epoll_event> room, bool only_look);
  void Wake() const;
  /// Readable while an event of one of its descriptors waits: a set may be in another one.
  [[nodiscard]] int fd() const { return epoll_.get(); }

 private:
  EpollSet(unique_fd epoll, unique_fd wake, unique_fd timer)
      : epoll_(std::move(epoll)), wake_(std::move(wake)), timer_(std::move(timer)) {}
  unique_fd epoll_;
  unique_fd wake_;
  unique_fd timer_;
  Millis period_{0};
};

}  // namespace heca::os
