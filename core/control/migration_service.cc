// SPDX-License-Identifier: LGPL-2.1-or-later
#include "control/migration_service.h"

#include <string>
#include <vector>

#include "control/checks.h"
#include "control/convert_enum.h"
#include "control/convert_migration.h"
#include "control/convert_sponsor.h"
#include "control/status_map.h"

namespace heca::control {
namespace {

/// The key that a request about an arrival shows.
template <class Request>
Result<LeaseKey> KeyOf(const Request& request) {
  HECA_RETURN_IF_ERROR(CheckRegionName(request.region()));
  return FromMessage(request.image());
}

/// News that its teller waits for no longer: it may have told them again since, and others after them.
grpc::Status TooLate() { return {grpc::StatusCode::CANCELLED, "nobody waits for the answer"}; }

}  // namespace

grpc::Status MigrationService::Depart(grpc::ServerContext* /*context*/, const v1::DepartRequest* request,
                                      v1::Departing* reply) {
  const Result<DepartRequest> checked = FromMessage(*request);
  if (!checked.ok()) return ToGrpc(checked.status());
  const Result<Departing> departing = api_.Depart(checked.value());
  if (departing.ok()) ToMessage(departing.value(), *reply);
  return ToGrpc(departing.status());
}

grpc::Status MigrationService::Prepare(grpc::ServerContext* /*context*/, const v1::PrepareRequest* request,
                                       v1::PrepareReply* /*reply*/) {
  const Result<PrepareRequest> checked = FromMessage(*request);
  if (!checked.ok()) return ToGrpc(checked.status());
  const CallGate::Pass pass(prepares_);
  if (!pass.granted()) {
    return ToGrpc(Status(ErrorCode::kResourceExhausted,
                         std::to_string(kMaxPrepares) + " VMs are being prepared for already: try again later",
                         ErrorScope::kNode));
  }
  return ToGrpc(api_.Prepare(checked.value()));
}

grpc::Status MigrationService::Place(grpc::ServerContext* context, const v1::PlaceRequest* request,
                                     v1::PlaceReply* /*reply*/) {
  if (context->IsCancelled()) return TooLate();
  const Result<LeaseKey> key = KeyOf(*request);
  if (!key.ok()) return ToGrpc(key.status());
  const Result<Placement> placement = FromMessage(*request);
  if (!placement.ok()) return ToGrpc(placement.status());
  return ToGrpc(api_.Place(request->region(), key.value(), placement.value()));
}

grpc::Status MigrationService::Open(grpc::ServerContext* /*context*/, const v1::OpenRequest* request,
                                    v1::OpenReply* /*reply*/) {
  const Result<LeaseKey> key = KeyOf(*request);
  if (!key.ok()) return ToGrpc(key.status());
  return ToGrpc(api_.Open(request->region(), key.value()));
}

grpc::Status MigrationService::Tell(grpc::ServerContext* context, const v1::TellRequest* request,
                                    v1::TellReply* /*reply*/) {
  if (context->IsCancelled()) return TooLate();
  const Result<LeaseKey> key = KeyOf(*request);
  if (!key.ok()) return ToGrpc(key.status());
  const Result<std::vector<PageRun>> runs = FromMessage(*request);
  if (!runs.ok()) return ToGrpc(runs.status());
  const auto news = EnumFrom(request->news(), PageNews::kChanged);
  return ToGrpc(api_.Tell(request->region(), key.value(), news, runs.value()));
}

grpc::Status MigrationService::Look(grpc::ServerContext* /*context*/, const v1::LookRequest* request,
                                    v1::Arrival* reply) {
  const Result<LeaseKey> key = KeyOf(*request);
  if (!key.ok()) return ToGrpc(key.status());
  const Result<Arrival> arrival = api_.Look(request->region(), key.value(), request->bandwidth_bytes());
  if (arrival.ok()) ToMessage(arrival.value(), *reply);
  return ToGrpc(arrival.status());
}

grpc::Status MigrationService::Abort(grpc::ServerContext* /*context*/, const v1::AbortRequest* request,
                                     v1::AbortReply* /*reply*/) {
  const Result<LeaseKey> key = KeyOf(*request);
  if (!key.ok()) return ToGrpc(key.status());
  if (const Status why = CheckPeerText("reason", request->why()); !why.ok()) return ToGrpc(why);
  return ToGrpc(api_.Abort(request->region(), key.value(), request->why()));
}

}  // namespace heca::control
