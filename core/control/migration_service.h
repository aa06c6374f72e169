// SPDX-License-Identifier: LGPL-2.1-or-later
// gRPC face of a MigrationApi. Private to this room.
#pragma once

#include "control/call_gate.h"
#include "control/migration_api.h"
#include "heca/v1/migration.grpc.pb.h"

namespace heca::control {

/// Thread-safe, as the api behind it.
class MigrationService final : public v1::MigrationService::Service {
 public:
  static constexpr int kMaxPrepares = 8;  ///< under way; each may wait for QEMU on one of the peer server's threads

  explicit MigrationService(MigrationApi& api) : api_(api) {}

  grpc::Status Depart(grpc::ServerContext* context, const v1::DepartRequest* request, v1::Departing* reply) override;
  grpc::Status Prepare(grpc::ServerContext* context, const v1::PrepareRequest* request,
                       v1::PrepareReply* reply) override;
  grpc::Status Place(grpc::ServerContext* context, const v1::PlaceRequest* request, v1::PlaceReply* reply) override;
  grpc::Status Open(grpc::ServerContext* context, const v1::OpenRequest* request, v1::OpenReply* reply) override;
  grpc::Status Tell(grpc::ServerContext* context, const v1::TellRequest* request, v1::TellReply* reply) override;
  grpc::Status Look(grpc::ServerContext* context, const v1::LookRequest* request, v1::Arrival* reply) override;
  grpc::Status Abort(grpc::ServerContext* context, const v1::AbortRequest* request, v1::AbortReply* reply) override;

 private:
  MigrationApi& api_;
  CallGate prepares_{kMaxPrepares};
};

}  // namespace heca::control
