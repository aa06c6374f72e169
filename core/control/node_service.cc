// SPDX-License-Identifier: LGPL-2.1-or-later
#include "control/node_service.h"

#include <string>
#include <utility>
#include <vector>

#include "control/checks.h"
#include "control/convert_enum.h"
#include "control/convert_migration.h"
#include "control/convert_node.h"
#include "control/long_operation.h"
#include "control/status_map.h"

namespace heca::control {
namespace {

constexpr char kLongCalls[] = "attach, detach or migrate";

grpc::Status TooMany(int limit, const char* what) {
  return ToGrpc(Status(ErrorCode::kResourceExhausted,
                       std::to_string(limit) + " clients " + what + " already: end one of them first",
                       ErrorScope::kNode));
}

/// Runs `operation` and streams its progress as messages of type Reply.
template <class Reply>
Status Stream(grpc::ServerContext& context, grpc::ServerWriter<Reply>& writer,
              const LongOperation::Operation& operation) {
  return LongOperation().Run(
      operation,
      [&](const Progress& progress) {
        Reply reply;
        ToMessage(progress, *reply.mutable_progress());
        return writer.Write(reply);
      },
      [&] { return context.IsCancelled(); });
}

/// The same for operations whose last message holds their result, in the field that `field` makes.
template <class Value, class Reply, class Operation, class Field>
grpc::Status StreamResult(grpc::ServerContext& context, grpc::ServerWriter<Reply>& writer, const Operation& operation,
                          const Field& field) {
  Value value;
  const Status status = Stream(context, writer, [&](ProgressSink& progress) {
    Result<Value> result = operation(progress);
    if (result.ok()) value = std::move(result).value();
    return result.status();
  });
  if (!status.ok()) return ToGrpc(status);
  Reply reply;
  ToMessage(value, *field(reply));
  writer.Write(reply);
  return grpc::Status::OK;
}

template <class Reply, class Operation>
grpc::Status StreamRegion(grpc::ServerContext& context, grpc::ServerWriter<Reply>& writer,
                          const Operation& operation) {
  return StreamResult<RegionInfo>(context, writer, operation, [](Reply& reply) { return reply.mutable_region(); });
}

class StreamedEvents final : public EventSink {
 public:
  StreamedEvents(grpc::ServerContext& context, grpc::ServerWriter<v1::Event>& writer)
      : context_(context), writer_(writer) {}
  bool OnEvent(const Event& event) override {
    v1::Event message;
    ToMessage(event, message);
    return writer_.Write(message);
  }
  [[nodiscard]] bool Cancelled() const override { return context_.IsCancelled(); }

