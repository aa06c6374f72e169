// SPDX-License-Identifier: LGPL-2.1-or-later
// TCP sockets as both ends of a data connection want them. Functions, thread-safe. All sockets are non-blocking and
// close-on-exec.
#pragma once

#include <cstddef>
#include <span>

#include "base/clock.h"
#include "base/unique_fd.h"
#include "heca/status.h"
#include "transport/channel.h"

namespace heca::transport {

/// A peer that acknowledges nothing for so long is dead. With a probe every second on an idle connection, a cut link
/// is noticed within three seconds.
inline constexpr Millis kPeerTimeout{2500};

/// Resolves the host (a name may block in the resolver; an address never does) and listens.
Result<unique_fd> ListenTcp(const Endpoint& endpoint, int backlog);
/// Resolves and connects; tries every address of the host until the deadline.
Result<unique_fd> ConnectTcp(const Endpoint& endpoint, Deadline deadline);
/// NODELAY, keepalive, user timeout.
Status TuneTcp(int fd);

Endpoint LocalEndpoint(int fd);
Endpoint PeerEndpoint(int fd);

/// Moves all of the bytes or fails: kDeadlineExceeded, kUnavailable (closed or reset).
Status SendAll(int fd, std::span<const std::byte> bytes, Deadline deadline);
Status ReceiveAll(int fd, std::span<std::byte> bytes, Deadline deadline);

/// The error of a connection that ended: errno, or 0 for an orderly close. Scope kConnection, always retryable.
Status ConnectionLost(int sys_errno, std::string_view doing);

}  // namespace heca::transport
