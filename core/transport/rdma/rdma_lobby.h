// SPDX-License-Identifier: LGPL-2.1-or-later
// Hears requests for connections, on a thread of its own, and admits, refuses or ignores them. A stranger costs nothing: his
// token comes with his first packet.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <thread>

#include "os/epoll_set.h"
#include "transport/connection.h"
#include "transport/rdma/link.h"
#include "transport/rdma/manager.h"
#include "transport/rdma/rdma_server.h"
#include "transport/rdma/registrar.h"
#include "transport/rdma/verbs.h"
#include "wire/hello.h"

namespace heca::transport::rdma {

/// Thread-safe. The destructor ends the thread.
class RdmaLobby {
 public:
  /// Called on the lobby's thread for a connection that was admitted and accepted.
  using Adopt = std::function<void(Role role, std::unique_ptr<Connection> connection)>;
  /// How many connections are served now.
  using Served = std::function<std::size_t()>;

  static Result<std::unique_ptr<RdmaLobby>> Create(const RdmaServerOptions& options, Admission& admission, Registrar& registrar,
                                                   Adopt adopt, Served served);
  ~RdmaLobby();
  [[nodiscard]] Endpoint endpoint() const;

 private:
  RdmaLobby(Owned<rdma_event_channel> events, Owned<rdma_cm_id> listener, const RdmaServerOptions& options,
            Admission& admission, Registrar& registrar, Adopt adopt, Served served, os::EpollSet epoll);
  void Run();
  void Hear(Event event);
  /// `id` is the stranger's; to be refused unless it is taken.
  Status Decide(Owned<rdma_cm_id>& id, std::span<const std::byte> said);
  /// Accepts the admitted one. To be refused if `link` is still there behind an error.
  Status Begin(std::unique_ptr<Link>& link, const Hello& hello, std::shared_ptr<Registration> registration,
               std::shared_ptr<SlotMemory> memory, const wire::RemoteMemory& their_pulse);

  Owned<rdma_event_channel> events_;
  Owned<rdma_cm_id> listener_;
  const RdmaServerOptions options_;
  Admission& admission_;
  Registrar& registrar_;
  const Adopt adopt_;
  const Served served_;
  os::EpollSet epoll_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace heca::transport::rdma
