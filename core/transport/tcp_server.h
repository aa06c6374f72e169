// SPDX-License-Identifier: LGPL-2.1-or-later
// The sponsor's TCP end. Three threads: the lobby accepts and hears hellos, so that strangers never delay anybody; one
// thread serves all urgent connections and one all bulk connections.
//
// What a peer can cost us is fixed: a socket, one TcpConnection (about 20 KiB) once it was admitted, and the kernel's
// socket buffers. Pages are sent from and received into the lease's own memory. A peer that stops reading stops being
// read, and is cut off after `stall_timeout`.
#pragma once

#include <memory>

#include "base/clock.h"
#include "transport/server.h"

namespace heca::transport {

struct TcpServerOptions {
  Endpoint listen;                     ///< port 0: the kernel chooses
  std::size_t max_strangers = 64;      ///< connections without a hello; the oldest makes room for a new one
  std::size_t max_connections = 1024;  ///< admitted connections
  Millis hello_timeout{5000};
  Millis stall_timeout{5000};  ///< with an answer that the peer does not take
  std::uint16_t urgent_credits = 64;
  std::uint16_t bulk_credits = 32;
  std::uint32_t window_bytes = 4U << 20;  ///< payload in flight on one connection
};

/// Thread-safe. `admission` outlives the server. The destructor cuts all connections and returns within milliseconds,
/// unless Admit blocks.
class TcpServer final : public Server {
 public:
  static Result<std::unique_ptr<TcpServer>> Create(const TcpServerOptions& options, Admission& admission);
  ~TcpServer() override;

  [[nodiscard]] Endpoint endpoint() const override;
  [[nodiscard]] std::vector<ConnectionInfo> Connections() const override;
  [[nodiscard]] std::string Transport() const override { return "tcp"; }
  /// Connections that have not said hello.
  [[nodiscard]] std::size_t Strangers() const;

 private:
  struct Parts;
  explicit TcpServer(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace heca::transport
