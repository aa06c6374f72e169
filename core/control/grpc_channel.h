// SPDX-License-Identifier: LGPL-2.1-or-later
// How our clients connect. Private to this room.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/security/credentials.h>

#include <memory>
#include <string>

#include "base/clock.h"

namespace heca::control {

/// Connects at the first call. A call on a broken channel fails at once; the channel itself tries again at least
/// once a second. Never goes through a proxy.
[[nodiscard]] std::shared_ptr<grpc::Channel> OpenChannel(const std::string& target,
                                                         const std::shared_ptr<grpc::ChannelCredentials>& credentials);

/// The context of a call that gives up after `timeout`, on the monotonic clock.
void SetTimeout(grpc::ClientContext& context, Millis timeout);

}  // namespace heca::control
