// SPDX-License-Identifier: LGPL-2.1-or-later
#include "control/socket_file.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/lock_file.h"

namespace heca::control {
namespace {

constexpr std::string_view kPrivateTemplate = ".hecad-XXXXXX";
constexpr std::string_view kPrivateName = "/s";
constexpr std::size_t kMaxPath = sizeof(sockaddr_un::sun_path) - 1;

std::string DirectoryOf(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "./" : path.substr(0, slash + 1);
}

Status Error(ErrorCode code, std::string text) { return Status(code, std::move(text), ErrorScope::kNode); }

Result<unique_fd> Lock(const std::string& path) {
  const std::string lock_path = path + ".lock";
  unique_fd fd(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) {
    return Status::FromErrno(
        errno, "lock file " + lock_path + " (does its directory exist, and may hecad write there?)", ErrorScope::kNode);
  }
  const Status locked = LockFile(fd.get());
  if (!locked.ok()) {
    if (locked.code() != ErrorCode::kBusy) return locked.WithContext(lock_path);
    return Error(ErrorCode::kFailedPrecondition, "another hecad is running: " + lock_path + " is " +
                                                     std::string(locked.message()) + "; stop it or choose another socket");
  }
  return fd;
}

/// Ok if nothing is at `path`, or a socket on which nobody listens.
Status CheckReplaceable(const std::string& path) {
  struct stat found {};
  if (::lstat(path.c_str(), &found) != 0) {
    return errno == ENOENT ? Status() : Status::FromErrno(errno, path, ErrorScope::kNode);
  }
  if (!S_ISSOCK(found.st_mode)) {
    return Error(ErrorCode::kFailedPrecondition,
                 path + " exists and is not a socket: remove it or choose another socket");
  }
  const unique_fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return Status::FromErrno(errno, "socket", ErrorScope::kNode);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size());
  // EAGAIN: the backlog is full, so somebody listens.
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 || errno == EAGAIN) {
    return Error(ErrorCode::kFailedPrecondition, "another hecad is running: it answers on " + path +
                                                     "; stop it or choose another socket");
  }
  return errno == ECONNREFUSED || errno == ENOENT ? Status() : Status::FromErrno(errno, path, ErrorScope::kNode);
}

Result<gid_t> GroupId(const std::string& name) {
  std::vector<char> buffer(65536);
  group entry{};
  group* found = nullptr;
  const int error = ::getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
  if (found != nullptr) return found->gr_gid;
  if (error != 0 && error != ENOENT && error != ESRCH) {
    return Status::FromErrno(error, "looking up group " + name, ErrorScope::kNode);
  }
  return Error(ErrorCode::kNotFound, "there is no group '" + name + "': create it (groupadd) or name another one");
}

}  // namespace

Result<SocketFile> SocketFile::Prepare(const std::string& path) {
  const std::string directory = DirectoryOf(path);
  const std::size_t longest = std::max(path.size(), directory.size() + kPrivateTemplate.size() + kPrivateName.size());
  if (path.empty() || path.back() == '/' || longest > kMaxPath) {
    return Error(ErrorCode::kInvalidArgument, "socket path '" + path + "': must name a file, and be shorter than " +
                                                  std::to_string(kMaxPath - kPrivateTemplate.size()) + " bytes");
  }
  HECA_ASSIGN_OR_RETURN(unique_fd lock, Lock(path));
  HECA_RETURN_IF_ERROR(CheckReplaceable(path));
  SocketFile file(path, std::move(lock));
  std::string made = directory + std::string(kPrivateTemplate);
  if (::mkdtemp(made.data()) == nullptr) return Status::FromErrno(errno, "directory " + made, ErrorScope::kNode);
  file.private_directory_ = made;
  file.private_path_ = made + std::string(kPrivateName);
  return file;
}

Status SocketFile::Publish(mode_t mode, const std::string& group) {
  if (!group.empty()) {
    HECA_ASSIGN_OR_RETURN(const gid_t gid, GroupId(group));
    if (::chown(private_path_.c_str(), static_cast<uid_t>(-1), gid) != 0) {
      return Status::FromErrno(errno, "giving " + path_ + " to group " + group, ErrorScope::kNode);
    }
  }
  if (::chmod(private_path_.c_str(), mode) != 0) return Status::FromErrno(errno, "mode of " + path_, ErrorScope::kNode);
  if (::rename(private_path_.c_str(), path_.c_str()) != 0) {
    return Status::FromErrno(errno, "putting the socket at " + path_, ErrorScope::kNode);
  }
  published_ = true;
  ::rmdir(private_directory_.c_str());
  private_directory_.clear();
  return Status();
}

void SocketFile::Unpublish() {
  if (published_) ::unlink(path_.c_str());
  published_ = false;
}

SocketFile::~SocketFile() {
  if (!lock_) return;  // moved from
  Unpublish();
  if (!private_directory_.empty()) {
    ::unlink(private_path_.c_str());
    ::rmdir(private_directory_.c_str());
  }
}

}  // namespace heca::control
