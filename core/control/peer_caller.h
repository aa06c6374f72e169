// SPDX-License-Identifier: LGPL-2.1-or-later
// How our clients call a service of another node. Private to this room.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "control/grpc_channel.h"
#include "control/status_map.h"
#include "heca/status.h"

namespace heca::control {

/// The connection to a peer, whatever is called over it. Thread-safe.
class PeerChannel {
 public:
  /// `role` names the peer in errors: "sponsor" makes "sponsor 10.1.0.3:7301". Does not connect.
  PeerChannel(std::string_view role, const std::string& endpoint);

  /// The name for errors.
  [[nodiscard]] const std::string& peer() const { return peer_; }
  [[nodiscard]] const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  /// If the connection is known to be broken, waits a little for a new one, at most `timeout`.
  void WaitIfBroken(Millis timeout) const;
  /// The decoded answer of a call; one that could not be decoded becomes kInternal.
  template <class Value>
  [[nodiscard]] Result<Value> Checked(Result<Value> decoded) const {
    if (decoded.ok()) return decoded;
    return OutsideTheProtocol(decoded.status());
  }

 private:
  [[nodiscard]] Status OutsideTheProtocol(const Status& why) const;

  const std::string peer_;
  const std::shared_ptr<grpc::Channel> channel_;
};

/// Calls methods of one service. Thread-safe.
template <class Service>
class PeerCaller : public PeerChannel {
 public:
  using Stub = typename Service::Stub;
  template <class Request, class Reply>
  using Method = grpc::Status (Stub::*)(grpc::ClientContext*, const Request&, Reply*);

  PeerCaller(std::string_view role, const std::string& endpoint)
      : PeerChannel(role, endpoint), stub_(Service::NewStub(channel())) {}

  template <class Request, class Reply>
  Status Send(Method<Request, Reply> method, const Request& request, Reply& reply, Millis timeout) const {
    WaitIfBroken(timeout);
    grpc::ClientContext context;
    SetTimeout(context, timeout);
    return FromGrpc(((*stub_).*method)(&context, request, &reply), peer());
  }

 private:
  const std::unique_ptr<Stub> stub_;
};

}  // namespace heca::control
