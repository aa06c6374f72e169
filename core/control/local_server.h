// SPDX-License-Identifier: LGPL-2.1-or-later
// Serves NodeApi to this host's operators on a unix socket. Who may use it is said by the socket's mode and group; it
// is never reachable over a network, and the sponsor's verbs are not offered here.
//
// One hecad a socket: a lock file beside it (PATH.lock) is held for as long as the server lives. A socket file that
// a dead daemon left is replaced; a live one is refused.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "base/clock.h"
#include "control/node_api.h"
#include "heca/status.h"

namespace heca::control {

inline constexpr char kDefaultSocket[] = "/run/heca/hecad.sock";

struct LocalServerOptions {
  std::string socket_path = kDefaultSocket;  ///< its directory must exist
  mode_t mode = 0660;
  std::string group{};  ///< that owns the socket; empty: the process's own
};

/// Thread-safe. Runs at most 64 calls at a time, of which 16 follow events; more are refused (kResourceExhausted).
class LocalServer {
 public:
  /// `api` outlives the server. kFailedPrecondition: another hecad is running, or the path is something else than a
  /// socket; kNotFound: no such group or directory.
  static Result<std::unique_ptr<LocalServer>> Start(const LocalServerOptions& options, NodeApi& api);
  /// Stop(), with two seconds of patience, if it was not called.
  ~LocalServer();

  [[nodiscard]] const std::string& socket_path() const;
  /// Takes no new calls, cancels what still runs at `patience`, returns when all calls have returned: how long that
  /// takes is up to NodeApi, whose sinks say Cancelled by then. Removes the socket. Idempotent; one thread at a time.
  void Stop(Deadline patience);

 private:
  class Impl;
  explicit LocalServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace heca::control
