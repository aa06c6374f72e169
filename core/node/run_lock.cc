// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node/run_lock.h"

#include <fcntl.h>

#include <cerrno>
#include <filesystem>

#include "base/lock_file.h"

namespace heca::node {

Result<unique_fd> LockDirectory(const std::string& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return Status::FromErrno(error.value(), "run-dir " + directory);
  const std::string path = directory + "/lock";
  unique_fd lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock) return Status::FromErrno(errno, path);
  const Status locked = LockFile(lock.get());
  if (locked.code() == ErrorCode::kBusy) {
    return Status(ErrorCode::kFailedPrecondition,
                  "another hecad uses the run directory " + directory + " (" + path + " is " + std::string(locked.message()) +
                      "); stop it, or choose another run-dir");
  }
  if (!locked.ok()) return locked.WithContext(path);
  return lock;
}

}  // namespace heca::node
