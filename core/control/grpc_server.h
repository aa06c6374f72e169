// SPDX-License-Identifier: LGPL-2.1-or-later
// A gRPC server with every resource bounded. Private to this room. Synchronous API: a call occupies a thread while it
// runs, and when `max_threads` are occupied gRPC refuses the next call with RESOURCE_EXHAUSTED.
#pragma once

#include <grpcpp/server.h>

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "heca/status.h"

namespace heca::control {

struct GrpcServerSetup {
  std::string address;  ///< "unix:/path", "10.1.0.3:7301"
  std::shared_ptr<grpc::ServerCredentials> credentials;
  std::string name;     ///< of gRPC's resource quota
  int max_threads = 0;  ///< includes one or two that wait for work
  std::size_t max_memory = 0;
  int max_message = 0;  ///< bytes, received
};

/// One thread at a time.
class GrpcServer {
 public:
  /// The services outlive the server. Fails (kFailedPrecondition) when gRPC cannot bind; gRPC does not tell why.
  static Result<std::unique_ptr<GrpcServer>> Start(const GrpcServerSetup& setup,
                                                   const std::vector<grpc::Service*>& services);
  ~GrpcServer();
  [[nodiscard]] int port() const { return port_; }
  /// See LocalServer::Stop. Idempotent.
  void Stop(Deadline patience);

 private:
  GrpcServer(std::unique_ptr<grpc::Server> server, int port) : server_(std::move(server)), port_(port) {}
  std::unique_ptr<grpc::Server> server_;
  int port_;
};

}  // namespace heca::control
