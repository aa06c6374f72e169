// SPDX-License-Identifier: LGPL-2.1-or-later
// One hecad as a client sees it. Made without any contact, and without a thread: those come with the first call, so that a
// process may fork before it. Shared by the client and by its operations and streams, which may outlive it.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "base/clock.h"
#include "control/node_client.h"
#include "heca/status.h"
#include "process.h"

namespace heca::binding {

/// Thread-safe.
class Connection {
 public:
  /// `timeout` bounds calls without progress.
  Connection(std::string socket, Millis timeout) : socket_(std::move(socket)), timeout_(timeout) {}

  /// kFailedPrecondition: closed, or this is a forked child. Lives as long as the connection.
  [[nodiscard]] Result<control::NodeApi*> Api();
  /// Calls, operations and streams under way give up. Idempotent.
  void Close() { closed_ = true; }
  [[nodiscard]] bool closed() const { return closed_; }
  [[nodiscard]] const std::string& socket() const { return socket_; }

 private:
  const std::string socket_;
  const Millis timeout_;
  std::atomic<bool> closed_{false};
  std::mutex mutex_;  ///< of what follows
  ThisProcess<control::NodeClient> client_;
};

}  // namespace heca::binding
