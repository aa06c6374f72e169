// SPDX-License-Identifier: LGPL-2.1-or-later
// The thread of a server that pins and unpins what is lent. Gigabytes take seconds, for which neither the set-up of a connection
// nor those that are served may wait: until a slab is registered, its pages are asked of the server.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "heca/status.h"
#include "transport/rdma/registration.h"

namespace heca::transport::rdma {

/// Thread-safe. Outlives its registrations, and takes the time to unpin them.
class Registrar {
 public:
  Registrar();
  ~Registrar();
  Registrar(const Registrar&) = delete;
  Registrar& operator=(const Registrar&) = delete;

  /// The lease's: one for all of its connections to that device, which has nothing registered at first. It goes, and is unpinned,
  /// when the last of them drops it.
  Result<std::shared_ptr<Registration>> Of(ibv_context& device, LeaseId lease, const SlotMemory& memory);
  /// Registers what is in that memory now and was not there before, soon.
  void Follow(const std::shared_ptr<Registration>& registration, const SlotMemory& memory);

 private:
  void Run();
  void Bury(std::unique_ptr<Registration> unused);

  std::mutex mutex_;
  std::condition_variable work_;
  std::map<std::pair<ibv_context*, LeaseId>, std::weak_ptr<Registration>> known_;
  std::deque<std::weak_ptr<Registration>> growing_;  ///< a piece of each in turn
  std::vector<std::unique_ptr<Registration>> unused_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace heca::transport::rdma
