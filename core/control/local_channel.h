// SPDX-License-Identifier: LGPL-2.1-or-later
// The channel to the hecad that listens on a unix socket now. Private to this room.
//
// gRPC looks after a connection while a call waits on it, and otherwise every five seconds. So the first call after a restart of
// hecad would find the old connection dead, and fail. But each hecad makes the socket's file anew (socket_file.h), and by that
// a new one is known before the call.
#pragma once

#include <grpcpp/channel.h>
#include <sys/types.h>

#include <ctime>
#include <memory>
#include <mutex>
#include <string>

namespace heca::control {

/// Thread-safe.
class LocalChannel {
 public:
  explicit LocalChannel(std::string socket_path);
  /// For one call. Where nobody listens it is the one before, and the call says so.
  [[nodiscard]] std::shared_ptr<grpc::Channel> Get();

 private:
  /// Which file a path leads to. An inode's number may be used again at once, the time of its last change may not.
  struct File {
    dev_t device = 0;
    ino_t inode = 0;
    std::time_t seconds = 0;
    long nanoseconds = 0;
    bool operator==(const File&) const = default;
  };
  [[nodiscard]] File Look() const;

  const std::string path_;
  std::mutex mutex_;
  File file_;  ///< the one that channel_ was made for; zeros: none was there
  std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace heca::control
