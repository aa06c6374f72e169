// SPDX-License-Identifier: LGPL-2.1-or-later
// gRPC face of a NodeApi. Private to this room.
#pragma once

#include "control/call_gate.h"
#include "control/node_api.h"
#include "heca/v1/node.grpc.pb.h"

namespace heca::control {

/// Thread-safe, as the api behind it.
class NodeService final : public v1::NodeService::Service {
 public:
  static constexpr int kMaxFollowers = 16;
  static constexpr int kMaxLong = 32;  ///< attach, limit, detach and migrate under way

  explicit NodeService(NodeApi& api) : api_(api) {}

  grpc::Status Attach(grpc::ServerContext* context, const v1::AttachRequest* request,
                      grpc::ServerWriter<v1::AttachReply>* writer) override;
  grpc::Status Limit(grpc::ServerContext* context, const v1::LimitRequest* request,
                     grpc::ServerWriter<v1::LimitReply>* writer) override;
  grpc::Status Detach(grpc::ServerContext* context, const v1::DetachRequest* request,
                      grpc::ServerWriter<v1::DetachReply>* writer) override;
  grpc::Status Migrate(grpc::ServerContext* context, const v1::MigrateRequest* request,
                       grpc::ServerWriter<v1::MigrateReply>* writer) override;
  grpc::Status Steer(grpc::ServerContext* context, const v1::SteerRequest* request, v1::SteerReply* reply) override;
  grpc::Status ListMigrations(grpc::ServerContext* context, const v1::ListMigrationsRequest* request,
                              v1::ListMigrationsReply* reply) override;
  grpc::Status Resolve(grpc::ServerContext* context, const v1::ResolveRequest* request, v1::RegionInfo* reply) override;
  grpc::Status OnDomain(grpc::ServerContext* context, const v1::DomainEvent* request, v1::DomainReply* reply) override;
  grpc::Status ListRegions(grpc::ServerContext* context, const v1::ListRegionsRequest* request,
                           v1::ListRegionsReply* reply) override;
  grpc::Status GetRegion(grpc::ServerContext* context, const v1::GetRegionRequest* request,
                         v1::RegionInfo* reply) override;
  grpc::Status GetStats(grpc::ServerContext* context, const v1::GetStatsRequest* request,
                        v1::GetStatsReply* reply) override;
  grpc::Status About(grpc::ServerContext* context, const v1::AboutRequest* request, v1::NodeInfo* reply) override;
  grpc::Status ListNodes(grpc::ServerContext* context, const v1::ListNodesRequest* request,
                         v1::ListNodesReply* reply) override;
  grpc::Status Doctor(grpc::ServerContext* context, const v1::DoctorRequest* request, v1::DoctorReply* reply) override;
  grpc::Status Events(grpc::ServerContext* context, const v1::EventsRequest* request,
                      grpc::ServerWriter<v1::Event>* writer) override;
  grpc::Status ListLeases(grpc::ServerContext* context, const v1::ListLeasesRequest* request,
                          v1::ListLeasesReply* reply) override;
  grpc::Status FreeLease(grpc::ServerContext* context, const v1::FreeLeaseRequest* request,
                         v1::FreeLeaseReply* reply) override;

 private:
  NodeApi& api_;
  CallGate followers_{kMaxFollowers};
  CallGate long_calls_{kMaxLong};
};

}  // namespace heca::control
