// SPDX-License-Identifier: LGPL-2.1-or-later
#include "control/peer_caller.h"

#include <algorithm>
#include <chrono>

#include "control/credentials.h"

namespace heca::control {
namespace {

constexpr Millis kReconnectWait{500};  // of a call on a broken connection

}  // namespace

PeerChannel::PeerChannel(std::string_view role, const std::string& endpoint)
    : peer_(std::string(role) + " " + endpoint), channel_(OpenChannel(endpoint, CredentialsOfPeerClient())) {}

/// A synchronous gRPC client moves a connection attempt on only while somebody waits; calls on a broken channel fail
/// at once, so that the attempt would sit until gRPC's own poller comes by, every five seconds.
void PeerChannel::WaitIfBroken(Millis timeout) const {
  if (channel_->GetState(true) != GRPC_CHANNEL_TRANSIENT_FAILURE) return;
  const auto wait = std::min(timeout, kReconnectWait);
  static_cast<void>(channel_->WaitForConnected(std::chrono::system_clock::now() + wait));
}

Status PeerChannel::OutsideTheProtocol(const Status& why) const {
  return Status(ErrorCode::kInternal, peer_ + " answered outside the protocol: " + std::string(why.message()),
                ErrorScope::kConnection);
}

}  // namespace heca::control
