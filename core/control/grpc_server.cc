// SPDX-License-Identifier: LGPL-2.1-or-later
#include "control/grpc_server.h"

#include <grpc/support/time.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server_builder.h>

namespace heca::control {
namespace {

constexpr int kHandshakeMs = 5'000;       // of a connection, until it has shown that it speaks HTTP/2
constexpr int kKeepaliveMs = 10'000;      // a peer that is stopped or cut off is dropped after twice that
constexpr int kMaxStreams = 128;          // calls in flight per connection
// No ping is one too many. The other way, GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, makes gRPC 1.51 allocate
// some kilobytes for each further ping that it has read already: a flood of 256 KiB costs 50 MiB and more, for good. A
// peer that does not take its answers is dropped by the keepalive.
constexpr int kMaxPingStrikes = 0;
constexpr Millis kPatienceOfDestructor{2'000};

}  // namespace

Result<std::unique_ptr<GrpcServer>> GrpcServer::Start(const GrpcServerSetup& setup,
                                                      const std::vector<grpc::Service*>& services) {
  grpc::ResourceQuota quota(setup.name);
  quota.SetMaxThreads(setup.max_threads);
  quota.Resize(setup.max_memory);

  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(setup.address, setup.credentials, &port);
  for (grpc::Service* service : services) builder.RegisterService(service);
  builder.SetResourceQuota(quota);
  builder.SetMaxReceiveMessageSize(setup.max_message);
  builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MIN_POLLERS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, 2);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);  // else a second hecad would share the port in silence
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreams);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, kMaxPingStrikes);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  // A unix socket has no port: gRPC reports 1 for it, and 0 for any address that it could not bind.
  if (server == nullptr || port == 0) {
    return Status(ErrorCode::kFailedPrecondition,
                  "cannot listen on " + setup.address + ": is it in use by another program? (ss -lptn shows it)",
                  ErrorScope::kNode);
  }
  return std::unique_ptr<GrpcServer>(new GrpcServer(std::move(server), port));
}

GrpcServer::~GrpcServer() { Stop(Deadline::After(kPatienceOfDestructor)); }

void GrpcServer::Stop(Deadline patience) {
  if (server_ == nullptr) return;
  server_->Shutdown(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(patience.LeftMs(), GPR_TIMESPAN)));
  server_->Wait();
  server_.reset();
}

}  // namespace heca::control
