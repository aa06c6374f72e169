// SPDX-License-Identifier: LGPL-2.1-or-later
// Accepts connections and hears their hellos, on a thread of its own: strangers cost at most `max_strangers` sockets
// and never a moment of those who are served.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <thread>

#include "base/clock.h"
#include "os/epoll_set.h"
#include "transport/server.h"
#include "transport/tcp_server.h"
#include "wire/hello.h"

namespace heca::transport {

/// Thread-safe. The destructor ends the thread.
class TcpLobby {
 public:
  /// Called on the lobby's thread for a connection that was admitted and answered.
  using Adopt = std::function<void(unique_fd fd, const Hello& hello, std::shared_ptr<SlotMemory> memory)>;
  /// How many connections are served now.
  using Served = std::function<std::size_t()>;

  static Result<std::unique_ptr<TcpLobby>> Create(unique_fd listener, const TcpServerOptions& options,
                                                  Admission& admission, Adopt adopt, Served served);
  ~TcpLobby();
  [[nodiscard]] std::size_t Strangers() const { return count_.load(std::memory_order_relaxed); }

 private:
  struct Stranger {
    unique_fd fd;
    Deadline deadline;
    std::array<std::byte, wire::kHelloSize> hello{};
    std::size_t received = 0;
  };

  TcpLobby(unique_fd listener, const TcpServerOptions& options, Admission& admission, Adopt adopt, Served served,
           os::EpollSet epoll);
  void Run();
  void Accept();
  /// Reads what is there of a hello; true if the stranger is done with, one way or the other.
  bool Hear(Stranger& stranger);
  /// Refuses or admits and answers.
  void Decide(Stranger& stranger);
  void Leave(std::size_t index);
  void CutLate();

  const unique_fd listener_;
  const TcpServerOptions options_;
  Admission& admission_;
  const Adopt adopt_;
  const Served served_;
  os::EpollSet epoll_;
  unique_fd spare_;  ///< given up for a moment when the process is out of descriptors
  std::deque<std::unique_ptr<Stranger>> strangers_;  ///< oldest first
  std::atomic<std::size_t> count_{0};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace heca::transport
