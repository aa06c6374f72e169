// SPDX-License-Identifier: LGPL-2.1-or-later
#include "control/sponsor_client.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "control/convert_sponsor.h"
#include "control/credentials.h"
#include "control/grpc_channel.h"
#include "control/status_map.h"
#include "heca/v1/sponsor.grpc.pb.h"

namespace heca::control {
namespace {

constexpr Millis kReconnectWait{500};  // of a call on a broken connection

Status CheckEndpoint(const std::string& endpoint) {
  const std::size_t colon = endpoint.rfind(':');
  const std::string_view host = std::string_view(endpoint).substr(0, colon == std::string::npos ? 0 : colon);
  const std::string_view port = colon == std::string::npos ? "" : std::string_view(endpoint).substr(colon + 1);
  const bool bare_ipv6 = host.find(':') != std::string_view::npos && (host.front() != '[' || host.back() != ']');
  std::uint32_t number = 0;
  for (const char c : port.substr(0, 6)) {
    number = c < '0' || c > '9' ? 65536 : number * 10 + static_cast<std::uint32_t>(c - '0');
    if (number > 65535) break;
  }
  if (host.empty() || bare_ipv6 || host.find('/') != std::string_view::npos || number == 0 || number > 65535) {
    return Status(ErrorCode::kInvalidArgument,
                  "sponsor endpoint '" + endpoint + "': write it as HOST:PORT or [IPV6]:PORT");
  }
  return Status();
}

}  // namespace

class SponsorClient::Impl {
 public:
  explicit Impl(const SponsorClientOptions& options)
      : timeout_(options.call_timeout),
        grow_timeout_(options.grow_timeout),
        peer_("sponsor " + options.endpoint),
        channel_(OpenChannel(options.endpoint, CredentialsOfPeerClient())),
        stub_(v1::SponsorService::NewStub(channel_)) {}

  template <class Request, class Reply>
  using Method = grpc::Status (v1::SponsorService::Stub::*)(grpc::ClientContext*, const Request&, Reply*);

  template <class Request, class Reply>
  Status Send(Method<Request, Reply> method, const Request& request, Reply& reply) {
    return Send(method, request, reply, timeout_);
  }

  template <class Request, class Reply>
  Status Send(Method<Request, Reply> method, const Request& request, Reply& reply, Millis timeout) {
    WaitIfBroken();
    grpc::ClientContext context;
    SetTimeout(context, timeout);
    return FromGrpc(((*stub_).*method)(&context, request, &reply), peer_);
  }

  /// Sends, and decodes the answer.
  template <class Value, class Request, class Reply>
  Result<Value> Call(Method<Request, Reply> method, const Request& request) {
    return Call<Value>(method, request, timeout_);
  }

  /// The sponsor has memory to allocate first.
  template <class Request>
  Result<Lease> Grow(Method<Request, v1::Lease> method, const Request& request) {
    return Call<Lease>(method, request, grow_timeout_);
  }

  [[nodiscard]] const std::string& peer() const { return peer_; }

 private:
  template <class Value, class Request, class Reply>
  Result<Value> Call(Method<Request, Reply> method, const Request& request, Millis timeout) {
    Reply reply;
    HECA_RETURN_IF_ERROR(Send(method, request, reply, timeout));
    Result<Value> value = FromMessage(reply);
    if (value.ok()) return value;
    return Status(ErrorCode::kInternal,
                  peer_ + " answered outside the protocol: " + std::string(value.status().message()),
                  ErrorScope::kConnection);
  }

  /// A synchronous gRPC client moves a connection attempt on only while somebody waits; calls on a broken channel
  /// fail at once, so that the attempt would sit until gRPC's own poller comes by, every five seconds.
  void WaitIfBroken() {
    if (channel_->GetState(true) != GRPC_CHANNEL_TRANSIENT_FAILURE) return;
    const auto wait = std::min(timeout_, kReconnectWait);
    static_cast<void>(channel_->WaitForConnected(std::chrono::system_clock::now() + wait));
  }

  const Millis timeout_;
  const Millis grow_timeout_;
  const std::string peer_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::SponsorService::Stub> stub_;
};

Result<std::unique_ptr<SponsorClient>> SponsorClient::Create(const SponsorClientOptions& options) {
  HECA_RETURN_IF_ERROR(CheckEndpoint(options.endpoint));
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
