// SPDX-License-Identifier: LGPL-2.1-or-later
#include "control/node_client.h"

#include <cstdint>
#include <optional>
#include <utility>

#include "control/convert_enum.h"
#include "control/convert_migration.h"
#include "control/convert_node.h"
#include "control/grpc_channel.h"
#include "control/local_channel.h"
#include "control/status_map.h"
#include "control/stream_reader.h"
#include "control/unary_call.h"
#include "heca/v1/node.grpc.pb.h"

namespace heca::control {
namespace {

using Stub = v1::NodeService::Stub;

template <class Value, class Messages>
std::vector<Value> ListFrom(const Messages& messages) {
  std::vector<Value> values;
  values.reserve(static_cast<std::size_t>(messages.size()));
  for (const auto& message : messages) values.push_back(FromMessage(message));
  return values;
}

}  // namespace

class NodeClient::Impl {
 public:
  explicit Impl(const NodeClientOptions& options)
      : call_timeout_(options.call_timeout),
        silence_timeout_(options.silence_timeout),
        cancelled_(options.cancelled),
        peer_("hecad at " + options.socket_path),
        channel_(options.socket_path) {}

  template <class Request, class Reply>
  Status Send(UnaryMethod<Stub, Request, Reply> method, const Request& request, Reply& reply) {
    grpc::ClientContext context;
    SetTimeout(context, call_timeout_);
    const auto stub = ForOneCall();
    const UnaryOutcome outcome = CallUnary(*stub, method, context, request, reply, cancelled_);
    if (outcome.cancelled) return Status(ErrorCode::kAborted, peer_ + ": the call was given up before it was answered");
    return Explain(outcome.status);
  }

  /// Attach, Limit, Detach and Migrate: progress goes to the sink, the rest of each message to `on_reply`.
  template <class Reply, class Start, class OnReply>
  Status Long(ProgressSink& progress, const Start& start, const OnReply& on_reply) {
    const auto stub = ForOneCall();
    grpc::ClientContext context;
    const StreamOutcome outcome = ReadStream<Reply>(
        context, silence_timeout_,
        [&](grpc::CompletionQueue* queue, void* tag) { return start(*stub, &context, queue, tag); },
        [&](const Reply& reply) {
          if (!reply.progress().phase().empty()) progress.OnProgress(FromMessage(reply.progress()));
          on_reply(reply);
          return true;
        },
        [&] { return progress.Cancelled(); });
    switch (outcome.end) {
      case StreamEnd::kCancelled:
        return Status(ErrorCode::kAborted, "cancelled; hecad undoes the operation or goes on with it (hecactl events)");
      case StreamEnd::kSilence:
        return Status(ErrorCode::kDeadlineExceeded,
                      peer_ + " has said nothing for " + std::to_string(silence_timeout_.count()) +
                          " ms: is it stopped? (hecactl status)",
                      ErrorScope::kConnection);
      default: return Explain(outcome.status);
    }
  }

  /// Long() for operations that end with a region.
  template <class Reply, class Start>
  Result<RegionInfo> LongWithRegion(ProgressSink& progress, const Start& start) {
    std::optional<RegionInfo> region;
    HECA_RETURN_IF_ERROR(Long<Reply>(progress, start, [&](const Reply& reply) {
      if (reply.has_region()) region = FromMessage(reply.region());
    }));
    if (region.has_value()) return *std::move(region);
    return NoResult();
  }

  Result<MigrationSummary> Migrate(const v1::MigrateRequest& request, ProgressSink& progress) {
    std::optional<MigrationSummary> summary;
    HECA_RETURN_IF_ERROR(Long<v1::MigrateReply>(
        progress,
        [&](Stub& stub, auto* context, auto* queue, void* tag) {
          return stub.AsyncMigrate(context, request, queue, tag);
        },
        [&](const v1::MigrateReply& reply) {
          if (reply.has_summary()) summary = FromMessage(reply.summary());
        }));
    if (summary.has_value()) return *std::move(summary);
    return NoResult();
  }

