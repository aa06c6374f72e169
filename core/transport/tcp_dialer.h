// SPDX-License-Identifier: LGPL-2.1-or-later
// Opens TCP data connections.
#pragma once

#include "transport/channel.h"

namespace heca::transport {

/// Thread-safe. Fails with what the server says (kPermissionDenied: token, lease, epoch or role; kResourceExhausted:
/// too many connections; kUnsupported: versions), or kUnavailable, kDeadlineExceeded.
class TcpDialer final : public Dialer {
 public:
  Result<std::unique_ptr<Channel>> Dial(const Endpoint& endpoint, const Hello& hello, Deadline deadline) override;
};

}  // namespace heca::transport
