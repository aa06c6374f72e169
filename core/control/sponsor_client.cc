// SPDX-License-Identifier: LGPL-2.1-or-later
#include "control/sponsor_client.h"

#include <string>
#include <utility>

#include "control/checks.h"
#include "control/convert_sponsor.h"
#include "control/peer_caller.h"
#include "heca/v1/sponsor.grpc.pb.h"

namespace heca::control {

class SponsorClient::Impl {
 public:
  explicit Impl(const SponsorClientOptions& options)
      : timeout_(options.call_timeout), grow_timeout_(options.grow_timeout), caller_("sponsor", options.endpoint) {}

  using Caller = PeerCaller<v1::SponsorService>;

  template <class Request, class Reply>
  Status Send(Caller::Method<Request, Reply> method, const Request& request, Reply& reply) {
    return caller_.Send(method, request, reply, timeout_);
  }

  /// Sends, and decodes the answer.
  template <class Value, class Request, class Reply>
  Result<Value> Call(Caller::Method<Request, Reply> method, const Request& request) {
    return Call<Value>(method, request, timeout_);
  }

  /// The sponsor has memory to allocate first.
  template <class Request>
  Result<Lease> Grow(Caller::Method<Request, v1::Lease> method, const Request& request) {
    return Call<Lease>(method, request, grow_timeout_);
  }

  [[nodiscard]] const std::string& peer() const { return caller_.peer(); }

 private:
  template <class Value, class Request, class Reply>
  Result<Value> Call(Caller::Method<Request, Reply> method, const Request& request, Millis timeout) {
    Reply reply;
    HECA_RETURN_IF_ERROR(caller_.Send(method, request, reply, timeout));
    return caller_.Checked(FromMessage(reply));
  }

  const Millis timeout_;
  const Millis grow_timeout_;
  const Caller caller_;
};

Result<std::unique_ptr<SponsorClient>> SponsorClient::Create(const SponsorClientOptions& options) {
  HECA_RETURN_IF_ERROR(CheckEndpoint("sponsor endpoint", options.endpoint));
  return std::unique_ptr<SponsorClient>(new SponsorClient(std::make_unique<Impl>(options)));
}

SponsorClient::SponsorClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SponsorClient::~SponsorClient() = default;

Result<SponsorInfo> SponsorClient::Describe() {
  HECA_ASSIGN_OR_RETURN(SponsorInfo info,
                        impl_->Call<SponsorInfo>(&v1::SponsorService::Stub::Describe, v1::DescribeRequest()));
  if (info.protocol_version < kOldestProtocolVersion || info.oldest_protocol_version > kProtocolVersion) {
    return Status(ErrorCode::kUnsupported,
                  impl_->peer() + " speaks protocol " + std::to_string(info.oldest_protocol_version) + " to " +
                      std::to_string(info.protocol_version) + ", this hecad " +
                      std::to_string(kOldestProtocolVersion) + " to " + std::to_string(kProtocolVersion) +
                      ": upgrade the older one",
                  ErrorScope::kNode);
  }
  return info;
}

Result<Lease> SponsorClient::Reserve(const ReserveRequest& request) {
  v1::ReserveRequest message;
  ToMessage(request, message);
  return impl_->Grow(&v1::SponsorService::Stub::Reserve, message);
}

Result<Lease> SponsorClient::Extend(const LeaseKey& key, std::uint32_t more) {
  v1::ExtendRequest message;
  ToMessage(key, *message.mutable_key());
  message.set_more_slots(more);
  return impl_->Grow(&v1::SponsorService::Stub::Extend, message);
}

Result<Lease> SponsorClient::Renew(const LeaseKey& key, const std::string& owner_boot_id) {
  v1::RenewRequest message;
  ToMessage(key, *message.mutable_key());
  message.set_owner_boot_id(Utf8(owner_boot_id));
  return impl_->Call<Lease>(&v1::SponsorService::Stub::Renew, message);
}

Result<Lease> SponsorClient::TakeOver(const TakeOverRequest& request) {
  v1::TakeOverRequest message;
  ToMessage(request, message);
  return impl_->Call<Lease>(&v1::SponsorService::Stub::TakeOver, message);
}

Result<DataGrant> SponsorClient::OpenData(const LeaseKey& key, Role role, std::uint32_t stream,
                                          std::uint32_t count) {
  v1::OpenDataRequest message;
  ToMessage(key, *message.mutable_key());
  message.set_role(static_cast<v1::Role>(role));
  message.set_stream(stream);
  message.set_count(count);
  HECA_ASSIGN_OR_RETURN(DataGrant grant, impl_->Call<DataGrant>(&v1::SponsorService::Stub::OpenData, message));
  if (grant.tokens.size() != count) {
    return Status(ErrorCode::kInternal,
                  impl_->peer() + " granted " + std::to_string(grant.tokens.size()) + " data connections instead of " +
                      std::to_string(count),
                  ErrorScope::kConnection);
  }
  return grant;
}

Status SponsorClient::Free(const LeaseKey& key) {
  v1::FreeRequest message;
  ToMessage(key, *message.mutable_key());
  v1::FreeReply reply;
  return impl_->Send(&v1::SponsorService::Stub::Free, message, reply);
}

}  // namespace heca::control
