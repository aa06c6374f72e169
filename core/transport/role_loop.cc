// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport/role_loop.h"

#include <algorithm>
#include <array>

#include "base/log.h"
#include "wire/limits.h"

namespace heca::transport {
namespace {

/// How often stalled connections are looked for, while any connection waits for its peer.
constexpr Millis kStallTick{250};
/// How often idle connections are asked whether they may still be served: the sponsor waits for the end of one that
/// may not before it admits its successor (SlotMemory::StillOwnedBy).
constexpr Millis kTick{20};

}  // namespace

Result<std::unique_ptr<RoleLoop>> RoleLoop::Create(Role role, Millis stall_timeout) {
  HECA_ASSIGN_OR_RETURN(auto epoll, os::EpollSet::Create());
  return std::unique_ptr<RoleLoop>(new RoleLoop(role, stall_timeout, std::move(epoll)));
}

RoleLoop::RoleLoop(Role role, Millis stall_timeout, os::EpollSet epoll)
    : role_(role),
      stall_timeout_(stall_timeout),
      scratch_(new std::byte[wire::kMaxPageSize]),
      epoll_(std::move(epoll)),
      thread_([this] { Run(); }) {}

RoleLoop::~RoleLoop() {
  stop_ = true;
  epoll_.Wake();
  thread_.join();
}

std::span<std::byte> RoleLoop::scratch() const { return {scratch_.get(), wire::kMaxPageSize}; }

void RoleLoop::Adopt(std::unique_ptr<Connection> connection) {
  auto served = std::make_unique<Served>(std::move(connection));
  {
    const std::lock_guard lock(mutex_);
    arrivals_.push_back(std::move(served));
  }
  arrived_.store(true, std::memory_order_release);
  epoll_.Wake();
}

std::size_t RoleLoop::Count() const {
  const std::lock_guard lock(mutex_);
  return served_.size() + arrivals_.size();
}

void RoleLoop::AppendInfo(std::vector<ConnectionInfo>& infos) const {
  const std::lock_guard lock(mutex_);
  for (const auto& served : served_) infos.push_back(served->connection->Info());
  for (const auto& served : arrivals_) infos.push_back(served->connection->Info());
}

void RoleLoop::Run() {
  std::array<epoll_event, 64> room;
  Clock::time_point last_stall_check = Clock::now();
  Clock::time_point last_tick = last_stall_check;
  while (!stop_.load(std::memory_order_relaxed)) {
    epoll_.Tick(served_.empty() ? Millis(0) : kTick);
    for (const epoll_event& event : epoll_.Wait(room, unfinished_ > 0)) {
      Serve(*static_cast<Served*>(event.data.ptr), event.events);
    }
    if (unfinished_ > 0) ServeUnfinished();
    if (arrived_.load(std::memory_order_relaxed)) TakeArrivals();
    const Clock::time_point now = Clock::now();
    if (now - last_tick >= kTick) {
      last_tick = now;
      Tick();
    }
    if (blocked_ > 0 && now - last_stall_check >= kStallTick) {
      last_stall_check = now;
      CutStalled();
    }
  }
}

void RoleLoop::TakeArrivals() {
  arrived_.exchange(false, std::memory_order_acquire);
  const std::lock_guard lock(mutex_);
  for (auto& arrival : arrivals_) {
    const Status added = epoll_.Add(arrival->connection->fd(), arrival->connection->Events(), arrival.get());
    if (added.ok()) {
      served_.push_back(std::move(arrival));
    } else {
      Log().warn("data connection from {} cut off: {}", arrival->connection->Info().peer, added.ToString());
    }
  }
  arrivals_.clear();
}

void RoleLoop::Serve(Served& served, std::uint32_t events) {
  const Status status = served.connection->OnEvents(events);
  Recount(served, served.connection->blocked(), served.connection->unfinished());
  if (!status.ok()) Drop(served, status);
}

void RoleLoop::ServeUnfinished() {
  for (std::size_t i = served_.size(); i-- > 0;) {
    if (served_[i]->unfinished) Serve(*served_[i], 0);
  }
}

void RoleLoop::Recount(Served& served, bool blocked, bool unfinished) {
  blocked_ = blocked_ + (blocked ? 1 : 0) - (served.blocked ? 1 : 0);
  unfinished_ = unfinished_ + (unfinished ? 1 : 0) - (served.unfinished ? 1 : 0);
  served.blocked = blocked;
  served.unfinished = unfinished;
}

void RoleLoop::CutStalled() {
  const Clock::time_point oldest = Clock::now() - stall_timeout_;
  for (std::size_t i = served_.size(); i-- > 0;) {
    Served& served = *served_[i];
    if (!served.connection->blocked() || served.connection->last_sent() > oldest) continue;
    Drop(served, {ErrorCode::kDeadlineExceeded, "the peer does not take its answers", ErrorScope::kConnection});
  }
}

void RoleLoop::Tick() {
  for (std::size_t i = served_.size(); i-- > 0;) {
    const Status status = served_[i]->connection->OnTick();
    if (!status.ok()) Drop(*served_[i], status);
  }
}

void RoleLoop::Drop(Served& served, const Status& why) {
  const ConnectionInfo info = served.connection->Info();
  if (why.code() == ErrorCode::kUnavailable) {
    Log().info("{} data connection from {} (lease {}) ended: {}", RoleName(role_), info.peer, info.lease.value(),
               why.message());
  } else {
    Log().warn("{} data connection from {} (lease {}) cut off: {}", RoleName(role_), info.peer, info.lease.value(),
               why.ToString());
  }
  Recount(served, false, false);
  epoll_.Remove(served.connection->fd());
  const std::lock_guard lock(mutex_);
  std::erase_if(served_, [&](const auto& s) { return s.get() == &served; });
}

}  // namespace heca::transport
