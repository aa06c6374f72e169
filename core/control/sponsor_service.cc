// SPDX-License-Identifier: LGPL-2.1-or-later
#include "control/sponsor_service.h"

#include <cstdint>
#include <string>
#include <utility>

#include "control/checks.h"
#include "control/convert_sponsor.h"
#include "control/status_map.h"

namespace heca::control {
namespace {

/// The answer of the api as message and status.
template <class Value, class Message>
grpc::Status Answer(const Result<Value>& result, Message& reply) {
  if (result.ok()) ToMessage(result.value(), reply);
  return ToGrpc(result.status());
}

grpc::Status Refuse(std::string text) { return ToGrpc(Status(ErrorCode::kInvalidArgument, std::move(text))); }

}  // namespace

grpc::Status SponsorService::Describe(grpc::ServerContext* /*context*/, const v1::DescribeRequest* /*request*/,
                                      v1::SponsorInfo* reply) {
  return Answer(api_.Describe(), *reply);
}

grpc::Status SponsorService::Reserve(grpc::ServerContext* /*context*/, const v1::ReserveRequest* request,
                                     v1::Lease* reply) {
  const Result<ReserveRequest> checked = FromMessage(*request);
  if (!checked.ok()) return ToGrpc(checked.status());
  return Answer(api_.Reserve(checked.value()), *reply);
}

grpc::Status SponsorService::Extend(grpc::ServerContext* /*context*/, const v1::ExtendRequest* request,
                                    v1::Lease* reply) {
  const Result<LeaseKey> key = FromMessage(request->key());
  if (!key.ok()) return ToGrpc(key.status());
  if (request->more_slots() == 0) return Refuse("an extension by 0 slots");
  return Answer(api_.Extend(key.value(), request->more_slots()), *reply);
}

grpc::Status SponsorService::Renew(grpc::ServerContext* /*context*/, const v1::RenewRequest* request,
                                   v1::Lease* reply) {
  const Result<LeaseKey> key = FromMessage(request->key());
  if (!key.ok()) return ToGrpc(key.status());
  const Status boot_id = CheckName("owner's boot id", request->owner_boot_id(), false);
  if (!boot_id.ok()) return ToGrpc(boot_id);
  return Answer(api_.Renew(key.value(), request->owner_boot_id()), *reply);
}

grpc::Status SponsorService::TakeOver(grpc::ServerContext* /*context*/, const v1::TakeOverRequest* request,
                                      v1::Lease* reply) {
  const Result<TakeOverRequest> checked = FromMessage(*request);
  if (!checked.ok()) return ToGrpc(checked.status());
  return Answer(api_.TakeOver(checked.value()), *reply);
}

grpc::Status SponsorService::OpenData(grpc::ServerContext* /*context*/, const v1::OpenDataRequest* request,
                                      v1::DataGrant* reply) {
  const Result<LeaseKey> key = FromMessage(request->key());
  if (!key.ok()) return ToGrpc(key.status());
  if (request->role() != v1::ROLE_URGENT && request->role() != v1::ROLE_BULK) {
    return Refuse("data connections of role " + std::to_string(request->role()) + ", which this hecad does not know");
  }
  if (request->count() == 0 || request->count() > kMaxTokens) {
    return Refuse(std::to_string(request->count()) + " data connections at once: 1 to 64 may be asked for");
  }
  if (request->stream() > UINT32_MAX - request->count()) {
    return Refuse("stream " + std::to_string(request->stream()) + " is out of range");
  }
  return Answer(api_.OpenData(key.value(), static_cast<Role>(request->role()), request->stream(), request->count()),
                *reply);
}

grpc::Status SponsorService::Free(grpc::ServerContext* /*context*/, const v1::FreeRequest* request,
                                  v1::FreeReply* /*reply*/) {
  const Result<LeaseKey> key = FromMessage(request->key());
  if (!key.ok()) return ToGrpc(key.status());
  return ToGrpc(api_.Free(key.value()));
}

}  // namespace heca::control