 private:
  grpc::ServerContext& context_;
  grpc::ServerWriter<v1::Event>& writer_;
};

/// A list of values as the repeated field that `add` grows.
template <class Value, class Add>
grpc::Status AnswerList(const Result<std::vector<Value>>& result, const Add& add) {
  if (!result.ok()) return ToGrpc(result.status());
  for (const Value& value : result.value()) ToMessage(value, *add());
  return grpc::Status::OK;
}

}  // namespace

grpc::Status NodeService::Attach(grpc::ServerContext* context, const v1::AttachRequest* request,
                                 grpc::ServerWriter<v1::AttachReply>* writer) {
  const CallGate::Pass pass(long_calls_);
  if (!pass.granted()) return TooMany(kMaxLong, kLongCalls);
  const Result<AttachSpec> spec = FromMessage(*request);
  if (!spec.ok()) return ToGrpc(spec.status());
  return StreamRegion(*context, *writer, [&](ProgressSink& progress) { return api_.Attach(spec.value(), progress); });
}

grpc::Status NodeService::Limit(grpc::ServerContext* context, const v1::LimitRequest* request,
                                grpc::ServerWriter<v1::LimitReply>* writer) {
  const CallGate::Pass pass(long_calls_);
  if (!pass.granted()) return TooMany(kMaxLong, kLongCalls);
  if (const Status name = CheckRegionName(request->region()); !name.ok()) return ToGrpc(name);
  return StreamRegion(*context, *writer, [&](ProgressSink& progress) {
    return api_.Limit(request->region(), Bytes(request->limit_bytes()), progress);
  });
}

grpc::Status NodeService::Detach(grpc::ServerContext* context, const v1::DetachRequest* request,
                                 grpc::ServerWriter<v1::DetachReply>* writer) {
  const CallGate::Pass pass(long_calls_);
  if (!pass.granted()) return TooMany(kMaxLong, kLongCalls);
  if (const Status name = CheckRegionName(request->region()); !name.ok()) return ToGrpc(name);
  return ToGrpc(Stream(*context, *writer,
                       [&](ProgressSink& progress) { return api_.Detach(request->region(), progress); }));
}

grpc::Status NodeService::Migrate(grpc::ServerContext* context, const v1::MigrateRequest* request,
                                  grpc::ServerWriter<v1::MigrateReply>* writer) {
  const CallGate::Pass pass(long_calls_);
  if (!pass.granted()) return TooMany(kMaxLong, kLongCalls);
  const Result<MigrateSpec> spec = FromMessage(*request);
  if (!spec.ok()) return ToGrpc(spec.status());
  return StreamResult<MigrationSummary>(
      *context, *writer, [&](ProgressSink& progress) { return api_.Migrate(spec.value(), progress); },
      [](v1::MigrateReply& reply) { return reply.mutable_summary(); });
}

grpc::Status NodeService::Steer(grpc::ServerContext* /*context*/, const v1::SteerRequest* request,
                                v1::SteerReply* /*reply*/) {
  const Result<SteerSpec> spec = FromMessage(*request);
  return ToGrpc(spec.ok() ? api_.Steer(spec.value()) : spec.status());
}

grpc::Status NodeService::ListMigrations(grpc::ServerContext* /*context*/, const v1::ListMigrationsRequest* /*request*/,
                                         v1::ListMigrationsReply* reply) {
  return AnswerList(api_.Migrations(), [&] { return reply->add_migrations(); });
}

grpc::Status NodeService::OnDomain(grpc::ServerContext* /*context*/, const v1::DomainEvent* request,
                                   v1::DomainReply* /*reply*/) {
  const CallGate::Pass pass(long_calls_);
  if (!pass.granted()) return TooMany(kMaxLong, "attach or detach");
  if (const Status name = CheckName("domain", request->domain(), false); !name.ok()) return ToGrpc(name);
  return ToGrpc(api_.OnDomain({request->domain(), request->operation(), request->phase(), request->xml()}));
}

grpc::Status NodeService::Resolve(grpc::ServerContext* /*context*/, const v1::ResolveRequest* request,
                                  v1::RegionInfo* reply) {
  if (const Status name = CheckRegionName(request->region()); !name.ok()) return ToGrpc(name);
  const LostPages how = EnumFrom(request->how(), LostPages::kZero);
  if (how == LostPages::kInvalid) {
    return ToGrpc(Status(ErrorCode::kInvalidArgument, "say what to do with lost pages: ask again, poison, or zero"));
  }
  const Result<RegionInfo> region = api_.Resolve(request->region(), how);
  if (region.ok()) ToMessage(region.value(), *reply);
  return ToGrpc(region.status());
}

grpc::Status NodeService::ListRegions(grpc::ServerContext* /*context*/, const v1::ListRegionsRequest* /*request*/,
                                      v1::ListRegionsReply* reply) {
  return AnswerList(api_.Regions(), [&] { return reply->add_regions(); });
}

grpc::Status NodeService::GetRegion(grpc::ServerContext* /*context*/, const v1::GetRegionRequest* request,
                                    v1::RegionInfo* reply) {
  if (const Status name = CheckRegionName(request->region()); !name.ok()) return ToGrpc(name);
  const Result<RegionInfo> region = api_.Region(request->region());
  if (region.ok()) ToMessage(region.value(), *reply);
  return ToGrpc(region.status());
}

grpc::Status NodeService::GetStats(grpc::ServerContext* /*context*/, const v1::GetStatsRequest* request,
                                   v1::GetStatsReply* reply) {
  if (!request->region().empty()) {
    if (const Status name = CheckRegionName(request->region()); !name.ok()) return ToGrpc(name);
  }
  return AnswerList(api_.Stats(request->region()), [&] { return reply->add_stats(); });
}

grpc::Status NodeService::About(grpc::ServerContext* /*context*/, const v1::AboutRequest* /*request*/,
                                v1::NodeInfo* reply) {
  const Result<NodeInfo> node = api_.About();
  if (node.ok()) ToMessage(node.value(), *reply);
  return ToGrpc(node.status());
}

grpc::Status NodeService::ListNodes(grpc::ServerContext* /*context*/, const v1::ListNodesRequest* /*request*/,
                                    v1::ListNodesReply* reply) {
  return AnswerList(api_.Nodes(), [&] { return reply->add_nodes(); });
}

grpc::Status NodeService::Doctor(grpc::ServerContext* /*context*/, const v1::DoctorRequest* /*request*/,
                                 v1::DoctorReply* reply) {
  return AnswerList(api_.Doctor(), [&] { return reply->add_checks(); });
}

grpc::Status NodeService::Events(grpc::ServerContext* context, const v1::EventsRequest* request,
                                 grpc::ServerWriter<v1::Event>* writer) {
  const CallGate::Pass pass(followers_);
  if (!pass.granted()) return TooMany(kMaxFollowers, "follow events");
  StreamedEvents sink(*context, *writer);
  return ToGrpc(api_.Events({.since = request->since(), .follow = request->follow()}, sink));
}

grpc::Status NodeService::ListLeases(grpc::ServerContext* /*context*/, const v1::ListLeasesRequest* /*request*/,
                                     v1::ListLeasesReply* reply) {
  return AnswerList(api_.Leases(), [&] { return reply->add_leases(); });
}

grpc::Status NodeService::FreeLease(grpc::ServerContext* /*context*/, const v1::FreeLeaseRequest* request,
                                    v1::FreeLeaseReply* /*reply*/) {
  if (request->lease() == 0) return ToGrpc(Status(ErrorCode::kInvalidArgument, "lease 0 does not exist"));
  return ToGrpc(api_.FreeLease(LeaseId(request->lease()), request->force()));
}

}  // namespace heca::control
