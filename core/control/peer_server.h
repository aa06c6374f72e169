// SPDX-License-Identifier: LGPL-2.1-or-later
// Serves SponsorApi to the other nodes over TCP, and MigrationApi where there is one. Bytes that are not gRPC, large
// messages and peers that say nothing are cut off by limits on memory, threads, message size (64 KiB) and handshake
// time (5 s).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "control/migration_api.h"
#include "control/sponsor_api.h"
#include "heca/status.h"

namespace heca::control {

struct PeerServerOptions {
  std::string host = "0.0.0.0";  ///< an address of this host, or a name of one; "::" too
  std::uint16_t port = 7301;     ///< 0: any free port
};

/// Thread-safe. Runs at most 32 calls at a time; more are refused (kResourceExhausted).
class PeerServer {
 public:
  /// The apis outlive the server. Without `migrations` peers hear that no VM is taken in. kFailedPrecondition: the port
  /// is taken; kInvalidArgument: no such address here; kPermissionDenied: a port below 1024 without the privilege.
  static Result<std::unique_ptr<PeerServer>> Start(const PeerServerOptions& options, SponsorApi& sponsor,
                                                   MigrationApi* migrations = nullptr);
  /// Stop(), with two seconds of patience, if it was not called.
  ~PeerServer();

  [[nodiscard]] std::uint16_t port() const;
  /// As LocalServer::Stop.
  void Stop(Deadline patience);

 private:
  class Impl;
  explicit PeerServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace heca::control
