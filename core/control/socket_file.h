// SPDX-License-Identifier: LGPL-2.1-or-later
// The file of a unix socket: who may have it, and how it appears. Private to this room.
//
// A server that binds PATH itself leaves a moment in which the socket has the wrong mode, and cannot tell a dead
// owner's file from a live one. So: take a lock beside PATH, bind in a private directory beside it, set mode and group
// there, and rename the socket to PATH in one step, over a dead one.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>

#include "base/unique_fd.h"
#include "heca/status.h"

namespace heca::control {

/// Removes what it made, PATH included, when it goes away; the lock is let go last. One thread at a time.
class SocketFile {
 public:
  /// Takes the lock and makes the private directory. See LocalServer::Start for what can fail.
  static Result<SocketFile> Prepare(const std::string& path);
  SocketFile(SocketFile&&) noexcept = default;
  SocketFile& operator=(SocketFile&&) = delete;
  ~SocketFile();

  /// Where to bind.
  [[nodiscard]] const std::string& private_path() const { return private_path_; }
  /// Gives what was bound there its mode and group (empty: unchanged), and its place.
  Status Publish(mode_t mode, const std::string& group);
  /// Removes PATH; the lock stays.
  void Unpublish();

 private:
  SocketFile(std::string path, unique_fd lock) : lock_(std::move(lock)), path_(std::move(path)) {}

  unique_fd lock_;
  std::string path_;
  std::string private_directory_;
  std::string private_path_;
  bool published_ = false;
};

}  // namespace heca::control
