// SPDX-License-Identifier: LGPL-2.1-or-later
#include "control/grpc_channel.h"

#include <grpc/support/time.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/support/channel_arguments.h>

namespace heca::control {
namespace {

constexpr int kFirstRetryMs = 100;
constexpr int kRetryMs = 1'000;
constexpr int kKeepaliveMs = 5'000;         // with calls in flight, or not
constexpr int kKeepaliveTimeoutMs = 3'000;  // a cut link is known after 8 s at most, and is then dialled again
constexpr int kMaxAnswer = 16 << 20;        // bytes; Stats of a thousand regions with their connections

}  // namespace

std::shared_ptr<grpc::Channel> OpenChannel(const std::string& target,
                                           const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // one client's trouble is not another one's
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kFirstRetryMs);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kRetryMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kRetryMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);  // as many as keepalive wants
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);                // the caller knows which calls may be repeated
  arguments.SetMaxReceiveMessageSize(kMaxAnswer);
  return grpc::CreateCustomChannel(target, credentials, arguments);
}

void SetTimeout(grpc::ClientContext& context, Millis timeout) {
  context.set_deadline(
      gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(timeout.count(), GPR_TIMESPAN)));
}

}  // namespace heca::control
