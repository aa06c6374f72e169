// SPDX-License-Identifier: LGPL-2.1-or-later
// gRPC face of a SponsorApi. Private to this room.
#pragma once

#include "control/sponsor_api.h"
#include "heca/v1/sponsor.grpc.pb.h"

namespace heca::control {

/// Thread-safe, as the api behind it.
class SponsorService final : public v1::SponsorService::Service {
 public:
  explicit SponsorService(SponsorApi& api) : api_(api) {}

  grpc::Status Describe(grpc::ServerContext* context, const v1::DescribeRequest* request,
                        v1::SponsorInfo* reply) override;
  grpc::Status Reserve(grpc::ServerContext* context, const v1::ReserveRequest* request, v1::Lease* reply) override;
  grpc::Status Extend(grpc::ServerContext* context, const v1::ExtendRequest* request, v1::Lease* reply) override;
  grpc::Status Renew(grpc::ServerContext* context, const v1::RenewRequest* request, v1::Lease* reply) override;
  grpc::Status TakeOver(grpc::ServerContext* context, const v1::TakeOverRequest* request, v1::Lease* reply) override;
  grpc::Status OpenData(grpc::ServerContext* context, const v1::OpenDataRequest* request,
                        v1::DataGrant* reply) override;
  grpc::Status Free(grpc::ServerContext* context, const v1::FreeRequest* request, v1::FreeReply* reply) override;

 private:
  SponsorApi& api_;
};

}  // namespace heca::control