  Status Events(const EventQuery& query, EventSink& sink) {
    v1::EventsRequest request;
    request.set_since(query.since);
    request.set_follow(query.follow);
    const auto stub = ForOneCall();
    grpc::ClientContext context;
    const StreamOutcome outcome = ReadStream<v1::Event>(
        context, query.follow ? Millis::zero() : call_timeout_,
        [&](grpc::CompletionQueue* queue, void* tag) { return stub->AsyncEvents(&context, request, queue, tag); },
        [&](const v1::Event& event) { return sink.OnEvent(FromMessage(event)); },
        [&] { return sink.Cancelled(); });
    if (outcome.end == StreamEnd::kCancelled) return Status();
    if (outcome.end == StreamEnd::kSilence) {
      return Status(ErrorCode::kDeadlineExceeded, peer_ + " did not answer in time", ErrorScope::kConnection);
    }
    return Explain(outcome.status);
  }

 private:
  [[nodiscard]] std::unique_ptr<Stub> ForOneCall() { return v1::NodeService::NewStub(channel_.Get()); }

  [[nodiscard]] Status NoResult() const {
    return Status(ErrorCode::kInternal, peer_ + " ended the operation without a result", ErrorScope::kConnection);
  }

  [[nodiscard]] Status Explain(const grpc::Status& status) const {
    Status made = FromGrpc(status, peer_);
    const bool hecad_said_it = !status.error_details().empty();
    if (hecad_said_it || made.code() != ErrorCode::kUnavailable) return made;
    return Status(ErrorCode::kUnavailable,
                  std::string(made.message()) + ": is hecad running (systemctl status hecad), and may this user use "
                                                "its socket?",
                  ErrorScope::kConnection);
  }

