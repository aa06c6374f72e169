// SPDX-License-Identifier: LGPL-2.1-or-later
// One thread that serves all admitted connections of one role.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "os/epoll_set.h"
#include "transport/connection.h"

namespace heca::transport {

/// Thread-safe. The destructor ends the thread and cuts its connections.
class RoleLoop {
 public:
  static Result<std::unique_ptr<RoleLoop>> Create(Role role, Millis stall_timeout);
  ~RoleLoop();

  /// Serves a connection that was admitted and has its answer.
  void Adopt(std::unique_ptr<Connection> connection);
  /// A page that nobody reads, for what its connections swallow; the kernel gives memory only when somebody writes to it.
  [[nodiscard]] std::span<std::byte> scratch() const;
  [[nodiscard]] std::size_t Count() const;
  void AppendInfo(std::vector<ConnectionInfo>& infos) const;

 private:
  struct Served {
    explicit Served(std::unique_ptr<Connection> served) : connection(std::move(served)) {}
    const std::unique_ptr<Connection> connection;
    bool blocked = false;     ///< counted in blocked_
    bool unfinished = false;  ///< counted in unfinished_
  };

  RoleLoop(Role role, Millis stall_timeout, os::EpollSet epoll);
  void Run();
  void TakeArrivals();
  void Serve(Served& served, std::uint32_t events);
  void ServeUnfinished();
  void Recount(Served& served, bool blocked, bool unfinished);
  void CutStalled();
  void Tick();
  void Drop(Served& served, const Status& why);

  const Role role_;
  const Millis stall_timeout_;
  const std::unique_ptr<std::byte[]> scratch_;
  os::EpollSet epoll_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> arrived_{false};
  std::size_t blocked_ = 0;     ///< connections that wait for their peer; the loop's own
  std::size_t unfinished_ = 0;  ///< connections that have work without an edge to come; the loop's own
  mutable std::mutex mutex_;  ///< taken by the loop only where connections come and go
  std::vector<std::unique_ptr<Served>> arrivals_;
  std::vector<std::unique_ptr<Served>> served_;  ///< changed by the loop only, under the lock
  std::thread thread_;
};

}  // namespace heca::transport
