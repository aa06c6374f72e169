// SPDX-License-Identifier: LGPL-2.1-or-later
#include "os/epoll_set.h"

#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <cerrno>

#include "base/check.h"

namespace heca::os {

Result<EpollSet> EpollSet::Create() {
  unique_fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return Status::FromErrno(errno, "epoll_create1", ErrorScope::kNode);
  unique_fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return Status::FromErrno(errno, "eventfd", ErrorScope::kNode);
  unique_fd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer) return Status::FromErrno(errno, "timerfd_create", ErrorScope::kNode);
  EpollSet set(std::move(epoll), std::move(wake), std::move(timer));
  HECA_RETURN_IF_ERROR(set.Add(set.wake_.get(), EPOLLIN, nullptr));
  HECA_RETURN_IF_ERROR(set.Add(set.timer_.get(), EPOLLIN, nullptr));
  return set;
}

Status EpollSet::Add(int fd, std::uint32_t events, void* cookie) {
  epoll_event event{events, {cookie}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0) return {};
  return Status::FromErrno(errno, "epoll_ctl", ErrorScope::kConnection);
}

void EpollSet::Change(int fd, std::uint32_t events, void* cookie) {
  epoll_event event{events, {cookie}};
  HECA_CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) == 0);
}

void EpollSet::Remove(int fd) { ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }

void EpollSet::Tick(Millis period) {
  if (period == period_) return;
  period_ = period;
  const timespec span{period.count() / 1000, period.count() % 1000 * 1000000};
  const itimerspec times{span, span};
  HECA_CHECK(::timerfd_settime(timer_.get(), 0, &times, nullptr) == 0);
}

std::span<epoll_event> EpollSet::Wait(std::span<epoll_event> room, bool only_look) {
  const int ready =
      ::epoll_wait(epoll_.get(), room.data(), static_cast<int>(room.size()), only_look ? 0 : -1);
  HECA_CHECK(ready >= 0 || errno == EINTR);
  const auto events = room.first(static_cast<std::size_t>(std::max(ready, 0)));
  const auto ours = std::partition(events.begin(), events.end(),
                                   [](const epoll_event& event) { return event.data.ptr != nullptr; });
  if (ours != events.end()) {
    std::uint64_t count = 0;
    // EAGAIN: it was the other one.
    HECA_CHECK(::read(wake_.get(), &count, sizeof count) > 0 || errno == EAGAIN);
    HECA_CHECK(::read(timer_.get(), &count, sizeof count) > 0 || errno == EAGAIN);
  }
  return events.first(static_cast<std::size_t>(ours - events.begin()));
}

void EpollSet::Wake() const { HECA_CHECK(::eventfd_write(wake_.get(), 1) == 0); }

}  // namespace heca::os