  const Millis call_timeout_;
  const Millis silence_timeout_;
  const std::function<bool()> cancelled_;
  const std::string peer_;
  LocalChannel channel_;
};

Result<std::unique_ptr<NodeClient>> NodeClient::Create(const NodeClientOptions& options) {
  if (options.socket_path.empty()) return Status(ErrorCode::kInvalidArgument, "the path of hecad's socket is empty");
  return std::unique_ptr<NodeClient>(new NodeClient(std::make_unique<Impl>(options)));
}

NodeClient::NodeClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
NodeClient::~NodeClient() = default;

Result<RegionInfo> NodeClient::Attach(const AttachSpec& spec, ProgressSink& progress) {
  HECA_RETURN_IF_ERROR(CheckSpec(spec));
  v1::AttachRequest request;
  ToMessage(spec, request);
  return impl_->LongWithRegion<v1::AttachReply>(progress, [&](Stub& stub, auto* context, auto* queue, void* tag) {
    return stub.AsyncAttach(context, request, queue, tag);
  });
}

Result<RegionInfo> NodeClient::Limit(const RegionId& region, Bytes limit, ProgressSink& progress) {
  v1::LimitRequest request;
  request.set_region(Utf8(region));
  request.set_limit_bytes(limit.value());
  return impl_->LongWithRegion<v1::LimitReply>(progress, [&](Stub& stub, auto* context, auto* queue, void* tag) {
    return stub.AsyncLimit(context, request, queue, tag);
  });
}

Status NodeClient::Detach(const RegionId& region, ProgressSink& progress) {
  v1::DetachRequest request;
  request.set_region(Utf8(region));
  return impl_->Long<v1::DetachReply>(
      progress,
      [&](Stub& stub, auto* context, auto* queue, void* tag) {
        return stub.AsyncDetach(context, request, queue, tag);
      },
      [](const v1::DetachReply&) {});
}

Result<MigrationSummary> NodeClient::Migrate(const MigrateSpec& spec, ProgressSink& progress) {
  HECA_RETURN_IF_ERROR(CheckSpec(spec));
  v1::MigrateRequest request;
  ToMessage(spec, request);
  return impl_->Migrate(request, progress);
}

Status NodeClient::Steer(const SteerSpec& spec) {
  v1::SteerRequest request;
  ToMessage(spec, request);
  v1::SteerReply reply;
  return impl_->Send(&Stub::AsyncSteer, request, reply);
}

Result<std::vector<MigrationInfo>> NodeClient::Migrations() {
  v1::ListMigrationsReply reply;
  HECA_RETURN_IF_ERROR(impl_->Send(&Stub::AsyncListMigrations, v1::ListMigrationsRequest(), reply));
  return ListFrom<MigrationInfo>(reply.migrations());
}

Status NodeClient::OnDomain(const DomainEvent& event) {
  v1::DomainEvent request;
  request.set_domain(Utf8(event.domain));
  request.set_operation(Utf8(event.operation));
  request.set_phase(Utf8(event.phase));
  request.set_xml(Utf8(event.xml));
  v1::DomainReply reply;
  return impl_->Send(&Stub::AsyncOnDomain, request, reply);
}

Result<RegionInfo> NodeClient::Resolve(const RegionId& region, LostPages how) {
  v1::ResolveRequest request;
  request.set_region(Utf8(region));
  request.set_how(EnumTo<v1::LostPages>(how));
  v1::RegionInfo reply;
  HECA_RETURN_IF_ERROR(impl_->Send(&Stub::AsyncResolve, request, reply));
  return FromMessage(reply);
}

Result<std::vector<RegionInfo>> NodeClient::Regions() {
  v1::ListRegionsReply reply;
  HECA_RETURN_IF_ERROR(impl_->Send(&Stub::AsyncListRegions, v1::ListRegionsRequest(), reply));
  return ListFrom<RegionInfo>(reply.regions());
}

Result<RegionInfo> NodeClient::Region(const RegionId& region) {
  v1::GetRegionRequest request;
  request.set_region(Utf8(region));
  v1::RegionInfo reply;
  HECA_RETURN_IF_ERROR(impl_->Send(&Stub::AsyncGetRegion, request, reply));
  return FromMessage(reply);
}

Result<std::vector<RegionStats>> NodeClient::Stats(const RegionId& region) {
  v1::GetStatsRequest request;
  request.set_region(Utf8(region));
  v1::GetStatsReply reply;
  HECA_RETURN_IF_ERROR(impl_->Send(&Stub::AsyncGetStats, request, reply));
  return ListFrom<RegionStats>(reply.stats());
}

Result<NodeInfo> NodeClient::About() {
  v1::NodeInfo reply;
  HECA_RETURN_IF_ERROR(impl_->Send(&Stub::AsyncAbout, v1::AboutRequest(), reply));
  return FromMessage(reply);
}

Result<std::vector<PeerInfo>> NodeClient::Nodes() {
  v1::ListNodesReply reply;
  HECA_RETURN_IF_ERROR(impl_->Send(&Stub::AsyncListNodes, v1::ListNodesRequest(), reply));
  return ListFrom<PeerInfo>(reply.nodes());
}

Result<std::vector<DoctorCheck>> NodeClient::Doctor() {
  v1::DoctorReply reply;
  HECA_RETURN_IF_ERROR(impl_->Send(&Stub::AsyncDoctor, v1::DoctorRequest(), reply));
  return ListFrom<DoctorCheck>(reply.checks());
}

Status NodeClient::Events(const EventQuery& query, EventSink& sink) { return impl_->Events(query, sink); }

Result<std::vector<LeaseInfo>> NodeClient::Leases() {
  v1::ListLeasesReply reply;
  HECA_RETURN_IF_ERROR(impl_->Send(&Stub::AsyncListLeases, v1::ListLeasesRequest(), reply));
  return ListFrom<LeaseInfo>(reply.leases());
}

Status NodeClient::FreeLease(LeaseId lease, bool force) {
  v1::FreeLeaseRequest request;
  request.set_lease(lease.value());
  request.set_force(force);
  v1::FreeLeaseReply reply;
  return impl_->Send(&Stub::AsyncFreeLease, request, reply);
}

}  // namespace heca::control
