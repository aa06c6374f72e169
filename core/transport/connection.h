// SPDX-License-Identifier: LGPL-2.1-or-later
// The server's end of one data connection that was admitted, as its role's thread serves it (role_loop.h).
#pragma once

#include <cstdint>

#include "base/clock.h"
#include "heca/status.h"
#include "transport/server.h"

namespace heca::transport {

/// Owner loop only, except Info.
class Connection {
 public:
  virtual ~Connection() = default;
  [[nodiscard]] virtual int fd() const = 0;
  /// What to ask epoll for, once.
  [[nodiscard]] virtual std::uint32_t Events() const = 0;
  /// Does what epoll says is possible, and what was left over. An error cuts the connection off: protocol broken, lease lost,
  /// peer gone.
  virtual Status OnEvents(std::uint32_t events) = 0;
  /// Every now and then, also when nothing happens: kPermissionDenied once the memory may not be served on this connection any
  /// more, or why it is over.
  virtual Status OnTick() = 0;
  /// It stopped only to let others have their turn: call OnEvents(0) soon, no event will come.
  [[nodiscard]] virtual bool unfinished() const = 0;
  /// It waits for its peer to take an answer.
  [[nodiscard]] virtual bool blocked() const = 0;
  /// When a blocked connection last sent a byte, or became blocked.
  [[nodiscard]] virtual Clock::time_point last_sent() const = 0;
  /// Thread-safe.
  [[nodiscard]] virtual ConnectionInfo Info() const = 0;
};

}  // namespace heca::transport
