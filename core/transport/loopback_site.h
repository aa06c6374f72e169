// SPDX-License-Identifier: LGPL-2.1-or-later
// One endpoint of a LoopbackNetwork, and the link of each channel to it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "base/unique_fd.h"
#include "transport/channel.h"
#include "transport/server.h"

namespace heca::transport {

/// What a channel shares with its site. Thread-safe.
struct LoopbackLink {
  LoopbackLink(unique_fd event, const Hello& hello) : wake(std::move(event)), role(hello.role), lease(hello.lease) {}

  unique_fd wake;  ///< eventfd: readable when a Poll would find something
  const Role role;
  const LeaseId lease;
  std::atomic<bool> cut{false};
  std::atomic<std::uint64_t> read{0};     ///< payload bytes to the client
  std::atomic<std::uint64_t> written{0};  ///< payload bytes from the client

  void Wake();
};

/// Thread-safe.
class LoopbackSite {
 public:
  explicit LoopbackSite(Endpoint endpoint) : endpoint_(std::move(endpoint)) {}

  [[nodiscard]] const Endpoint& endpoint() const { return endpoint_; }
  /// kAlreadyExists while somebody listens.
  Status Listen(Admission& admission);
  /// Returns once no Admit is running; cuts all links.
  void StopListening();
  /// Asks the admission and registers the link.
  Result<std::shared_ptr<SlotMemory>> Admit(const Hello& hello, const std::shared_ptr<LoopbackLink>& link);
  void SetCut(bool cut);
  void SetStalled(bool stalled);
  [[nodiscard]] bool stalled() const { return stalled_.load(); }
  [[nodiscard]] std::vector<ConnectionInfo> Connections() const;

 private:
  /// The links whose channels still live.
  std::vector<std::shared_ptr<LoopbackLink>> Live() const;

  const Endpoint endpoint_;
  std::atomic<bool> stalled_{false};
  mutable std::mutex mutex_;
  Admission* admission_ = nullptr;
  bool cut_ = false;
  std::vector<std::weak_ptr<LoopbackLink>> links_;
};

}  // namespace heca::transport
