// SPDX-License-Identifier: LGPL-2.1-or-later
// The one place that decides how a connection of the control plane proves who it is. Private to this room.
// Today: the unix socket by its file permissions, TCP not at all (a lease is protected by its secret). Certificates
// come here and nowhere else.
#pragma once

#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>

#include <memory>

namespace heca::control {

[[nodiscard]] std::shared_ptr<grpc::ServerCredentials> CredentialsOfLocalServer();
[[nodiscard]] std::shared_ptr<grpc::ServerCredentials> CredentialsOfPeerServer();
[[nodiscard]] std::shared_ptr<grpc::ChannelCredentials> CredentialsOfLocalClient();
[[nodiscard]] std::shared_ptr<grpc::ChannelCredentials> CredentialsOfPeerClient();

}  // namespace heca::control
