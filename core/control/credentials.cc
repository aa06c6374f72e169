// SPDX-License-Identifier: LGPL-2.1-or-later
#include "control/credentials.h"

namespace heca::control {

std::shared_ptr<grpc::ServerCredentials> CredentialsOfLocalServer() { return grpc::InsecureServerCredentials(); }
std::shared_ptr<grpc::ServerCredentials> CredentialsOfPeerServer() { return grpc::InsecureServerCredentials(); }
std::shared_ptr<grpc::ChannelCredentials> CredentialsOfLocalClient() { return grpc::InsecureChannelCredentials(); }
std::shared_ptr<grpc::ChannelCredentials> CredentialsOfPeerClient() { return grpc::InsecureChannelCredentials(); }

}  // namespace heca::control
