// SPDX-License-Identifier: LGPL-2.1-or-later
// The sponsor's RDMA end. Three threads, as over TCP: the lobby hears hellos, which come with the request for a connection; one
// thread serves all urgent connections and one all bulk connections. And a fourth that registers what is lent (registrar.h).
#pragma once

#include <memory>

#include "transport/server.h"

namespace heca::transport {

struct RdmaServerOptions {
  Endpoint listen;                     ///< port 0: the connection manager chooses; any host: all devices
  std::size_t max_connections = 1024;
  std::uint16_t urgent_credits = 64;
  std::uint16_t bulk_credits = 32;
  std::uint32_t window_bytes = 4U << 20;  ///< payload in flight on one connection; as much is pinned for it at both ends
};

/// Thread-safe. `admission` outlives the server. The destructor cuts all connections and unpins what was registered for them: within
/// milliseconds, unless Admit blocks, or gigabytes are pinned.
class RdmaServer final : public Server {
 public:
  /// kUnsupported in a build without libibverbs, and on a host without devices.
  static Result<std::unique_ptr<RdmaServer>> Create(const RdmaServerOptions& options, Admission& admission);
  ~RdmaServer() override;

  [[nodiscard]] Endpoint endpoint() const override;
  [[nodiscard]] std::vector<ConnectionInfo> Connections() const override;
  [[nodiscard]] std::string Transport() const override { return "rdma"; }

 private:
  struct Parts;
  explicit RdmaServer(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace heca::transport
