// SPDX-License-Identifier: LGPL-2.1-or-later
// A client of QEMU's monitor protocol on a unix socket (docs: QEMU's qmp-spec).
//
// One object is one connection. QEMU serves one client a socket: a second one connects but is never greeted, and
// Connect then says who may hold it. Two threads belong to each object: one reads the socket, one calls the event
// listeners (so that a listener may execute commands).
//
// NEVER call Execute from a thread that serves page faults: QEMU's main loop, which would answer, may be waiting for
// that very fault.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/unique_fd.h"
#include "guest/json.h"
#include "heca/status.h"

namespace heca::guest {

struct QmpEvent {
  std::string name;  ///< "STOP", "RESUME", "SHUTDOWN", ...
  Json data;         ///< may be null
  std::uint64_t sequence = 0;  ///< counts the events of this connection, from 1
};

/// Thread-safe.
class Qmp {
 public:
  using Listener = std::function<void(const QmpEvent&)>;

  /// Connects, takes the greeting and negotiates. The listener is called on this object's event thread; more may be
  /// added later.
  [[nodiscard]] static Result<std::unique_ptr<Qmp>> Connect(const std::string& socket_path, Deadline deadline,
                                                            Listener listener = nullptr);
  /// Disconnects; waits for a listener that is running.
  ~Qmp();
  Qmp(const Qmp&) = delete;
  Qmp& operator=(const Qmp&) = delete;

  /// Runs a command and returns its "return" value. An error of QEMU is kFailedPrecondition, of an unknown command
  /// or object kNotFound, with QEMU's text. kDeadlineExceeded: no answer yet; the command stays queued in QEMU and
  /// its late answer is dropped. kUnavailable: the connection is over. `fd` >= 0 travels with the command (SCM_RIGHTS).
  [[nodiscard]] Result<Json> Execute(std::string_view command, const Json& arguments, Deadline deadline, int fd = -1);

  /// The text that a human monitor command prints.
  [[nodiscard]] Result<std::string> HumanCommand(const std::string& line, Deadline deadline);

  void AddListener(Listener listener);
  /// False once QEMU closed the connection; it does not come back, make a new object.
  [[nodiscard]] bool Connected() const;
  /// The sequence number of the newest event that was read, delivered or not.
  [[nodiscard]] std::uint64_t EventsReceived() const;
  /// QEMU's version as major * 10000 + minor * 100 + micro, from the greeting.
  [[nodiscard]] int Version() const { return version_; }
  [[nodiscard]] const std::string& SocketPath() const { return path_; }
  /// The two threads, which live as long as the object.
  [[nodiscard]] std::vector<std::thread::native_handle_type> Threads();

 private:
  struct Waiter {
    bool done = false;
    Json reply;
  };

  Qmp(std::string path, unique_fd socket);
  void Read();
  void Dispatch();
  void OnLine(std::string_view line);
  void OnClosed();
  Status Send(const std::string& text, int fd, Deadline deadline);

  const std::string path_;
  const unique_fd socket_;
  unique_fd wake_;  ///< eventfd that ends the reading thread
  int version_ = 0;

  std::mutex send_mutex_;  ///< one message at a time; taken before mutex_
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool greeted_ = false;
  bool closed_ = false;
  bool ending_ = false;
  std::uint64_t next_id_ = 1;
  std::uint64_t events_received_ = 0;
  std::map<std::uint64_t, Waiter*> waiters_;
  std::deque<QmpEvent> events_;
  std::vector<Listener> listeners_;

  std::thread reader_;
  std::thread dispatcher_;
};

}  // namespace heca::guest
