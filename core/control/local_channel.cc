// SPDX-License-Identifier: LGPL-2.1-or-later
#include "control/local_channel.h"

#include <sys/stat.h>

#include <utility>

#include "control/credentials.h"
#include "control/grpc_channel.h"

namespace heca::control {

LocalChannel::LocalChannel(std::string socket_path) : path_(std::move(socket_path)) {}

LocalChannel::File LocalChannel::Look() const {
  struct stat found{};
  if (::stat(path_.c_str(), &found) != 0) return {};
  return {found.st_dev, found.st_ino, found.st_ctim.tv_sec, found.st_ctim.tv_nsec};
}

std::shared_ptr<grpc::Channel> LocalChannel::Get() {
  const File file = Look();
  const std::lock_guard lock(mutex_);
  if (channel_ == nullptr || (file != file_ && file != File{})) {
    channel_ = OpenChannel("unix:" + path_, CredentialsOfLocalClient());
    file_ = file;
  }
  return channel_;
}

}  // namespace heca::control
