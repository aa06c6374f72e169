// SPDX-License-Identifier: LGPL-2.1-or-later
#include "control/migration_client.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "control/checks.h"
#include "control/convert_enum.h"
#include "control/convert_migration.h"
#include "control/convert_sponsor.h"
#include "control/peer_caller.h"
#include "heca/v1/migration.grpc.pb.h"

namespace heca::control {
namespace {

using Stub = v1::MigrationService::Stub;

/// A request about an arrival that is known there.
template <class Request>
Request About(const RegionId& region, const LeaseKey& image) {
  Request request;
  request.set_region(Utf8(region));
  ToMessage(image, *request.mutable_image());
  return request;
}

}  // namespace

class MigrationClient::Impl {
 public:
  explicit Impl(const MigrationClientOptions& options) : options_(options), caller_("destination", options.endpoint) {}

  template <class Method, class Request, class Reply>
  Status Send(Method method, const Request& request, Reply& reply) {
    return Explain(caller_.Send(method, request, reply, options_.call_timeout));
  }
  Status Prepare(const v1::PrepareRequest& request) {
    v1::PrepareReply reply;
    return Explain(caller_.Send(&Stub::Prepare, request, reply, options_.prepare_timeout));
  }
  template <class Value>
  [[nodiscard]] Result<Value> Checked(Result<Value> decoded) const {
    return caller_.Checked(std::move(decoded));
  }

 private:
  /// gRPC itself says that there is no such service; what a MigrationApi says has another scope, or another code.
  [[nodiscard]] Status Explain(Status status) const {
    if (status.code() != ErrorCode::kUnsupported || status.scope() != ErrorScope::kConnection) return status;
    return Status(ErrorCode::kUnsupported,
                  caller_.peer() + " takes in no VMs: its hecad only lends memory, or is an older release",
                  ErrorScope::kNode);
  }

  const MigrationClientOptions options_;
  const PeerCaller<v1::MigrationService> caller_;
};

Result<std::unique_ptr<MigrationClient>> MigrationClient::Create(const MigrationClientOptions& options) {
  HECA_RETURN_IF_ERROR(CheckEndpoint("destination's endpoint", options.endpoint));
  return std::unique_ptr<MigrationClient>(new MigrationClient(std::make_unique<Impl>(options)));
}

MigrationClient::MigrationClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
MigrationClient::~MigrationClient() = default;

Result<Departing> MigrationClient::Depart(const DepartRequest& request) {
  v1::DepartRequest message;
  ToMessage(request, message);
  v1::Departing reply;
  HECA_RETURN_IF_ERROR(impl_->Send(&Stub::Depart, message, reply));
  return impl_->Checked(FromMessage(reply));
}

Status MigrationClient::Prepare(const PrepareRequest& request) {
  HECA_RETURN_IF_ERROR(CheckTarget(request));
  v1::PrepareRequest message;
  ToMessage(request, message);
  return impl_->Prepare(message);
}

Status MigrationClient::Place(const RegionId& region, const LeaseKey& image, const Placement& placement) {
  const std::vector<PlacedRun>& runs = placement.runs;
  std::size_t begin = 0;
  do {  // also once for none
    auto message = About<v1::PlaceRequest>(region, image);
    const std::size_t end = std::min(runs.size(), begin + kMaxPlacedRuns);
    for (std::size_t i = begin; i < end; ++i) {
      v1::PlacedRun* const run = message.add_runs();
      run->set_first(runs[i].first);
      run->set_pages(runs[i].pages);
      run->set_slot(runs[i].slot.value());
    }
    message.set_complete(placement.complete && end == runs.size());
    message.set_slot_mark(placement.mark.value());
    message.set_pages(placement.pages);
    message.set_number(placement.number);
    v1::PlaceReply reply;
    HECA_RETURN_IF_ERROR(impl_->Send(&Stub::Place, message, reply));
    begin = end;
  } while (begin < runs.size());
  return Status();
}

Status MigrationClient::Open(const RegionId& region, const LeaseKey& image) {
  v1::OpenReply reply;
  return impl_->Send(&Stub::Open, About<v1::OpenRequest>(region, image), reply);
}

Status MigrationClient::Tell(const RegionId& region, const LeaseKey& image, PageNews news,
                             const std::vector<PageRun>& runs) {
  std::size_t begin = 0;
  do {  // also once for none: pages may come ahead from then on
    auto message = About<v1::TellRequest>(region, image);
    message.set_news(EnumTo<v1::PageNews>(news));
    for (std::size_t i = begin; i < std::min(runs.size(), begin + kMaxRuns); ++i) {
      v1::PageRun* const run = message.add_runs();
      run->set_first(runs[i].first);
      run->set_pages(runs[i].pages);
    }
    v1::TellReply reply;
    HECA_RETURN_IF_ERROR(impl_->Send(&Stub::Tell, message, reply));
    begin += kMaxRuns;
  } while (begin < runs.size());
  return Status();
}

Result<Arrival> MigrationClient::Look(const RegionId& region, const LeaseKey& image, std::uint64_t bandwidth) {
  auto message = About<v1::LookRequest>(region, image);
  message.set_bandwidth_bytes(bandwidth);
  v1::Arrival reply;
  HECA_RETURN_IF_ERROR(impl_->Send(&Stub::Look, message, reply));
  return impl_->Checked(FromMessage(reply));
}

Status MigrationClient::Abort(const RegionId& region, const LeaseKey& image, const std::string& why) {
  auto message = About<v1::AbortRequest>(region, image);
  message.set_why(PeerText(why));
  v1::AbortReply reply;
  return impl_->Send(&Stub::Abort, message, reply);
}

}  // namespace heca::control
